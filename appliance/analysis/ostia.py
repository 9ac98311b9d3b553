"""Where the coronaries leave the aorta.

A piece of the mask that comes within reach of the aortic surface has an ostium there. Left or right follows from the direction in which the
ostium lies from the middle of the aortic root: towards the left or towards the right heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.stages import Float, Heart, Side, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.voxelgraph import VoxelGraph, components

TOUCH_MM = 3.5
"""The structure map has 3 mm voxels: a vessel this near to the aorta touches it."""
REACH_MM = 16.0
"""Farthest a vessel may begin from the aorta when nothing on its side touches; the missing piece is bridged."""
SHORTEST_MM = 10.0
SHORTEST_BRIDGED_MM = 30.0


@dataclass(frozen=True)
class Ostium:
    """An ostium: the node of the mask where the tree begins, its side, and the aortic point to be bridged to where the mask begins late."""

    node: int
    side: Side
    distance_mm: float
    lead_mm: Float | None = None


def find_ostia(
    graph: VoxelGraph, points: Float, label: NDArray[np.int32], lumen: NDArray[np.bool_], surroundings: Surroundings
) -> list[Ostium]:
    """The ostia of a mask, left first; empty where nothing lies near the aorta.

    Args:
        graph: the vessel mask.
        points: LPS position of each node, (n, 3).
        label: connected component of each node, (n,).
        lumen: True for nodes in the lumen, (n,).
        surroundings: of the same heart.
    """
    distance = surroundings.distance(points, Structure.AORTA)
    found: list[Ostium] = []
    lengths = _extents(points, label)
    for component in range(len(lengths)):
        if lengths[component] < SHORTEST_MM:
            continue
        members = np.flatnonzero(label == component)
        found.extend(_of_component(graph, points, distance, members, lumen, surroundings.heart))
    for side in ("left", "right"):
        if not any(ostium.side == side for ostium in found):
            late = _late_start(points, distance, label, lengths, side, {int(label[o.node]) for o in found}, surroundings.heart)
            found.extend([late] if late else [])
    return sorted(found, key=lambda ostium: (ostium.side, ostium.distance_mm))


def _extents(points: Float, label: NDArray[np.int32]) -> NDArray[np.float64]:
    """Diagonal of each component's bounding box in mm."""
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    low = np.minimum.reduceat(points[order], starts)
    high = np.maximum.reduceat(points[order], starts)
    return np.asarray(np.linalg.norm(high - low, axis=1))


def _of_component(
    graph: VoxelGraph, points: Float, distance: Float, members: NDArray[np.intp], lumen: NDArray[np.bool_], heart: Heart
) -> list[Ostium]:
    """At most one ostium a side: the place of the component that comes nearest to the aorta there."""
    touching = members[distance[members] < TOUCH_MM]
    if not len(touching):
        return []
    keep = np.zeros(len(graph), np.bool_)
    keep[touching] = True
    patches, count = components(graph.subset(keep))
    best: dict[Side, Ostium] = {}
    for patch in range(count):
        nodes = np.flatnonzero(keep)[patches == patch]
        node = _middle(points, distance, lumen, nodes)
        side = side_of(points[node], heart)
        ostium = Ostium(node=node, side=side, distance_mm=float(distance[node]))
        if side not in best or ostium.distance_mm < best[side].distance_mm:
            best[side] = ostium
    nearest = min(ostium.distance_mm for ostium in best.values())
    # a second ostium in one piece needs to touch as well as the first: other vessels merely pass by
    return [ostium for ostium in best.values() if ostium.distance_mm <= max(nearest + 1.0, 0.5)]


def _middle(points: Float, distance: Float, lumen: NDArray[np.bool_], nodes: NDArray[np.intp]) -> int:
    """The middle of the lumen where a patch meets the aorta: the wall flares out there, so the nearest voxel may lie far off the axis."""
    inner = nodes[lumen[nodes]] if lumen[nodes].any() else nodes
    first = inner[distance[inner] < float(distance[inner].min()) + 1.0]
    return int(first[np.argmin(np.linalg.norm(points[first] - points[first].mean(axis=0), axis=1))])


def _late_start(
    points: Float,
    distance: Float,
    label: NDArray[np.int32],
    lengths: NDArray[np.float64],
    side: Side,
    taken: set[int],
    heart: Heart,
) -> Ostium | None:
    """The nearest long piece of a side on which nothing touches the aorta."""
    aorta = heart.points(Structure.AORTA)
    best: Ostium | None = None
    for component in range(len(lengths)):
        if component in taken or lengths[component] < SHORTEST_BRIDGED_MM:
            continue
        members = np.flatnonzero(label == component)
        node = int(members[np.argmin(distance[members])])
        gap = float(distance[node])
        if gap > REACH_MM or side_of(points[node], heart) != side or (best is not None and gap >= best.distance_mm):
            continue
        nearest = aorta[np.argmin(np.linalg.norm(aorta - points[node], axis=1))]
        towards = points[node] - nearest
        lead = points[node] - towards * gap / max(float(np.linalg.norm(towards)), gap, 1e-6)
        best = Ostium(node=node, side=side, distance_mm=gap, lead_mm=lead)
    return best


def side_of(point: Float, heart: Heart) -> Side:
    """Left or right ostium, from where ``point`` lies about the aortic root; by LPS where chambers are missing."""
    aorta = heart.points(Structure.AORTA)
    near = aorta[np.linalg.norm(aorta - point, axis=1) < 22.0]
    root = near.mean(axis=0) if len(near) else aorta.mean(axis=0)
    left = heart.centroid(Structure.LV, Structure.LEFT_ATRIUM)
    right = heart.centroid(Structure.RV, Structure.RIGHT_ATRIUM)
    across = left - right if left is not None and right is not None else np.array([0.8, 0.6, 0.0])
    return "left" if float((point - root) @ across) > 0 else "right"
