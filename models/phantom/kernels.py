"""Compiled loops of the virtual patient: distances to chains of capsules and sampling of distance fields."""

# ruff: noqa: C901 - each kernel is one loop nest; splitting it would cost the speed it exists for.
from __future__ import annotations

import heapq
import math

import numba as nb
import numpy as np

from models.phantom.types import FloatArray


@nb.njit(parallel=True, cache=True, fastmath=True)
def capsule_field(points: FloatArray, segments: FloatArray, cap: float) -> FloatArray:
    """Signed distance (mm, clipped above at `cap`) of `points` (n, 3) to a union of tapered capsules.

    `segments` has one row per capsule: start xyz, end xyz, start radius, end radius.
    """
    n, m = points.shape[0], segments.shape[0]
    out = np.empty(n, np.float32)
    inverse = np.zeros(m, np.float32)
    for s in range(m):
        length2 = (segments[s, 3:6] - segments[s, 0:3]) ** 2
        inverse[s] = 1.0 / max(length2.sum(), 1e-9)
    for i in nb.prange(n):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        best = np.float32(cap)
        for s in range(m):
            ax, ay, az = segments[s, 0], segments[s, 1], segments[s, 2]
            ux, uy, uz = segments[s, 3] - ax, segments[s, 4] - ay, segments[s, 5] - az
            px, py, pz = x - ax, y - ay, z - az
            t = (px * ux + py * uy + pz * uz) * inverse[s]
            t = min(np.float32(1.0), max(np.float32(0.0), t))
            dx, dy, dz = px - t * ux, py - t * uy, pz - t * uz
            reach = best + segments[s, 6] + t * (segments[s, 7] - segments[s, 6])
            square = dx * dx + dy * dy + dz * dz
            if reach > 0.0 and square < reach * reach:
                best = np.float32(math.sqrt(square) - reach + best)
        out[i] = best
    return out


@nb.njit(parallel=True, cache=True, fastmath=True)
def oval_field(points: FloatArray, centre: FloatArray, axes: FloatArray, radii: FloatArray) -> FloatArray:
    """Approximate signed distance (mm) of `points` (n, 3) to an ellipsoid with unit axes as rows of `axes` and half-axes `radii`."""
    n = points.shape[0]
    out = np.empty(n, np.float32)
    i0, i1, i2 = np.float32(1.0) / radii[0], np.float32(1.0) / radii[1], np.float32(1.0) / radii[2]
    for i in nb.prange(n):
        x, y, z = points[i, 0] - centre[0], points[i, 1] - centre[1], points[i, 2] - centre[2]
        a = (x * axes[0, 0] + y * axes[0, 1] + z * axes[0, 2]) * i0
        b = (x * axes[1, 0] + y * axes[1, 1] + z * axes[1, 2]) * i1
        c = (x * axes[2, 0] + y * axes[2, 1] + z * axes[2, 2]) * i2
        k0 = math.sqrt(a * a + b * b + c * c)
        k1 = math.sqrt(a * a * i0 * i0 + b * b * i1 * i1 + c * c * i2 * i2) + np.float32(1e-6)
        out[i] = np.float32(k0 * (k0 - np.float32(1.0)) / k1)
    return out


@nb.njit(parallel=True, cache=True, fastmath=True)
def sample_stack(points: FloatArray, stack: FloatArray, origin: FloatArray, spacing: float) -> FloatArray:
    """Trilinear samples (c, n) of a stack of fields (c, z, y, x) at `points` (n, 3); outside, the nearest edge counts."""
    channels, nz, ny, nx = stack.shape
    n = points.shape[0]
    out = np.empty((channels, n), np.float32)
    for i in nb.prange(n):
        fx = min(max((points[i, 0] - origin[0]) / spacing, 0.0), nx - 1.001)
        fy = min(max((points[i, 1] - origin[1]) / spacing, 0.0), ny - 1.001)
        fz = min(max((points[i, 2] - origin[2]) / spacing, 0.0), nz - 1.001)
        a, b, c = int(fz), int(fy), int(fx)
        wz, wy, wx = np.float32(fz - a), np.float32(fy - b), np.float32(fx - c)
        for ch in range(channels):
            p = stack[ch, a, b, c] + wx * (stack[ch, a, b, c + 1] - stack[ch, a, b, c])
            q = stack[ch, a, b + 1, c] + wx * (stack[ch, a, b + 1, c + 1] - stack[ch, a, b + 1, c])
            r = stack[ch, a + 1, b, c] + wx * (stack[ch, a + 1, b, c + 1] - stack[ch, a + 1, b, c])
            s = stack[ch, a + 1, b + 1, c] + wx * (stack[ch, a + 1, b + 1, c + 1] - stack[ch, a + 1, b + 1, c])
            low = p + wy * (q - p)
            out[ch, i] = low + wz * (r + wy * (s - r) - low)
    return out


