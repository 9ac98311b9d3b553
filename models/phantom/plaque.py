"""What a plaque is made of: calcium in nodules, sheets and spots, soft plaque, cores of low attenuation and napkin rings.

A recipe only says what is put in; type, volumes and features of the truth are counted afterwards on what is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.phantom.profiles import Profile, waves
from models.phantom.tree import STEP_MM
from models.phantom.types import Blob, FloatArray, Sheet

RECIPES = ("nodular", "sheet", "dense", "mixed_surface", "mixed_base", "punctate", "spotty", "fibrous", "lipid", "low_core", "napkin")
#: Chance of each recipe, in a patient with ordinary and in one with heavily calcified disease.
RECIPE_CHANCE = (0.12, 0.10, 0.03, 0.15, 0.11, 0.05, 0.10, 0.12, 0.09, 0.08, 0.05)
HEAVY_CHANCE = (0.26, 0.36, 0.20, 0.06, 0.05, 0.03, 0.0, 0.02, 0.01, 0.01, 0.0)
#: Recipes whose plaque is thick enough to hold a core: eccentric and bulging outwards.
BULKY = ("low_core", "napkin", "spotty")


@dataclass
class Ground:
    """Where plaque is laid: the points of a branch from `start` on, its profile, and the side of the wall the plaque sits on, (n, 3)."""

    points: FloatArray
    profile: Profile
    start: int
    side: FloatArray
    eccentric: float
    blobs: list[Blob] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Points of the lesion."""
        return len(self.side)

    def towards(self, i: int, angle: float) -> FloatArray:
        """Unit vector across the vessel at the lesion's point `i`, turned by `angle` from the side of the plaque."""
        tangent = self.profile.normals[0][self.start + i]
        return np.asarray(np.cos(angle) * self.side[i] + np.sin(angle) * np.cross(tangent, self.side[i]))

    def wall(self, i: int, direction: FloatArray) -> tuple[float, float]:
        """Inner and outer distance (mm) of the wall from the lumen's centre at the lesion's point `i` along a direction."""
        at = self.start + i
        shape = self.profile.shape[at]
        c = float(np.clip(shape[:3] @ direction, -1.0, 1.0))
        inner = float(self.profile.lumen[at]) * float(np.sqrt(1.0 + shape[3] * (2 * c * c - 1) + shape[4] * c * (4 * c * c - 3)))
        shift = self.profile.offset[at]
        along = float(shift @ direction)
        across = float(shift @ shift) - along * along
        return inner, along + float(np.sqrt(max(float(self.profile.outer[at]) ** 2 - across, 0.01)))

    def put(
        self, i: int, angle: float, *, kind: str, hu: float, along: float, around: float, radial: float | None = None, depth: float = 0.5,
        fill: float = 0.8,
    ) -> bool:  # fmt: skip
        """Put an ellipsoid of half-axes `along`, `around`, `radial` (mm; else `fill` of the wall) at a `depth` of the wall (0 to 1)."""
        i = int(np.clip(i, 0, self.count - 1))
        direction = self.towards(i, angle)
        inner, outer = self.wall(i, direction)
        thick = outer - inner
        if thick < 0.25:
            return False
        half = max(0.2, 0.5 * fill * thick) if radial is None else min(radial, 0.55 * thick)
        rho = inner + half + depth * max(thick - 2 * half, 0.0)
        tangent = self.profile.normals[0][self.start + i]
        axes = np.stack([tangent, direction, np.cross(tangent, direction)])
        centre = self.points[self.start + i] + rho * direction
        self.blobs.append(Blob(centre, axes, np.array([along, half, around]), kind, hu))
        return True


