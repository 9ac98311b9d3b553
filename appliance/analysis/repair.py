"""Joining pieces that the segmentation lost: gaps between the tree and vessel-like orphans are bridged, and every bridge is marked.

Every way to join every piece has a cost: the length of the cheapest way through the image times its price, more where the two ends do not
face each other or the piece would be entered at its thin end (``repair_places``), less where the network sees a vessel in the gap
(``repair_network``). What a piece may cost grows with its length and brightness: a long artery must come from somewhere, a short piece
beside a vessel is as likely a vein. The surest join is made first, and what was joined can carry further pieces; each is joined once. A
long piece that begins at the aorta may have an ostium of its own. A way through a chamber is dearer than one through fat, not forbidden:
the map of the chambers is coarse. The rules keep their veto over what a piece must be like.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from appliance.analysis.centrelines import Centrelines, dropped_at, grow, with_voxels
from appliance.analysis.ostia import TOUCH_MM, Ostium, side_of
from appliance.analysis.repair_network import Gap, GapJudge
from appliance.analysis.repair_path import CHAMBERS, cheapest
from appliance.analysis.repair_places import Facing, Place, Sources, Tips, facing_cost, places_of, sources_of, tips_of
from appliance.analysis.runs import ranges_of
from appliance.analysis.stages import Dropped, Float, Orphan, Segmentation, Structure, Tree, TreeBranch, VesselClass
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.voxelgraph import components, graph_of
from appliance.inference.engine import Session

_STUMP_MM = 3.0
"""Tree voxels farther than this from every line belong to a stump."""
_VEIN_VOXELS = 2
_AWAY_MM = 6.0
"""A vessel that begins at the aorta is, this far on, at least half as far from it: one that passes by is not."""


@dataclass(frozen=True)
class RepairRules:
    """When a piece may be joined. Choices of this project; costs in millimetres of seen vessel.

    Attributes:
        shortest_mm: shortest orphan worth joining.
        least_hu: the orphan's attenuation, as a part of the blood's in the tree: unopacified and half opacified veins lie below.
        brightest: the same at most: catheters, leads and undiluted contrast lie beyond.
        least_probability: least mean probability of an orphan.
        deepest_mm: an orphan whose middle lies deeper in a chamber is no coronary. farthest_mm: nor one that far from the heart.
        allowance, allowance_per_mm, longest_counted_mm: what joining the shortest orphan may cost, how much more for each further
            millimetre of it, and the length up to which that counts.
        bright_hu: an orphan's attenuation, as above, from which it is allowed all of that.
        beside_vein: part of the allowance that an orphan loses that lies beside a vein, or in it, all along.
        network: what a gap costs more or less by the network's word.
        own_ostium, own_ostium_mm: what an ostium of its own costs, and the shortest piece that may have one.
        facing: what it costs if ends do not face each other.
    """

    shortest_mm: float = 8.0
    least_hu: float = 0.4
    brightest: float = 1.6
    least_probability: float = 0.5
    deepest_mm: float = 3.0
    farthest_mm: float = 8.0
    allowance: float = 12.0
    allowance_per_mm: float = 1.0
    longest_counted_mm: float = 60.0
    bright_hu: float = 0.5
    beside_vein: float = 0.5
    network: float = 4.0
    own_ostium: float = 10.0
    own_ostium_mm: float = 30.0
    facing: Facing = field(default_factory=Facing)


@dataclass(frozen=True)
class Bridge:
    """What joins an orphan to the tree.

    Attributes:
        voxels: of the segmentation's grid from the tree to the orphan, (n, 3); none at an ostium of its own.
        length_mm: of the bridge. cost: see ``RepairRules``.
        tip: number of the tip at which the orphan is entered, None elsewhere.
        ostium: LPS, where the orphan begins at the aorta; None on the tree.
    """

    voxels: NDArray[np.int32]
    length_mm: float
    cost: float = 0.0
    tip: int | None = None
    ostium: Float | None = None


@dataclass(eq=False)
class _Waiting:
    """An orphan that is not joined yet, with the best bridge so far."""

    orphan: Orphan
    points: Float
    tips: Tips
    allowance: float
    best: Bridge | None = None

    def offer(self, bridge: Bridge | None) -> None:
        """Take a bridge that costs less than the best one so far."""
        if bridge is not None and (self.best is None or bridge.cost < self.best.cost):
            self.best = bridge

    @property
    def limit(self) -> float:
        """Dearer bridges need not be looked at."""
        return self.allowance if self.best is None else min(self.allowance, self.best.cost)

    @property
    def margin(self) -> float:
        """What is left of the allowance, as a part of it; below 0 where the orphan cannot be joined."""
        return -1.0 if self.best is None else 1.0 - self.best.cost / self.allowance


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
    waiting: list[_Waiting] = []
    blood = _blood(lines, segmentation)
    for orphan in lines.tree.orphans:
        refused = refusal(orphan, segmentation, lines.surroundings, blood, rules)
        if refused:
            dropped.append(dropped_at(segmentation.geometry.to_points(orphan.voxels), orphan.length_mm, refused))
        else:
            waiting.append(_waiting(orphan, segmentation, blood, rules))
    bridges = _join(waiting, lines, Ways(segmentation, lines.surroundings, blood, rules, judge))
    dropped += [dropped_at(one.points, one.orphan.length_mm, "not_connected") for one in waiting]
    if not bridges:
        return replace(lines.tree, orphans=(), dropped=tuple(dropped))
    return Tree(branches=_grow_again(lines, bridges, segmentation), dropped=tuple(dropped))


def _join(waiting: list[_Waiting], lines: Centrelines, ways: Ways) -> list[Bridge]:
    """The bridges, surest first; what was joined is taken off ``waiting``."""
    sources = sources_of(lines.tree, *_stumps(lines, ways.segmentation))
    for one in waiting:
        one.offer(_own_ostium(one, ways.surroundings, ways.rules))
        one.offer(ways.cheapest(one.orphan, one.tips, sources, most=one.limit))
    bridges: list[Bridge] = []
    while waiting:
        surest = max(waiting, key=lambda one: one.margin)
        if surest.margin < 0.0 or surest.best is None:
            break
        bridges.append(surest.best)
        waiting.remove(surest)
        # what was joined can carry further pieces
        fresh = Sources.of_piece(surest.tips, surest.best.tip, surest.points[::5])
        for one in waiting:
            one.offer(ways.cheapest(one.orphan, one.tips, fresh, most=one.limit))
    return bridges


def allowance(orphan: Orphan, segmentation: Segmentation, blood: float, rules: RepairRules) -> float:
    """What joining an orphan may cost: more for a long and bright one."""
    counted = min(orphan.length_mm, rules.longest_counted_mm) - rules.shortest_mm
    bright = min(_brightness(orphan, segmentation, blood) / rules.bright_hu, 1.0)
    arterial = 1.0 - rules.beside_vein * _beside_vein(orphan, segmentation)
    return (rules.allowance + rules.allowance_per_mm * max(counted, 0.0)) * bright * arterial


def _beside_vein(orphan: Orphan, segmentation: Segmentation) -> float:
    """The share of an orphan's voxels that have a vein within ``_VEIN_VOXELS``."""
    low = np.maximum(orphan.voxels.min(axis=0) - _VEIN_VOXELS, 0)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, orphan.voxels.max(axis=0) + _VEIN_VOXELS + 1, strict=True))
    near = maximum_filter(segmentation.classes[box] == VesselClass.VEIN, size=2 * _VEIN_VOXELS + 1)
    return float(near[tuple((orphan.voxels - low).T)].mean())


