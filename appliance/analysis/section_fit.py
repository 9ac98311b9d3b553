"""The model of one cross-section and its fit: blood, wall or plaque, and what lies around, seen through the scanner's blur.

In polar coordinates about the section's centre the attenuation along the ray at angle a is

    I(r) = B + (W - B) D(r; R_w(a), s) + (L - W) D(r; R_l(a), s)

with L the blood, W the wall or plaque, B what lies beyond on that ray, and D(r; R, s) a disc of radius R blurred by a Gaussian of standard
deviation s: D = 1 - Q_1(r/s, R/s), Marcum's Q function. R_l has harmonics up to the second (centre shift, ellipse), the thickness R_w - R_l up
to the first (eccentric plaque). Samples beside calcium carry no weight: calcium only bounds the lumen from outside. A mask or a half-maximum is
wrong by the wall's thickness and by the blur; this model is not (docs: measurement limits in ARCHITECTURE.md).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.stats import ncx2

RAYS = 16
SAMPLES = 26
SAMPLE_MM = 0.2
_TABLE_STEP = 0.125
_TABLE_SIZE = 160
PARAMETERS = 9
"""a0, a1, b1, a2, b2 of the lumen radius; t0, c1, d1 of the thickness; W."""


@lru_cache(maxsize=1)
def blurred_disc() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """D(rho; A) and its derivative by A on a grid of step 0.125 in both, unit blur, shape (160, 160), first axis rho."""
    grid = np.arange(_TABLE_SIZE) * _TABLE_STEP
    rho, radius = np.meshgrid(grid, grid, indexing="ij")
    value = np.zeros_like(rho)
    value[:, 1:] = ncx2.cdf(radius[:, 1:] ** 2, 2, np.maximum(rho[:, 1:] ** 2, 1e-12))
    value = np.clip(np.nan_to_num(value), 0.0, 1.0)
    from scipy.special import ive

    slope = radius * np.exp(-0.5 * (radius - rho) ** 2) * ive(0, radius * rho)
    return value.astype(np.float32), slope.astype(np.float32)


@njit(cache=True, inline="always")
def _look_up(table, rho, radius):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    a = min(rho / 0.125, 158.999)
    b = min(max(radius, 0.0) / 0.125, 158.999)
    i, j = int(a), int(b)
    u, v = a - i, b - j
    return (table[i, j] * (1 - v) + table[i, j + 1] * v) * (1 - u) + (table[i + 1, j] * (1 - v) + table[i + 1, j + 1] * v) * u


@njit(cache=True, inline="always")
def _cubic(t, w):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Catmull-Rom weights: interpolating, and almost without blur of its own."""
    w[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    w[1] = (1.5 * t - 2.5) * t * t + 1.0
    w[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    w[3] = (0.5 * t - 0.5) * t * t


@njit(parallel=True, cache=True, fastmath=True)
def sample_rays(voxels, centre, across, up, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fill ``out`` (n, RAYS, SAMPLES) with HU along the rays; ``across`` and ``up`` are index steps per mm; NaN outside the volume."""
    nz, ny, nx = voxels.shape
    for i in prange(len(centre)):
        wz = np.empty(4)
        wy = np.empty(4)
        wx = np.empty(4)
        for k in range(RAYS):
            angle = 2.0 * np.pi * k / RAYS
            c, s = np.cos(angle), np.sin(angle)
            gz = c * across[i, 0] + s * up[i, 0]
            gy = c * across[i, 1] + s * up[i, 1]
            gx = c * across[i, 2] + s * up[i, 2]
            for j in range(SAMPLES):
                r = j * SAMPLE_MM
                z, y, x = centre[i, 0] + r * gz, centre[i, 1] + r * gy, centre[i, 2] + r * gx
                z0, y0, x0 = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
                if z0 < 1 or y0 < 1 or x0 < 1 or z0 > nz - 3 or y0 > ny - 3 or x0 > nx - 3:
                    out[i, k, j] = np.nan
                    continue
                _cubic(z - z0, wz)
                _cubic(y - y0, wy)
                _cubic(x - x0, wx)
                value = 0.0
                for p in range(4):
                    for q in range(4):
                        row = 0.0
                        for t in range(4):
                            row += wx[t] * voxels[z0 - 1 + p, y0 - 1 + q, x0 - 1 + t]
                        value += wz[p] * wy[q] * row
                out[i, k, j] = value


@njit(parallel=True, cache=True)
def fit_sections(rays, blood, blur, start, noise, disc, slope, parameters, background, residual, weight_sum):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fit every section.

    Args:
        rays: HU (n, RAYS, SAMPLES). blood: L (n,). blur: s per ray in mm (n, RAYS). start: first lumen radius (n,). noise: HU (n,).
        disc, slope: ``blurred_disc()``.
        parameters (n, PARAMETERS), background (n, RAYS), residual (n,), weight_sum (n,): filled.
    """
    for i in prange(len(rays)):
        _fit(
            rays[i], blood[i], blur[i], start[i], noise[i], disc, slope, parameters[i], background[i], residual[i : i + 1], weight_sum[i : i + 1]
        )


@njit(cache=True)
def _usable(ray, blood, noise, s, weight, bound):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Weights of the samples: none beside calcium, none past the point where something else begins. ``bound``: inner edge of calcium."""
    calcium = blood + max(110.0, 4.0 * noise)
    keep_off = 1.6 * s
    for k in range(RAYS):
        bound[k] = 99.0
        for j in range(SAMPLES):
            weight[k, j] = 0.0 if np.isnan(ray[k, j]) else 1.0
    for k in range(RAYS):
        for j in range(SAMPLES):
            if not (ray[k, j] > calcium):
                continue
            r = j * SAMPLE_MM
            bound[k] = min(bound[k], r)
            for dk in range(-2, 3):
                kk = (k + dk) % RAYS
                angle = 2.0 * np.pi * dk / RAYS
                for jj in range(SAMPLES):
                    rr = jj * SAMPLE_MM
                    d2 = r * r + rr * rr - 2.0 * r * rr * np.cos(angle)
                    if d2 < keep_off * keep_off:
                        weight[kk, jj] = 0.0


@njit(cache=True)
def _cut(ray, blood, outer, weight):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Take the weight from samples beyond the lowest point behind the vessel's edge, where a neighbour begins, and far beyond the wall."""
    for k in range(RAYS):
        lowest = 1e9
        gone = False
        for j in range(SAMPLES):
            r = j * SAMPLE_MM
            value = ray[k, j]
            if r > outer[k] + 1.4:
                gone = True
            if not gone and r > 0.6 * outer[k]:
                if value < lowest:
                    lowest = value
                elif value > lowest + 90.0 and value > 0.45 * blood and lowest < 0.6 * blood:
                    gone = True
                    # the rise began before: take back what belongs to it
                    back = j
                    while back > 0 and ray[k, back] > lowest + 25.0:
                        weight[k, back] = 0.0
                        back -= 1
            if gone:
                weight[k, j] = 0.0


@njit(cache=True)
def _half_maximum(ray, weight, blood):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Radius at which the mean over the rays falls below half the blood's contrast to soft tissue: good enough to begin with."""
    for j in range(1, SAMPLES):
        total, count = 0.0, 0.0
        for k in range(RAYS):
            if weight[k, j] > 0.0:
                total += ray[k, j]
                count += 1.0
        if count > 2.0 and total / count < 0.5 * (blood + 30.0):
            return max(j * SAMPLE_MM, 0.4)
    return 0.0


@njit(cache=True)
def _fit(ray, blood, blur, start, noise, disc, slope, p, background, residual, weight_sum):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    n = PARAMETERS
    calm = np.empty((RAYS, SAMPLES))
    weight = np.empty((RAYS, SAMPLES))
    bound = np.empty(RAYS)
    basis = np.empty((RAYS, 5))
    for k in range(RAYS):
        angle = 2.0 * np.pi * k / RAYS
        basis[k, 0] = 1.0
        basis[k, 1] = np.cos(angle)
        basis[k, 2] = np.sin(angle)
        basis[k, 3] = np.cos(2 * angle)
        basis[k, 4] = np.sin(2 * angle)
    mean_blur = 0.0
    for k in range(RAYS):
        mean_blur += blur[k] / RAYS
    _usable(ray, blood, noise, mean_blur, calm, bound)
    own = _half_maximum(ray, calm, blood)
    if own > 0.0:
        start = min(own, 1.5 * start + 0.5)
    prior = np.array([start, 0.0, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0, 60.0])
    spread = np.array([9.0, 0.5, 0.5, 0.06 + 0.1 * start, 0.06 + 0.1 * start, 0.5, 0.5, 0.5, 35.0])
    for a in range(n):
        p[a] = prior[a]
    lumen = np.empty(RAYS)
    outer = np.empty(RAYS)
    jac = np.empty(n)
    # neighbouring samples share voxels: their errors are not independent
    share = 0.3 / (noise * noise)
    damping = 1e-3
    best = 1e30
    kept = p.copy()
    kept_background = np.zeros(RAYS)
    for turn in range(14):
        for k in range(RAYS):
            lumen[k] = 0.0
            for a in range(5):
                lumen[k] += p[a] * basis[k, a]
            thick = p[5] + p[6] * basis[k, 1] + p[7] * basis[k, 2]
            lumen[k] = max(lumen[k], 0.05)
            outer[k] = lumen[k] + max(thick, 0.1)
        if turn < 5:
            # what is looked at follows the estimate while that still moves
            for k in range(RAYS):
                for j in range(SAMPLES):
                    weight[k, j] = calm[k, j]
            _cut(ray, blood, outer, weight)
            best = 1e30
        matrix = np.zeros((n, n))
        gradient = np.zeros(n)
        cost = 0.0
        for k in range(RAYS):
            s = blur[k]
            # the ray's own background is solved for in closed form and eliminated
            bb = 1.0 / (150.0 * 150.0)
            bi = bb * (-60.0)
            for j in range(SAMPLES):
                if weight[k, j] == 0.0:
                    continue
                rho = j * SAMPLE_MM / s
                dl = _look_up(disc, rho, lumen[k] / s)
                dw = _look_up(disc, rho, outer[k] / s)
                rest = ray[k, j] - p[8] * (dw - dl) - blood * dl
                f = 1.0 - dw
                w = share * weight[k, j]
                bb += w * f * f
                bi += w * f * rest
            back = bi / bb
            background[k] = back
            cross = np.zeros(n)
            for j in range(SAMPLES):
                if weight[k, j] == 0.0:
                    continue
                r = j * SAMPLE_MM
                rho = r / s
                dl = _look_up(disc, rho, lumen[k] / s)
                dw = _look_up(disc, rho, outer[k] / s)
                error = ray[k, j] - (back + (p[8] - back) * dw + (blood - p[8]) * dl)
                scale = abs(error) / (3.0 * noise)
                w = share * weight[k, j] * (1.0 if scale < 1.0 else 1.0 / scale)
                cost += w * error * error
                gl = (blood - p[8]) * _look_up(slope, rho, lumen[k] / s) / s
                gw = (p[8] - back) * _look_up(slope, rho, outer[k] / s) / s
                for a in range(5):
                    jac[a] = (gl + gw) * basis[k, a]
                for a in range(3):
                    jac[5 + a] = gw * basis[k, a]
                jac[8] = dw - dl
                f = 1.0 - dw
                for a in range(n):
                    cross[a] += w * f * jac[a]
                    gradient[a] += w * jac[a] * error
                    for b in range(a + 1):
                        matrix[a, b] += w * jac[a] * jac[b]
            for a in range(n):
                for b in range(a + 1):
                    matrix[a, b] -= cross[a] * cross[b] / bb
            if bound[k] < 50.0:
                over = lumen[k] - bound[k]
                if over > 0.0:
                    w = 1.0 / (0.15 * 0.15)
                    cost += w * over * over
                    for a in range(5):
                        gradient[a] -= w * over * basis[k, a]
                        for b in range(a + 1):
                            matrix[a, b] += w * basis[k, a] * basis[k, b]
        for a in range(n):
            w = 1.0 / (spread[a] * spread[a])
            cost += w * (p[a] - prior[a]) ** 2
            gradient[a] -= w * (p[a] - prior[a])
            matrix[a, a] += w
        if cost < best:
            improved = best - cost
            best = cost
            for a in range(n):
                kept[a] = p[a]
            for k in range(RAYS):
                kept_background[k] = background[k]
            damping = max(damping * 0.3, 1e-5)
            if turn >= 6 and improved < 1e-3 * best:
                break
        else:
            damping = min(damping * 8.0, 1e4)
        for a in range(n):
            for b in range(a + 1, n):
                matrix[a, b] = matrix[b, a]
        for a in range(n):
            matrix[a, a] *= 1.0 + damping
        step = np.linalg.solve(matrix, gradient)
        if cost > best:
            # a step too far: from the best place again, shorter
            for a in range(n):
                p[a] = kept[a] + 0.3 * (p[a] - kept[a])
        else:
            for a in range(n):
                limit = 0.5 if a != 8 else 40.0
                p[a] += min(max(step[a], -limit), limit)
        p[0] = min(max(p[0], 0.05), 4.5)
        p[5] = min(max(p[5], 0.1), 3.0)
        p[8] = min(max(p[8], -30.0), 200.0)
    for a in range(n):
        p[a] = kept[a]
    total = 0.0
    square = 0.0
    for k in range(RAYS):
        background[k] = kept_background[k]
        low = 0.0
        for a in range(5):
            low += p[a] * basis[k, a]
        low = max(low, 0.05)
        high = low + max(p[5] + p[6] * basis[k, 1] + p[7] * basis[k, 2], 0.1)
        for j in range(SAMPLES):
            w = weight[k, j]
            if w == 0.0:
                continue
            rho = j * SAMPLE_MM / blur[k]
            dl = _look_up(disc, rho, low / blur[k])
            dw = _look_up(disc, rho, high / blur[k])
            error = ray[k, j] - (background[k] + (p[8] - background[k]) * dw + (blood - p[8]) * dl)
            square += w * error * error
            total += w
    residual[0] = np.sqrt(square / max(total, 1.0))
    weight_sum[0] = total
