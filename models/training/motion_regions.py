"""Regions of virtual scans with the arteries that run through them, kept on disk: rendering is what takes the time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.volume import Geometry, Volume
from models.phantom import Patient, Scan, draw_scan
from models.training.arteries import ArteryPoints, Float, artery_points, render_box, vary

REGION_SHAPE = (32, 64, 64)
"""Voxels (z, y, x)."""
SPACING_MM = 0.5
VIEW_MM = (13.0, 13.0, 6.0)
"""Half sides (x, y, z) of the middle of a region: the artery that it is drawn about runs through it."""

SCANS_PER_PATIENT = 8
"""Motion is one draw for each artery of a scan: many scans teach more than many places of one."""
REGIONS_PER_SCAN = 3
WIDE_MOTION = 0.65
"""Share of the scans whose motion is drawn evenly up to 5 mm: most scans of the generator rest, and nothing is learned from them."""
EVEN = 0.8
"""Share of the scans without beam hardening and streaks: far quicker to render."""
MARGIN_MM = 3.0
GAP_MM = 1.5
"""Neighbouring points farther apart belong to different lines."""


@dataclass(frozen=True)
class Region:
    """A box of 16 x 32 x 32 mm of a scan, and what is true of it.

    Attributes:
        hu: (z, y, x) at 0.5 mm, int16, resampled from the scan's own voxels as the product's patches are.
        whole: noise HU, PSF sigma mm, step, streak, attenuation of the aorta's blood HU.
        arteries: points of arteries of 1.5 mm and more, in the order of their lines (n, 5): x, y, z from the middle in mm, healthy diameter
            mm, motion mm.
    """

    hu: npt.NDArray[np.int16]
    whole: npt.NDArray[np.float32]
    arteries: npt.NDArray[np.float32]

    @property
    def volume(self) -> Volume:
        """The box as a volume whose middle is the origin."""
        nz, ny, nx = self.hu.shape
        x, y, z = (float(-0.5 * SPACING_MM * (n - 1)) for n in (nx, ny, nz))
        return Volume(self.hu, Geometry((nz, ny, nx), (SPACING_MM,) * 3, (x, y, z)))


def draw_regions(patient: Patient, rng: np.random.Generator, *, scans: Sequence[Scan] | None = None) -> list[Region]:
    """Regions about points of the arteries, moved anywhere within the view, in several scans of a patient: drawn ones without ``scans``."""
    regions = []
    for scan in scans or [disturbed_scan(rng) for _ in range(SCANS_PER_PATIENT)]:
        arteries = artery_points(patient, scan)
        for _ in range(REGIONS_PER_SCAN):
            point = arteries.points_mm[rng.integers(len(arteries.points_mm))]
            regions.append(draw_region(patient, scan, arteries, point + rng.uniform(-0.6, 0.6, 3) * np.asarray(VIEW_MM), rng))
    return regions


def disturbed_scan(rng: np.random.Generator) -> Scan:
    """A drawn scan, mostly with much motion and without other artefacts."""
    return vary(draw_scan(int(rng.integers(2**31))), rng, even=EVEN, wide=WIDE_MOTION)


def draw_region(patient: Patient, scan: Scan, arteries: ArteryPoints, centre: Float, rng: np.random.Generator) -> Region:
    """The box about a place (LPS mm) with its truth, exactly as the scan was made."""
    offset = arteries.points_mm - centre
    near = (np.abs(offset) <= 0.5 * SPACING_MM * np.asarray(REGION_SHAPE[::-1]) + MARGIN_MM).all(axis=1)
    rows = np.column_stack([offset, arteries.diameter_mm, arteries.motion_mm])[near]
    whole = np.array([scan.noise_hu, scan.psf_sigma_mm[0], scan.vessel_hu], np.float32)
    return Region(render_box(patient, scan, centre, rng, shape=REGION_SHAPE, spacing_mm=SPACING_MM), whole, rows.astype(np.float32))


def lines_of(region: Region) -> list[Float]:
    """The arteries of a region one by one, each (n, 5) as in `Region.arteries`, where they lie inside it."""
    rows = region.arteries.astype(np.float64)
    half = 0.5 * SPACING_MM * (np.asarray(REGION_SHAPE[::-1]) - 1)
    rows = rows[(np.abs(rows[:, :3]) <= half).all(axis=1)]
    apart = np.flatnonzero(np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1) > GAP_MM) + 1
    return [line for line in np.split(rows, apart) if len(line) > 1]


def keep_regions(regions: list[Region], path: Path) -> None:
    """Write them; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.npz")
    owner = np.repeat(np.arange(len(regions)), [len(region.arteries) for region in regions])
    hu, whole = np.stack([region.hu for region in regions]), np.stack([region.whole for region in regions])
    np.savez(partial, hu=hu, whole=whole, owner=owner, arteries=np.concatenate([region.arteries for region in regions]))
    partial.replace(path)


def load_regions(path: Path) -> list[Region]:
    """What `keep_regions` wrote."""
    with np.load(path) as kept:
        hu, whole, owner, arteries = (kept[name] for name in ("hu", "whole", "owner", "arteries"))
    return [Region(hu[number], whole[number], arteries[owner == number]) for number in range(len(hu))]
