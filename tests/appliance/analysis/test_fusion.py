"""Diameters of the section fit and of the network ``lesions`` made one, the latter given here as data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis.fusion import fit_error, fused_lumen, fused_reference, joined, network_error
from appliance.analysis.lesion_network import Reading, Sizes, nothing
from appliance.analysis.lumen import LumenResult
from appliance.analysis.measure import make_branches
from appliance.analysis.section_run import Fitted
from appliance.analysis.sections import Blur, Sections
from appliance.analysis.stages import NamedBranch, NamedTree, Profile, Reference
from appliance.geometry import arc_length

Float = NDArray[np.float64]
COUNT = 60
ALONG = np.arange(COUNT) * 0.5
POINTS = np.stack([np.zeros(COUNT), np.zeros(COUNT), ALONG], axis=1)
NAMED = NamedTree(branches=(NamedBranch(POINTS, None, None, "RCA", ((0, COUNT, "pRCA"),), 1.0),), dominance=None)
NO = np.zeros(COUNT)


def profile(lumen: Float, *, calcium: Float = NO, residual: float = 8.0) -> Profile:
    """A branch as the section fit has it; a residual of 8 HU is 2 % of the blood."""
    return Profile(lumen, 0.9 * lumen, 1.1 * lumen, lumen + 1.0, calcium, np.full(COUNT, 400.0), np.full(COUNT, residual), np.ones(COUNT))


def reading(lumen: float, *, error: float = 0.08, healthy: float = 3.0, healthy_error: float = 0.1, share: float = 0.0) -> Reading:
    sizes = Sizes(*(np.full(COUNT, value) for value in (lumen, error, healthy, healthy_error)))
    return replace(nothing(COUNT), share=np.full(COUNT, share), sizes=sizes)


def result(one: Profile) -> LumenResult:
    """A measured tree of one branch, of which nothing but the profile is looked at."""
    cells = np.zeros((COUNT, 16, 26))
    sections = Sections(POINTS, np.zeros((COUNT, 16, 3)), cells, cells.astype(np.uint8), np.zeros(COUNT, np.intp), ALONG)
    fitted = Fitted(**dict.fromkeys(Fitted.__dataclass_fields__, one.lumen_mm))
    return LumenResult((one,), sections, fitted, one.lumen_hu, Blur(0.3, 0.3), 20.0)


def fused(one: Profile, read: Reading) -> Profile:
    return fused_lumen(NAMED, result(one), [read]).profiles[0]


def test_two_that_agree_are_weighed_by_their_variances() -> None:
    both = joined(np.array([2.0, 2.0]), np.array([0.1, 0.2]), np.array([2.1, 2.1]), np.array([0.2, 0.1]))
    assert both == pytest.approx([2.02, 2.08], abs=0.005)


def test_a_fit_far_beyond_both_errors_went_astray() -> None:
    both = joined(np.full(2, 1.0), np.full(2, 0.1), np.array([3.0, 3.0]), np.array([0.1, 1.2]))
    assert both[0] == pytest.approx(3.0, abs=0.05)  # the network is sure
    assert both[1] < 1.2  # the network is not: the fit stays


def test_beside_calcium_and_where_much_is_unexplained_the_fit_is_believed_less() -> None:
    calcium = np.where(np.abs(ALONG - 15.0) < 1.0, 2.0, 0.0)
    error = fit_error(profile(np.full(COUNT, 3.0), calcium=calcium), ALONG, NO)
    assert error[30] == pytest.approx(0.27)
    assert error[10] == pytest.approx(0.03 + 120.0 * 0.02**2)
    assert error[int((15.0 + 2.5) / 0.5)] > error[10]  # within 2 mm of the calcium
    assert fit_error(profile(np.full(COUNT, 3.0), residual=40.0), ALONG, NO)[10] > 3 * error[10]
    assert fit_error(profile(np.full(COUNT, 3.0)), ALONG, np.ones(COUNT))[10] > 0.5  # within a stent


def test_in_plaque_the_network_is_believed_less_than_it_says() -> None:
    plain, plaque = network_error(np.full(2, 0.1), np.array([0.0, 1.0]), 2.0)
    assert plain == pytest.approx(0.1 * np.sqrt(2.0))
    assert plaque == pytest.approx(3.0 * plain)
    tight = profile(np.full(COUNT, 1.0))
    assert fused(tight, reading(1.6, share=1.0)).lumen_mm[20] < 1.1
    assert fused(tight, reading(1.6)).lumen_mm[20] > 1.3


def test_a_single_section_without_lumen_is_opened_and_an_occlusion_stays_closed() -> None:
    one = np.full(COUNT, 2.0)
    one[30] = 0.0
    open_again = fused(profile(one), reading(2.0))
    assert open_again.lumen_mm[30] == pytest.approx(2.0, abs=0.1)
    assert open_again.narrowest_mm[30] > 1.5
    closed = np.where((ALONG > 10.0) & (ALONG < 16.0), 0.0, 2.0)
    occluded = fused(profile(closed), reading(1.2, error=0.3, share=1.0))
    assert (occluded.lumen_mm[closed == 0.0] == 0.0).all()


def test_lumen_wall_and_widths_stay_in_order() -> None:
    one = fused(profile(np.full(COUNT, 2.0), residual=40.0), reading(3.4))
    assert one.lumen_mm[20] > 2.5
    assert (one.vessel_mm > one.lumen_mm).all()
    assert (one.narrowest_mm <= one.lumen_mm).all()
    assert (one.lumen_mm <= one.widest_mm).all()


def test_a_network_without_diameters_changes_nothing() -> None:
    own = result(profile(np.full(COUNT, 2.0)))
    silent = nothing(COUNT)
    assert fused_lumen(NAMED, own, [silent]).profiles[0] is own.profiles[0]
    reference = Reference(np.full(COUNT, 3.0), np.full(COUNT, 4.0), np.ones(COUNT))
    assert fused_reference(reference, silent) is reference


def test_a_reference_with_little_support_follows_the_network() -> None:
    read = reading(2.0, healthy=3.0)

    def told(confidence: float) -> Reference:
        return fused_reference(Reference(np.full(COUNT, 2.0), np.full(COUNT, 3.0), np.full(COUNT, confidence)), read)

    assert 2.0 < told(1.0).lumen_mm[0] < told(0.2).lumen_mm[0] < 3.0
    assert told(0.2).vessel_mm[0] - told(0.2).lumen_mm[0] == pytest.approx(1.0)
    unknown = fused_reference(Reference(np.full(COUNT, np.nan), np.full(COUNT, np.nan), NO), read)
    assert np.isnan(unknown.lumen_mm).all()  # the product then gives no degree, and says so


def test_the_curve_that_is_drawn_is_the_fused_one() -> None:
    both = fused_lumen(NAMED, result(profile(np.full(COUNT, 2.0), residual=40.0)), [reading(2.6)])
    branch = make_branches(NAMED, both)[0]
    assert branch.lumen_diameter_mm[20] == round(float(both.profiles[0].lumen_mm[20]), 3)
    assert float(both.profiles[0].lumen_mm[20]) > 2.2
    assert len(arc_length(np.asarray(branch.points_mm))) == COUNT
