"""Where the coronaries leave the aorta.

By the rules, a piece of the mask that comes within reach of the aortic surface has an ostium there; left or right follows from the
direction in which it lies from the middle of the aortic root: towards the left or towards the right heart. Where the network shows ostia
(``ostia_network``), a tree begins at these and its side is theirs; the rules are left with the side on which the network shows none. A
peak that vouches for itself badly (off the mapped aorta, a second one of its side) needs a vessel that begins there; an unsure one is set
onto the vessel's middle, and where the vessel runs on along the aorta to another place, it begins there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.ostia_network import OFF_WALL_MM, Peak
from appliance.analysis.stages import Float, Heart, Side, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.voxelgraph import VoxelGraph, components

TOUCH_MM = 3.5
"""The structure map has 3 mm voxels: a vessel this near to the aorta touches it."""
REACH_MM = 16.0
"""Farthest a vessel may begin from the aorta when nothing on its side touches; the missing piece is bridged."""
SHORTEST_MM = 10.0
SHORTEST_BRIDGED_MM = 30.0
NEAR_MM = 4.0
"""A piece this near to a peak of the network begins there; farther ones must be longer, and the way to them is a bridge."""
APART_MM = 8.0
"""An ostium by the rules this near to one at a peak is the same ostium."""
VOUCHED_MM = 2.0
"""How near a vessel must be to a peak that would not be believed without one."""
UNSURE_SHARE, DOUBTFUL_SHARE = 0.7, 0.8
"""A lower peak is set onto the middle of its vessel; one below the second may lie on a vessel that merely passes there."""
ALONG_MM = 6.0
"""A vessel that stays this near to the aorta runs along its wall, as one does that comes from another sinus."""
LEAST_ALONG_MM = 6.0
_PASSED_MM = 4.0
_END_MM = 3.0
_CENTRED_MM = 5.0
_CENTRE_SIGMA_MM = 1.5


@dataclass(frozen=True)
class Ostium:
    """An ostium.

    Attributes:
        node: node of the mask where the tree begins.
        side: of the arteries that it feeds.
        distance_mm: from the node to the aorta, or to the network's peak.
        lead_mm: where the line begins, LPS, if not at the node: the network's peak, or the aortic point from which the mask begins late.
        evidence: what the ostium rests on.
    """

    node: int
    side: Side
    distance_mm: float
    lead_mm: Float | None = None
    evidence: Literal["rules", "network"] = "rules"


def find_ostia(
    graph: VoxelGraph,
    points: Float,
    label: NDArray[np.int32],
    lumen: NDArray[np.bool_],
    surroundings: Surroundings,
    *,
    peaks: Sequence[Peak] = (),
) -> list[Ostium]:
    """The ostia of a mask, left first; empty where nothing lies near the aorta.

    Args:
        graph: the vessel mask.
        points: LPS position of each node, (n, 3).
        label: connected component of each node, (n,).
        lumen: True for nodes in the lumen, (n,).
        surroundings: of the same heart.
        peaks: what the network shows, strongest first. On a side that has an ostium at a peak, no other place is taken.
    """
    by_rules = _by_rules(graph, points, label, lumen, surroundings)
    shown = _at_peaks(peaks, graph, points, label, lumen, surroundings)
    sides = {ostium.side for ostium in shown}
    kept = [o for o in by_rules if o.side not in sides and all(np.linalg.norm(points[o.node] - points[s.node]) > APART_MM for s in shown)]
    return sorted([*shown, *kept], key=lambda ostium: (ostium.side, ostium.distance_mm))


def _at_peaks(
    peaks: Sequence[Peak], graph: VoxelGraph, points: Float, label: NDArray[np.int32], lumen: NDArray[np.bool_], surroundings: Surroundings
) -> list[Ostium]:
    """An ostium for each peak that a piece of the mask begins at; one piece may have several."""
    lengths = _extents(points, label) if peaks else np.zeros(0)
    found: list[Ostium] = []
    for peak in peaks:
        gap = np.linalg.norm(points - peak.point_mm, axis=1)
        off_wall = float(surroundings.distance(peak.point_mm[None], Structure.AORTA)[0]) > OFF_WALL_MM
        vouched = off_wall or any(ostium.side == peak.side for ostium in found)
        near = np.flatnonzero((gap <= (VOUCHED_MM if vouched else NEAR_MM)) & (lengths[label] >= SHORTEST_MM))
        if not len(near) and not vouched:
            taken = {int(label[ostium.node]) for ostium in found}
            free = ~np.isin(label, list(taken)) & (lengths[label] >= SHORTEST_BRIDGED_MM)
            near = np.flatnonzero((gap <= REACH_MM) & free)
        if not len(near):
            continue
        node = _innermost(near, gap, lumen)
        place = np.asarray(peak.point_mm)
        if peak.share < DOUBTFUL_SHARE and (far := _other_beginning(graph, points, label, node, surroundings)) is not None:
            place, gap = far, np.linalg.norm(points - far, axis=1)
            node = _innermost(np.flatnonzero(gap <= NEAR_MM), gap, lumen)
        elif peak.share < UNSURE_SHARE:
            place = _centred(place, points[label == label[node]])
        if any(ostium.node == node for ostium in found):
            continue
        found.append(Ostium(node=node, side=peak.side, distance_mm=float(gap[node]), lead_mm=place, evidence="network"))
    return found


def _innermost(near: NDArray[np.intp], gap: Float, lumen: NDArray[np.bool_]) -> int:
    """The nearest of some nodes, of the lumen where that is about as near."""
    first = near[gap[near] < gap[near].min() + 1.0]
    inner = first[lumen[first]] if lumen[first].any() else first
    return int(inner[np.argmin(gap[inner])])


def _centred(place: Float, vessel: Float) -> Float:
    """A place moved across its vessel, not along it, to the vessel's middle; where it is if no vessel leads away from it."""
    away = np.linalg.norm(vessel - place, axis=1)
    near, onward = away < _CENTRED_MM, (away > _PASSED_MM) & (away < 2.0 * _PASSED_MM)
    if not near.any() or not onward.any():
        return place
    direction = vessel[onward].mean(axis=0) - place
    direction /= max(float(np.linalg.norm(direction)), 1e-6)
    weight = np.exp(-0.5 * (away[near] / _CENTRE_SIGMA_MM) ** 2)
    shift = (vessel[near] * weight[:, None]).sum(axis=0) / max(float(weight.sum()), 1e-6) - place
    return np.asarray(place + shift - float(shift @ direction) * direction)


