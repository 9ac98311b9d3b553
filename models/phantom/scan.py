"""Draw how a virtual CT looks at a patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.phantom import physics
from models.phantom.types import Ghost, Scan, Step, Vector

KERNELS = ("cardiac-smooth", "cardiac-standard", "cardiac-sharp")
VESSELS = ("LAD", "LCX", "RCA")
#: How far each vessel moves when the heart does not rest, relative to the right coronary artery.
MOBILITY = {"LAD": 0.45, "LCX": 0.65, "RCA": 1.0}
#: Half the height of the space in which steps and ghosts are drawn, mm from the middle of the patient's grid.
HALF_HEIGHT_MM = 75.0


def draw_scan(seed: int) -> Scan:
    """The scan of a seed: tube, contrast, noise, sharpness, phase, and what went wrong.

    Most scans are good. About 30 % have some motion, 12 % bad motion of one vessel, 14 % steps, 12 % streaks, metal or a ghost, 7 % poor
    contrast.
    """
    rng = np.random.default_rng((seed, 2))
    kvp = float(rng.choice(physics.KVP, p=[0.08, 0.17, 0.35, 0.35, 0.05]))
    vessel = _vessel_hu(rng, kvp)
    right = float(rng.choice([rng.uniform(35, 140), rng.uniform(140, 320), rng.uniform(0.6, 1.4) * vessel], p=[0.35, 0.4, 0.25]))
    late = rng.uniform(0.5, 0.95) * vessel  # a late phase: the coronary sinus is nearly as bright as the arteries
    kernel = str(rng.choice(KERNELS, p=[0.3, 0.5, 0.2]))
    soft = {"cardiac-smooth": 1.15, "cardiac-standard": 1.0, "cardiac-sharp": 0.85}[kernel]
    thickness = float(rng.choice([0.4, 0.5, 0.6, 0.625, 0.75, 0.9, 1.0], p=[0.04, 0.34, 0.17, 0.2, 0.15, 0.05, 0.05]))
    scan = Scan(
        seed=seed,
        kvp=kvp,
        ma=float(rng.integers(200, 950)),
        vessel_hu=vessel,
        noise_hu=25.0,
        psf_sigma_mm=(float(rng.uniform(0.27, 0.40) * soft), float(np.hypot(rng.uniform(0.24, 0.37), thickness / np.sqrt(12.0)))),
        right_heart_hu=right,
        vein_hu=float(rng.choice([rng.uniform(40, 120), rng.uniform(120, max(121.0, 0.6 * vessel)), late], p=[0.35, 0.4, 0.25])),
        myocardium_hu=float(np.clip(rng.normal(100, 16), 60, 140)),
        phase_percent=float(rng.choice([75, 75, 75, 70, 78, 40, 45])),
        kernel=kernel,
        noise_coarseness=float(rng.choice([0.8, 1.0, 1.25, 1.5])),
        fat_hu=float(rng.normal(physics.fat_hu(kvp) + 8.0, 5.0)),
        edge_enhancement=float(rng.uniform(0.15, 0.6)) if kernel == "cardiac-sharp" and rng.random() < 0.6 else 0.0,
        slice_thickness_mm=thickness,
        increment_mm=float(rng.choice([0.25, 0.3, 0.4, 0.5, 0.625])) if thickness > 0.5 else float(rng.choice([0.25, 0.3, 0.4])),
        fov_mm=float(np.round(rng.uniform(160, 260))),
        round_field=bool(rng.random() < 0.08),
        cut_mm=_cut(rng),
        body_mm=_body(rng),
        arms_down=bool(rng.random() < 0.04),
        beam_hardening=float(rng.uniform(0.2, 0.8) if rng.random() < 0.9 else rng.uniform(0.9, 1.8)),
    )
    scan = _with_dose(rng, scan)
    scan = with_motion(scan, _motion(rng))
    scan = _with_steps(rng, scan)
    return _with_streaks(rng, scan)


def _vessel_hu(rng: np.random.Generator, kvp: float) -> float:
    """Blood in the aorta: protocols give less contrast medium at low voltage, and sometimes the timing is poor."""
    usual = 375.0 * physics.iodine_factor(kvp) ** 0.5
    hu = rng.normal(usual, 80.0) if rng.random() > 0.07 else rng.uniform(180.0, 300.0)
    return float(np.clip(hu, 180.0, 650.0))


def _body(rng: np.random.Generator) -> tuple[float, float]:
    """Half-axes of the chest, mm."""
    lateral = float(np.clip(rng.normal(172.0, 18.0), 140.0, 225.0))
    return lateral, float(np.clip(lateral * rng.normal(0.66, 0.04), 95.0, 150.0))


def _cut(rng: np.random.Generator) -> tuple[float, float]:
    """Millimetres of the heart that a hurried range misses, below and above: mostly none."""
    missing = rng.uniform(3.0, 14.0, 2) * (rng.random(2) < (0.03, 0.015))
    return float(missing[0]), float(missing[1])


def _with_dose(rng: np.random.Generator, scan: Scan) -> Scan:
    """Noise from tube current, voltage, body size, slice thickness and kernel; the reconstruction takes some of it away."""
    quanta = np.sqrt(560.0 / scan.ma) * (120.0 / scan.kvp) ** 0.9 * np.exp((scan.body_mm[0] - 172.0) / 70.0)
    quanta *= np.sqrt(0.6 / scan.slice_thickness_mm) * {"cardiac-smooth": 0.85, "cardiac-standard": 1.0, "cardiac-sharp": 1.35}[scan.kernel]
    kind = str(rng.choice(["fbp", "iterative", "deep-learning"], p=[0.4, 0.42, 0.18]))
    strength = 0.0 if kind == "fbp" else float(rng.uniform(0.2, 0.8))
    noise = float(np.clip(22.5 * quanta * (1.0 - 0.6 * strength) * rng.lognormal(0.0, 0.15), 10.0, 60.0))
    return replace(scan, noise_hu=noise, reconstruction=kind, iterative_strength=strength)


def _motion(rng: np.random.Generator) -> dict[str, float]:
    """Millimetres that each vessel moves while the picture is taken."""
    fate = rng.random()
    if fate < 0.58:  # the heart rests
        return {}
    amount = float(np.clip(rng.gamma(3.0, 0.4), 0.4, 2.4))
    motion = {v: amount * MOBILITY[v] * float(rng.uniform(0.6, 1.3)) for v in VESSELS}
    if fate > 0.88:  # one vessel badly
        motion[str(rng.choice(VESSELS, p=[0.15, 0.22, 0.63]))] = float(rng.uniform(2.2, 5.0))
    return motion


def with_motion(scan: Scan, motion_mm: dict[str, float]) -> Scan:
    """The same scan with each vessel moving so far (mm); directions, doubling and heart rate are drawn from the scan's seed."""
    rng = np.random.default_rng((scan.seed, 5))
    largest = max(motion_mm.values(), default=0.0)
    return replace(
        scan,
        motion_mm=dict(motion_mm),
        motion_direction={v: _direction(rng) for v in motion_mm},
        motion_doubling=float(rng.choice([0.0, rng.uniform(0.4, 1.0)], p=[0.6, 0.4])),
        motion_angle_deg=float(rng.uniform(0.0, 180.0)),
        heart_motion_mm=float(min(3.0, 0.45 * largest * rng.uniform(0.6, 1.2))),
        heart_rate=float(np.round(np.clip(rng.normal(60.0 + 5.0 * largest, 7.0), 44.0, 110.0))),
    )