@nb.njit(parallel=True, cache=True)
def tube_grid(
    shape: tuple[int, int, int],
    origin: FloatArray,
    spacing: float,
    points: FloatArray,
    radius: FloatArray,
    reach: float,
) -> FloatArray:
    """Distance (mm, at most `reach`) from each voxel of a grid to a union of balls, computed near the balls only."""
    nz, ny, nx = shape
    out = np.full(shape, np.float32(reach), np.float32)
    slabs = 16
    for slab in nb.prange(slabs):
        z0, z1 = slab * nz // slabs, (slab + 1) * nz // slabs
        for p in range(points.shape[0]):
            r = radius[p]
            far = r + reach
            ka = max(z0, math.ceil((points[p, 2] - far - origin[2]) / spacing))
            kb = min(z1, math.floor((points[p, 2] + far - origin[2]) / spacing) + 1)
            ja = max(0, math.ceil((points[p, 1] - far - origin[1]) / spacing))
            jb = min(ny, math.floor((points[p, 1] + far - origin[1]) / spacing) + 1)
            ia = max(0, math.ceil((points[p, 0] - far - origin[0]) / spacing))
            ib = min(nx, math.floor((points[p, 0] + far - origin[0]) / spacing) + 1)
            for k in range(ka, kb):
                dz = origin[2] + k * spacing - points[p, 2]
                for j in range(ja, jb):
                    dy = origin[1] + j * spacing - points[p, 1]
                    for i in range(ia, ib):
                        dx = origin[0] + i * spacing - points[p, 0]
                        d = math.sqrt(dx * dx + dy * dy + dz * dz) - r
                        if d < out[k, j, i]:
                            out[k, j, i] = np.float32(d)
    return out


@nb.njit(cache=True)
def cheapest_path(cost: FloatArray, start: tuple[int, int, int], end: tuple[int, int, int]) -> FloatArray:
    """Dijkstra's cheapest path (n, 3) between two voxels of a cost grid, over 26 neighbours; a step costs length times mean cost."""
    nz, ny, nx = cost.shape
    total = np.full(cost.shape, np.inf)
    back = np.full(cost.shape, -1, np.int64)
    done = np.zeros(cost.shape, np.bool_)
    total[start] = 0.0
    queue = [(0.0, (start[0] * ny + start[1]) * nx + start[2])]
    goal = (end[0] * ny + end[1]) * nx + end[2]
    while queue:
        here, flat = heapq.heappop(queue)
        k, j, i = flat // (ny * nx), flat // nx % ny, flat % nx
        if done[k, j, i]:
            continue
        done[k, j, i] = True
        if flat == goal:
            break
        for dk in range(-1, 2):
            for dj in range(-1, 2):
                for di in range(-1, 2):
                    a, b, c = k + dk, j + dj, i + di
                    if a < 0 or b < 0 or c < 0 or a >= nz or b >= ny or c >= nx or done[a, b, c]:
                        continue
                    way = here + math.sqrt(dk * dk + dj * dj + di * di) * 0.5 * (cost[k, j, i] + cost[a, b, c])
                    if way < total[a, b, c]:
                        total[a, b, c] = way
                        back[a, b, c] = flat
                        heapq.heappush(queue, (way, (a * ny + b) * nx + c))
    steps = [goal]
    while back[steps[-1] // (ny * nx), steps[-1] // nx % ny, steps[-1] % nx] >= 0:
        steps.append(back[steps[-1] // (ny * nx), steps[-1] // nx % ny, steps[-1] % nx])
    out = np.empty((len(steps), 3), np.int64)
    for n in range(len(steps)):
        flat = steps[len(steps) - 1 - n]
        out[n, 0], out[n, 1], out[n, 2] = flat // (ny * nx), flat // nx % ny, flat % nx
    return out
