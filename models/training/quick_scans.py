"""Scans that cost little: most of a network's samples are rendered without motion and artefacts, and with a noise made on the spot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.phantom import Patient, Rendered, Scan, draw_scan, render

FULL_SHARE = 0.3
"""How many of the scans have all that the generator draws: motion, steps, streaks, the scanner's own noise."""


def draw_scans(rng: np.random.Generator, count: int) -> tuple[Scan, ...]:
    """``count`` scans, most of them plain."""
    return tuple(_drawn(rng) for _ in range(count))


def is_plain(scan: Scan) -> bool:
    """Whether a scan has neither motion nor artefacts."""
    return not scan.motion_mm and not scan.steps and scan.ghost is None and scan.beam_hardening == scan.streaks == 0.0


def render_quickly(
    patient: Patient, scan: Scan, *, origin: npt.NDArray[np.float64], spacing_mm: float, size: int, rng: np.random.Generator
) -> Rendered:
    """A cube of the patient; a plain scan gets blurred white noise of the scan's strength instead of a scanner's."""
    x, y, z = (float(value) for value in origin)
    plain = is_plain(scan)
    rendered = render(
        patient,
        scan,
        origin=(x, y, z),
        spacing=(spacing_mm,) * 3,
        shape=(size, size, size),
        seed=int(rng.integers(2**31)),
        noise=not plain,
    )
    if not plain:
        return rendered
    grain = ndimage.gaussian_filter(rng.standard_normal((size, size, size), dtype=np.float32), rng.uniform(0.3, 0.9))
    noisy = rendered.hu + grain * (scan.noise_hu / max(float(grain.std()), 1e-6))
    return replace(rendered, hu=np.clip(np.rint(noisy), -1024, 3071).astype(np.int16))


def _drawn(rng: np.random.Generator) -> Scan:
    scan = draw_scan(int(rng.integers(2**31)))
    if rng.random() < FULL_SHARE:
        return scan
    return replace(scan, motion_mm={}, heart_motion_mm=0.0, steps=(), ghost=None, beam_hardening=0.0, streaks=0.0, metal=())
