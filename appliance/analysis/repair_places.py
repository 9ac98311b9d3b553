"""Where a lost piece of vessel may hang on the tree: the tips of the piece, the ends and sides of the tree's lines, and how they face.

A vessel gets thinner away from the aorta and goes on in its own direction. So a piece is entered at a tip, the wide one rather than the
thin one; the way to it leads on from the end of a line, or leaves the side of a line forwards, and meets the tip head on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from appliance.analysis.stages import Float, Tree
from appliance.analysis.voxelgraph import VoxelGraph, centre_paths, cheapest_paths, depth_mm, graph_of
from appliance.volume import Geometry

Kind = Literal["end", "stump", "side"]

_SHORTEST_TWIG_MM = 5.0
_INWARD_MM = 5.0
"""How far from a tip its direction is taken, and its radius."""


@dataclass(frozen=True)
class Tips:
    """The tips of a piece of vessel, LPS mm.

    Attributes:
        points: (k, 3). outward: unit vectors that lead out of the piece there, (k, 3).
        radius_mm: of the vessel near each, (k,).
    """

    points: Float
    outward: Float
    radius_mm: Float


@dataclass(frozen=True)
class Sources:
    """Where bridges may begin, LPS mm.

    Attributes:
        points: (n, 3). onward: unit vectors towards the periphery, 0 where that is not known, (n, 3).
        radius_mm: of the vessel there, (n,).
        kinds: ``end`` of a line, ``stump`` of the mask beyond it, ``side``, (n,).
    """

    points: Float
    onward: Float
    radius_mm: Float
    kinds: NDArray[np.str_]

    @classmethod
    def bare(cls, ends: Float, sides: Float) -> Sources:
        """Ends and sides of which nothing is known but where they are."""
        points = np.concatenate([ends, sides])
        kinds = np.array(["end"] * len(ends) + ["side"] * len(sides), dtype="<U5")
        return cls(points, np.zeros_like(points), np.full(len(points), np.inf), kinds)

    @classmethod
    def of_piece(cls, tips: Tips, entered: int | None, points: Float) -> Sources:
        """What a piece offers once it is joined at tip ``entered``: its other tips as ends, its ``points`` as sides."""
        others = np.arange(len(tips.points)) != (-1 if entered is None else entered)
        return cls(
            points=np.concatenate([tips.points[others], points]),
            onward=np.concatenate([tips.outward[others], np.zeros_like(points)]),
            radius_mm=np.concatenate([tips.radius_mm[others], np.full(len(points), float(np.median(tips.radius_mm)))]),
            kinds=np.array(["end"] * int(others.sum()) + ["side"] * len(points), dtype="<U5"),
        )


def sources_of(tree: Tree, stumps: Float, onward_of_stumps: Float) -> Sources:
    """The ends and sides of a tree's lines, and the outermost points of ``stumps`` (n, 3) too short to be lines."""
    points, onward, radius, kinds = [], [], [], []
    for branch in tree.branches:
        line = branch.points_mm
        along = _unit(np.gradient(line, axis=0))
        points += [line[-1:], line]
        onward += [_unit(line[-1:] - line[max(-10, -len(line))]), along]
        radius += [np.full(1, float(np.median(branch.radius_mm[-10:]))), branch.radius_mm]
        kinds += ["end"] + ["side"] * len(line)
    points.append(stumps)
    onward.append(onward_of_stumps)
    radius.append(np.full(len(stumps), 1.0))
    kinds += ["stump"] * len(stumps)
    return Sources(np.concatenate(points), np.concatenate(onward), np.concatenate(radius), np.array(kinds, dtype="<U5"))


def tips_of(voxels: NDArray[np.int32], geometry: Geometry) -> Tips:
    """The tips of a connected piece of the mask, (n, 3) voxels."""
    graph = graph_of(voxels, geometry.spacing[0])
    radius = depth_mm(graph, maximum_mm=4.0)
    weight = (1.0 + 4.0 / (0.3 + radius)).astype(np.float32)
    first = _farthest(graph, weight, 0)
    paths = centre_paths(graph, weight=weight, radius_mm=radius, roots=np.array([first], np.int32), minimum_mm=_SHORTEST_TWIG_MM)
    runs = [path.nodes for path in paths]
    if not runs:
        last = _farthest(graph, weight, first)
        runs = [np.array([first, last], np.int32)]
    ends = [runs[0][::-1], *runs]
    points = [geometry.to_points(graph.voxels[nodes]) for nodes in ends]
    inward = [_inward(line) for line in points]
    return Tips(
        points=np.array([line[-1] for line in points]),
        outward=_unit(np.array([line[-1] - line[-1 - back] for line, back in zip(points, inward, strict=True)])),
        radius_mm=np.array([float(np.median(radius[nodes[-1 - back :]])) for nodes, back in zip(ends, inward, strict=True)]),
    )


def _inward(line: Float) -> int:
    """Number of points from the end of a line that are ``_INWARD_MM`` long, at least one."""
    away = np.linalg.norm(line - line[-1], axis=1)[::-1]
    beyond = np.flatnonzero(away > _INWARD_MM)
    return max(1, int(beyond[0]) if len(beyond) else len(line) - 1)


def _farthest(graph: VoxelGraph, weight: NDArray[np.float32], start: int) -> int:
    _, _, length, _ = cheapest_paths(graph, weight, np.array([start], np.int32))
    return int(np.argmax(np.where(np.isfinite(length), length, -1.0)))


def _unit(vectors: Float) -> Float:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