def fill_plaque(rng: np.random.Generator, recipe: str, ground: Ground, envelope: FloatArray) -> None:
    """Lay the plaque of a recipe into the wall; `envelope` (n,) says where the wall is thickened (0 to 1)."""
    span = slice(ground.start, ground.start + ground.count)
    low, high = {"fibrous": (80.0, 150.0), "lipid": (25.0, 65.0), "low_core": (40.0, 90.0), "napkin": (35.0, 75.0)}.get(
        recipe, (40.0, 130.0)
    )
    soft = float(rng.uniform(low, high)) + 8.0 * waves(rng, ground.count, 5.0)
    blend = np.clip(2.5 * envelope, 0.0, 1.0)
    ground.profile.wall_hu[span] += blend * (np.maximum(soft, -20.0) - ground.profile.wall_hu[span])
    if rng.random() < 0.3:
        ground.profile.halo_hu[span] = float(rng.uniform(5.0, 30.0)) * blend
    lay = {
        "nodular": _nodular, "sheet": _sheet, "dense": _dense, "mixed_surface": _surface, "mixed_base": _base, "punctate": _spots,
        "spotty": _spots, "low_core": _core, "napkin": _napkin,
    }.get(recipe)  # fmt: skip
    if lay is not None:
        lay(rng, ground)
    if recipe == "low_core" and rng.random() < 0.35:
        _spots(rng, ground)


def _hu(rng: np.random.Generator, low: float = 350.0, high: float = 1500.0) -> float:
    return float(low + (high - low) * rng.beta(1.4, 1.6))


def _spread(ground: Ground) -> float:
    return float(np.pi) if ground.eccentric < 0.3 else 1.2


def _nodule(rng: np.random.Generator, ground: Ground, i: int, angle: float, size: float, depth: float, hu: float) -> None:
    """A lump of calcium: a few ellipsoids over each other, so that its outline is irregular."""
    for _ in range(int(rng.integers(1, 5))):
        at = i + round(float(rng.normal(0, 0.5 * size)) / STEP_MM)
        turn = angle + float(rng.normal(0, 0.25))
        scale = float(rng.uniform(0.5, 1.1))
        ground.put(
            at, turn, kind="calcium", hu=hu * float(rng.uniform(0.8, 1.1)), along=size * scale * float(rng.uniform(0.7, 1.5)),
            around=size * scale, radial=size * float(rng.uniform(0.45, 1.0)), depth=float(np.clip(depth + rng.normal(0, 0.15), 0, 1)),
        )  # fmt: skip


def _nodular(rng: np.random.Generator, ground: Ground) -> None:
    """Coarse nodules that make up most of the plaque."""
    hu, spread = _hu(rng, 500.0), _spread(ground)
    gap = float(rng.uniform(1.0, 2.2))
    for i in np.arange(0.08 * ground.count, 0.92 * ground.count, gap / STEP_MM):
        for _ in range(int(rng.integers(1, 4 if ground.eccentric < 0.3 else 3))):
            at = int(i + rng.normal(0, 0.4 / STEP_MM))
            _nodule(rng, ground, at, float(rng.normal(0, 0.55 * spread)), float(rng.uniform(0.6, 1.3)), float(rng.uniform(0.1, 0.8)), hu)


def _lay_sheet(rng: np.random.Generator, ground: Ground, first: int, last: int, arc: float, depth: tuple[float, float], hu: float) -> None:
    """One sheet between two points of the lesion; `arc` (rad) is its whole width, its border is ragged."""
    n = last - first + 1
    if n < 4:
        return
    turn = float(rng.normal(0, 0.3)) + 0.35 * waves(rng, n, 12.0)
    direction = np.stack([ground.towards(first + i, float(a)) for i, a in enumerate(turn)])
    ends = np.minimum(np.arange(n), np.arange(n)[::-1]) / max(min(2.0 / STEP_MM, n / 3), 1.0)
    half = 0.5 * arc * np.sqrt(np.clip(ends, 0.0, 1.0)) * (1.0 + 0.18 * waves(rng, n, float(rng.uniform(1.5, 5.0))))
    ground.sheets.append(Sheet(ground.start + first, direction, np.clip(half, 0.0, 3.3), depth, hu))


def _sheet(rng: np.random.Generator, ground: Ground) -> None:
    """Circumferential or arc-like calcium, 90 to 300 degrees, at the surface, in the middle or at the base of the wall."""
    hu = _hu(rng, 400.0)
    low = float(rng.uniform(0.0, 0.45))
    depth = (low, float(np.clip(low + rng.uniform(0.45, 0.8), 0.0, 1.0)))
    first = 1
    while first < ground.count - 6:
        last = min(ground.count - 2, first + int(rng.uniform(4.0, 30.0) / STEP_MM))
        arc = float(np.deg2rad(rng.uniform(90.0, 300.0)))
        _lay_sheet(rng, ground, first, last, arc, depth, hu)
        first = last + int(rng.uniform(0.5, 4.0) / STEP_MM) + 1
    for _ in range(int(rng.poisson(1.0))):
        _nodule(rng, ground, int(rng.integers(ground.count)), float(rng.normal(0, 1.0)), float(rng.uniform(0.4, 0.9)), 0.5, hu)


