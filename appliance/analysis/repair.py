"""Joining pieces that the segmentation lost: gaps between the tree and vessel-like orphans are bridged, and every bridge is marked.

A bridge follows the cheapest way through the image between the tree and the orphan: cheap where the network half saw a vessel or the
attenuation is a vessel's, dear through fat, forbidden through chambers. It must be short and straight; from a vessel's end it may be longer
than from a vessel's side. With the network, it is asked about the likeliest places of each orphan (``repair_network``): it decides if a
gap is a vessel and makes the price of the way; the rules keep their veto over lengths, chambers, and what an orphan must be like. A long
piece as bright as the arteries is one, whatever the network says of the gap before it: there the rules decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from appliance.analysis.centrelines import Centrelines, dropped_at, grow, with_voxels
from appliance.analysis.ostia import Ostium
from appliance.analysis.repair_network import Gap, GapJudge, Verdict
from appliance.analysis.runs import ranges_of
from appliance.analysis.stages import Dropped, Float, Orphan, Segmentation, Structure, Tree, TreeBranch
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.voxelgraph import cheapest_paths, graph_of
from appliance.inference.engine import Session

_STUMP_MM = 3.0
"""Tree voxels farther than this from every line belong to a stump."""
FORBIDDEN = 20.0
"""Price of a voxel in a chamber."""
CHAMBERS = (Structure.LEFT_ATRIUM, Structure.LV, Structure.RIGHT_ATRIUM, Structure.RV, Structure.AORTA, Structure.PULMONARY_ARTERY)


@dataclass(frozen=True)
class RepairRules:
    """When a piece may be joined. Choices of this project.

    Attributes:
        shortest_mm: shortest orphan worth joining.
        from_end_mm, from_side_mm: longest bridge from a vessel's end and from its side.
        shortest_beside_mm: shortest orphan that may be joined to a vessel's side: most short pieces beside a vessel are veins.
        least_hu: the orphan's attenuation, as a part of the blood's in the tree: unopacified and half opacified veins lie below.
        dearest: highest mean price of a bridge; 1 is seen vessel, 6 fat.
        sharpest_cosine: least cosine between bridge and the lines it joins.
        least_probability: least mean probability of an orphan.
        least_vessel: least probability of a gap by the network, set on development patients: a wrong join costs more than a gap.
        brightest: the orphan's attenuation as above, at most: catheters, leads and undiluted contrast lie beyond.
        certain_mm: from this length on an orphan of ``least_hu`` and more is joined by the rules where the network would not.
        judged_from_side_mm, judged_shortest_mm, judged_least_hu: what stands in the place of ``from_side_mm``, ``shortest_mm`` and
            ``least_hu`` where the network judges too: it sees the picture, and small vessels are pale by partial volume.
        most_gaps: places of one orphan that the network is asked about, ``gaps_apart_mm`` from one another.
        deepest_mm: an orphan whose middle lies deeper in a chamber is no coronary. farthest_mm: nor one that far from the heart.
    """

    shortest_mm: float = 10.0
    from_end_mm: float = 14.0
    from_side_mm: float = 6.0
    shortest_beside_mm: float = 25.0
    least_hu: float = 0.6
    dearest: float = 4.5
    sharpest_cosine: float = 0.2
    least_probability: float = 0.5
    least_vessel: float = 0.9
    brightest: float = 1.6
    certain_mm: float = 30.0
    judged_from_side_mm: float = 12.0
    judged_shortest_mm: float = 8.0
    judged_least_hu: float = 0.4
    most_gaps: int = 3
    gaps_apart_mm: float = 4.0
    deepest_mm: float = 3.0
    farthest_mm: float = 8.0


@dataclass(frozen=True)
class Bridge:
    """What joins an orphan to the tree: voxels (n, 3) of the segmentation's grid from the tree to the orphan, and its length."""

    voxels: NDArray[np.int32]
    length_mm: float


@dataclass(frozen=True)
class _Path:
    """A way through the image: its voxels (n, 3), its mean and highest price, its length."""

    voxels: NDArray[np.int32]
    price: float
    dearest: float
    length_mm: float


@dataclass(frozen=True)
class _Place:
    """A place where an orphan may be joined: voxels of the tree and of the orphan there, and the longest bridge that is allowed."""

    sources: Float
    targets: Float
    limit_mm: float


