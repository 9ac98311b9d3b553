"""Calcium in the section model: where some is seen, and what is known of it before the fit.

Calcium lies on a ray from one radius to another, outside the lumen and inside the outer wall, with one attenuation for the section. What
the blur hides - a thin dense sheet looks like a thick pale one - is decided by the prior of that attenuation: calcified coronary plaque
is a few hundred to a thousand mg of hydroxyapatite per cm3, and inserts of that read 1.3 to 1.5 HU per mg/cm3 at 120 kV.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from appliance.analysis.section_samples import RAYS, SAMPLE_MM, SAMPLES

A_AT = 10
BEGIN_AT = 11
END_AT = BEGIN_AT + RAYS
SIZE = END_AT + RAYS
_BEYOND_MM = 2.2
"""Calcium farther from the first guess of the lumen belongs to a neighbour."""
_SOFT_HU = 60.0
_SPREAD_HU = 250.0
_PLACE_MM = 0.5
_EVEN_MM = 0.35
_HINT_MM = 0.3
_APART_MM = 0.08
_DOUBT = 0.10
"""Part of the calcium's own signal by which the pieces of ring may misrepresent it."""
_LEAST_HU, _MOST_HU = 250.0, 2500.0
_THINNEST_MM = 0.04
_BRIGHT_WALL_HU = 180.0


@njit(cache=True)
def first_calcium(ray, label, blood, noise, start, dense, p, hint):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Which rays hold calcium, (RAYS,) bool; their first radii go into ``p``.

    Calcium is what is clearly denser than the blood, and what the network calls so. ``hint``: the network's lumen radius on rays where it
    tells calcium from lumen, else 0.
    """
    active = np.zeros(RAYS, np.bool_)
    least = blood + max(110.0, 4.0 * noise)
    reach = start + _BEYOND_MM
    for k in range(RAYS):
        marked = _marked(label[k], ray[k], max(0.5 * blood, 130.0), reach)
        span = _bright(ray[k], least, 0.5 * (dense + _SOFT_HU), reach)
        if span[0] < 0:
            span = marked
        if span[0] >= 0:
            active[k] = True
            p[BEGIN_AT + k] = max((span[0] - 0.25) * SAMPLE_MM, 0.1)
            p[END_AT + k] = max((span[1] + 0.25) * SAMPLE_MM, p[BEGIN_AT + k] + 0.1)
            if marked[0] >= 0:
                hint[k] = _lumen_of(label[k])
    return active


@njit(cache=True)
def hidden_calcium(ray, lumen, active, p):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Suppose calcium in the outer part of what was taken for lumen, on the rays on which that part is brighter than any wall."""
    for k in range(RAYS):
        j = int(lumen / SAMPLE_MM + 0.5)
        if j < SAMPLES and ray[k, j] > _BRIGHT_WALL_HU:
            active[k] = True
            p[BEGIN_AT + k] = max(0.5 * lumen, 0.3)
            p[END_AT + k] = max(lumen + 0.1, p[BEGIN_AT + k] + 0.2)


@njit(cache=True)
def _bright(ray, least, half, reach):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """First and last sample of a ray above half of what calcium would have there, -1 where none is above ``least``."""
    top = 0.0
    for j in range(SAMPLES):
        if j * SAMPLE_MM > reach or np.isnan(ray[j]):
            break
        top = max(top, ray[j])
    if top <= least:
        return -1, -1
    level = min(max(least, min(half, 0.5 * (top + _SOFT_HU))), top)
    first, last = -1, -1
    for j in range(SAMPLES):
        if j * SAMPLE_MM > reach or np.isnan(ray[j]):
            break
        if ray[j] >= level:
            if first < 0:
                first = j
            last = j
    return first, last


@njit(cache=True)
def _marked(label, ray, least, reach):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """First and last sample of a ray that the network calls calcium, -1 where none is."""
    first, last = -1, -1
    for j in range(SAMPLES):
        if j * SAMPLE_MM > reach or np.isnan(ray[j]):
            break
        if label[j] == 3 and ray[j] > least:
            if first < 0:
                first = j
            last = j
    return first, last