def _dense(rng: np.random.Generator, ground: Ground) -> None:
    """Calcium through nearly the whole wall, the most it can bloom."""
    hu = _hu(rng, 800.0)
    _lay_sheet(rng, ground, 1, ground.count - 2, float(np.deg2rad(rng.uniform(160.0, 360.0))), (0.03, 0.97), hu)
    _nodular(rng, ground)


def _surface(rng: np.random.Generator, ground: Ground) -> None:
    """Mixed plaque with its calcium next to the lumen."""
    _mixed(rng, ground, 0.08)


def _base(rng: np.random.Generator, ground: Ground) -> None:
    """Mixed plaque with its calcium at the base, next to the outer wall."""
    _mixed(rng, ground, 0.92)


def _mixed(rng: np.random.Generator, ground: Ground, depth: float) -> None:
    hu, spread = _hu(rng), _spread(ground)
    if rng.random() < 0.3:
        n = ground.count
        length = int(np.clip(rng.uniform(3.0, 9.0) / STEP_MM, 4, max(0.5 * n, 4)))
        first = int(rng.integers(1, max(n - length - 1, 2)))
        edge = (0.0, 0.4) if depth < 0.5 else (0.6, 1.0)
        _lay_sheet(rng, ground, first, min(first + length, n - 2), float(np.deg2rad(rng.uniform(60.0, 150.0))), edge, hu)
        return
    for _ in range(int(np.clip(rng.poisson(ground.count * STEP_MM / 6.0), 1, 7))):
        at = int(rng.uniform(0.1, 0.9) * ground.count)
        _nodule(
            rng, ground, at, float(rng.normal(0, 0.5 * spread)), float(rng.uniform(0.35, 0.9)), depth, hu * float(rng.uniform(0.7, 1.2))
        )


def _spots(rng: np.random.Generator, ground: Ground) -> None:
    """Spots of calcium under 3 mm in every direction, apart from each other."""
    place = float(rng.uniform(0.1, 0.35)) * ground.count
    for _ in range(int(rng.integers(1, 5))):
        if place > 0.92 * ground.count:
            return
        size = float(rng.uniform(0.3, 0.95))
        ground.put(
            int(place), float(rng.normal(0, 0.5)), kind="calcium", hu=_hu(rng), along=size * float(rng.uniform(0.7, 1.3)),
            around=min(size, 0.9), radial=min(size, 0.8), depth=float(rng.uniform(0.1, 0.95)),
        )  # fmt: skip
        place += (3.2 + float(rng.exponential(3.0))) / STEP_MM


def _core(rng: np.random.Generator, ground: Ground) -> None:
    """A lipid-rich core of low attenuation, deep in the plaque."""
    at = int(rng.uniform(0.35, 0.65) * ground.count)
    ground.put(
        at, float(rng.normal(0, 0.15)), kind="soft", hu=float(rng.uniform(-20.0, 27.0)), along=float(rng.uniform(1.2, 3.5)),
        around=float(rng.uniform(0.7, 1.3)), depth=float(rng.uniform(0.3, 0.7)), fill=float(rng.uniform(0.5, 0.75)),
    )  # fmt: skip


def _napkin(rng: np.random.Generator, ground: Ground) -> None:
    """A core of low attenuation with a denser, non-calcified rim of at most 130 HU around it."""
    at = int(rng.uniform(0.4, 0.6) * ground.count)
    angle = float(rng.normal(0, 0.1))
    along, around = float(rng.uniform(1.8, 3.5)), float(rng.uniform(0.9, 1.5))
    if ground.put(at, angle, kind="rim", hu=float(rng.uniform(100.0, 130.0)), along=along + 0.5, around=around + 0.45, fill=0.98):
        ground.put(at, angle, kind="soft", hu=float(rng.uniform(-15.0, 25.0)), along=along, around=around, fill=0.62)
