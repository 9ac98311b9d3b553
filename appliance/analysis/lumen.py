"""Lumen, outer wall and calcium along the tree: the section model of ``section_fit`` at every point.

After a first fit the sections are cut again about the lumen's own middle, for the model is exact only there. Then a part of them tells how
dense the blood is where (``blood.level_along``), and all are fitted with that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.spatial import cKDTree

from appliance.analysis.along import unblurred_areas
from appliance.analysis.blood import blood_along, level_along, noise_of
from appliance.analysis.blur import estimate_blur, usual_blur
from appliance.analysis.section_run import Fitted, fit_all
from appliance.analysis.section_samples import RAYS, SAMPLE_MM, SAMPLES
from appliance.analysis.sections import Blur, Sections, cell_areas, cut_sections
from appliance.analysis.stages import Float, NamedTree, Profile, Segmentation, Tree, VesselClass
from appliance.volume import Volume

OCCLUDED_MM = 0.42
"""Below this diameter the fit cannot tell a thread of blood from none."""
_HIDING_CALCIUM_MM2 = 0.3
_CLOUDS = 0.06
"""Clouds of contrast medium and coarse noise change the blood of a single section by this part (standard deviation)."""
_NARROW, _AROUND_MM = 0.8, 10.0
"""A lumen is narrow below this part of the median of its neighbours within the second."""
_EVERY, _BLOOD_DOUBT = 3, 0.25
"""Every third section tells of the blood, within about a quarter of what is expected: nearer ones show the same, through the blur."""
_MOUTH_MM = 1.2
_FARTHEST_SHIFT_MM = 0.8
_CALM_SHIFT_MM = 1.0
_AT_CENTRE_MM, _BESIDE_MM, _LEAST_BESIDE_MM2, _THIRD = 0.3, 1.8, 0.5, RAYS // 6
"""Lumen is beside a point that has none within the first, if the second distance holds so much of it on a third of the circle."""


@dataclass(frozen=True)
class LumenResult:
    """One profile per branch, and the sections they come from."""

    profiles: tuple[Profile, ...]
    sections: Sections
    fitted: Fitted
    blood: Float
    blur: Blur
    noise_hu: float

    def rows(self, branch: int) -> slice:
        """The sections of a branch."""
        here = np.flatnonzero(self.sections.branch == branch)
        return slice(int(here[0]), int(here[-1]) + 1)


def measure_lumen(
    named: NamedTree, volume: Volume, segmentation: Segmentation, *, radius_mm: tuple[Float, ...] | None = None
) -> LumenResult:
    """Lumen and outer wall along every branch.

    Args:
        named: the tree.
        volume: the original series; measuring is done in it, not in the resampled grid.
        segmentation: its classes tell calcium from blood where attenuation alone cannot.
        radius_mm: rough lumen radius per branch where known; only the first guess of the fit.
    """
    sections = cut_sections(named, volume, segmentation)
    noise = noise_of(volume)
    guess = np.concatenate(radius_mm) if radius_mm is not None else np.full(len(sections.points), 1.5)
    blood = blood_along(named, sections, guess)
    blur = usual_blur(volume.geometry)
    result = fit_all(sections, blood, guess, noise, blur)
    # the first fit tells where the vessel is wide, which tells the blood better, and where its middle is
    sections = cut_sections(named, volume, segmentation, lines=centred_lines(sections, result))
    radius = np.maximum(result.lumen_mm / 2, 0.3)
    blood = blood_along(named, sections, np.maximum(radius, guess), blur=blur)
    blur = estimate_blur(sections, blood, radius, noise, volume.geometry)
    blood = _measured_blood(named, sections, blood, guess, noise, blur)
    result = fit_lumen(sections, blood, guess, noise, blur)
    profiles = tuple(
        _past_mouth(profile, sections.along[sections.branch == number]) if named.branches[number].parent is None else profile
        for number in range(len(named.branches))
        for profile in [_profile(result, sections, blood, blur, number)]
    )
    return LumenResult(profiles=profiles, sections=sections, fitted=result, blood=blood, blur=blur, noise_hu=noise)


def _measured_blood(named: NamedTree, sections: Sections, expected: Float, radius: Float, noise: float, blur: Blur) -> Float:
    """The blood at every section, from some that are fitted with a blood of their own."""
    chosen = np.arange(0, len(sections.points), _EVERY)
    own = fit_all(sections.take(chosen), expected[chosen], radius[chosen], noise, blur, blood_doubt=_BLOOD_DOUBT)
    return level_along(named, sections, chosen, own, expected)


def fit_lumen(sections: Sections, blood: Float, radius: Float, noise: float, blur: Blur) -> Fitted:
    """Fit every section, with a blood that may differ a little from its level, as clouds and coarse noise make it.

    In a narrow lumen, density and width look the same to the scanner: there the level counts.
    """
    result = fit_all(sections, blood, radius, noise, blur, blood_doubt=_CLOUDS)
    narrow = np.flatnonzero(result.lumen_mm < _NARROW * _usual_size(result.lumen_mm, sections))
    sure = fit_all(sections.take(narrow), blood[narrow], radius[narrow], noise, blur)
    return result.replaced(narrow, sure)


def _usual_size(lumen: Float, sections: Sections) -> Float:
    """The median of the lumen's diameter around each section, (n,)."""
    usual = np.empty(len(lumen))
    for number in np.unique(sections.branch):
        here = np.flatnonzero(sections.branch == number)
        near = np.abs(sections.along[here][:, None] - sections.along[here][None]) <= _AROUND_MM
        usual[here] = [float(np.median(lumen[here][row])) for row in near]
    return usual


