"""The model of one cross-section and its fit: blood, wall or plaque, calcium, and what lies around, seen through the scanner's blur.

In polar coordinates about the section's centre the attenuation along the ray at angle a is

    I(r) = B + (W - B) D(r; R_w(a), s) + (L - W) D(r; R_l(a), s) + (A - W) C(r)

with L the blood, W the wall or plaque, B what lies beyond on that ray, A the calcium, and D a blurred disc, C blurred pieces of ring
(``section_shapes``). R_l has harmonics up to the second (centre shift, ellipse), the thickness R_w - R_l up to the first (eccentric
plaque). Calcium lies on each ray where some was seen from one radius to another (``section_calcium``). A mask or a half-maximum is wrong by
the wall's thickness and by the blur, a model without calcium by its blooming; this one is not.

What the blur hides is decided by weak priors: a healthy coronary wall is 0.5 mm thick and as dense as muscle (``_WALL_MM``,
``_WALL_HU``). The fit is a damped Gauss-Newton iteration; each ray's B is eliminated in closed form (variable projection, Golub and
Pereyra, SIAM J. Numer. Anal. 10 (1973) 413).
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from appliance.analysis.section_calcium import (
    A_AT,
    BEGIN_AT,
    END_AT,
    SIZE,
    add_calcium_prior,
    calcium_doubt,
    first_calcium,
    hidden_calcium,
    hold_calcium,
)
from appliance.analysis.section_samples import RAYS, SAMPLE_MM, SAMPLES
from appliance.analysis.section_shapes import REACH, harmonics, look_up, ring_pieces
from appliance.analysis.section_weights import half_maximum, neighbours_cut, usable

_HARMONICS = 5
_PLAIN = 10
_WALL = 8
BLOOD_AT = 9
_WALL_MM, _WALL_SPREAD_MM = 0.5, 0.4
"""Healthy coronary wall: 0.5 to 0.75 mm by magnetic resonance (Fayad et al., Circulation 2000;102:506)."""
_WALL_HU, _WALL_SPREAD_HU = 60.0, 25.0
"""Unenhanced soft tissue with a little contrast medium in it; soft plaque 20 to 130 HU is within two to three spreads."""
_FAR_BACKGROUND_HU = -60.0
_TIGHT_MM = 0.3
"""Lumen radius from which the second descent begins: calcium around a tight lumen and a wide lumen beside calcium are two valleys."""
_UNEXPLAINED = 1.5
_BETTER = 0.75
"""A second descent counts if it explains the section so much better."""
_ABOVE_BLOOD_HU = 150.0
"""What is hardly denser than the blood may as well be blood."""
_LEAST_BLOOD, _MOST_BLOOD = 0.3, 1.3
_TURNS = 14
_SETTLING = 5
"""Turns in which the samples to be looked at still follow the estimate."""


@njit(parallel=True, cache=True)
def fit_sections(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    rays, labels, blood, doubt, blur, start, noise, calcium_hu, firmness, disc, slope, parameters, background, residual, support, told
):
    """Fit every section.

    Args:
        rays: HU (n, RAYS, SAMPLES).
        labels: the network's classes there, uint8: calcium (3) is looked for, and beside it the lumen (1) is a hint.
        blood: L as expected (n,).
        doubt: standard deviation of that in HU (n,), above 0.
        blur: s per ray in mm (n, RAYS).
        start: first lumen radius in mm (n,).
        noise: HU (n,).
        calcium_hu: A as expected (n,).
        firmness: 1, or more to hold the wall to its prior so many times more firmly (where the blur is what is sought).
        disc: first of ``blurred_disc()``.
        slope: second of ``blurred_disc()``.
        parameters: filled, (n, SIZE): a0, a1, b1, a2, b2 of the lumen radius; t0, c1, d1 of the thickness; W; L; A; then the radii where
            calcium begins and ends on each ray, 0 where there is none.
        background: filled, B per ray (n, RAYS).
        residual: filled, root mean square in HU (n,).
        support: filled, how many samples carried weight (n,).
        told: filled, what the section itself tells of L: one over the variance in HU2 (n,).
    """
    for i in prange(len(rays)):
        one = slice(i, i + 1)
        _fit(
            rays[i], labels[i], blood[i], doubt[i], blur[i], start[i], noise[i], calcium_hu[i], firmness, disc, slope,
            parameters[i], background[i], residual[one], support[one], told[one],
        )  # fmt: skip


@njit(cache=True)
def _fit(ray, label, blood, doubt, blur, start, noise, dense, firmness, disc, slope, p, background, residual, support, told):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fit from one start, or, where calcium is seen or the first fit leaves too much unexplained, from several; the best one stays."""
    hint = np.zeros(RAYS)
    p[:] = 0.0
    p[A_AT] = dense
    active = first_calcium(ray, label, blood, noise, start, dense, p, hint)
    own = half_maximum(ray, usable(ray, active), blood)
    begin = min(own, 1.5 * start + 0.5) if own > 0.0 else start
    best = _descend(ray, blood, doubt, blur, begin, noise, firmness, disc, slope, active, hint, p, background, residual, support, told)
    other, other_background = p.copy(), background.copy()
    other_residual, other_support, other_told = residual.copy(), support.copy(), told.copy()
    if not active.any() and residual[0] > _UNEXPLAINED * noise and firmness == 1.0:
        # calcium no denser than the blood after the blur: it shows as a wall that no wall can be
        other[:] = 0.0
        other[A_AT] = dense
        hidden_calcium(ray, p[0], active, other)
    if active.any() and firmness == 1.0:
        _restart(p, active, dense, other)
        cost = _descend(
            ray, blood, doubt, blur, _TIGHT_MM, noise, firmness, disc, slope, active, hint, other, other_background, other_residual,
            other_support, other_told,
        )  # fmt: skip
        if cost < _BETTER * best and other[A_AT] > blood + _ABOVE_BLOOD_HU:
            p[:], background[:], residual[0], support[0] = other, other_background, other_residual[0], other_support[0]
            told[0] = other_told[0]


