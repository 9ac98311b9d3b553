"""The model of one cross-section and its fit: blood, wall or plaque, and what lies around, seen through the scanner's blur.

In polar coordinates about the section's centre the attenuation along the ray at angle a is

    I(r) = B + (W - B) D(r; R_w(a), s) + (L - W) D(r; R_l(a), s)

with L the blood, W the wall or plaque, B what lies beyond on that ray, and D(r; R, s) a disc of radius R blurred by a Gaussian of
standard deviation s: D = 1 - Q_1(r/s, R/s), Marcum's Q function. R_l has harmonics up to the second (centre shift, ellipse), the
thickness R_w - R_l up to the first (eccentric plaque). Samples beside calcium carry no weight: calcium only bounds the lumen from outside.
A mask or a half-maximum is wrong by the wall's thickness and by the blur; this model is not.

The fit is a damped Gauss-Newton iteration with weak priors; each ray's B is eliminated in closed form (variable projection, Golub and
Pereyra, SIAM J. Numer. Anal. 10 (1973) 413).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.special import ive
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


_HARMONICS = 5
_WALL = 8
_PRIOR_THICKNESS_MM = 0.6
_PRIOR_WALL_HU = 60.0
_FAR_BACKGROUND_HU = -60.0
_BOUND_MM = 0.15
_HINT_MM = 0.3
_TURNS = 14
_SETTLING = 5
"""Turns in which the samples to be looked at still follow the estimate."""


@njit(parallel=True, cache=True)
def label_rays(classes, centre, across, up, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fill ``out`` (n, RAYS, SAMPLES) with the class of the nearest voxel; 0 outside the grid."""
    nz, ny, nx = classes.shape
    for i in prange(len(centre)):
        for k in range(RAYS):
            angle = 2.0 * np.pi * k / RAYS
            c, s = np.cos(angle), np.sin(angle)
            for j in range(SAMPLES):
                r = j * SAMPLE_MM
                z = int(np.rint(centre[i, 0] + r * (c * across[i, 0] + s * up[i, 0])))
                y = int(np.rint(centre[i, 1] + r * (c * across[i, 1] + s * up[i, 1])))
                x = int(np.rint(centre[i, 2] + r * (c * across[i, 2] + s * up[i, 2])))
                inside = z >= 0 and y >= 0 and x >= 0 and z < nz and y < ny and x < nx
                out[i, k, j] = classes[z, y, x] if inside else 0


@njit(parallel=True, cache=True)
def fit_sections(rays, labels, blood, blur, start, noise, disc, slope, parameters, background, residual, support):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fit every section.

    Args:
        rays: HU (n, RAYS, SAMPLES).
        labels: the network's classes there, uint8; calcium (3) gets no weight, and beside it the lumen (1) is a hint.
        blood: L (n,).
        blur: s per ray in mm (n, RAYS).
        start: first lumen radius in mm (n,).
        noise: HU (n,).
        disc: first of ``blurred_disc()``.
        slope: second of ``blurred_disc()``.
        parameters: filled, (n, PARAMETERS).
        background: filled, B per ray (n, RAYS).
        residual: filled, root mean square in HU (n,).
        support: filled, how many samples carried weight (n,).
    """
    for i in prange(len(rays)):
        one = slice(i, i + 1)
        _fit(
            rays[i], labels[i], blood[i], blur[i], start[i], noise[i], disc, slope,
            parameters[i], background[i], residual[one], support[one],
        )  # fmt: skip


@njit(cache=True)
def _fit(ray, label, blood, blur, start, noise, disc, slope, p, background, residual, support):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    basis = _basis()
    calm = np.empty((RAYS, SAMPLES))
    weight = np.empty((RAYS, SAMPLES))
    bound = np.empty(RAYS)
    hint = np.empty(RAYS)
    _usable(ray, label, blood, noise, blur.mean(), calm, bound, hint)
    own = _half_maximum(ray, calm, blood)
    if own > 0.0:
        start = min(own, 1.5 * start + 0.5)
    prior = np.array([start, 0.0, 0.0, 0.0, 0.0, _PRIOR_THICKNESS_MM, 0.0, 0.0, _PRIOR_WALL_HU])
    ellipse = 0.06 + 0.1 * start
    spread = np.array([9.0, 0.5, 0.5, ellipse, ellipse, 0.5, 0.5, 0.5, 35.0])
    p[:] = prior
    lumen = np.empty(RAYS)
    outer = np.empty(RAYS)
    matrix = np.empty((PARAMETERS, PARAMETERS))
    gradient = np.empty(PARAMETERS)
    damping = 1e-3
    best = 1e30
    kept = p.copy()
    kept_background = np.zeros(RAYS)
    for turn in range(_TURNS):
        _radii(p, basis, lumen, outer)
        if turn < _SETTLING:
            weight[:] = calm
            _cut(ray, blood, outer, weight)
            best = 1e30
        matrix[:] = 0.0
        gradient[:] = 0.0
        cost = _add_prior(p, prior, spread, matrix, gradient)
        for k in range(RAYS):
            cost += _add_ray(
                ray[k], weight[k], blur[k], blood, p[_WALL], noise, lumen[k], outer[k], basis[k], disc, slope,
                matrix, gradient, background[k : k + 1],
            )  # fmt: skip
            cost += _add_pull(max(lumen[k] - bound[k], 0.0), _BOUND_MM, basis[k], matrix, gradient)
            if hint[k] > 0.0:
                cost += _add_pull(lumen[k] - hint[k], _HINT_MM, basis[k], matrix, gradient)
        if cost < best:
            gained = best - cost
            best = cost
            kept[:] = p
            kept_background[:] = background
            damping = max(0.3 * damping, 1e-5)
            if turn > _SETTLING and gained < 1e-3 * best:
                break
            _step(matrix, gradient, damping, p)
        else:
            # a step too far: from the best place again, shorter
            damping = min(8.0 * damping, 1e4)
            p[:] = kept + 0.3 * (p - kept)
        _constrain(p)
    p[:] = kept
    background[:] = kept_background
    _radii(p, basis, lumen, outer)
    _residual(ray, weight, blur, blood, p[_WALL], lumen, outer, background, disc, residual, support)


@njit(cache=True)
def _basis():  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Harmonics 0 to 2 at the rays' angles, (RAYS, 5)."""
    basis = np.empty((RAYS, _HARMONICS))
    for k in range(RAYS):
        angle = 2.0 * np.pi * k / RAYS
        basis[k, 0] = 1.0
        basis[k, 1] = np.cos(angle)
        basis[k, 2] = np.sin(angle)
        basis[k, 3] = np.cos(2 * angle)
        basis[k, 4] = np.sin(2 * angle)
    return basis


