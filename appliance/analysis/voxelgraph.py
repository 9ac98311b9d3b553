"""A vessel mask as a sparse graph of voxels: depth, components, cheapest paths, and the tree of centre paths.

The tree follows the idea of TEASAR (Sato et al., 'TEASAR: tree-structure extraction algorithm for accurate and robust skeletons',
Pacific Graphics 2000): the farthest voxel not yet covered is joined to the tree along the cheapest centred path, until none is left.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_STEPS = np.array([(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) != (0, 0, 0)], np.int32)


@dataclass(frozen=True)
class VoxelGraph:
    """The voxels of a mask and their 26-neighbours.

    Attributes:
        voxels: index (z, y, x) of each node in the whole grid, (n, 3).
        neighbours: node numbers, -1 where there is none, (n, 26).
        step_mm: length of each of the 26 steps.
        lookup: node number per voxel of the bounding box, -1 outside the mask.
        corner: index of the box's first voxel in the whole grid.
        spacing_mm: side of a voxel.
    """

    voxels: Ints
    neighbours: Ints
    step_mm: Floats
    lookup: Ints
    corner: Ints
    spacing_mm: float

    def __len__(self) -> int:
        return len(self.voxels)

    def subset(self, keep: Bools) -> VoxelGraph:
        """The graph of the nodes in ``keep``, (n,)."""
        return _build(self.voxels[keep], self.corner, self.lookup.shape, self.spacing_mm)


def build_graph(mask: Bools, spacing_mm: float) -> VoxelGraph:
    """The graph of all True voxels of ``mask`` (z, y, x); an empty mask gives an empty graph."""
    voxels = np.argwhere(mask).astype(np.int32)
    return graph_of(voxels, spacing_mm)


def graph_of(voxels: Ints, spacing_mm: float) -> VoxelGraph:
    """The graph of ``voxels`` (n, 3)."""
    if not len(voxels):
        return _build(voxels.reshape(0, 3), np.zeros(3, np.int32), (1, 1, 1), spacing_mm)
    # a rim of one voxel, so that neighbours never leave the box
    corner = voxels.min(axis=0) - 1
    shape = voxels.max(axis=0) - corner + 2
    return _build(voxels, corner.astype(np.int32), (int(shape[0]), int(shape[1]), int(shape[2])), spacing_mm)


def _build(voxels: Ints, corner: Ints, shape: tuple[int, ...], spacing_mm: float) -> VoxelGraph:
    lookup = np.full(shape, -1, np.int32)
    local = voxels - corner
    lookup[local[:, 0], local[:, 1], local[:, 2]] = np.arange(len(voxels), dtype=np.int32)
    neighbours = np.empty((len(voxels), 26), np.int32)
    for k, (dz, dy, dx) in enumerate(_STEPS):
        neighbours[:, k] = lookup[local[:, 0] + dz, local[:, 1] + dy, local[:, 2] + dx]
    step = (np.linalg.norm(_STEPS, axis=1) * spacing_mm).astype(np.float32)
    return VoxelGraph(voxels=voxels, neighbours=neighbours, step_mm=step, lookup=lookup, corner=corner, spacing_mm=spacing_mm)


def depth_mm(graph: VoxelGraph, inside: Bools | None = None, *, maximum_mm: float = 6.0) -> Floats:
    """Distance from each node to the nearest voxel outside the mask (or outside ``inside``), less half a voxel; at most ``maximum_mm``.

    Nodes that are not ``inside`` have depth 0.
    """
    reach = int(np.ceil(maximum_mm / graph.spacing_mm))
    axis = np.arange(-reach, reach + 1)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(offsets, axis=1) * graph.spacing_mm
    order = np.argsort(distance, kind="stable")
    order = order[(distance[order] > 0) & (distance[order] <= maximum_mm)]
    member = np.ones(len(graph), np.bool_) if inside is None else inside
    return np.asarray(
        _depth(
            graph.voxels - graph.corner,
            graph.lookup,
            member,
            offsets[order].astype(np.int32),
            distance[order].astype(np.float32),
            np.float32(0.5 * graph.spacing_mm),
            np.float32(maximum_mm),
        )
    )


@njit(parallel=True, cache=True)
def _depth(local, lookup, member, offsets, distance, half, maximum):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.zeros(len(local), np.float32)
    nz, ny, nx = lookup.shape
    for i in prange(len(local)):
        if not member[i]:
            continue
        value = maximum
        for k in range(len(offsets)):
            z, y, x = local[i, 0] + offsets[k, 0], local[i, 1] + offsets[k, 1], local[i, 2] + offsets[k, 2]
            outside = z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx
            if not outside:
                node = lookup[z, y, x]
                outside = node < 0 or not member[node]
            if outside:
                value = distance[k] - half
                break
        out[i] = value
    return out


def components(graph: VoxelGraph) -> tuple[Ints, int]:
    """Component number of each node (n,) and how many there are."""
    labels, count = _components(graph.neighbours)
    return labels, int(count)


@njit(cache=True)
def _components(neighbours):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    count = len(neighbours)
    labels = np.full(count, -1, np.int32)
    stack = np.empty(count, np.int32)
    found = 0
    for seed in range(count):
        if labels[seed] >= 0:
            continue
        labels[seed] = found
        stack[0] = seed
        top = 1
        while top:
            top -= 1
            node = stack[top]
            for k in range(26):
                other = neighbours[node, k]
                if other >= 0 and labels[other] < 0:
                    labels[other] = found
                    stack[top] = other
                    top += 1
        found += 1
    return labels, found


def cheapest_paths(graph: VoxelGraph, weight: Floats, sources: Ints) -> tuple[Floats, Ints, Floats, Ints]:
    """Cheapest paths from ``sources`` to every node; a step costs its length times the mean ``weight`` (n,) of its two nodes.

    Returns:
        cost (n,), predecessor (n,) (-1 at sources and where no path leads), path length in mm (n,), source (n,) (index into
        ``sources``, -1 where no path leads).
    """
    cost, predecessor, length, source = _dijkstra(graph.neighbours, graph.step_mm, weight.astype(np.float32), sources.astype(np.int32))
    return cost, predecessor, length, source


@njit(cache=True)
def _dijkstra(neighbours, step, weight, sources):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    count = len(neighbours)
    cost = np.full(count, np.inf, np.float32)
    length = np.full(count, np.inf, np.float32)
    predecessor = np.full(count, -1, np.int32)
    source = np.full(count, -1, np.int32)
    done = np.zeros(count, np.bool_)
    heap = [(np.float32(0), np.int32(0))]
    heap.pop()
    for k in range(len(sources)):
        node = sources[k]
        cost[node] = 0
        length[node] = 0
        source[node] = k
        heapq.heappush(heap, (np.float32(0), np.int32(node)))
    while len(heap) > 0:
        _, node = heapq.heappop(heap)
        if done[node]:
            continue
        done[node] = True
        for k in range(26):
            other = neighbours[node, k]
            if other < 0 or done[other]:
                continue
            candidate = cost[node] + step[k] * np.float32(0.5) * (weight[node] + weight[other])
            if candidate < cost[other]:
                cost[other] = candidate
                length[other] = length[node] + step[k]
                predecessor[other] = node
                source[other] = source[node]
                heapq.heappush(heap, (candidate, np.int32(other)))
    return cost, predecessor, length, source


@dataclass(frozen=True)
class CentrePath:
    """A run of nodes from where it leaves its parent (that node included) to its end."""

    nodes: Ints
    parent: int | None
    parent_position: int | None
    root: int


def centre_paths(
    graph: VoxelGraph,
    *,
    weight: Floats,
    radius_mm: Floats,
    roots: Ints,
    minimum_mm: float,
    spur_factor: float = 1.0,
    cover_mm: float = 1.0,
) -> list[CentrePath]:
    """The tree of centre paths from ``roots``, longest runs first, without loops.

    Args:
        graph: the vessel mask.
        weight: cost per mm at each node, low on the centreline.
        radius_mm: rough vessel radius at each node.
        roots: nodes where trees begin; a node belongs to the root that it reaches most cheaply.
        minimum_mm: shortest side run that counts, beyond ``spur_factor`` times the parent's radius.
        spur_factor: see ``minimum_mm``.
        cover_mm: a run covers the voxels within its radius plus this much.
    """
    if not len(graph) or not len(roots):
        return []
    _, predecessor, length, source = cheapest_paths(graph, weight, roots)
    open_length = np.where(np.isfinite(length), length, -1.0).astype(np.float32)
    owner = np.full(len(graph), -1, np.int32)
    position = np.full(len(graph), -1, np.int32)
    local = graph.voxels - graph.corner
    order = np.argsort(-open_length, kind="stable")
    covered = open_length < 0
    paths: list[CentrePath] = []
    for start in order:
        if covered[start]:
            continue
        nodes = _walk_back(predecessor, owner, np.int32(start))
        first = int(nodes[0])
        parent = int(owner[first]) if owner[first] >= 0 else None
        fresh = float(length[start] - length[first])
        needed = minimum_mm + (spur_factor * float(radius_mm[first]) if parent is not None else 0.0)
        _cover(local, graph.lookup, nodes, radius_mm, np.float32(cover_mm), np.float32(graph.spacing_mm), covered)
        if fresh < needed:
            continue
        at = int(position[first]) if parent is not None else None
        own = nodes if parent is None else nodes[1:]
        owner[own] = len(paths)
        position[own] = np.arange(len(nodes) - len(own), len(nodes))
        paths.append(CentrePath(nodes=nodes, parent=parent, parent_position=at, root=int(source[start])))
    return paths


@njit(cache=True)
def _walk_back(predecessor, owner, start):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    nodes = [start]
    while owner[nodes[-1]] < 0 and predecessor[nodes[-1]] >= 0:
        nodes.append(predecessor[nodes[-1]])
    return np.array(nodes[::-1], np.int32)


@njit(cache=True)
def _cover(local, lookup, nodes, radius, extra, spacing, covered):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    nz, ny, nx = lookup.shape
    for i in range(len(nodes)):
        z, y, x = local[nodes[i], 0], local[nodes[i], 1], local[nodes[i], 2]
        reach = (radius[nodes[i]] + extra) / spacing
        limit = int(reach) + 1
        for dz in range(-limit, limit + 1):
            for dy in range(-limit, limit + 1):
                for dx in range(-limit, limit + 1):
                    if dz * dz + dy * dy + dx * dx > reach * reach:
                        continue
                    zz, yy, xx = z + dz, y + dy, x + dx
                    if zz < 0 or yy < 0 or xx < 0 or zz >= nz or yy >= ny or xx >= nx:
                        continue
                    node = lookup[zz, yy, xx]
                    if node >= 0:
                        covered[node] = True