def repair(lines: Centrelines, segmentation: Segmentation, *, rules: RepairRules | None = None, session: Session | None = None) -> Tree:
    """The tree with what could be joined; what could not is listed in ``dropped``.

    Args:
        lines: the tree and what repair needs to grow it anew.
        segmentation: the coronaries.
        rules: when a piece may be joined.
        session: of the model ``repair``; None: by the rules alone.

    Raises:
        InferenceError: the network's output must not be used.
    """
    rules = rules or RepairRules()
    judge = GapJudge(session, segmentation) if session is not None else None
    dropped: list[Dropped] = list(lines.tree.dropped)
    waiting: list[Orphan] = []
    blood = _blood(lines, segmentation)
    for orphan in lines.tree.orphans:
        refused = refusal(orphan, segmentation, lines.surroundings, blood, rules, judged=judge is not None)
        if refused:
            dropped.append(dropped_at(segmentation.geometry.to_points(orphan.voxels), orphan.length_mm, refused))
        else:
            waiting.append(orphan)
    bridges: list[Bridge] = []
    ends, sides = _ends_and_sides(lines, segmentation)
    for _ in range(3):
        left: list[Orphan] = []
        for orphan in waiting:
            bridge = find_bridge(orphan, ends, sides, segmentation, lines.surroundings, rules=rules, judge=judge)
            if bridge is None and judge is not None and _surely_artery(orphan, segmentation, blood, rules):
                bridge = find_bridge(orphan, ends, sides, segmentation, lines.surroundings, rules=rules)
            if bridge is None:
                left.append(orphan)
                continue
            bridges.append(bridge)
            points = segmentation.geometry.to_points(orphan.voxels)
            # what was joined can carry further pieces from its own ends
            ends = np.concatenate([ends, _extremes(points)])
            sides = np.concatenate([sides, points[::5]])
        if len(left) == len(waiting):
            break
        waiting = left
    dropped += [dropped_at(segmentation.geometry.to_points(o.voxels), o.length_mm, "not_connected") for o in waiting]
    if not bridges:
        return replace(lines.tree, orphans=(), dropped=tuple(dropped))
    return Tree(branches=_grow_again(lines, bridges, segmentation), dropped=tuple(dropped))


def _blood(lines: Centrelines, segmentation: Segmentation) -> float:
    """Attenuation of the blood in the wide part of the tree."""
    z, y, x = lines.mask.graph.voxels[lines.mask.radius_mm > 1.3].T
    values = segmentation.hu[z, y, x]
    return float(np.median(values)) if values.size > 50 else 0.0


def refusal(
    orphan: Orphan, segmentation: Segmentation, surroundings: Surroundings, blood: float, rules: RepairRules, *, judged: bool = False
) -> str | None:
    """The rule that refuses an orphan by itself, None if it may be joined; ``judged`` where the network has its say after it."""
    if orphan.length_mm < (rules.judged_shortest_mm if judged else rules.shortest_mm):
        return "too_short"
    z, y, x = orphan.voxels.T
    if segmentation.coronary[z, y, x].mean() < 255 * rules.least_probability:
        return "low_probability"
    least = rules.judged_least_hu if judged else rules.least_hu
    if blood > 0.0 and not least <= _brightness(orphan, segmentation, blood) <= rules.brightest:
        return "not_arterial"
    points = segmentation.geometry.to_points(orphan.voxels[::4])
    if float(np.median(surroundings.distance(points, *CHAMBERS))) < -rules.deepest_mm:
        return "inside_chamber"
    if float(np.median(surroundings.distance(points, *(s for s in Structure if s != Structure.BACKGROUND)))) > rules.farthest_mm:
        return "off_the_heart"
    return None


def _brightness(orphan: Orphan, segmentation: Segmentation, blood: float) -> float:
    """Attenuation in the middle of an orphan as a part of the blood's in the tree; 1 where that is not known."""
    z, y, x = orphan.voxels.T
    return float(np.percentile(segmentation.hu[z, y, x], 75)) / blood if blood > 0.0 else 1.0


def _surely_artery(orphan: Orphan, segmentation: Segmentation, blood: float, rules: RepairRules) -> bool:
    """Whether a piece is so long and so bright that the network's doubt of the gap before it does not count."""
    return orphan.length_mm >= rules.certain_mm and _brightness(orphan, segmentation, blood) >= rules.least_hu


def _ends_and_sides(lines: Centrelines, segmentation: Segmentation) -> tuple[Float, Float]:
    """Where bridges may begin: ends of branches and of stumps too short to be branches, and all points of the lines."""
    sides = np.concatenate([branch.points_mm for branch in lines.tree.branches])
    ends = np.array([branch.points_mm[-1] for branch in lines.tree.branches])
    held = np.isin(lines.mask.label, [lines.mask.label[ostium.node] for ostium in lines.ostia])
    points = segmentation.geometry.to_points(lines.mask.graph.voxels[held])
    stumps = points[cKDTree(sides).query(points)[0] > _STUMP_MM]
    return np.concatenate([ends, stumps]), sides


