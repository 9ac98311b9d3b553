"""Virtual trees as the centreline extraction gives them: on hearts of other shapes, incomplete, wrongly joined, with false branches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from appliance.analysis.naming_network import LABELS
from appliance.analysis.ostia import side_of
from appliance.analysis.stages import Heart, Side, Structure, Tree, TreeBranch
from appliance.volume import Geometry, LabelMap
from models.training.context import COARSE_MM
from models.training.naming_cases import Line, NamingCase, Points

_NONE = LABELS.index("none")
_MAINS = tuple(LABELS.index(name) for name in ("LM", "LAD", "LCX", "RCA"))
_OFTEN_MISSED = {LABELS.index("S"): 0.5, LABELS.index("CB"): 0.3, LABELS.index("AM"): 0.15, LABELS.index("other"): 0.3}
_MASK_WALL_MM = 0.13
_SHORTEST_MM = 8.0


@dataclass(frozen=True)
class LabelledTree:
    """A tree, and the index of the true label of each point: one array per branch."""

    tree: Tree
    labels: tuple[npt.NDArray[np.int64], ...]


@dataclass(frozen=True)
class Damage:
    """How much goes wrong; 0 gives the true tree.

    Attributes:
        strength: scales every chance below.
    """

    strength: float = 1.0

    def happens(self, rng: np.random.Generator, chance: float) -> bool:
        """Whether something with this chance happens."""
        return bool(rng.random() < self.strength * chance)


def heart_of(case: NamingCase, rng: np.random.Generator | None = None) -> Heart:
    """The heart as the stages take it; with ``rng`` its map is misplaced by a millimetre, and a structure may be missing."""
    origin, structures = case.origin, case.structures
    if rng is not None:
        origin = origin + rng.normal(0.0, 1.0, 3)
        structures = structures.copy()
        for structure in (Structure.RIGHT_ATRIUM, Structure.PULMONARY_ARTERY, Structure.PERICARDIUM):
            if rng.random() < 0.03:
                structures[structures == int(structure)] = 0
    shape = (structures.shape[0], structures.shape[1], structures.shape[2])
    grid = Geometry(shape, (COARSE_MM,) * 3, (float(origin[0]), float(origin[1]), float(origin[2])))
    return Heart(structures=LabelMap(structures, grid), roi=grid)


def draw_tree(case: NamingCase, heart: Heart, rng: np.random.Generator, damage: Damage | None = None) -> LabelledTree | None:
    """A tree as it might be extracted from this patient, None where nothing of it is left."""
    damage = damage or Damage()
    lines = list(case.lines)
    lines = _fade(lines, rng, damage)
    lines = _lose(lines, rng, damage)
    lines = _slide(lines, rng, damage)
    if damage.happens(rng, 0.3):
        lines = _join_wrongly(lines, rng)
    if damage.happens(rng, 0.5):
        lines = _with_veins(lines, case.veins, rng)
    if damage.happens(rng, 0.5):
        lines = _with_spurs(lines, rng)
    if damage.happens(rng, 0.25):
        lines = _begin_late(lines, rng)
    if damage.happens(rng, 0.12):
        lines = _truncate(lines, rng)
    nodes = _nodes(lines)
    return _as_extracted(nodes, heart, rng, damage) if nodes is not None else None


# -- what goes wrong, on lines -------------------------------------------------------------------------------------------------------------


def _keep(lines: list[Line], lengths: list[int]) -> list[Line]:
    """The lines cut to so many points (0: lost); what hung beyond is lost as well."""
    place: dict[int, int] = {}
    kept: list[Line] = []
    for number, (line, count) in enumerate(zip(lines, lengths, strict=True)):
        if count < 2:
            continue
        parent = line.parent
        if parent is not None:
            if parent not in place or (line.parent_index or 0) >= len(kept[place[parent]].points):
                continue
            parent = place[parent]
        place[number] = len(kept)
        kept.append(replace(line, points=line.points[:count], radius=line.radius[:count], parent=parent))
    return kept


def _fade(lines: list[Line], rng: np.random.Generator, damage: Damage) -> list[Line]:
    """Thin ends are not seen, and any vessel may end early."""
    thinnest = rng.uniform(0.35, 0.8) * min(damage.strength, 1.0)
    lengths = []
    for line in lines:
        thin = np.flatnonzero(line.radius < thinnest)
        count = int(thin[0]) if len(thin) else len(line.points)
        if line.label != _MAINS[0] and damage.happens(rng, 0.3):
            count = min(count, int(len(line.points) * rng.uniform(0.25, 1.0)))
        lengths.append(count)
    return _keep(lines, lengths)


def _lose(lines: list[Line], rng: np.random.Generator, damage: Damage) -> list[Line]:
    """Whole side branches, now and then a main vessel, are not found."""
    chances = [_OFTEN_MISSED.get(line.label, 0.02 if line.label in _MAINS else 0.1) for line in lines]
    return _keep(lines, [0 if damage.happens(rng, chance) else len(line.points) for line, chance in zip(lines, chances, strict=True)])


def _slide(lines: list[Line], rng: np.random.Generator, damage: Damage) -> list[Line]:
    """A branch leaves its parent somewhat above or below its true origin."""
    moved = []
    for line in lines:
        shift = round(rng.normal(0.0, 3.0 * damage.strength))
        if line.parent is None or line.parent_index is None or shift == 0:
            moved.append(line)
            continue
        at = int(np.clip(line.parent_index + shift, 1, len(lines[line.parent].points) - 1))
        skipped = min(abs(at - line.parent_index) + 1, len(line.points) - 2)
        start = lines[line.parent].points[at]
        bridge = _straight(start, line.points[skipped])
        points = np.concatenate([bridge, line.points[skipped:]])
        radius = np.concatenate([np.full(len(bridge), line.radius[0]), line.radius[skipped:]])
        moved.append(replace(line, points=points, radius=radius, parent_index=at))
    return moved


def _straight(start: Points, end: Points) -> Points:
    """Points from ``start`` towards ``end`` every 0.5 mm, the end left out."""
    count = max(int(np.ceil(np.linalg.norm(end - start) / 0.5)), 1)
    return np.asarray(start + np.arange(count)[:, None] / count * (end - start))


def _join_wrongly(lines: list[Line], rng: np.random.Generator) -> list[Line]:
    """A vessel's distal part is taken for a branch of another vessel that it passes."""
    candidates = [i for i, line in enumerate(lines) if line.parent is not None and len(line.points) > 50]
    if not candidates:
        return lines
    number = int(rng.choice(candidates))
    line = lines[number]
    if any(other.parent == number for other in lines):
        return lines
    cut = int(rng.integers(20, len(line.points) - 25))
    others = [i for i, other in enumerate(lines) if i != number and other.parent != number]
    where = np.concatenate([np.column_stack([np.full(len(lines[i].points), i), np.arange(len(lines[i].points))]) for i in others])
    distance, nearest = cKDTree(np.concatenate([lines[i].points for i in others])).query(line.points[cut])
    if distance > 9.0:
        return lines
    parent, at = (int(value) for value in where[nearest])
    bridge = _straight(lines[parent].points[at], line.points[cut])
    far = replace(
        line,
        points=np.concatenate([bridge, line.points[cut:]]),
        radius=np.concatenate([np.full(len(bridge), line.radius[cut]), line.radius[cut:]]),
        parent=parent,
        parent_index=at,
    )
    near = replace(line, points=line.points[: cut - 4], radius=line.radius[: cut - 4])
    return [*lines[:number], near, *lines[number + 1 :], far]