@njit(cache=True)
def _radii(p, basis, lumen, outer):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for k in range(RAYS):
        value = 0.0
        for a in range(_HARMONICS):
            value += p[a] * basis[k, a]
        lumen[k] = max(value, 0.05)
        outer[k] = lumen[k] + max(p[5] + p[6] * basis[k, 1] + p[7] * basis[k, 2], 0.1)


@njit(cache=True)
def _add_prior(p, prior, spread, matrix, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    cost = 0.0
    for a in range(PARAMETERS):
        w = 1.0 / (spread[a] * spread[a])
        cost += w * (p[a] - prior[a]) ** 2
        gradient[a] -= w * (p[a] - prior[a])
        matrix[a, a] += w
    return cost


@njit(cache=True)
def _add_pull(over, spread, basis, matrix, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """One ray's lumen radius is ``over`` mm larger than it should be, give or take ``spread``."""
    if over == 0.0:
        return 0.0
    w = 1.0 / (spread * spread)
    for a in range(_HARMONICS):
        gradient[a] -= w * over * basis[a]
        for b in range(_HARMONICS):
            matrix[a, b] += w * basis[a] * basis[b]
    return w * over * over


@njit(cache=True)
def _add_ray(ray, weight, s, blood, wall, noise, low, high, basis, disc, slope, matrix, gradient, background):  # type: ignore[no-untyped-def]  # noqa: C901  # pragma: no cover - compiled
    """One ray's part of the normal equations, its background eliminated; returns its cost."""
    # neighbouring samples share voxels: their errors are not independent
    share = 0.3 / (noise * noise)
    inside = np.empty(SAMPLES)
    covered = np.empty(SAMPLES)
    own = 1.0 / (150.0 * 150.0)
    sought = own * _FAR_BACKGROUND_HU
    for j in range(SAMPLES):
        if weight[j] == 0.0:
            continue
        rho = j * SAMPLE_MM / s
        inside[j] = _look_up(disc, rho, low / s)
        covered[j] = _look_up(disc, rho, high / s)
        open_part = 1.0 - covered[j]
        rest = ray[j] - wall * (covered[j] - inside[j]) - blood * inside[j]
        own += share * weight[j] * open_part * open_part
        sought += share * weight[j] * open_part * rest
    back = sought / own
    background[0] = back
    cross = np.zeros(PARAMETERS)
    jacobian = np.empty(PARAMETERS)
    cost = 0.0
    for j in range(SAMPLES):
        if weight[j] == 0.0:
            continue
        error = ray[j] - (back + (wall - back) * covered[j] + (blood - wall) * inside[j])
        scale = abs(error) / (3.0 * noise)
        w = share * weight[j] * (1.0 if scale < 1.0 else 1.0 / scale)
        cost += w * error * error
        rho = j * SAMPLE_MM / s
        to_lumen = (blood - wall) * _look_up(slope, rho, low / s) / s
        to_outer = (wall - back) * _look_up(slope, rho, high / s) / s
        for a in range(_HARMONICS):
            jacobian[a] = (to_lumen + to_outer) * basis[a]
        for a in range(3):
            jacobian[5 + a] = to_outer * basis[a]
        jacobian[_WALL] = covered[j] - inside[j]
        for a in range(PARAMETERS):
            cross[a] += w * (1.0 - covered[j]) * jacobian[a]
            gradient[a] += w * jacobian[a] * error
            for b in range(PARAMETERS):
                matrix[a, b] += w * jacobian[a] * jacobian[b]
    for a in range(PARAMETERS):
        for b in range(PARAMETERS):
            matrix[a, b] -= cross[a] * cross[b] / own
    return cost


@njit(cache=True)
def _step(matrix, gradient, damping, p):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for a in range(PARAMETERS):
        matrix[a, a] *= 1.0 + damping
    step = np.linalg.solve(matrix, gradient)
    for a in range(PARAMETERS):
        limit = 0.5 if a != _WALL else 40.0
        p[a] += min(max(step[a], -limit), limit)


@njit(cache=True)
def _constrain(p):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    p[0] = min(max(p[0], 0.05), 4.5)
    p[5] = min(max(p[5], 0.1), 3.0)
    p[_WALL] = min(max(p[_WALL], -30.0), 200.0)


@njit(cache=True)
def _residual(ray, weight, blur, blood, wall, lumen, outer, background, disc, residual, support):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    total = 0.0
    square = 0.0
    for k in range(RAYS):
        for j in range(SAMPLES):
            if weight[k, j] == 0.0:
                continue
            rho = j * SAMPLE_MM / blur[k]
            inside = _look_up(disc, rho, lumen[k] / blur[k])
            covered = _look_up(disc, rho, outer[k] / blur[k])
            error = ray[k, j] - (background[k] + (wall - background[k]) * covered + (blood - wall) * inside)
            square += weight[k, j] * error * error
            total += weight[k, j]
    residual[0] = np.sqrt(square / max(total, 1.0))
    support[0] = total


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
def _usable(ray, label, blood, noise, blur, weight, bound, hint):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Weights of the samples: none beside calcium.

    ``bound``: inner edge of calcium on each ray, 99 where there is none. ``hint``: the network's lumen radius where it tells calcium from
    lumen, else 0.
    """
    dense = blood + max(110.0, 4.0 * noise)
    for k in range(RAYS):
        bound[k] = 99.0
        hint[k] = 0.0
        for j in range(SAMPLES):
            weight[k, j] = 0.0 if np.isnan(ray[k, j]) else 1.0
    for k in range(RAYS):
        for j in range(SAMPLES):
            seen = label[k, j] == 3 and ray[k, j] > 0.5 * blood
            if seen and hint[k] == 0.0:
                hint[k] = _lumen_of(label[k])
            if ray[k, j] > dense or seen:
                # seen by attenuation alone the edge appears about half the blur too far in
                bound[k] = min(bound[k], j * SAMPLE_MM + (0.1 if seen else 0.6 * blur))
                _blank(weight, k, j * SAMPLE_MM, (1.2 if seen else 1.6) * blur)


@njit(cache=True)
def _lumen_of(label):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The network's lumen radius on a ray, 0 where the ray does not begin in the lumen."""
    end = 0
    while end < SAMPLES and label[end] == 1:
        end += 1
    return (end - 0.5) * SAMPLE_MM if end > 0 else 0.0


@njit(cache=True)
def _blank(weight, k, r, reach):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Take the weight from samples within ``reach`` of the one on ray ``k`` at radius ``r``."""
    for turn in range(-2, 3):
        cosine = np.cos(2.0 * np.pi * turn / RAYS)
        for j in range(SAMPLES):
            other = j * SAMPLE_MM
            if r * r + other * other - 2.0 * r * other * cosine < reach * reach:
                weight[(k + turn) % RAYS, j] = 0.0


@njit(cache=True)
def _cut(ray, blood, outer, weight):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Take the weight from samples behind the vessel where a neighbour begins, and from those far beyond the wall."""
    for k in range(RAYS):
        lowest = 1e9
        end = SAMPLES
        for j in range(SAMPLES):
            if j * SAMPLE_MM > outer[k] + 1.4:
                end = j
                break
            if j * SAMPLE_MM <= 0.6 * outer[k]:
                continue
            lowest = min(lowest, ray[k, j])
            if ray[k, j] > lowest + 90.0 and ray[k, j] > 0.45 * blood and lowest < 0.6 * blood:
                # the rise began before: take back what belongs to it
                end = j
                while end > 0 and ray[k, end - 1] > lowest + 25.0:
                    end -= 1
                break
        for j in range(end, SAMPLES):
            weight[k, j] = 0.0