@dataclass(frozen=True)
class Facing:
    """What it costs, in millimetres of seen vessel, if the two ends of a gap do not face each other. Choices of this project.

    Attributes:
        into: a way that meets the tip from the side; ``elsewhere``: one that meets the piece away from its tips.
        onward: a way that does not lead on from an end; a piece that leaves the tree's side backwards costs half of it.
        side: the tree's side instead of an end.
        thin_end: per mm of radius by which the tip is thinner than another one.
        wider: per mm of radius by which the piece is wider than the vessel that it is to hang on.
        full_mm: gap from which directions count in full: over shorter ones they are unsure.
    """

    into: float = 8.0
    elsewhere: float = 12.0
    onward: float = 6.0
    side: float = 6.0
    thin_end: float = 12.0
    wider: float = 6.0
    full_mm: float = 5.0


@dataclass(frozen=True)
class Place:
    """One way to join a piece.

    Attributes:
        source, target: LPS mm.
        kind: what the tree has there.
        tip: number of the tip; None where the piece is met elsewhere.
        gap_mm: between them.
        into: cosine between the way and the piece's direction at the tip, 1 head on; 0 away from tips.
        onward: cosine between the tree's direction at the source and the way (``end``) or the piece's own course (``side``).
        source_mm, target_mm: radii.
        taper_mm: radius at the tip less that of the piece's widest other tip.
    """

    source: Float
    target: Float
    kind: Kind
    tip: int | None
    gap_mm: float
    into: float
    onward: float
    source_mm: float
    target_mm: float
    taper_mm: float


def places_of(tips: Tips, points: Float, sources: Sources, *, longest_mm: float, apart_mm: float = 4.0) -> list[Place]:
    """Ways to join a piece: at each tip the nearest places of each kind, and where the piece comes nearest to the tree.

    Args:
        tips: of the piece.
        points: all of it, LPS (m, 3).
        sources: of the tree.
        longest_mm: longest gap.
        apart_mm: sources of one kind and tip are so far apart.
    """
    found: list[Place] = []
    for tip, point in enumerate(tips.points):
        gap = np.linalg.norm(sources.points - point, axis=1)
        for kind in ("end", "stump", "side"):
            near = np.flatnonzero((sources.kinds == kind) & (gap <= longest_mm))
            order = near[np.argsort(gap[near], kind="stable")]
            found += [_place(tips, tip, sources, i) for i in _apart(order, sources.points, apart_mm, most=3)]
    search = cKDTree(points)
    gap, nearest = search.query(sources.points)
    off_tips = cKDTree(tips.points).query(points[nearest])[0] > apart_mm
    for kind in ("end", "stump", "side"):
        near = np.flatnonzero((sources.kinds == kind) & (gap <= longest_mm) & off_tips)
        order = near[np.argsort(gap[near], kind="stable")]
        found += [_elsewhere(tips, points[nearest[i]], sources, i) for i in _apart(order, sources.points, apart_mm, most=2)]
    return found


def _elsewhere(tips: Tips, target: Float, sources: Sources, i: int) -> Place:
    """A place away from the tips: two lost branches of a lost stem, or a tip that was not seen as one."""
    way = target - sources.points[i]
    gap = float(np.linalg.norm(way))
    onward = float(sources.onward[i] @ way) / max(gap, 1e-9)
    widest = float(tips.radius_mm.max())
    return Place(sources.points[i], target, str(sources.kinds[i]), None, gap, 0.0, onward, float(sources.radius_mm[i]), widest, 0.0)  # type: ignore[arg-type]


def _apart(order: NDArray[np.intp], points: Float, apart_mm: float, *, most: int) -> list[int]:
    """The first few of ``order`` that are ``apart_mm`` from one another."""
    kept: list[int] = []
    for i in order:
        if all(np.linalg.norm(points[i] - points[j]) > apart_mm for j in kept):
            kept.append(int(i))
            if len(kept) == most:
                break
    return kept


def _place(tips: Tips, tip: int, sources: Sources, i: int) -> Place:
    way = tips.points[tip] - sources.points[i]
    gap = float(np.linalg.norm(way))
    way = way / max(gap, 1e-9)
    kind = str(sources.kinds[i])
    course = way if kind == "end" else -tips.outward[tip]
    others = np.delete(tips.radius_mm, tip)
    return Place(
        source=sources.points[i],
        target=tips.points[tip],
        kind=kind,  # type: ignore[arg-type]
        tip=tip,
        gap_mm=gap,
        into=float(-way @ tips.outward[tip]),
        onward=float(sources.onward[i] @ course),
        source_mm=float(sources.radius_mm[i]),
        target_mm=float(tips.radius_mm[tip]),
        taper_mm=float(tips.radius_mm[tip] - (others.max() if len(others) else tips.radius_mm[tip])),
    )


def facing_cost(place: Place, facing: Facing) -> float:
    """What the directions and sizes at the two ends of a gap cost."""
    sure = min(max(place.gap_mm / facing.full_mm, 0.3), 1.0)
    into = facing.elsewhere if place.tip is None else facing.into * (1.0 - place.into)
    onward = facing.onward * (1.0 - place.onward) * (0.5 if place.kind == "side" else 1.0)
    cost = sure * (into + onward) + (facing.side if place.kind == "side" else 0.0)
    cost += facing.thin_end * max(-place.taper_mm, 0.0)
    return cost + facing.wider * max(place.target_mm - 1.3 * place.source_mm - 0.2, 0.0)