def _with_veins(lines: list[Line], veins: tuple[Line, ...], rng: np.random.Generator) -> list[Line]:
    """Stretches of veins hang on the arteries that they pass."""
    found = list(lines)
    where = np.concatenate([np.column_stack([np.full(len(line.points), i), np.arange(len(line.points))]) for i, line in enumerate(lines)])
    search = cKDTree(np.concatenate([line.points for line in lines]))
    for vein in veins:
        if len(vein.points) < 30 or rng.random() < 0.5:
            continue
        # veins come at steps of their own: to the steps of a line first
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(vein.points, axis=0), axis=1))])
        even = np.arange(0.0, length[-1], 0.5)
        points = np.stack([np.interp(even, length, vein.points[:, axis]) for axis in range(3)], axis=1)
        size = int(rng.integers(20, 160))
        start = int(rng.integers(0, max(len(points) - size, 1)))
        points = points[start : start + size]
        distance, nearest = search.query(points)
        first = int(np.argmin(distance))
        if distance[first] > 10.0:
            continue
        piece = points[first:] if len(points) - first > first else points[: first + 1][::-1]
        parent, at = (int(value) for value in where[nearest[first]])
        found.append(_hung(piece, float(rng.uniform(0.6, 1.8)), lines, parent, at))
    return found