def _other_beginning(graph: VoxelGraph, points: Float, label: NDArray[np.int32], node: int, surroundings: Surroundings) -> Float | None:
    """Where a vessel that merely passes ``node`` begins: the far end of a part that runs along the aorta and ends at it; None if none does.

    An artery from the other sinus passes the usual place of its ostium on its way between the great vessels.
    """
    away = np.linalg.norm(points - points[node], axis=1)
    beyond = (label == label[node]) & (away > _PASSED_MM)
    sides, count = components(graph.subset(beyond))
    if sum(float(away[beyond][sides == side].max()) >= _PASSED_MM + LEAST_ALONG_MM for side in range(count)) < 2:
        return None  # it leads away from here to one side only: it begins here
    distance = surroundings.distance(points[beyond], Structure.AORTA)
    nodes = np.flatnonzero(beyond)[distance <= ALONG_MM]
    keep = np.zeros(len(graph), np.bool_)
    keep[nodes] = True
    parts, count = components(graph.subset(keep))
    best: tuple[float, Float] | None = None
    for part in range(count):
        members = nodes[parts == part]
        last = members[np.argmax(away[members])]
        if away[members].min() > _PASSED_MM + 1.0 or float(away[last]) < _PASSED_MM + LEAST_ALONG_MM:
            continue
        end = points[members[np.linalg.norm(points[members] - points[last], axis=1) < _END_MM]].mean(axis=0)
        at_end = float(surroundings.distance(end[None], Structure.AORTA)[0])
        if at_end < TOUCH_MM and (best is None or away[last] > best[0]):
            best = float(away[last]), end
    return None if best is None else best[1]


def _by_rules(
    graph: VoxelGraph, points: Float, label: NDArray[np.int32], lumen: NDArray[np.bool_], surroundings: Surroundings
) -> list[Ostium]:
    """The ostia where pieces of the mask touch the aorta, and of a side without any the piece that begins nearest to it."""
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
    return found


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
