"""The way that a bridge takes through the image.

It is cheap where the network half saw a vessel or the attenuation is a vessel's, dear through fat, dearest through chambers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.repair_network import Verdict
from appliance.analysis.stages import Float, Segmentation, Structure, VesselClass
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.voxelgraph import cheapest_paths, graph_of

IN_CHAMBER = 7.0
"""Price of a voxel in a chamber."""
CHAMBERS = (Structure.LEFT_ATRIUM, Structure.LV, Structure.RIGHT_ATRIUM, Structure.RV, Structure.AORTA, Structure.PULMONARY_ARTERY)
USUAL_BLOOD_HU = 400.0
_ELSEWHERE = 4.0
_SEEN = 0.35
_RIM_MM = 1.5
"""The chambers' map has voxels of 3 mm: less deep in one may be outside."""
_BESIDE_MM = 3.0
"""How far a way may lead beside the box of its two ends."""


@dataclass(frozen=True)
class Path:
    """A way through the image: its voxels (n, 3), its mean price, its length."""

    voxels: NDArray[np.int32]
    price: float
    length_mm: float


def cheapest(
    source: Float,
    target: Float,
    voxels: NDArray[np.int32],
    segmentation: Segmentation,
    surroundings: Surroundings,
    *,
    blood: float,
    verdict: Verdict | None = None,
) -> Path | None:
    """The cheapest path from ``source`` to a piece's ``voxels`` (n, 3) in a box around the gap to ``target``; None if there is none.

    ``blood`` is the arteries' attenuation, 0 where that is not known.
    """
    geometry = segmentation.geometry
    spacing = geometry.spacing[0]
    corners = np.rint(geometry.to_index(np.stack([source, target]))).astype(np.int32)
    pad = int(np.ceil(_BESIDE_MM / spacing))
    low = np.maximum(corners.min(axis=0) - pad, 0)
    high = np.minimum(corners.max(axis=0) + pad + 1, geometry.shape)
    axes = [np.arange(int(a), int(b), dtype=np.int32) for a, b in zip(low, high, strict=True)]
    box = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    graph = graph_of(box, spacing)
    price = _price(box, segmentation, surroundings, blood or USUAL_BLOOD_HU, verdict)
    start = _nodes(graph.lookup, graph.corner, corners[:1])
    goal = _nodes(graph.lookup, graph.corner, voxels)
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
    return Path(graph.voxels[nodes], float(cost[end] / length[end]), float(length[end]))


def _nodes(lookup: NDArray[np.int32], corner: NDArray[np.int32], voxels: NDArray[np.int32]) -> NDArray[np.int32]:
    local = voxels - corner
    inside = ((local >= 0) & (local < lookup.shape)).all(axis=1)
    nodes = lookup[tuple(local[inside].T)]
    return np.unique(nodes[nodes >= 0]).astype(np.int32)


def _price(
    voxels: NDArray[np.int32], segmentation: Segmentation, surroundings: Surroundings, blood: float, verdict: Verdict | None
) -> NDArray[np.float32]:
    """Price per mm of each voxel: 1 in seen vessel, up to 6 in fat, 4 in the blood of veins and the rims of chambers, 7 in a chamber.

    Half of it is the network's where that is sure of a vessel; where it sees none, its course says nothing.
    """
    z, y, x = voxels.T
    seen = segmentation.coronary[z, y, x] / 255.0
    hu = segmentation.hu[z, y, x].astype(np.float64)
    tissue = np.interp(hu, [-80.0, 0.0, 0.3 * blood, 0.7 * blood], [6.0, 4.0, 2.5, 1.3])
    price = 1.0 + (tissue - 1.0) * (1.0 - np.clip(seen / 0.4, 0.0, 1.0))
    if verdict is not None:
        share = 0.5 * verdict.vessel
        price = (1.0 - share) * price + share * (1.0 + 5.0 * (1.0 - verdict.at(voxels)))
    inside = surroundings.distance(segmentation.geometry.to_points(voxels), *CHAMBERS)
    unseen = seen < _SEEN
    others = unseen & (hu > 0.4 * blood) & ((inside < 0.0) | (segmentation.classes[z, y, x] == VesselClass.VEIN))
    price = np.where(others, np.maximum(price, _ELSEWHERE), price)
    return np.where(unseen & (inside < -_RIM_MM), IN_CHAMBER, price).astype(np.float32)
