"""One standard virtual scan, and how long it takes to render: the figure `phantom_volume_s` of the benchmark."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from models.phantom.patient import draw_patient
from models.phantom.render import render
from models.phantom.scan import draw_scan, with_motion
from models.phantom.types import Patient, Rendered, Scan, Vector

SEED = 11
SHAPE = (280, 512, 512)
SPACING_MM: Vector = (0.4, 0.4, 0.5)
#: A volume so small that rendering it only compiles the kernels.
SMALL = (8, 32, 32)


def standard_patient() -> Patient:
    """Whom the benchmark scans."""
    return draw_patient(SEED)


def standard_scan() -> Scan:
    """An ordinary scan with everything on that most scans have: noise map, beam hardening and a little motion."""
    scan = replace(draw_scan(SEED), steps=(), ghost=None, streaks=0.0, metal=(), round_field=False, beam_hardening=0.5)
    return with_motion(scan, {"LAD": 0.4, "LCX": 0.6, "RCA": 1.0})


def standard_volume(patient: Patient, scan: Scan, *, shape: tuple[int, int, int] = SHAPE) -> Rendered:
    """512 x 512 x 280 voxels of 0.4 x 0.4 x 0.5 mm around the middle of the heart."""
    x, y, z = np.mean(patient.heart_box, axis=0) - 0.5 * np.array(SPACING_MM) * (np.array(shape[::-1]) - 1)
    return render(patient, scan, origin=(float(x), float(y), float(z)), spacing=SPACING_MM, shape=shape, seed=1)


def phantom_volume_s() -> float:
    """Wall-clock seconds for one standard volume of a patient already drawn, kernels compiled."""
    patient, scan = standard_patient(), standard_scan()
    standard_volume(patient, scan, shape=SMALL)
    started = time.perf_counter()
    standard_volume(patient, scan)
    return time.perf_counter() - started