def _direction(rng: np.random.Generator) -> Vector:
    """A unit vector, more often within the slice than along z."""
    v = rng.normal(0.0, (1.0, 1.0, 0.5))
    v /= np.linalg.norm(v) + 1e-9
    return float(v[0]), float(v[1]), float(v[2])


def _with_steps(rng: np.random.Generator, scan: Scan) -> Scan:
    """Stair-steps between heart beats (15 %), and a breathing ghost (2 %)."""
    if rng.random() < 0.15:
        height = float(rng.uniform(10.0, 40.0))  # what one heart beat covers
        edges = np.arange(-HALF_HEIGHT_MM + rng.uniform(0.0, height), HALF_HEIGHT_MM, height)
        size = float(rng.choice([rng.uniform(0.3, 0.9), rng.uniform(0.9, 2.2)], p=[0.6, 0.4]))
        shifts = size * rng.normal(0.0, (0.7, 0.7, 0.4), (len(edges), 3))
        scan = replace(
            scan, steps=tuple(Step(float(z), (float(s[0]), float(s[1]), float(s[2]))) for z, s in zip(edges, shifts, strict=True))
        )
    if rng.random() < 0.02:
        bottom = float(rng.uniform(-60.0, 30.0))
        shift = rng.normal(0.0, (0.6, 1.2, 1.6))
        ghost = Ghost(bottom, bottom + float(rng.uniform(8.0, 35.0)), (float(shift[0]), float(shift[1]), float(shift[2])), 0.4)
        scan = replace(scan, ghost=replace(ghost, share=float(rng.uniform(0.25, 0.5))))
    return scan


