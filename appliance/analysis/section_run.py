"""The section model of ``section_fit`` on many sections at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from appliance.analysis.section_calcium import A_AT, BEGIN_AT, END_AT, SIZE
from appliance.analysis.section_fit import BLOOD_AT, fit_sections
from appliance.analysis.section_samples import RAYS, SAMPLES
from appliance.analysis.section_shapes import blurred_disc
from appliance.analysis.sections import Blur, Sections
from appliance.analysis.stages import Float

_CALCIUM_HU, _PEAK_FACTOR, _MOST_CALCIUM_HU = 800.0, 1.1, 1800.0
"""Calcium as dense as it usually is, or a little denser than what the blur leaves of it near by."""
_PEAK_WITHIN_MM = 2.0
SURE = 0.002
"""Doubt of the blood where it is known."""


@dataclass(frozen=True)
class Fitted:
    """What the fit says of every section, (n,) unless said otherwise; radii per ray (n, RAYS), calcium's are 0 where there is none."""

    lumen_mm: Float
    outer_mm: Float
    lumen_radius: Float
    outer_radius: Float
    calcium_begin: Float
    calcium_end: Float
    calcium_hu: Float
    wall_hu: Float
    background: Float
    residual: Float
    support: Float
    blood_hu: Float
    """The blood as fitted."""
    blood_told: Float
    """What the section itself tells of it: one over the variance in HU2."""
    shift: Float
    """From the section's point to the lumen's middle, LPS mm (n, 3)."""

    def replaced(self, rows: NDArray[np.intp], other: Fitted) -> Fitted:
        """The same with some sections' values taken from another fit, which holds only these."""
        columns = {}
        for name in (each.name for each in fields(self)):
            columns[name] = getattr(self, name).copy()
            columns[name][rows] = getattr(other, name)
        return Fitted(**columns)

    @property
    def calcium_mm2(self) -> Float:
        """Area of calcium in every section."""
        return np.asarray((self.calcium_end**2 - self.calcium_begin**2).sum(axis=1) * np.pi / RAYS)


def fit_all(
    sections: Sections, blood: Float, radius: Float, noise: float, blur: Blur, *, firmness: float = 1.0, blood_doubt: float = SURE
) -> Fitted:
    """Fit the section model everywhere.

    Args:
        sections: where.
        blood: as expected, HU (n,).
        radius: first guess of the lumen's, mm (n,).
        noise: HU.
        blur: of the scanner.
        firmness: how much more firmly than usual the wall is held to what is healthy.
        blood_doubt: standard deviation of the blood, as a part of it: how far a section may have a blood of its own.
    """
    count = len(sections.points)
    disc, slope = blurred_disc()
    parameters = np.zeros((count, SIZE))
    background = np.zeros((count, RAYS))
    residual, support, told = np.zeros(count), np.zeros(count), np.zeros(count)
    fit_sections(
        sections.rays, sections.labels, blood, blood_doubt * blood, blur.along(sections.directions), radius, np.full(count, noise),
        expected_calcium(sections), firmness, disc, slope, parameters, background, residual, support, told,
    )  # fmt: skip
    angle = 2 * np.pi * np.arange(RAYS) / RAYS
    basis = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)])
    inner = np.maximum(parameters[:, :5] @ basis, 0.05)
    outer = inner + np.maximum(parameters[:, 5:8] @ basis[:3], 0.1)
    return Fitted(
        lumen_mm=_equivalent(inner),
        outer_mm=_equivalent(outer),
        lumen_radius=inner,
        outer_radius=outer,
        calcium_begin=parameters[:, BEGIN_AT:END_AT],
        calcium_end=parameters[:, END_AT:],
        calcium_hu=parameters[:, A_AT],
        wall_hu=parameters[:, 8],
        background=background,
        residual=residual,
        support=support / (RAYS * SAMPLES),
        blood_hu=parameters[:, BLOOD_AT],
        blood_told=told,
        shift=parameters[:, 1:2] * sections.directions[:, 0] + parameters[:, 2:3] * sections.directions[:, RAYS // 4],
    )


def expected_calcium(sections: Sections) -> Float:
    """Attenuation that calcium would have at every section, (n,)."""
    near = sections.rays[:, :, :18]
    peak = np.where(np.isfinite(near), near, 0.0).max(axis=(1, 2))
    out = np.empty(len(peak))
    for number in np.unique(sections.branch):
        here = np.flatnonzero(sections.branch == number)
        along = sections.along[here]
        step = float(along[-1]) / max(len(along) - 1, 1)
        size = 2 * int(np.ceil(_PEAK_WITHIN_MM / max(step, 0.1))) + 1
        out[here] = maximum_filter1d(peak[here], size, mode="nearest")
    return np.asarray(np.clip(_PEAK_FACTOR * out, _CALCIUM_HU, _MOST_CALCIUM_HU))


def _equivalent(radius: Float) -> Float:
    """Diameter of the circle of equal area."""
    return np.asarray(2.0 * np.sqrt((radius**2).mean(axis=1)))
