"""Coronary disease of a virtual patient: how much, where, how narrow, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.phantom.narrowing import narrowing, thickening
from models.phantom.plaque import BULKY, HEAVY_CHANCE, RECIPE_CHANCE, RECIPES, Ground, fill_plaque
from models.phantom.profiles import THINNEST_MM, Profile, close_ends, fill, healthy_profile, join, soften_shelves, waves
from models.phantom.stents import draw_stents
from models.phantom.tree import STEP_MM, Draft
from models.phantom.types import Blob, Sheet, Stent


@dataclass(frozen=True)
class Burden:
    """How ill a patient is: number of plaques and chance of each band of narrowing (0, -25, -50, -70, -98, 100 percent)."""

    share: float
    plaques: tuple[int, int]
    bands: tuple[float, ...]
    heavy: bool = False


BANDS = ((0.0, 0.0), (3.0, 25.0), (25.0, 50.0), (50.0, 70.0), (70.0, 98.0), (100.0, 100.0))
BURDENS = (
    Burden(0.20, (0, 0), (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    Burden(0.30, (1, 3), (0.34, 0.42, 0.20, 0.04, 0.0, 0.0)),
    Burden(0.28, (2, 6), (0.20, 0.28, 0.28, 0.15, 0.08, 0.01)),
    Burden(0.15, (4, 9), (0.12, 0.22, 0.26, 0.20, 0.16, 0.04)),
    Burden(0.07, (8, 16), (0.15, 0.35, 0.30, 0.13, 0.07, 0.0), heavy=True),
)
WEIGHT = {"LM": 0.7, "LAD": 3.0, "LCX": 1.8, "RCA": 2.3, "RI": 0.5}


@dataclass(frozen=True)
class LesionDraft:
    """One lesion before its volumes are counted."""

    branch: int
    start: int
    minimum: int
    end: int
    recipe: str
    site: str
    blobs: tuple[Blob, ...]
    sheets: tuple[Sheet, ...]


@dataclass(frozen=True)
class Place:
    """A stretch of a branch for a lesion; at an open end (an ostium, a bifurcation) the narrowing reaches the end itself."""

    branch: int
    start: int
    end: int
    site: str
    left_open: bool = False
    right_open: bool = False
    peak: int | None = None


@dataclass
class Disease:
    """What disease made of a tree: one profile per branch, the lesions and the stents."""

    profiles: list[Profile]
    lesions: list[LesionDraft] = field(default_factory=list)
    stents: list[Stent] = field(default_factory=list)


def draw_disease(seed: int, drafts: list[Draft], *, age: int) -> Disease:
    """Walls, lesions, stents and contrast of a finished tree; the same seed and tree always give the same disease."""
    rng = np.random.default_rng((seed, 2))
    wall_hu, thickness = float(rng.uniform(25.0, 75.0)), float(np.clip(rng.normal(1.0, 0.13), 0.75, 1.4))
    disease = Disease([healthy_profile(d, rng, wall_hu=wall_hu, thickness=thickness) for d in drafts])
    burden = _draw_burden(rng, age)
    taken: list[Place] = []
    disease.stents.extend(draw_stents(rng, drafts, disease.profiles))
    # vessels under a muscle bridge stay free of plaque
    taken.extend(Place(i, first, last, "bridge") for i, d in enumerate(drafts) for first, last, _ in d.bridges)
    taken.extend(Place(s.branch, s.start, s.end, "stent") for s in disease.stents)
    target = int(rng.integers(burden.plaques[0], burden.plaques[1] + 1))
    for _ in range(target * 5):
        if len(disease.lesions) >= target:
            break
        places = _draw_places(rng, drafts, burden, first=not disease.lesions)
        if places and not any(_clash(p, t) for p in places for t in taken):
            taken.extend(places)
            disease.lesions.extend(_lesion(rng, drafts[p.branch], disease.profiles[p.branch], p, burden) for p in places)
    join(drafts, disease.profiles)
    close_ends(rng, disease.profiles)
    soften_shelves(disease.profiles)
    fill(rng, drafts, disease.profiles)
    return disease


def _draw_burden(rng: np.random.Generator, age: int) -> Burden:
    """Older patients are iller."""
    chance = np.array([b.share * float(np.exp((i - 1.5) * (age - 60) / 45.0)) for i, b in enumerate(BURDENS)])
    return BURDENS[int(rng.choice(len(BURDENS), p=chance / chance.sum()))]


def _clash(a: Place, b: Place) -> bool:
    gap = int(2.0 / STEP_MM)
    return a.branch == b.branch and a.start < b.end + gap and b.start < a.end + gap


def _draw_places(rng: np.random.Generator, drafts: list[Draft], burden: Burden, *, first: bool) -> list[Place]:
    """One place, or two to three around a bifurcation; empty where this draw finds no room. The ill often have a long one `first`."""
    site = str(
        rng.choice(["focal", "diffuse", "ostial", "bifurcation"], p=[0.47, 0.33, 0.07, 0.13] if burden.heavy else [0.68, 0.12, 0.08, 0.12])
    )
    if first and burden.plaques[0] >= 2 and rng.random() < (0.8 if burden.heavy else 0.3):
        site = "diffuse"
    eligible = [i for i, d in enumerate(drafts) if d.diameter[0] > 1.6 and len(d.points) > 30]
    if site == "ostial":
        eligible = [i for i in eligible if drafts[i].parent is None or drafts[i].diameter[0] > 1.8]
    if site == "bifurcation":
        return _bifurcation(rng, drafts)
    if not eligible:
        return []
    weight = np.array([WEIGHT.get(drafts[i].name, 0.35) for i in eligible])
    branch = int(rng.choice(eligible, p=weight / weight.sum()))
    draft = drafts[branch]
    last = _last(draft)
    mean = {"focal": 15.0 if burden.heavy else 9.0, "diffuse": 45.0, "ostial": 8.0}[site]
    length = int(np.clip(rng.gamma(5.0, mean / 5.0), 3.5, 80.0) / STEP_MM)
    margin = _root(drafts, branch)
    if site == "ostial":
        return [Place(branch, margin, min(margin + length, last), site, left_open=True)] if last - margin >= 8 else []
    if last - margin < 10:
        return []
    length = min(length, last - margin)
    start = int(margin + (last - margin - length) * rng.beta(1.1, 1.8))
    return [Place(branch, start, start + length, "diffuse" if length * STEP_MM >= 30.0 else "focal")]


def _last(draft: Draft) -> int:
    """The last point that may be diseased: the vessel is 1.4 mm wide there, and does not end."""
    wide = np.flatnonzero(draft.diameter > 1.4)
    return min(len(draft.points) - 8, int(wide[-1]) if wide.size else 0)


def _root(drafts: list[Draft], branch: int) -> int:
    """The first point of a branch outside the lumen of its parent and of branches that leave it beside."""
    draft = drafts[branch]
    if draft.parent is None or draft.parent_index is None:
        return 1
    head = draft.points[: int(12.0 / STEP_MM)]
    inside = np.zeros(len(head), bool)
    for i, other in enumerate(drafts):
        sibling = other.parent == draft.parent and other.parent_index is not None and abs(other.parent_index - draft.parent_index) < 12
        if i == branch or not (i == draft.parent or sibling):
            continue
        near = slice(max(draft.parent_index - 40, 0), draft.parent_index + 40) if i == draft.parent else slice(0, 40)
        away = np.linalg.norm(head[:, None] - other.points[None, near], axis=2) - 0.5 * other.diameter[None, near]
        inside |= away.min(axis=1) < 0.4
    last = np.flatnonzero(inside)
    return int(last[-1]) + 1 if len(last) else 1


def _bifurcation(rng: np.random.Generator, drafts: list[Draft]) -> list[Place]:
    """Plaque in the mother vessel before, behind and in the side branch of a bifurcation (Medina), at least two of the three."""
    children = [
        i for i, d in enumerate(drafts)
        if d.parent is not None and d.parent_index is not None and d.diameter[0] > 1.6 and len(d.points) > 40
        and d.parent_index > 8 and drafts[d.parent].diameter[d.parent_index] > 1.8
    ]  # fmt: skip
    if not children:
        return []
    child = int(rng.choice(children))
    parent, at = int(drafts[child].parent or 0), int(drafts[child].parent_index or 0)
    before, behind, side = [(1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)][int(rng.choice(4, p=[0.35, 0.3, 0.2, 0.15]))]
    length = [int(np.clip(rng.gamma(3.0, 2.6), 3.0, 18.0) / STEP_MM) for _ in range(3)]
    out: list[Place] = []
    room = _last(drafts[parent]) if drafts[parent].name != "LM" else len(drafts[parent].points) - 1
    first = max(at - (length[0] if before else 2), _root(drafts, parent))
    last = min(at + (length[1] if behind else 2), room)
    if last - first >= 8:
        ends = last >= len(drafts[parent].points) - 1
        peak = int(np.clip(at + rng.normal(0, 3) - first, 2, last - first - (0 if ends else 2)))
        out.append(Place(parent, first, last, "bifurcation", right_open=ends, peak=peak))
    start = _root(drafts, child)
    if side and _last(drafts[child]) - start >= 8:
        out.append(Place(child, start, min(start + max(length[2], 8), _last(drafts[child])), "bifurcation", left_open=True))
    return out


def _lesion(rng: np.random.Generator, draft: Draft, profile: Profile, place: Place, burden: Burden) -> LesionDraft:
    """Narrow the lumen, thicken the wall and lay plaque into it, changing `profile` in place."""
    low, high = BANDS[int(rng.choice(len(BANDS), p=burden.bands))]
    percent = float(rng.uniform(low, high))
    recipe = str(rng.choice(RECIPES, p=HEAVY_CHANCE if burden.heavy else RECIPE_CHANCE))
    if recipe == "punctate":
        percent = min(percent, float(rng.uniform(0.0, 20.0)))
    n = place.end - place.start + 1
    peak = place.peak
    if peak is None:
        middle = float(np.clip(rng.normal(0.5, 0.16), 0.15, 0.85))
        peak = int((rng.uniform(0.05, 0.3) if place.left_open else middle) * (n - 1))
    peak = int(np.clip(peak, 1, n - 2))
    form = "diffuse" if place.site == "diffuse" else str(rng.choice(["hump", "tandem", "flat"], p=[0.68, 0.2, 0.12]))
    q = narrowing(rng, form, n, peak, left_open=place.left_open, right_open=place.right_open)
    w = thickening(rng, q, left_open=place.left_open, right_open=place.right_open)
    eccentric = float(rng.choice([0.0, rng.uniform(0.3, 0.97)], p=[0.28, 0.72]))
    if recipe in BULKY:
        eccentric = max(eccentric, float(rng.uniform(0.55, 0.97)))
    span = slice(place.start, place.end + 1)
    _narrow(rng, profile, span, percent, q, peak)
    side = _sides(rng, profile, span)
    _shape(rng, profile, span, q, side, percent)
    _thicken(profile, span, w, side, eccentric, _remodeling(rng, percent, recipe))
    ground = Ground(draft.points, profile, place.start, side, eccentric)
    fill_plaque(rng, recipe, ground, w)
    ratio = profile.lumen[span] / profile.healthy[span]
    minimum = int(np.argmin(ratio)) if percent > 0.0 else int(np.argmax(profile.outer[span] / profile.healthy_outer[span]))
    minimum = place.start + int(np.clip(peak if percent >= 100.0 else minimum, 1, n - 2))
    return LesionDraft(place.branch, place.start, minimum, place.end, recipe, place.site, tuple(ground.blobs), tuple(ground.sheets))


def _narrow(rng: np.random.Generator, profile: Profile, span: slice, percent: float, q: np.ndarray, peak: int) -> None:
    healthy = profile.healthy[span]
    if percent < 100.0:
        profile.lumen[span] = np.minimum(profile.lumen[span], healthy * (1.0 - percent / 100.0 * q))
        return
    half = min(int(rng.uniform(1.5, 12.0) / STEP_MM), len(q) // 2 - 1)
    closed = np.abs(np.arange(len(q)) - peak) <= max(half, 1)
    closed[[0, -1]] = False
    profile.lumen[span] = np.where(closed, 0.0, healthy * (1.0 - 0.85 * q))


def _sides(rng: np.random.Generator, profile: Profile, span: slice) -> np.ndarray:
    """The side of the wall the plaque sits on, (n, 3): one angle, in part of the plaques winding around the vessel."""
    _, a, b = profile.normals
    n = span.stop - span.start
    turn = float(rng.uniform(0, 2 * np.pi)) + float(rng.choice([0.0, rng.normal(0, 0.12)])) * np.arange(n) * STEP_MM
    turn = turn + float(rng.uniform(0.0, 0.3)) * waves(rng, n, 8.0)
    return np.asarray(np.cos(turn)[:, None] * a[span] + np.sin(turn)[:, None] * b[span])


def _shape(rng: np.random.Generator, profile: Profile, span: slice, q: np.ndarray, side: np.ndarray, percent: float) -> None:
    """The narrowed lumen turns elliptic or D-shaped, most where it is narrowest; its area stays."""
    grown = np.clip(q * min(1.0, percent / 40.0 + 0.15), 0.0, 1.0)
    old = profile.shape[span].copy()
    # the direction is turned over within the shoulders, where the section is round
    fade = np.clip(4.0 * np.minimum(np.arange(len(q)), np.arange(len(q))[::-1]) / max(len(q), 1), 0.0, 1.0)
    calm = 1.0 - fade
    profile.shape[span, :3] = np.where(fade[:, None] > 0.25, side, old[:, :3])
    round_off = np.abs(fade - 0.25) / 0.75
    second = -float(rng.uniform(0.0, 0.42)) if rng.random() < 0.75 else float(rng.uniform(0.0, 0.3))
    third = float(rng.uniform(-0.2, 0.2))
    profile.shape[span, 3] = np.where(fade > 0.25, second * grown * round_off, old[:, 3] * (calm - 0.75) * 4.0)
    profile.shape[span, 4] = np.where(fade > 0.25, third * grown * round_off, 0.0)


def _remodeling(rng: np.random.Generator, percent: float, recipe: str) -> float:
    """Remodelling index (outer diameter against the healthy one): up to 1.5, below 1 a shrunken vessel."""
    if percent <= 0.0 or recipe in BULKY:
        return float(np.clip(rng.normal(1.22, 0.1), 1.08, 1.5))
    return float(np.clip(rng.normal(1.07, 0.12), 0.85, 1.5))


def _thicken(profile: Profile, span: slice, w: np.ndarray, side: np.ndarray, eccentric: float, index: float) -> None:
    """Move the outer wall: remodelled, and off centre where the plaque is eccentric; the thin side keeps a wall."""
    widest = profile.widest()[span]
    outer = profile.healthy_outer[span] * (1.0 + (index - 1.0) * w)
    profile.outer[span] = np.maximum(outer, widest + THINNEST_MM + 0.02)
    free = profile.outer[span] - widest - THINNEST_MM
    normal = profile.healthy_outer[span] - profile.healthy[span] - THINNEST_MM
    shift = eccentric * np.clip(free - np.maximum(normal, 0.0) * (1.0 - w), 0.0, None) * np.clip(3.0 * w, 0.0, 1.0)
    profile.offset[span] = shift[:, None] * side
