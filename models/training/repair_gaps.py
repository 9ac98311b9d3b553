"""Gaps for the repair network: which two ends, whether a vessel runs between them, and what the segmentation lost or invented there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from appliance.geometry import arc_length
from models.phantom import Patient

Points = npt.NDArray[np.float64]

SHORTEST_MM, LONGEST_MM = 2.0, 15.0
KINDS = ("vessel", "other_branch", "vein", "lung", "edge")
SHARES = (0.5, 0.17, 0.17, 0.04, 0.12)
"""How often each kind of gap is drawn: half are true."""

_ORPHAN_MM = 6.0
_AT_LESION = 0.35
_AT_ORIGIN = 0.25
_END_LOST = 0.5
_DETOUR = 2.2
_TRIES = 30


@dataclass(frozen=True)
class Stretch:
    """Points ``start`` to ``end`` (half-open) of a branch."""

    branch: int
    start: int
    end: int


@dataclass(frozen=True)
class Invented:
    """A line that a segmentation wrongly takes for a coronary, LPS mm, with its radius."""

    points_mm: Points
    radius_mm: float


@dataclass(frozen=True)
class Gap:
    """A gap of a patient, LPS mm.

    Attributes:
        kind: one of ``KINDS``.
        near_mm, far_mm: its ends; of kind ``edge`` the far one is found in the rendered volume.
        lost: what the segmentation does not show.
        invented: what it shows without right.
        course: the vessel in the gap, None where it is none.
    """

    kind: str
    near_mm: Points
    far_mm: Points
    lost: tuple[Stretch, ...] = ()
    invented: tuple[Invented, ...] = ()
    course: Stretch | None = None


@dataclass(frozen=True)
class Lines:
    """The centre lines of a patient, with arc lengths, and the lines of veins and lung vessels."""

    patient: Patient
    points: list[Points]
    along: list[Points]
    veins: list[tuple[Points, Points]] = field(default_factory=list)
    lung: list[tuple[Points, Points]] = field(default_factory=list)


def lines_of(patient: Patient) -> Lines:
    """The lines of a patient; lung vessels only where they come within 20 mm of a coronary."""
    points = [np.asarray(branch.points_mm, np.float64) for branch in patient.branches]
    near = np.concatenate([line[::10] for line in points])
    tubes = {kind: [(np.asarray(t.points_mm, float), np.asarray(t.radius_mm, float)) for t in patient.tubes if t.kind == kind]
             for kind in ("vein", "lung")}  # fmt: skip
    lung = [tube for tube in tubes["lung"] if np.linalg.norm(tube[0][::3, None] - near[None], axis=2).min() < 20.0]
    return Lines(patient, points, [arc_length(line) for line in points], veins=tubes["vein"], lung=lung)


def draw_gap(lines: Lines, rng: np.random.Generator, *, kind: str | None = None) -> Gap:
    """A gap of the given kind, or of a drawn one; another kind where the patient has none of it."""
    draw: dict[str, Callable[[Lines, np.random.Generator], Gap | None]] = {
        "vessel": _vessel,
        "other_branch": _other_branch,
        "vein": _vein,
        "lung": _lung,
        "edge": _edge,
    }
    while True:
        wanted = kind or str(rng.choice(KINDS, p=SHARES))
        for _ in range(_TRIES):
            gap = draw[wanted](lines, rng)
            if gap is not None:
                return gap
        kind = None


def _vessel(lines: Lines, rng: np.random.Generator) -> Gap | None:
    """A true vessel with a piece lost: at a lesion, at its origin, or anywhere."""
    number = int(rng.integers(len(lines.points)))
    along = lines.along[number]
    length = rng.uniform(SHORTEST_MM, LONGEST_MM)
    room = float(along[-1]) - length - _ORPHAN_MM
    if room <= 0:
        return None
    lesions = [lesion for lesion in lines.patient.lesions if lesion.branch == number]
    start = rng.uniform(0.0, room)
    if lesions and rng.random() < _AT_LESION:
        lesion = lesions[int(rng.integers(len(lesions)))]
        start = float(np.clip(along[lesion.minimum] - rng.uniform(0.2, 0.8) * length, 0.0, room))
    elif rng.random() < _AT_ORIGIN:
        start = 0.0
    if start == 0.0 and lines.patient.branches[number].parent is None:
        return None
    first, last = (int(i) for i in np.searchsorted(along, [start, start + length]))
    last = min(last, len(along) - 2)
    stretch = Stretch(number, first, last + 1)
    points = lines.points[number]
    return Gap("vessel", points[first], points[last], lost=(stretch,), course=stretch)


def _other_branch(lines: Lines, rng: np.random.Generator) -> Gap | None:
    """Ends of two branches that are not each other's continuation; the second one's true link is lost."""
    i, j = (int(n) for n in rng.choice(len(lines.points), 2, replace=False))
    pair = _pair(lines.points[i], lines.points[j][8:], rng)
    if pair is None:
        return None
    a, b = pair[0], pair[1] + 8
    gap = float(np.linalg.norm(lines.points[i][a] - lines.points[j][b]))
    if tree_distance(lines, (i, a), (j, b)) < _DETOUR * gap + 8.0 or lines.along[j][-1] - lines.along[j][b] < _ORPHAN_MM:
        return None
    before = int(np.searchsorted(lines.along[j], lines.along[j][b] - rng.uniform(4.0, 14.0)))
    lost = [Stretch(j, before, b)]
    if rng.random() < _END_LOST:
        lost.append(Stretch(i, a + 1, len(lines.points[i])))
    return Gap("other_branch", lines.points[i][a], lines.points[j][b], lost=tuple(lost))


def _vein(lines: Lines, rng: np.random.Generator) -> Gap | None:
    return _to_tube(lines, lines.veins, "vein", rng)


def _lung(lines: Lines, rng: np.random.Generator) -> Gap | None:
    return _to_tube(lines, lines.lung, "lung", rng)


def _to_tube(lines: Lines, tubes: list[tuple[Points, Points]], kind: str, rng: np.random.Generator) -> Gap | None:
    """From a branch to a piece of something else that the segmentation took for a coronary."""
    if not tubes:
        return None
    number = int(rng.integers(len(lines.points)))
    points, radius = tubes[int(rng.integers(len(tubes)))]
    pair = _pair(lines.points[number], points, rng)
    if pair is None:
        return None
    a, b = pair
    piece = points[b:] if rng.random() < 0.5 else points[b::-1]
    piece = piece[arc_length(piece) <= rng.uniform(8.0, 30.0)] if len(piece) > 1 else piece
    if len(piece) < 2 or arc_length(piece)[-1] < _ORPHAN_MM:
        return None
    lost = (Stretch(number, a + 1, len(lines.points[number])),) if rng.random() < _END_LOST else ()
    invented = Invented(piece, float(np.clip(radius[b], 0.5, 2.2)))
    return Gap(kind, lines.points[number][a], points[b], lost=lost, invented=(invented,))


def _edge(lines: Lines, rng: np.random.Generator) -> Gap | None:
    """From a branch to a piece of a chamber's edge."""
    number = int(rng.integers(len(lines.points)))
    points = lines.points[number]
    a = int(rng.integers(len(points)))
    lost = (Stretch(number, a + 1, len(points)),) if rng.random() < _END_LOST else ()
    return Gap("edge", points[a], points[a] + rng.normal(0.0, 4.0, 3), lost=lost)