@njit(cache=True)
def _restart(p, active, dense, other):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Calcium where the first fit left it, if it had any, for a second descent from a tight lumen."""
    other[A_AT] = dense
    for k in range(RAYS):
        if active[k] and p[END_AT + k] > 0.0:
            other[BEGIN_AT + k], other[END_AT + k] = p[BEGIN_AT + k], p[END_AT + k]


@njit(cache=True)
def _descend(ray, blood, doubt, blur, start, noise, firmness, disc, slope, active, hint, p, background, residual, support, told):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Gauss-Newton from one start: ``p`` holds calcium's first radii; returns the cost for each sample that carries weight."""
    basis = harmonics()
    index = _unknowns(active)
    plain = len(index) == _PLAIN
    p[:_PLAIN] = 0.0
    p[0], p[5], p[_WALL], p[BLOOD_AT] = start, _WALL_MM, _WALL_HU, blood
    prior, spread = p.copy(), _spreads(start, firmness)
    spread[BLOOD_AT] = doubt
    weight = np.ones((RAYS, SAMPLES))
    lumen, outer = np.empty(RAYS), np.empty(RAYS)
    pieces = np.zeros((RAYS, SAMPLES))
    to_begin = np.zeros((RAYS, SAMPLES, 2 * REACH + 1))
    to_end = np.zeros((RAYS, SAMPLES, 2 * REACH + 1))
    matrix, gradient = np.empty((SIZE, SIZE)), np.empty(SIZE)
    damping, best = 1e-3, 1e30
    kept, kept_background = p.copy(), np.zeros(RAYS)
    for turn in range(_TURNS):
        _radii(p, basis, lumen, outer)
        if not plain:
            ring_pieces(p[BEGIN_AT:END_AT], p[END_AT:], active, blur, pieces, to_begin, to_end)
        if turn < _SETTLING:
            neighbours_cut(ray, blood, noise, outer, active, p[END_AT:], weight)
            if not plain:
                calcium_doubt(pieces, p[A_AT] - p[_WALL], noise, weight)
            best = 1e30
        matrix[:] = 0.0
        gradient[:] = 0.0
        cost = _add_prior(p, prior, spread, matrix, gradient)
        for k in range(RAYS):
            cost += _add_ray(
                k, ray[k], weight[k], blur[k], p, noise, lumen[k], outer[k], basis[k], disc, slope, pieces[k], to_begin[k],
                to_end[k], active, plain, matrix, gradient, background[k : k + 1],
            )  # fmt: skip
        if not plain:
            cost += add_calcium_prior(p, prior, active, lumen, outer, hint, basis, matrix, gradient)
        if cost < best:
            gained = best - cost
            best = cost
            kept[:] = p
            kept_background[:] = background
            damping = max(0.3 * damping, 1e-5)
            if turn > _SETTLING and gained < 1e-3 * best:
                break
            _step(matrix, gradient, damping, index, p)
        else:
            # a step too far: from the best place again, shorter
            damping = min(8.0 * damping, 1e4)
            p[:] = kept + 0.3 * (p - kept)
        _constrain(p, active, blood)
    told[0] = _told(matrix, index, doubt)
    p[:] = kept
    background[:] = kept_background
    _radii(p, basis, lumen, outer)
    ring_pieces(p[BEGIN_AT:END_AT], p[END_AT:], active, blur, pieces, to_begin, to_end)
    _residual(ray, weight, blur, p, lumen, outer, background, disc, pieces, residual, support)
    return best / max(support[0], 1.0)


