"""Two witnesses of every diameter made one: the section fit, and the network ``lesions``, weighed by their errors.

Their errors lie in different places. The fit is nearly exact where its model is: in a still vessel without calcium. Motion, a line beside
the vessel, an end or a stent lead it astray, which shows in what it leaves unexplained. The network has learned those, but in plaque it
draws what is tight towards what is usual, by more than the error it names. So each is believed by the error it has in such a situation,
and where the two differ by more than their errors allow, the fit may have gone astray altogether (a mixture of a good and a bad fit, as in
robust statistics). Everything behind this - degrees, areas, curves, pictures - takes the numbers from here.

The errors are those of 14 development patients against the truth (median absolute deviation):

| where | fit, mm | network, mm |
|---|---|---|
| no calcium, residual under 3, 3 to 6, 6 to 10 % of the blood | .06, .15, .38 | .06, .07, .15 |
| calcium within 2 mm | .24 to .32 | .19 to .33 |
| a lumen narrowed by half and more beside calcium (bias) | +.3 | +1.0 |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from appliance.analysis.lesion_network import Reading
from appliance.analysis.lumen import OCCLUDED_MM, LumenResult
from appliance.analysis.stages import Float, NamedTree, Profile, Reference
from appliance.geometry import arc_length

_FIT_MM, _FIT_PER_RESIDUAL2 = 0.03, 120.0
_MOST_FIT_MM = 0.6
_CALCIUM_FIT_MM, _NEAR_CALCIUM_MM, _MUCH_CALCIUM_MM2 = 0.27, 2.0, 0.5
_STENT_FIT_MM = 0.6
_ASTRAY, _ASTRAY_MM = 0.05, 0.8
"""How often a fit has gone astray, and how far."""
_LUMEN_IN_PLAQUE, _HEALTHY_IN_PLAQUE = 2.0, 1.0
"""So many times its error more the network errs where it sees plaque."""
_REFERENCE_MM, _UNSUPPORTED_MM = 0.09, 0.5
_LEAST_WALL_MM = 0.2


def fit_error(profile: Profile, along: Float, stent: Float) -> Float:
    """Standard deviation of the fitted lumen diameters in mm, (n,), by what is around them."""
    residual = profile.noise_hu / np.maximum(profile.lumen_hu, 50.0)
    plain = np.minimum(_FIT_MM + _FIT_PER_RESIDUAL2 * residual**2, _MOST_FIT_MM)
    near = np.abs(along[:, None] - along[None]) <= _NEAR_CALCIUM_MM
    calcium = np.clip(np.where(near, profile.calcium_mm2[None], 0.0).max(axis=1) / _MUCH_CALCIUM_MM2, 0.0, 1.0)
    return np.asarray(plain + calcium * np.maximum(_CALCIUM_FIT_MM - plain, 0.0) + stent * _STENT_FIT_MM)


def network_error(error: Float, share: Float, more: float) -> Float:
    """Standard deviation of the network's diameters in mm, (n,), from the error that it names (Laplace), in plaque so many times more."""
    return np.asarray(np.sqrt(2.0) * np.maximum(error, 0.01) * (1.0 + more * share))


def joined(fit: Float, fit_sd: Float, network: Float, network_sd: Float) -> Float:
    """The mean of what both say of the same diameters, the fit being good within its error or, seldom, astray."""
    apart = fit - network
    good = (1.0 - _ASTRAY) * _normal(apart, np.hypot(fit_sd, network_sd))
    astray = _ASTRAY * _normal(apart, np.hypot(_ASTRAY_MM, network_sd))
    share = good / np.maximum(good + astray, 1e-300)
    return np.asarray(share * _weighed(fit, fit_sd, network, network_sd) + (1.0 - share) * _weighed(fit, _ASTRAY_MM, network, network_sd))


def fused_lumen(named: NamedTree, lumen: LumenResult, readings: Sequence[Reading]) -> LumenResult:
    """The same with lumen diameters of fit and network together; unchanged where the network gives none."""
    profiles = []
    for branch, profile, reading in zip(named.branches, lumen.profiles, readings, strict=True):
        profiles.append(_fused(profile, arc_length(branch.points_mm), reading))
    return replace(lumen, profiles=tuple(profiles))


def fused_reference(reference: Reference, reading: Reading) -> Reference:
    """The reference of one branch together with the network's healthy diameter; the outer wall moves with the lumen."""
    if reading.sizes is None:
        return reference
    own = reference.lumen_mm
    sd = _REFERENCE_MM + (1.0 - reference.confidence) * _UNSUPPORTED_MM
    both = _weighed(
        np.nan_to_num(own), sd, reading.sizes.healthy, network_error(reading.sizes.healthy_error, reading.share, _HEALTHY_IN_PLAQUE)
    )
    known = np.isfinite(own)
    value = np.where(known, both, own)
    return replace(reference, lumen_mm=value, vessel_mm=reference.vessel_mm + (value - own))


def _fused(profile: Profile, along: Float, reading: Reading) -> Profile:
    sizes = reading.sizes
    if sizes is None:
        return profile
    own = np.isfinite(profile.lumen_mm)
    value = joined(
        np.nan_to_num(profile.lumen_mm),
        fit_error(profile, along, reading.stent),
        sizes.lumen,
        network_error(sizes.lumen_error, reading.share, _LUMEN_IN_PLAQUE),
    )
    value = np.where(own, np.where(value < OCCLUDED_MM, 0.0, value), profile.lumen_mm)
    scale = np.divide(value, profile.lumen_mm, out=np.ones_like(value), where=profile.lumen_mm > 0.0)
    opened = (profile.lumen_mm == 0.0) & (value > 0.0)
    return replace(
        profile,
        lumen_mm=value,
        narrowest_mm=np.where(opened, value, profile.narrowest_mm * scale),
        widest_mm=np.where(opened, value, profile.widest_mm * scale),
        vessel_mm=np.maximum(profile.vessel_mm, value + _LEAST_WALL_MM),
    )


def _weighed(fit: Float, fit_sd: Float | float, network: Float, network_sd: Float) -> Float:
    one, other = network_sd**2, np.square(fit_sd)
    return np.asarray((fit * one + network * other) / (one + other))


def _normal(value: Float, sd: Float) -> Float:
    return np.asarray(np.exp(-0.5 * (value / sd) ** 2) / sd)