def _with_streaks(rng: np.random.Generator, scan: Scan) -> Scan:
    """Streaks where the contrast medium is dense, metal in a few percent."""
    dense = scan.right_heart_hu > 0.9 * scan.vessel_hu
    streaks = float(rng.uniform(0.5, 1.6)) if dense and rng.random() < 0.35 else 0.0
    metal = tuple(name for name, chance in (("lead", 0.015), ("wires", 0.02), ("valve", 0.007)) if rng.random() < chance)
    if metal:
        streaks = max(streaks, float(rng.uniform(0.4, 1.4)))
    return replace(scan, streaks=streaks, metal=metal)


def undisturbed(scan: Scan) -> Scan:
    """The same scan with nothing gone wrong: no motion, step, ghost, beam hardening, streak, metal or truncation, and even noise."""
    return replace(
        scan, motion_mm={}, motion_direction={}, heart_motion_mm=0.0, steps=(), ghost=None, beam_hardening=0.0, streaks=0.0, metal=(),
        round_field=False, cut_mm=(0.0, 0.0), body_mm=(0.0, 0.0), arms_down=False,
    )  # fmt: skip


def calcium_scan(scan: Scan) -> Scan:
    """The calcium-scoring scan taken before `scan`: 120 kV, no contrast medium, 3 mm slices, smooth kernel, low dose, same patient."""
    rng = np.random.default_rng((scan.seed, 6))
    blood = float(rng.normal(physics.BLOOD_HU, 4.0))
    thickness = float(rng.choice([2.5, 3.0], p=[0.3, 0.7]))
    quiet = replace(
        scan, kvp=120.0, ma=float(rng.integers(40, 120)), vessel_hu=blood, right_heart_hu=blood, vein_hu=blood, contrast=False,
        myocardium_hu=blood + 3.0, fat_hu=physics.fat_hu(120.0), noise_hu=float(rng.uniform(14.0, 26.0)), kernel="cardiac-smooth",
        psf_sigma_mm=(float(rng.uniform(0.40, 0.5)), thickness / float(np.sqrt(12.0))), noise_coarseness=1.25, edge_enhancement=0.0,
        reconstruction="fbp", iterative_strength=0.0, slice_thickness_mm=thickness, increment_mm=thickness, fov_mm=220.0,
        cut_mm=(0.0, 0.0), steps=(), ghost=None, round_field=False,
    )  # fmt: skip
    motion = {v: m * float(rng.uniform(0.8, 1.6)) for v, m in scan.motion_mm.items()}
    return with_motion(quiet, motion)


def phase_scan(scan: Scan, phase_percent: float) -> Scan:
    """The same beat reconstructed at another phase: the vessels move more the farther it is from the rest in mid diastole or end systole.

    The least motion is near 75 % (slow hearts) or 40 % (from 70 beats a minute on), as the velocity curves of the coronaries show.
    """
    if phase_percent == scan.phase_percent:
        return scan
    rng = np.random.default_rng((scan.seed, 7, round(phase_percent)))
    systole, diastole = abs(phase_percent - 40.0) / 12.0, abs(phase_percent - 75.0) / 12.0
    if scan.heart_rate < 70.0:
        systole += 0.7
    else:
        diastole += 0.7
    unrest = float(min(systole, diastole, 3.0))
    best = {v: scan.motion_mm.get(v, 0.25 * MOBILITY[v]) for v in VESSELS}
    moved = {v: float(min(6.0, best[v] * rng.uniform(0.8, 1.2) + 1.6 * unrest * MOBILITY[v] * rng.uniform(0.7, 1.2))) for v in VESSELS}
    other = replace(with_motion(replace(scan, seed=scan.seed + 1000 * round(phase_percent)), moved), seed=scan.seed)
    return replace(other, phase_percent=phase_percent, heart_rate=scan.heart_rate)