@njit(cache=True)
def _spreads(start, firmness):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Standard deviations of the priors."""
    spread = np.full(SIZE, 0.5)
    spread[0], spread[3], spread[4] = 9.0, 0.06 + 0.1 * start, 0.06 + 0.1 * start
    spread[5], spread[_WALL] = _WALL_SPREAD_MM, _WALL_SPREAD_HU
    spread[5:8] /= firmness**0.5
    spread[_WALL] /= firmness
    return spread


@njit(cache=True)
def _unknowns(active):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Numbers of the parameters that this section has."""
    index = np.empty(SIZE, np.int64)
    count = _PLAIN
    index[:_PLAIN] = np.arange(_PLAIN)
    if active.any():
        index[count] = A_AT
        count += 1
        for k in range(RAYS):
            if active[k]:
                index[count], index[count + 1] = BEGIN_AT + k, END_AT + k
                count += 2
    return index[:count]


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
    for a in range(_PLAIN):
        w = 1.0 / (spread[a] * spread[a])
        cost += w * (p[a] - prior[a]) ** 2
        gradient[a] -= w * (p[a] - prior[a])
        matrix[a, a] += w
    return cost


@njit(cache=True)
def _add_ray(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    k, ray, weight, s, p, noise, low, high, basis, disc, slope, pieces, to_begin, to_end, active, plain, matrix, gradient, background
):
    """One ray's part of the normal equations, its background eliminated; returns its cost."""
    # neighbouring samples share voxels: their errors are not independent
    share = 0.3 / (noise * noise)
    wall, blood, above = p[_WALL], p[BLOOD_AT], p[A_AT] - p[_WALL]
    inside = np.empty(SAMPLES)
    covered = np.empty(SAMPLES)
    own = 1.0 / (150.0 * 150.0)
    sought = own * _FAR_BACKGROUND_HU
    for j in range(SAMPLES):
        if weight[j] == 0.0:
            continue
        rho = j * SAMPLE_MM / s
        inside[j] = look_up(disc, rho, low / s)
        covered[j] = look_up(disc, rho, high / s)
        open_part = 1.0 - covered[j]
        rest = ray[j] - wall * (covered[j] - inside[j]) - blood * inside[j] - above * pieces[j]
        own += share * weight[j] * open_part * open_part
        sought += share * weight[j] * open_part * rest
    back = sought / own
    background[0] = back
    size = _PLAIN if plain else SIZE
    column = np.empty(size, np.int64)
    used = _columns(k, active, plain, column)
    cross = np.zeros(used)
    jacobian = np.empty(used)
    cost = 0.0
    for j in range(SAMPLES):
        if weight[j] == 0.0:
            continue
        error = ray[j] - (back + (wall - back) * covered[j] + (blood - wall) * inside[j] + above * pieces[j])
        scale = abs(error) / (3.0 * noise)
        w = share * weight[j] * (1.0 if scale < 1.0 else 1.0 / scale)
        cost += w * error * error
        rho = j * SAMPLE_MM / s
        to_lumen = (blood - wall) * look_up(slope, rho, low / s) / s
        to_outer = (wall - back) * look_up(slope, rho, high / s) / s
        _slopes(k, to_lumen, to_outer, above, basis, to_begin[j], to_end[j], column[:used], jacobian)
        jacobian[_WALL] = covered[j] - inside[j] - pieces[j]
        jacobian[BLOOD_AT] = inside[j]
        if not plain:
            jacobian[_PLAIN] = pieces[j]
        for a in range(used):
            cross[a] += w * (1.0 - covered[j]) * jacobian[a]
            gradient[column[a]] += w * jacobian[a] * error
            for b in range(used):
                matrix[column[a], column[b]] += w * jacobian[a] * jacobian[b]
    for a in range(used):
        for b in range(used):
            matrix[column[a], column[b]] -= cross[a] * cross[b] / own
    return cost