def _waiting(orphan: Orphan, segmentation: Segmentation, blood: float, rules: RepairRules) -> _Waiting:
    return _Waiting(
        orphan=orphan,
        points=segmentation.geometry.to_points(orphan.voxels),
        tips=tips_of(orphan.voxels, segmentation.geometry),
        allowance=allowance(orphan, segmentation, blood, rules),
    )


def _blood(lines: Centrelines, segmentation: Segmentation) -> float:
    """Attenuation of the blood in the wide part of the tree."""
    z, y, x = lines.mask.graph.voxels[lines.mask.radius_mm > 1.3].T
    values = segmentation.hu[z, y, x]
    return float(np.median(values)) if values.size > 50 else 0.0


def refusal(orphan: Orphan, segmentation: Segmentation, surroundings: Surroundings, blood: float, rules: RepairRules) -> str | None:
    """The rule that refuses an orphan by itself, None if it may be joined."""
    if orphan.length_mm < rules.shortest_mm:
        return "too_short"
    z, y, x = orphan.voxels.T
    if segmentation.coronary[z, y, x].mean() < 255 * rules.least_probability:
        return "low_probability"
    if blood > 0.0 and not rules.least_hu <= _brightness(orphan, segmentation, blood) <= rules.brightest:
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


def _stumps(lines: Centrelines, segmentation: Segmentation) -> tuple[Float, Float]:
    """The outermost points of stumps too short to be lines, and the unit vectors from their line to them, both (n, 3)."""
    search = cKDTree(np.concatenate([branch.points_mm for branch in lines.tree.branches]))
    held = np.isin(lines.mask.label, [lines.mask.label[ostium.node] for ostium in lines.ostia])
    voxels = lines.mask.graph.voxels[held]
    gap, nearest = search.query(segmentation.geometry.to_points(voxels))
    beyond = gap > _STUMP_MM
    if not beyond.any():
        return np.zeros((0, 3)), np.zeros((0, 3))
    voxels, gap, nearest = voxels[beyond], gap[beyond], nearest[beyond]
    label, count = components(graph_of(voxels, segmentation.geometry.spacing[0]))
    outermost = np.array([np.flatnonzero(label == one)[np.argmax(gap[label == one])] for one in range(count)])
    points = segmentation.geometry.to_points(voxels[outermost])
    return points, (points - search.data[nearest[outermost]]) / gap[outermost][:, None]