def _with_spurs(lines: list[Line], rng: np.random.Generator) -> list[Line]:
    """Short false branches: calcium, noise, the rim of a chamber."""
    found = list(lines)
    for _ in range(int(rng.integers(1, 4))):
        parent = int(rng.integers(len(lines)))
        at = int(rng.integers(1, len(lines[parent].points)))
        heading = rng.normal(0.0, 1.0, 3)
        walk = [np.zeros(3)]
        for _ in range(int(rng.integers(18, 60))):
            heading = heading / np.linalg.norm(heading) + rng.normal(0.0, 0.12, 3)
            walk.append(walk[-1] + 0.5 * heading / np.linalg.norm(heading))
        found.append(_hung(lines[parent].points[at] + np.asarray(walk[1:]), float(rng.uniform(0.5, 1.2)), lines, parent, at))
    return found


def _hung(points: Points, radius: float, lines: list[Line], parent: int, at: int) -> Line:
    bridge = _straight(lines[parent].points[at], points[0])
    whole = np.concatenate([bridge, points])
    return Line(points=whole, radius=np.full(len(whole), radius), label=_NONE, parent=parent, parent_index=at)


def _begin_late(lines: list[Line], rng: np.random.Generator) -> list[Line]:
    """The first millimetres from an ostium are lost; where all of the LM is, its branches begin by themselves."""
    roots = [i for i, line in enumerate(lines) if line.parent is None]
    number = int(rng.choice(roots))
    lost = int(rng.integers(4, 40))
    line = lines[number]
    found = []
    for i, other in enumerate(lines):
        if i == number:
            kept = min(lost, len(line.points) - 2)
            found.append(replace(line, points=line.points[kept:], radius=line.radius[kept:]))
        elif other.parent == number:
            at = (other.parent_index or 0) - min(lost, len(line.points) - 2)
            found.append(replace(other, parent_index=at) if at > 0 else replace(other, parent=None, parent_index=None))
        else:
            found.append(other)
    return found


def _truncate(lines: list[Line], rng: np.random.Generator) -> list[Line]:
    """The scan ends before the heart does, below or above."""
    z = np.concatenate([line.points[:, 2] for line in lines])
    lowest = float(np.quantile(z, rng.uniform(0.02, 0.2)))
    lengths = []
    for line in lines:
        outside = np.flatnonzero(line.points[:, 2] < lowest)
        lengths.append(int(outside[0]) if len(outside) else len(line.points))
    return _keep(lines, lengths)


# -- to a tree -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Nodes:
    """All points with their parent point (-1 at an ostium), parents before children."""

    points: Points
    radius: Points
    label: npt.NDArray[np.int64]
    parent: npt.NDArray[np.int64]