def _extremes(points: Float) -> Float:
    """The two points of a cloud that lie farthest apart along its main axis."""
    centre = points.mean(axis=0)
    axis = np.linalg.svd(points - centre, full_matrices=False)[2][0]
    along = (points - centre) @ axis
    return points[[int(np.argmin(along)), int(np.argmax(along))]]


def find_bridge(
    orphan: Orphan,
    ends: Float,
    sides: Float,
    segmentation: Segmentation,
    surroundings: Surroundings,
    *,
    rules: RepairRules,
    judge: GapJudge | None = None,
) -> Bridge | None:
    """The cheapest allowed bridge from the tree to an orphan.

    Args:
        orphan: the piece to be joined.
        ends: where the tree's vessels end, LPS (n, 3).
        sides: points of the tree's lines, LPS (m, 3).
        segmentation: the coronaries.
        surroundings: of the same heart.
        rules: when a piece may be joined.
        judge: the network; None: by the rules alone.
    """
    points = segmentation.geometry.to_points(orphan.voxels)
    search = cKDTree(points)
    if judge is not None:
        return _judged(_gaps(points, search, ends, sides, rules), orphan, segmentation, surroundings, rules, judge)
    ways = [(ends, rules.from_end_mm)]
    if orphan.length_mm >= rules.shortest_beside_mm:
        ways.append((sides, rules.from_side_mm))
    for sources, limit in ways:
        gap, nearest = search.query(sources)
        near = np.flatnonzero(gap <= limit)
        if not len(near):
            continue
        # the nearest few places, one attempt for all of them
        chosen = near[np.argsort(gap[near])[:40]]
        path = _cheapest(_Place(sources[chosen], points[nearest[chosen]], limit), orphan, segmentation, surroundings)
        if path is not None and _acceptable(path, points, segmentation, limit, rules):
            return Bridge(voxels=path.voxels, length_mm=path.length_mm)
    return None


def _gaps(points: Float, search: cKDTree, ends: Float, sides: Float, rules: RepairRules) -> list[_Place]:
    """The likeliest places, nearest first and apart from one another; ends of vessels before their sides."""
    places: list[_Place] = []
    for sources, limit in ((ends, rules.from_end_mm), (sides, rules.judged_from_side_mm)):
        gap, nearest = search.query(sources)
        order = np.argsort(gap, kind="stable")
        for i in order[gap[order] <= limit]:
            if len(places) == rules.most_gaps:
                return places
            if all(np.linalg.norm(place.sources[0] - sources[i]) > rules.gaps_apart_mm for place in places):
                places.append(_Place(sources[i][None], points[nearest[i]][None], limit))
    return places


def _judged(
    places: list[_Place], orphan: Orphan, segmentation: Segmentation, surroundings: Surroundings, rules: RepairRules, judge: GapJudge
) -> Bridge | None:
    """The bridge of the place that the network is surest of, if it is sure enough and no rule forbids it."""
    verdicts = judge.verdicts([Gap(near_mm=place.sources[0], far_mm=place.targets[0]) for place in places])
    for number in sorted(range(len(places)), key=lambda i: -verdicts[i].vessel):
        if verdicts[number].vessel < rules.least_vessel:
            return None
        path = _cheapest(places[number], orphan, segmentation, surroundings, verdict=verdicts[number])
        if path is None or path.length_mm > 1.4 * places[number].limit_mm:
            continue
        # a dear way is one beside the course that the network saw: round a chamber, through fat
        if path.dearest < FORBIDDEN and path.price <= rules.dearest:
            return Bridge(voxels=path.voxels, length_mm=path.length_mm)
    return None


