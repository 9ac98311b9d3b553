"""From the coronary mask to a tree of centre lines that starts at the ostia.

The cost of a step falls towards the middle of the lumen (depth below the lumen's surface), so that paths run centred; wall and plaque
voxels cost more and are crossed only where the lumen is gone. What does not hang on an ostium is kept aside for ``repair``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.curves import Refiner, follow
from appliance.analysis.ostia import Ostium, find_ostia
from appliance.analysis.ostia_network import find_peaks
from appliance.analysis.stages import Dropped, Float, Heart, Orphan, Range, Segmentation, Side, Tree, TreeBranch, VesselClass
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.voxelgraph import CentrePath, VoxelGraph, build_graph, centre_paths, components, depth_mm, graph_of
from appliance.errors import AnalysisError
from appliance.inference.engine import Session

LONGEST_UNMARKED_LEAD_MM = 2.0
"""A line that begins farther before the mask than this is marked there as repaired."""


@dataclass(frozen=True)
class CentrelineRules:
    """What counts as a vessel.

    Attributes:
        seed_probability, grow_probability: hysteresis on the network's probability.
        minimum_component_mm3: smallest piece that is looked at.
        widest_radius_mm: deeper parts are chamber, not coronary.
        minimum_branch_mm: shortest side branch, beyond its parent's radius.
        wall_cost: price per mm of a voxel that is not lumen, next to 1 on the middle of the lumen.
        flare_mm: side runs that begin so near to the ostium must be twice as long.
    """

    seed_probability: float = 0.5
    grow_probability: float = 0.35
    minimum_component_mm3: float = 12.0
    widest_radius_mm: float = 4.2
    minimum_branch_mm: float = 8.0
    wall_cost: float = 6.0
    flare_mm: float = 5.0


@dataclass(frozen=True)
class VesselMask:
    """The mask as a graph, with what the path finder needs to know of each node, all (n,)."""

    graph: VoxelGraph
    lumen: NDArray[np.bool_]
    radius_mm: NDArray[np.float32]
    weight: NDArray[np.float32]
    label: NDArray[np.int32]


@dataclass(frozen=True)
class Centrelines:
    """The tree, and what repair needs to grow it anew once something was joined."""

    tree: Tree
    mask: VesselMask
    ostia: list[Ostium]
    refiner: Refiner
    surroundings: Surroundings
    rules: CentrelineRules


def trace(heart: Heart, segmentation: Segmentation, *, rules: CentrelineRules | None = None, session: Session | None = None) -> Centrelines:
    """The tree of centre lines.

    Args:
        heart: chambers and great vessels.
        segmentation: the coronaries.
        rules: what counts as a vessel.
        session: of the model ``ostia``; None: ostia by the rules alone.

    Raises:
        AnalysisError: ANA-101 if the segmentation shows no coronary at all, ANA-102 if nothing of it can be joined to the aorta.
        InferenceError: the network's output must not be used.
    """
    rules = rules or CentrelineRules()
    surroundings = Surroundings(heart)
    mask = vessel_mask(segmentation, rules=rules)
    if not len(mask.graph):
        raise AnalysisError("ANA-101", zh="分割结果中没有冠状动脉", en="the segmentation shows no coronary artery")
    points = segmentation.geometry.to_points(mask.graph.voxels)
    peaks = find_peaks(segmentation, surroundings, session=session) if session is not None else []
    ostia = find_ostia(mask.graph, points, mask.label, mask.lumen, surroundings, peaks=peaks)
    if not ostia:
        raise AnalysisError("ANA-102", zh="未找到与主动脉相连的冠状动脉开口", en="no coronary ostium was found at the aorta")
    refiner = Refiner(segmentation)
    tree = grow(mask, ostia, segmentation, refiner, rules=rules)
    orphans = find_orphans(mask, ostia, rules)
    return Centrelines(
        tree=Tree(branches=tree, orphans=orphans), mask=mask, ostia=ostia, refiner=refiner, surroundings=surroundings, rules=rules
    )


def vessel_mask(segmentation: Segmentation, *, rules: CentrelineRules) -> VesselMask:
    """The mask after hysteresis, without specks and without what is too wide to be a coronary."""
    low = segmentation.coronary >= round(255 * rules.grow_probability)
    low &= segmentation.classes != VesselClass.VEIN
    spacing = segmentation.geometry.spacing[0]
    graph = build_graph(low, spacing)
    if not len(graph):
        return _describe(graph, segmentation, rules)
    kept = _without_leaks(graph, rules)
    graph = graph.subset(kept)
    label, count = components(graph)
    z, y, x = graph.voxels.T
    certain = segmentation.coronary[z, y, x] >= round(255 * rules.seed_probability)
    size = np.bincount(label, minlength=count) * spacing**3
    seeds = np.bincount(label, weights=certain, minlength=count) * spacing**3
    good = (size >= rules.minimum_component_mm3) & (seeds >= 0.3 * rules.minimum_component_mm3)
    return _describe(graph.subset(good[label]), segmentation, rules)


def with_voxels(mask: VesselMask, voxels: NDArray[np.int32], segmentation: Segmentation, rules: CentrelineRules) -> VesselMask:
    """The mask with ``voxels`` (n, 3) joined in."""
    together = np.unique(np.concatenate([mask.graph.voxels, voxels]), axis=0).astype(np.int32)
    return _describe(graph_of(together, mask.graph.spacing_mm), segmentation, rules)


def _without_leaks(graph: VoxelGraph, rules: CentrelineRules) -> NDArray[np.bool_]:
    """True for nodes that are not in the body of a leak: a ball wider than any coronary, and what such balls cover."""
    depth = depth_mm(graph, maximum_mm=rules.widest_radius_mm + 1.0)
    core = np.flatnonzero(depth > rules.widest_radius_mm)
    keep = np.ones(len(graph), np.bool_)
    if not len(core):
        return keep
    reach = int(np.ceil((rules.widest_radius_mm + 0.5) / graph.spacing_mm))
    local = graph.voxels - graph.corner
    wide = np.zeros(graph.lookup.shape, np.bool_)
    wide[tuple(local[core].T)] = True
    from scipy.ndimage import distance_transform_edt

    low = np.maximum(local[core].min(axis=0) - reach - 1, 0)
    high = local[core].max(axis=0) + reach + 2
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    near = np.zeros_like(wide)
    near[box] = distance_transform_edt(~wide[box]) <= reach
    keep[:] = ~near[tuple(local.T)]
    return keep


def _describe(graph: VoxelGraph, segmentation: Segmentation, rules: CentrelineRules) -> VesselMask:
    z, y, x = graph.voxels.T
    lumen = segmentation.classes[z, y, x] == VesselClass.LUMEN
    if not len(graph):
        empty = np.zeros(0, np.float32)
        return VesselMask(graph, lumen, empty, empty, np.zeros(0, np.int32))
    radius = depth_mm(graph)
    depth = depth_mm(graph, lumen)
    local_maximum = _neighbourhood_maximum(graph, depth)
    relative = np.clip(depth / np.maximum(local_maximum, graph.spacing_mm), 0, 1)
    centred = 1.0 + 10.0 * (1.0 - relative) ** 2
    wall = rules.wall_cost + 4.0 * (1.0 - np.clip(radius / np.maximum(_neighbourhood_maximum(graph, radius), graph.spacing_mm), 0, 1))
    label, _ = components(graph)
    return VesselMask(graph, lumen, radius, np.where(lumen, centred, wall).astype(np.float32), label)


def _neighbourhood_maximum(graph: VoxelGraph, value: NDArray[np.float32], rounds: int = 4) -> NDArray[np.float32]:
    """Largest value within ``rounds`` steps of each node."""
    best = value
    for _ in range(rounds):
        around = np.where(graph.neighbours >= 0, best[graph.neighbours], 0.0)
        best = np.maximum(best, around.max(axis=1)).astype(np.float32)
    return best


def grow(
    mask: VesselMask, ostia: list[Ostium], segmentation: Segmentation, refiner: Refiner, *, rules: CentrelineRules
) -> tuple[TreeBranch, ...]:
    """Centre paths from the ostia, centred and smoothed; longest runs first."""
    paths = centre_paths(
        mask.graph,
        weight=mask.weight,
        radius_mm=mask.radius_mm,
        roots=np.array([ostium.node for ostium in ostia], np.int32),
        minimum_mm=rules.minimum_branch_mm,
    )
    branches: list[TreeBranch] = []
    sources: list[int] = []
    for number, path in enumerate(paths):
        ostium = ostia[path.root]
        side: Side = ostium.side
        if _is_flare(path, paths, mask, rules):
            continue
        branch = _branch(path, mask, segmentation, refiner, branches, sources, side, ostium)
        if branch is not None:
            branches.append(branch)
            sources.append(number)
    return tuple(branches)


def _is_flare(path: CentrePath, paths: list[CentrePath], mask: VesselMask, rules: CentrelineRules) -> bool:
    """A short side run right at the ostium: the edge of the aortic wall, not a branch."""
    if path.parent is None or paths[path.parent].parent is not None or path.parent_position is None:
        return False
    voxel = mask.graph.spacing_mm
    return path.parent_position * voxel < rules.flare_mm and len(path.nodes) * voxel < 2.0 * rules.flare_mm


def _branch(
    path: CentrePath,
    mask: VesselMask,
    segmentation: Segmentation,
    refiner: Refiner,
    branches: list[TreeBranch],
    sources: list[int],
    side: Side,
    ostium: Ostium,
) -> TreeBranch | None:
    """One smooth branch; None where its parent was not kept."""
    raw = segmentation.geometry.to_points(mask.graph.voxels[path.nodes])
    radius = mask.radius_mm[path.nodes].astype(np.float64)
    parent: int | None = None
    parent_index: int | None = None
    if path.parent is None:
        if ostium.lead_mm is not None:
            raw = np.concatenate([ostium.lead_mm[None], raw])
            radius = np.concatenate([radius[:1], radius])
        line = refiner.refine(raw, radius, start=ostium.lead_mm if ostium.evidence == "network" else None)
    else:
        if path.parent not in sources:
            return None
        parent = sources.index(path.parent)
        parent_index = int(np.argmin(np.linalg.norm(branches[parent].points_mm - raw[0], axis=1)))
        line = refiner.refine(raw, radius, start=branches[parent].points_mm[parent_index])
    if len(line) < 3:
        return None
    return TreeBranch(
        points_mm=line,
        parent=parent,
        parent_index=parent_index,
        side=side,
        radius_mm=follow(line, raw, radius),
        probability=refiner.probability(line),
        repaired=_lead_range(line, raw) if parent is None and ostium.lead_mm is not None else (),
    )


def _lead_range(line: Float, raw: Float) -> tuple[Range, ...]:
    """The points of a line before its mask begins, where that is far: ``raw[0]`` is the ostium, ``raw[1]`` the first voxel of the mask."""
    lead = raw[1] - raw[0]
    length = float(np.linalg.norm(lead))
    if length <= LONGEST_UNMARKED_LEAD_MM:
        return ()
    reached = np.flatnonzero((line - raw[0]) @ lead >= length**2)
    return ((0, int(reached[0])),) if len(reached) and reached[0] > 0 else ()


def find_orphans(mask: VesselMask, ostia: list[Ostium], rules: CentrelineRules) -> tuple[Orphan, ...]:
    """Pieces of the mask without an ostium, longest first."""
    held = {int(mask.label[ostium.node]) for ostium in ostia}
    found = []
    for label in range(int(mask.label.max()) + 1):
        if label in held:
            continue
        voxels = mask.graph.voxels[mask.label == label]
        extent = np.linalg.norm(np.ptp(voxels, axis=0) * mask.graph.spacing_mm)
        if extent >= rules.minimum_branch_mm:
            found.append(Orphan(voxels=voxels, length_mm=float(extent)))
    return tuple(sorted(found, key=lambda orphan: -orphan.length_mm))


def dropped_orphans(orphans: tuple[Orphan, ...], segmentation: Segmentation, rule: str) -> tuple[Dropped, ...]:
    """The record of pieces that were not kept."""
    return tuple(dropped_at(segmentation.geometry.to_points(orphan.voxels), orphan.length_mm, rule) for orphan in orphans)


def dropped_at(points: Float, length_mm: float, rule: str) -> Dropped:
    """The record of one refusal."""
    x, y, z = points.mean(axis=0)
    return Dropped(centre_mm=(float(x), float(y), float(z)), length_mm=length_mm, rule=rule)