@njit(cache=True, inline="always")
def _slopes(k, to_lumen, to_outer, above, basis, to_begin, to_end, column, jacobian):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Derivatives of one sample by the radii."""
    for a in range(_HARMONICS):
        jacobian[a] = (to_lumen + to_outer) * basis[a]
    for a in range(3):
        jacobian[5 + a] = to_outer * basis[a]
    for a in range(_PLAIN + 1, len(column)):
        if column[a] < END_AT:
            jacobian[a] = above * to_begin[(column[a] - BEGIN_AT - k + REACH) % RAYS]
        else:
            jacobian[a] = above * to_end[(column[a] - END_AT - k + REACH) % RAYS]


@njit(cache=True)
def _columns(k, active, plain, column):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Numbers of the parameters that ray ``k`` sees, written to ``column``; returns how many."""
    for a in range(_PLAIN):
        column[a] = a
    if plain:
        return _PLAIN
    column[_PLAIN] = A_AT
    used = _PLAIN + 1
    for turn in range(-REACH, REACH + 1):
        other = (k + turn) % RAYS
        if active[other]:
            column[used], column[used + 1] = BEGIN_AT + other, END_AT + other
            used += 2
    return used


@njit(cache=True)
def _step(matrix, gradient, damping, index, p):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    count = len(index)
    small = np.empty((count, count))
    right = np.empty(count)
    for a in range(count):
        right[a] = gradient[index[a]]
        for b in range(count):
            small[a, b] = matrix[index[a], index[b]]
        small[a, a] *= 1.0 + damping
    step = np.linalg.solve(small, right)
    for a in range(count):
        limit = 40.0 if index[a] == _WALL or index[a] == BLOOD_AT else 150.0 if index[a] == A_AT else 0.5
        p[index[a]] += min(max(step[a], -limit), limit)


@njit(cache=True)
def _told(matrix, index, doubt):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """What the section tells of the blood: one over the variance that is left of it, less what was known before."""
    count = len(index)
    small = np.empty((count, count))
    unit = np.zeros(count)
    for a in range(count):
        unit[a] = 1.0 if index[a] == BLOOD_AT else 0.0
        for b in range(count):
            small[a, b] = matrix[index[a], index[b]]
    left = np.linalg.solve(small, unit)[BLOOD_AT]
    return max(1.0 / max(left, 1e-6) - 1.0 / (doubt * doubt), 0.0)


@njit(cache=True)
def _constrain(p, active, blood):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    p[0] = min(max(p[0], 0.05), 4.5)
    p[5] = min(max(p[5], 0.1), 3.0)
    p[_WALL] = min(max(p[_WALL], -10.0), 220.0)
    p[BLOOD_AT] = min(max(p[BLOOD_AT], _LEAST_BLOOD * blood), _MOST_BLOOD * blood)
    hold_calcium(p, active)


@njit(cache=True)
def _residual(ray, weight, blur, p, lumen, outer, background, disc, pieces, residual, support):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    total = 0.0
    square = 0.0
    wall, blood = p[_WALL], p[BLOOD_AT]
    for k in range(RAYS):
        for j in range(SAMPLES):
            if weight[k, j] == 0.0:
                continue
            rho = j * SAMPLE_MM / blur[k]
            inside = look_up(disc, rho, lumen[k] / blur[k])
            covered = look_up(disc, rho, outer[k] / blur[k])
            model = background[k] + (wall - background[k]) * covered + (blood - wall) * inside + (p[A_AT] - wall) * pieces[k, j]
            square += weight[k, j] * (ray[k, j] - model) ** 2
            total += weight[k, j]
    residual[0] = np.sqrt(square / max(total, 1.0))
    support[0] = total
