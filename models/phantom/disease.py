"""Plaque: lesions along the branches, remodelling, calcium and soft cores in the wall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.phantom.tree import STEP_MM, WALL_MM, Draft
from models.phantom.types import Blob, FloatArray

#: Chance of each plaque type and of each degree of narrowing (percent of diameter).
TYPES = ("calcified", "mixed", "noncalcified")
TYPE_CHANCE = (0.34, 0.33, 0.33)
DEGREES = ((0.0, 0.0), (5.0, 25.0), (25.0, 50.0), (50.0, 70.0), (70.0, 95.0), (100.0, 100.0))
DEGREE_CHANCE = (0.18, 0.24, 0.24, 0.18, 0.12, 0.04)


@dataclass
class Profile:
    """Radii along one branch while lesions are put into it (mm)."""

    lumen: FloatArray
    outer: FloatArray
    offset: FloatArray
    healthy: FloatArray


@dataclass(frozen=True)
class LesionDraft:
    """One lesion before its volumes are counted."""

    branch: int
    start: int
    minimum: int
    end: int
    stenosis_percent: float
    plaque_type: str
    remodeling_index: float
    blobs: tuple[Blob, ...]


@dataclass(frozen=True)
class Disease:
    """What disease made of a tree: one profile per branch, and the lesions."""

    profiles: list[Profile]
    lesions: list[LesionDraft]


def draw_disease(seed: int, drafts: list[Draft], *, age: int) -> Disease:
    """Walls and lesions of a finished tree; the same seed and tree always give the same disease."""
    rng = np.random.default_rng((seed, 2, age))
    profiles = [healthy_profile(d, rng) for d in drafts]
    return Disease(profiles, draw_lesions(rng, drafts, profiles))


def healthy_profile(draft: Draft, rng: np.random.Generator) -> Profile:
    """The branch without disease: lumen, and a real wall outside it."""
    r = draft.diameter / 2.0
    wall = np.clip(0.28 + 0.14 * r, 0.34, 0.6) * WALL_MM / 0.5 * float(rng.uniform(0.9, 1.15))
    return Profile(r.copy(), r + wall, np.zeros((len(r), 3)), r.copy())


def normals(p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Tangent and two normals along a polyline, turning as little as possible."""
    t = np.gradient(p, axis=0)
    t /= np.linalg.norm(t, axis=1, keepdims=True) + 1e-9
    a = np.empty_like(t)
    first = np.cross(t[0], [0.0, 0.0, 1.0] if abs(t[0, 2]) < 0.9 else [1.0, 0.0, 0.0])
    a[0] = first / np.linalg.norm(first)
    for i in range(1, len(t)):
        v = a[i - 1] - t[i] * (a[i - 1] @ t[i])
        a[i] = v / np.linalg.norm(v)
    return t, a, np.cross(t, a)


def draw_lesions(rng: np.random.Generator, drafts: list[Draft], profiles: list[Profile]) -> list[LesionDraft]:
    """Zero to six lesions, changing `profiles` in place; about one patient in six has none."""
    count = int(rng.choice(7, p=[0.16, 0.16, 0.19, 0.18, 0.14, 0.10, 0.07]))
    lesions: list[LesionDraft] = []
    taken: list[tuple[int, int, int]] = []
    for _ in range(count * 4):
        if len(lesions) == count:
            break
        place = _draw_place(rng, drafts, taken)
        if place is not None:
            taken.append(place)
            lesions.append(_make(rng, drafts[place[0]], profiles[place[0]], place))
    return lesions


def _draw_place(rng: np.random.Generator, drafts: list[Draft], taken: list[tuple[int, int, int]]) -> tuple[int, int, int] | None:
    weight = {"LM": 0.7, "LAD": 3.0, "LCX": 1.8, "RCA": 2.2}
    eligible = [i for i, d in enumerate(drafts) if d.diameter[0] > 1.7]
    w = np.array([weight.get(drafts[i].name, 0.35) for i in eligible])
    branch = int(rng.choice(eligible, p=w / w.sum()))
    draft = drafts[branch]
    n = len(draft.points)
    wide = np.flatnonzero(draft.diameter > 1.4)
    length = int(np.clip(rng.gamma(3.0, 4.5), 4.0, 38.0) / STEP_MM)
    margin = 3 if draft.parent is None else 5
    last = min(n - 8, int(wide[-1]) if wide.size else 0)
    if last - margin < 10:
        return None
    length = min(length, last - margin)
    start = int(margin + (last - margin - length) * rng.beta(1.1, 1.8))
    for b, i, j in taken:
        if b == branch and start < j + 8 and i < start + length + 8:
            return None
    return branch, start, start + length