def _cheapest(
    place: _Place, orphan: Orphan, segmentation: Segmentation, surroundings: Surroundings, *, verdict: Verdict | None = None
) -> _Path | None:
    """The cheapest path from the place's sources to the orphan in a box around the gap; None if there is none."""
    geometry = segmentation.geometry
    spacing = geometry.spacing[0]
    corners = np.rint(geometry.to_index(np.concatenate([place.sources, place.targets]))).astype(np.int32)
    pad = int(np.ceil(3.0 / spacing))
    reach = int(np.ceil(place.limit_mm / spacing))
    # sources far apart would make a large box: stay near the closest one
    corners = corners[np.abs(corners - corners[len(place.sources)]).max(axis=1) <= 2 * reach]
    low = np.maximum(corners.min(axis=0) - pad, 0)
    high = np.minimum(corners.max(axis=0) + pad + 1, geometry.shape)
    axes = [np.arange(int(a), int(b), dtype=np.int32) for a, b in zip(low, high, strict=True)]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    graph = graph_of(voxels, spacing)
    price = _price(voxels, segmentation, surroundings, verdict)
    start = _nodes(graph.lookup, graph.corner, np.rint(geometry.to_index(place.sources)).astype(np.int32))
    goal = _nodes(graph.lookup, graph.corner, orphan.voxels)
    if not len(start) or not len(goal):
        return None
    cost, before, length, _ = cheapest_paths(graph, price, start)
    end = int(goal[np.argmin(cost[goal])])
    if not np.isfinite(cost[end]) or length[end] <= 0:
        return None
    path = [end]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    nodes = np.asarray(path[::-1])
    return _Path(graph.voxels[nodes], float(cost[end] / length[end]), float(price[nodes].max()), float(length[end]))


def _nodes(lookup: NDArray[np.int32], corner: NDArray[np.int32], voxels: NDArray[np.int32]) -> NDArray[np.int32]:
    local = voxels - corner
    inside = ((local >= 0) & (local < lookup.shape)).all(axis=1)
    nodes = lookup[tuple(local[inside].T)]
    return np.unique(nodes[nodes >= 0]).astype(np.int32)


def _price(
    voxels: NDArray[np.int32], segmentation: Segmentation, surroundings: Surroundings, verdict: Verdict | None
) -> NDArray[np.float32]:
    """Price per mm of each voxel: 1 in seen vessel, up to 6 in fat, 20 in a chamber; half of it the network's where there is a verdict."""
    z, y, x = voxels.T
    seen = segmentation.coronary[z, y, x] / 255.0
    hu = segmentation.hu[z, y, x].astype(np.float64)
    tissue = np.interp(hu, [-80.0, 0.0, 120.0, 250.0], [6.0, 4.0, 2.5, 1.6])
    price = 1.0 + (tissue - 1.0) * (1.0 - np.clip(seen / 0.4, 0.0, 1.0))
    if verdict is not None:
        price = 0.5 * price + 0.5 * (1.0 + 5.0 * (1.0 - verdict.at(voxels)))
    deep = surroundings.distance(segmentation.geometry.to_points(voxels), *CHAMBERS) < -1.5
    return np.where(deep & (seen < 0.35), FORBIDDEN, price).astype(np.float32)


def _acceptable(path: _Path, points: Float, segmentation: Segmentation, limit: float, rules: RepairRules) -> bool:
    line = segmentation.geometry.to_points(path.voxels)
    if path.price > rules.dearest or path.length_mm > 1.4 * limit:
        return False
    if path.length_mm < 3.0:
        return True
    # the orphan must go on in the bridge's direction
    direction = line[-1] - line[0]
    direction /= max(float(np.linalg.norm(direction)), 1e-9)
    near = points[np.linalg.norm(points - line[-1], axis=1) < 6.0]
    onward = near.mean(axis=0) - line[-1]
    size = float(np.linalg.norm(onward))
    return size < 0.5 or float(onward @ direction) / size >= rules.sharpest_cosine


def _grow_again(lines: Centrelines, bridges: list[Bridge], segmentation: Segmentation) -> tuple[TreeBranch, ...]:
    added = np.concatenate([bridge.voxels for bridge in bridges])
    mask = with_voxels(lines.mask, added, segmentation, lines.rules)
    moved = [_moved(ostium, lines, mask.graph.lookup, mask.graph.corner) for ostium in lines.ostia]
    branches = grow(mask, moved, segmentation, lines.refiner, rules=lines.rules)
    held = set(map(tuple, lines.mask.graph.voxels.tolist()))
    fresh = np.array([voxel for voxel in added.tolist() if tuple(voxel) not in held], np.int32).reshape(-1, 3)
    if not len(fresh):
        return branches
    search = cKDTree(segmentation.geometry.to_points(fresh))
    marked = []
    for branch in branches:
        near = search.query(branch.points_mm)[0] < 0.9
        for start, end in branch.repaired:
            near[start:end] = True
        marked.append(replace(branch, repaired=ranges_of(near)))
    return tuple(marked)


def _moved(ostium: Ostium, lines: Centrelines, lookup: NDArray[np.int32], corner: NDArray[np.int32]) -> Ostium:
    """The same ostium in the larger graph."""
    z, y, x = lines.mask.graph.voxels[ostium.node] - corner
    return replace(ostium, node=int(lookup[z, y, x]))