@njit(cache=True)
def _lumen_of(label):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The network's lumen radius on a ray, 0 where the ray does not begin in the lumen."""
    end = 0
    while end < SAMPLES and label[end] == 1:
        end += 1
    return (end - 0.5) * SAMPLE_MM if end > 0 else 0.0


@njit(cache=True)
def calcium_doubt(pieces, above, noise, weight):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Take weight from samples in which calcium shines: its shape is known worse than the noise."""
    for k in range(RAYS):
        for j in range(SAMPLES):
            doubt = _DOUBT * above * pieces[k, j] / noise
            weight[k, j] /= 1.0 + doubt * doubt


@njit(cache=True)
def add_calcium_prior(p, prior, active, lumen, outer, hint, basis, matrix, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """What is known of calcium: its density, about where it was seen, even from ray to ray, outside the lumen, inside the outer wall."""
    w = 1.0 / (_SPREAD_HU * _SPREAD_HU)
    off = p[A_AT] - prior[A_AT]
    cost = w * off * off
    gradient[A_AT] -= w * off
    matrix[A_AT, A_AT] += w
    for k in range(RAYS):
        if not active[k]:
            continue
        other = (k + 1) % RAYS
        for at in (BEGIN_AT, END_AT):
            w = 1.0 / (_PLACE_MM * _PLACE_MM)
            off = p[at + k] - prior[at + k]
            cost += w * off * off
            gradient[at + k] -= w * off
            matrix[at + k, at + k] += w
            if active[other]:
                w = 1.0 / (_EVEN_MM * _EVEN_MM)
                off = p[at + k] - p[at + other]
                cost += w * off * off
                gradient[at + k] -= w * off
                gradient[at + other] += w * off
                matrix[at + k, at + k] += w
                matrix[at + other, at + other] += w
                matrix[at + k, at + other] -= w
                matrix[at + other, at + k] -= w
        cost += _apart(lumen[k] - p[BEGIN_AT + k], BEGIN_AT + k, -1.0, basis[k], matrix, gradient)
        if hint[k] > 0.0:
            cost += _hinted(lumen[k] - hint[k], basis[k], matrix, gradient)
        cost += _within(p[END_AT + k] - outer[k], END_AT + k, basis[k], matrix, gradient)
    return cost


@njit(cache=True)
def _apart(over, at, sign, basis, matrix, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The lumen reaches ``over`` mm into calcium: both give way."""
    if over <= 0.0:
        return 0.0
    w = 1.0 / (_APART_MM * _APART_MM)
    gradient[at] -= w * over * sign
    matrix[at, at] += w
    for a in range(5):
        gradient[a] -= w * over * basis[a]
        matrix[a, at] += w * sign * basis[a]
        matrix[at, a] += w * sign * basis[a]
        for b in range(5):
            matrix[a, b] += w * basis[a] * basis[b]
    return w * over * over


@njit(cache=True)
def _hinted(over, basis, matrix, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The lumen is ``over`` mm larger on this ray than the network has it."""
    w = 1.0 / (_HINT_MM * _HINT_MM)
    for a in range(5):
        gradient[a] -= w * over * basis[a]
        for b in range(5):
            matrix[a, b] += w * basis[a] * basis[b]
    return w * over * over


@njit(cache=True)
def _within(over, at, basis, matrix, gradient):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Calcium reaches ``over`` mm beyond the outer wall: both give way."""
    if over <= 0.0:
        return 0.0
    w = 1.0 / (_APART_MM * _APART_MM)
    gradient[at] -= w * over
    matrix[at, at] += w
    for a in range(8):
        value = -basis[a] if a < 5 else -basis[a - 5]
        gradient[a] -= w * over * value
        matrix[a, at] += w * value
        matrix[at, a] += w * value
        for b in range(8):
            other = -basis[b] if b < 5 else -basis[b - 5]
            matrix[a, b] += w * value * other
    return w * over * over


@njit(cache=True)
def hold_calcium(p, active):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Keep the calcium's parameters within what is possible."""
    p[A_AT] = min(max(p[A_AT], _LEAST_HU), _MOST_HU)
    for k in range(RAYS):
        if active[k]:
            p[BEGIN_AT + k] = min(max(p[BEGIN_AT + k], 0.05), 5.0)
            p[END_AT + k] = min(max(p[END_AT + k], p[BEGIN_AT + k] + _THINNEST_MM), 5.2)