def _make(rng: np.random.Generator, draft: Draft, profile: Profile, place: tuple[int, int, int]) -> LesionDraft:
    branch, start, end = place
    plaque = str(rng.choice(TYPES, p=TYPE_CHANCE))
    low, high = DEGREES[int(rng.choice(len(DEGREES), p=DEGREE_CHANCE))]
    percent = float(rng.uniform(low, high))
    n = end - start + 1
    minimum = start + int(np.clip(rng.normal(0.5, 0.12), 0.25, 0.75) * (n - 1))
    shape = _bump(rng, n, minimum - start)
    span = slice(start, end + 1)
    healthy = profile.healthy[span]
    if percent >= 100.0:
        core = int(rng.uniform(4.0, 12.0) / STEP_MM)
        closed = np.abs(np.arange(n) - (minimum - start)) <= min(core, n // 3) / 2
        profile.lumen[span] = np.where(closed, 0.0, healthy * (1.0 - 0.7 * shape))
    else:
        profile.lumen[span] = np.minimum(profile.lumen[span], healthy * (1.0 - percent / 100.0 * shape))
    remodeling = float(np.clip(rng.normal(1.08 if percent > 0 else 1.16, 0.08), 0.93, 1.32))
    if percent == 0.0:
        remodeling = max(remodeling, 1.08)
    wall = profile.outer[span] - healthy
    outer = (healthy + wall) * (1.0 + (remodeling - 1.0) * shape) + 0.12 * shape
    outer = np.maximum(outer, profile.lumen[span] + 0.3)
    profile.outer[span] = outer
    t, a, b = normals(draft.points)
    angle = float(rng.uniform(0, 2 * np.pi))
    eccentric = float(rng.choice([0.0, rng.uniform(0.3, 0.95)], p=[0.3, 0.7]))
    shift = eccentric * np.maximum(outer - profile.lumen[span] - wall, 0.0)
    side = np.cos(angle) * a[span] + np.sin(angle) * b[span]
    profile.offset[span] = shift[:, None] * side
    blobs = _blobs(rng, draft, profile, span, plaque, angle, eccentric, (t, a, b))
    return LesionDraft(branch, start, minimum, end, percent, plaque, remodeling, tuple(blobs))


def _bump(rng: np.random.Generator, n: int, peak: int) -> FloatArray:
    """A smooth hump with value 1 at `peak` and 0 at both ends."""
    i = np.arange(n)
    u = np.where(i <= peak, i / max(peak, 1), (n - 1 - i) / max(n - 1 - peak, 1))
    power = float(rng.uniform(0.6, 1.6))
    return np.asarray((0.5 - 0.5 * np.cos(np.pi * np.clip(u, 0, 1))) ** power)


def _wall_place(profile: Profile, i: int, direction: FloatArray) -> tuple[float, float]:
    """Inner and outer distance (mm) of the wall from the lumen centre at point `i` along a direction."""
    shift = profile.offset[i]
    along = float(shift @ direction)
    across = float(shift @ shift) - along * along
    outer = along + float(np.sqrt(max(profile.outer[i] ** 2 - across, 0.01)))
    return float(profile.lumen[i]), outer


def _blobs(
    rng: np.random.Generator, draft: Draft, profile: Profile, span: slice, plaque: str, angle: float, eccentric: float,
    frame: tuple[FloatArray, FloatArray, FloatArray],
) -> list[Blob]:  # fmt: skip
    t, a, b = frame
    n = span.stop - span.start
    length = n * STEP_MM
    out: list[Blob] = []

    def add(i: int, theta: float, kind: str, hu: float, half: float, tangential: float, depth: float, fill: float) -> None:
        direction = np.cos(theta) * a[i] + np.sin(theta) * b[i]
        inner, outer = _wall_place(profile, i, direction)
        thick = outer - inner
        if thick < 0.25:
            return
        radial = max(0.22, 0.5 * fill * thick)
        rho = inner + radial + depth * max(thick - 2 * radial, 0.0)
        axes = np.stack([t[i], direction, np.cross(t[i], direction)])
        out.append(Blob(draft.points[i] + rho * direction, axes, np.array([half, radial, tangential]), kind, hu))

    spread = np.pi if eccentric < 0.3 else 1.1
    if plaque == "calcified":
        hu = float(rng.uniform(650, 1500))
        cover = float(rng.uniform(0.25, 0.95))
        for i in range(span.start + n // 12, span.stop - n // 12, 2):
            arc = float(rng.uniform(0.5, 1.0)) * spread
            for theta in np.arange(angle - arc, angle + arc, 0.45):
                if rng.random() < cover:
                    add(i, theta, "calcium", hu * rng.uniform(0.85, 1.1), 0.9, 0.7, float(rng.uniform(0.2, 0.7)), 0.85)
    elif plaque == "mixed":
        for _ in range(int(np.clip(rng.poisson(length / 5.0), 1, 8))):
            i = int(rng.integers(span.start + n // 8, span.stop - n // 8))
            theta = angle + float(rng.normal(0, 0.5 * spread))
            half = float(rng.uniform(0.5, 2.2))
            size = float(rng.uniform(0.45, 1.0))
            add(i, theta, "calcium", float(rng.uniform(600, 1300)), half, size, float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.5, 0.8)))
    if plaque != "calcified" and rng.random() < 0.45 and eccentric > 0.3:
        i = int(np.clip(span.start + n // 2 + rng.normal(0, n / 8), span.start + 2, span.stop - 3))
        add(i, angle, "soft", float(rng.uniform(-5, 28)), float(rng.uniform(1.2, 3.0)), float(rng.uniform(0.6, 1.2)), 0.5, 0.6)
    return out
