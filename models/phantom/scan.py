"""Draw how a virtual CT looks at a patient."""

from __future__ import annotations

import numpy as np

from models.phantom.types import Scan

KERNELS = ("cardiac-smooth", "cardiac-standard", "cardiac-sharp")


def draw_scan(seed: int) -> Scan:
    """The scan of a seed: tube, contrast, noise, sharpness, phase."""
    rng = np.random.default_rng((seed, 2))
    kvp = float(rng.choice([70, 80, 100, 120, 140], p=[0.08, 0.17, 0.35, 0.35, 0.05]))
    vessel = float(np.clip(rng.normal({70: 520, 80: 490, 100: 430, 120: 380, 140: 340}[int(kvp)], 70), 250, 600))
    kernel = str(rng.choice(KERNELS, p=[0.3, 0.5, 0.2]))
    soft = {"cardiac-smooth": 1.15, "cardiac-standard": 1.0, "cardiac-sharp": 0.85}[kernel]
    right = float(rng.choice([rng.uniform(40, 140), rng.uniform(140, 320), rng.uniform(0.6, 1.1) * vessel], p=[0.35, 0.4, 0.25]))
    return Scan(
        seed=seed,
        kvp=kvp,
        ma=float(rng.integers(250, 900)),
        vessel_hu=vessel,
        noise_hu=float(np.clip(rng.normal(26, 7) * (1.25 if kernel.endswith("sharp") else 1.0), 15, 45)),
        psf_sigma_mm=(float(rng.uniform(0.27, 0.40) * soft), float(rng.uniform(0.28, 0.42))),
        right_heart_hu=right,
        vein_hu=float(rng.choice([rng.uniform(40, 120), rng.uniform(120, 0.8 * vessel)], p=[0.35, 0.65])),
        myocardium_hu=float(rng.uniform(80, 125)),
        phase_percent=float(rng.choice([75, 75, 75, 70, 78, 40, 45])),
        kernel=kernel,
        noise_coarseness=float(np.round(rng.uniform(0.8, 1.5), 1)),
        fat_hu=float(rng.uniform(-110, -88)),
    )