def _nodes(lines: list[Line]) -> _Nodes | None:
    if not lines:
        return None
    points, radius, label, parent = [], [], [], []
    starts: list[int] = []
    total = 0
    for line in lines:
        skipped = 0 if line.parent is None else 1
        own = len(line.points) - skipped
        above = -1
        if line.parent is not None and line.parent_index is not None:
            # the first point of a line that has a parent is its parent's
            first = 0 if lines[line.parent].parent is None else 1
            at = max(min(line.parent_index, len(lines[line.parent].points) - 1), first)
            above = starts[line.parent] + at
        # the index of a line's point i is starts + i, also where its first point is its parent's
        starts.append(total - skipped)
        points.append(line.points[skipped:])
        radius.append(line.radius[skipped:])
        label.append(np.full(own, line.label))
        parent.append(np.concatenate([[above], total + np.arange(own - 1)]))
        total += own
    return _Nodes(np.concatenate(points), np.concatenate(radius), np.concatenate(label), np.concatenate(parent).astype(np.int64))


def _as_extracted(nodes: _Nodes, heart: Heart, rng: np.random.Generator, damage: Damage) -> LabelledTree | None:
    """Branches by the longest way to an end first, as the extraction makes them; lines and radii a little wrong."""
    count = len(nodes.points)
    step = np.where(nodes.parent >= 0, np.linalg.norm(nodes.points - nodes.points[nodes.parent], axis=1), 0.0)
    reach = np.zeros(count)
    best = np.full(count, -1)
    for i in range(count - 1, -1, -1):
        above = nodes.parent[i]
        if above >= 0 and reach[i] + step[i] > reach[above]:
            reach[above] = reach[i] + step[i]
            best[above] = i
    heads = [i for i in range(count) if nodes.parent[i] < 0 or best[nodes.parent[i]] != i]
    spread = min(damage.strength, 1.0)
    wall, gain = _MASK_WALL_MM * (1.0 + spread * rng.uniform(-1.0, 1.0)), 1.0 + spread * rng.uniform(-0.15, 0.15)
    place: dict[int, tuple[int, int]] = {}
    branches: list[TreeBranch] = []
    labels: list[npt.NDArray[np.int64]] = []
    for head in heads:
        above = int(nodes.parent[head])
        if reach[head] + step[head] < _SHORTEST_MM or (above >= 0 and above not in place):
            continue
        way = [head]
        while best[way[-1]] >= 0:
            way.append(int(best[way[-1]]))
        whole = np.array([above, *way] if above >= 0 else way)
        if len(whole) < 4:
            continue
        points = nodes.points[whole] + _jitter(len(whole), rng, 0.25 * damage.strength)
        if above >= 0:
            points[0] = branches[place[above][0]].points_mm[place[above][1]]
        for position, node in enumerate(whole):
            place.setdefault(int(node), (len(branches), position))
        side = side_of(points[0], heart) if above < 0 else branches[place[above][0]].side
        if above < 0 and damage.happens(rng, 0.02):
            side = _other(side)
        radius = gain * nodes.radius[whole] + wall + _jitter(len(whole), rng, 0.1 * damage.strength)[:, 0]
        branches.append(
            TreeBranch(
                points_mm=points,
                parent=place[above][0] if above >= 0 else None,
                parent_index=place[above][1] if above >= 0 else None,
                side=side,
                radius_mm=np.maximum(radius, 0.3),
                probability=np.ones(len(whole)),
            )
        )
        labels.append(nodes.label[whole])
    return LabelledTree(Tree(tuple(branches)), tuple(labels)) if branches else None


def _other(side: Side) -> Side:
    return "right" if side == "left" else "left"


def _jitter(count: int, rng: np.random.Generator, size: float) -> Points:
    """Smooth noise (count, 3) of standard deviation ``size`` that fades in from the first point."""
    noise = ndimage.gaussian_filter1d(rng.normal(0.0, 1.0, (count, 3)), 4.0, axis=0, mode="nearest") * 3.7
    return np.asarray(size * noise * np.clip(np.arange(count) / 6.0, 0.0, 1.0)[:, None])