def centred_lines(sections: Sections, fitted: Fitted) -> list[Float]:
    """The lines through the lumen's middle, point for point: single sections may fail, so the way there is calmed along the branch."""
    lines = []
    beside, to_lumen = lumen_beside(sections)
    for number in range(int(sections.branch[-1]) + 1):
        here = sections.branch == number
        shift, points, along = fitted.shift[here], sections.points[here], sections.along[here]
        length = np.linalg.norm(shift, axis=1)
        # a middle far off, or outside what the fit saw as lumen, is another vessel's
        trust = np.where(length < np.minimum(_FARTHEST_SHIFT_MM, 0.25 + 0.5 * fitted.lumen_mm[here]), 1.0, 1e-3)
        shift = np.where(beside[here, None], to_lumen[here], shift)
        trust = np.where(beside[here], 1.0, trust)
        kernel = np.exp(-0.5 * ((along[:, None] - along[None]) / _CALM_SHIFT_MM) ** 2) * trust[None]
        lines.append(points + (kernel @ shift) / kernel.sum(axis=1, keepdims=True))
    return lines


def lumen_beside(sections: Sections) -> tuple[NDArray[np.bool_], Float]:
    """Where a line runs beside the lumen that the network saw: which sections (n,), and the way from each to that lumen's middle (n, 3).

    So it is at a step of the table between two heart beats, where two vessels part, and beside a calcified plaque. A section about such a
    point would show no lumen, though there is one. Of several vessels on a section the one that covers most counts.
    """
    radius = np.arange(SAMPLES) * SAMPLE_MM
    lumen = sections.labels == VesselClass.LUMEN
    at_centre = lumen[:, :, radius <= _AT_CENTRE_MM].mean(axis=(1, 2))
    area = np.where(radius <= _BESIDE_MM, cell_areas(), 0.0)
    each = (lumen * area).sum(axis=2)
    # sums over a third of the circle about each ray
    third = sum(np.roll(each, turn, axis=1) for turn in range(-_THIRD, _THIRD + 1))
    towards = np.argmax(third, axis=1)
    beside = (at_centre < 0.5) & (third.max(axis=1) >= _LEAST_BESIDE_MM2)
    ray = np.arange(RAYS)
    turned = np.abs((ray[None] - towards[:, None] + RAYS // 2) % RAYS - RAYS // 2) <= _THIRD
    weight = lumen * area * turned[:, :, None]
    pull = (weight * radius).sum(axis=2) / np.maximum(weight.sum(axis=(1, 2)), 1e-6)[:, None]
    return beside, np.asarray((pull[:, :, None] * sections.directions).sum(axis=1))


def _profile(result: Fitted, sections: Sections, blood: Float, blur: Blur, number: int) -> Profile:
    here = sections.branch == number
    inner = result.lumen_radius[here]
    half = RAYS // 2
    through = inner[:, :half] + inner[:, half:]
    calcium = result.calcium_mm2[here]
    lumen = _through_calcium(result.lumen_mm[here], calcium, sections.along[here])
    lumen = _unblurred(lumen, sections.along[here], blur.along(tangents_of(sections.directions[here])))
    lumen = np.where(lumen < OCCLUDED_MM, 0.0, lumen)
    outer = np.maximum(_smooth(result.outer_mm[here]), lumen + 0.2)
    closed = lumen == 0.0
    return Profile(
        lumen_mm=lumen,
        narrowest_mm=np.where(closed, 0.0, through.min(axis=1)),
        widest_mm=np.where(closed, 0.0, through.max(axis=1)),
        vessel_mm=outer,
        calcium_mm2=calcium,
        lumen_hu=blood[here],
        noise_hu=result.residual[here],
        quality=np.clip(result.support[here] / 0.35, 0.0, 1.0) * np.clip(60.0 / np.maximum(result.residual[here], 20.0), 0.2, 1.0),
    )


def _past_mouth(profile: Profile, along: Float) -> Profile:
    """A branch without its first sections: they lie in the ostium's cone, where no wall closes them, and take what follows."""
    place = np.round(along, 6)  # the last digits depend on where the volume lies
    inside = place < _MOUTH_MM
    behind = ~inside & (place < 2.0 * _MOUTH_MM)
    if not inside.any() or behind.sum() < 3:
        return profile

    def carried(values: Float) -> Float:
        return np.where(inside, np.median(values[behind]), values)

    return replace(
        profile,
        lumen_mm=carried(profile.lumen_mm),
        narrowest_mm=carried(profile.narrowest_mm),
        widest_mm=carried(profile.widest_mm),
        vessel_mm=carried(profile.vessel_mm),
    )


def _through_calcium(lumen: Float, calcium: Float, along: Float) -> Float:
    """Sections in which calcium leaves no lumen to be seen cannot tell an occlusion from blooming: they take their neighbours' values."""
    hidden = (lumen < OCCLUDED_MM) & (calcium > _HIDING_CALCIUM_MM2)
    if not hidden.any() or hidden.all():
        return lumen
    return np.asarray(np.where(hidden, np.interp(along, along[~hidden], lumen[~hidden]), lumen))


def tangents_of(directions: Float) -> Float:
    """Unit vectors along the vessel, (n, 3), from those of the rays (n, RAYS, 3)."""
    return np.cross(directions[:, 0], directions[:, RAYS // 4])


def _unblurred(lumen: Float, along: Float, blur_mm: Float) -> Float:
    """Diameters without the blur along the vessel; single sections that fail are passed over first."""
    if len(lumen) < 5:
        return lumen
    calm = median_filter(lumen, 3, mode="nearest")
    return np.asarray(2.0 * np.sqrt(unblurred_areas(np.pi / 4 * calm**2, along, blur_mm) / np.pi))


def _smooth(value: Float) -> Float:
    """Median of three, then a light binomial: single sections may fail, lesions are longer than that."""
    if len(value) < 5:
        return value
    calm = median_filter(value, 3, mode="nearest")
    padded = np.pad(calm, 1, mode="edge")
    return np.asarray(0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])


def calcium_cells(fitted: Fitted, rows: slice) -> NDArray[np.bool_]:
    """True for the cells (n, RAYS, SAMPLES) of the fitted calcium of some sections."""
    radius = np.arange(SAMPLES) * SAMPLE_MM
    begin, end = fitted.calcium_begin[rows], fitted.calcium_end[rows]
    return np.asarray((radius >= begin[:, :, None]) & (radius < end[:, :, None]))


def radius_guess(tree: Tree, named: NamedTree) -> tuple[Float, ...]:
    """Rough lumen radius of every point of the named tree, from the mask's."""
    points = np.concatenate([branch.points_mm for branch in tree.branches])
    radius = np.concatenate([branch.radius_mm for branch in tree.branches])
    search = cKDTree(points)
    return tuple(np.clip(radius[search.query(branch.points_mm)[1]] - 0.45, 0.5, 3.5) for branch in named.branches)