def _pair(first: Points, second: Points, rng: np.random.Generator) -> tuple[int, int] | None:
    """Indices of a point of each line that lie as far apart as the ends of a gap do; the first line's end is preferred."""
    if len(second) < 2:
        return None
    a = len(first) - 1 if rng.random() < 0.4 else int(rng.integers(len(first)))
    distance = np.linalg.norm(second - first[a], axis=1)
    near = np.flatnonzero((distance >= SHORTEST_MM) & (distance <= LONGEST_MM))
    if not len(near):
        return None
    # a repair is tried where pieces come near to each other
    near = near[np.argsort(distance[near])][: max(1, len(near) // 2)]
    return a, int(rng.choice(near))


def tree_distance(lines: Lines, first: tuple[int, int], second: tuple[int, int]) -> float:
    """Way along the tree between two points (branch, index), mm; infinite between trees of different ostia."""
    up, down = _way_up(lines, *first), _way_up(lines, *second)
    ways = [
        travelled + other + abs(float(lines.along[branch][i] - lines.along[branch][down[branch][0]]))
        for branch, (i, travelled) in up.items()
        if branch in down
        for other in (down[branch][1],)
    ]
    return min(ways, default=float("inf"))


def _way_up(lines: Lines, branch: int, index: int) -> dict[int, tuple[int, float]]:
    """For each branch on the way to the ostium: at which point it is met, and how far that is."""
    way: dict[int, tuple[int, float]] = {}
    travelled, at, i = 0.0, branch, index
    while True:
        way[at] = (i, travelled)
        parent, origin = lines.patient.branches[at].parent, lines.patient.branches[at].parent_index
        if parent is None or origin is None:
            return way
        travelled += float(lines.along[at][i])
        at, i = parent, origin