def _own_ostium(one: _Waiting, surroundings: Surroundings, rules: RepairRules) -> Bridge | None:
    """An ostium at a tip of a long piece that touches the aorta, if the piece leads away from there and not along the aorta's wall."""
    if one.orphan.length_mm < rules.own_ostium_mm:
        return None
    places = one.tips.points
    gap, inside = (surroundings.distance(points, Structure.AORTA) for points in (places, places - _AWAY_MM * one.tips.outward))
    begins = (gap <= TOUCH_MM) & (inside - gap >= 0.5 * _AWAY_MM)
    if not begins.any():
        return None
    tip = int(np.argmin(np.where(begins, gap, np.inf)))
    reach = max(float(gap[tip]), 0.0)
    return Bridge(np.zeros((0, 3), np.int32), reach, cost=rules.own_ostium + reach, tip=tip, ostium=places[tip])


@dataclass(frozen=True)
class Ways:
    """Ways through the image from the tree to orphans, and what they cost.

    Attributes:
        segmentation: the coronaries.
        surroundings: of the same heart.
        blood: attenuation of the arteries' blood, 0 where that is not known.
        rules: what a bridge costs.
        judge: the network; None: by the rules alone.
    """

    segmentation: Segmentation
    surroundings: Surroundings
    blood: float
    rules: RepairRules
    judge: GapJudge | None = None

    def cheapest(self, orphan: Orphan, tips: Tips, sources: Sources, *, most: float) -> Bridge | None:
        """The bridge from any of ``sources`` to an orphan that costs least and not more than ``most``; None where there is none.

        Raises:
            InferenceError: the network's output must not be used.
        """
        points = self.segmentation.geometry.to_points(orphan.voxels)
        # no way is shorter than the gap or cheaper than seen vessel
        places = places_of(tips, points, sources, longest_mm=most + self.rules.network)
        bounds = [place.gap_mm + facing_cost(place, self.rules.facing) - self.rules.network for place in places]
        best: Bridge | None = None
        for i in sorted(range(len(places)), key=lambda i: bounds[i]):
            if bounds[i] > (most if best is None else best.cost):
                break
            bridge = self._bridge(places[i], orphan)
            if bridge is not None and bridge.cost <= (most if best is None else best.cost):
                best = bridge
        return best

    def _bridge(self, place: Place, orphan: Orphan) -> Bridge | None:
        verdict = self.judge.verdicts([Gap(near_mm=place.source, far_mm=place.target)])[0] if self.judge is not None else None
        path = cheapest(place.source, place.target, orphan.voxels, self.segmentation, self.surroundings, blood=self.blood, verdict=verdict)
        if path is None:
            return None
        said = 0.0 if verdict is None else self.rules.network * (1.0 - 2.0 * verdict.vessel)
        cost = path.length_mm * path.price + facing_cost(place, self.rules.facing) + said
        return Bridge(voxels=path.voxels, length_mm=path.length_mm, cost=cost, tip=place.tip)


def _grow_again(lines: Centrelines, bridges: list[Bridge], segmentation: Segmentation) -> tuple[TreeBranch, ...]:
    added = np.concatenate([bridge.voxels for bridge in bridges])
    mask = with_voxels(lines.mask, added, segmentation, lines.rules)
    ostia = [_moved(ostium, lines, mask.graph.lookup, mask.graph.corner) for ostium in lines.ostia]
    search = cKDTree(segmentation.geometry.to_points(mask.graph.voxels))
    for place in [bridge.ostium for bridge in bridges if bridge.ostium is not None]:
        gap, node = search.query(place)
        ostia.append(Ostium(node=int(node), side=side_of(place, lines.surroundings.heart), distance_mm=float(gap)))
    branches = grow(mask, ostia, segmentation, lines.refiner, rules=lines.rules)
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
