"""Plaques on tubes whose truth is known exactly: length, remodelling, burden, volume, and the high-risk features.

Three tubes: profiles that are given, for the definitions alone; an image that is measured whole; and an image on whose sections lumen and
outer wall are given, so that what is tested is the reading of what lies between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis.lesion_degree import Stretch
from appliance.analysis.lesions import Survey, find_lesions
from appliance.analysis.lumen import LumenResult, measure_lumen
from appliance.analysis.measure import make_lesions
from appliance.analysis.plaque import Plaque, describe_plaques
from appliance.analysis.section_run import Fitted
from appliance.analysis.section_samples import RAYS, SAMPLES
from appliance.analysis.sections import Blur, cut_sections
from appliance.analysis.stages import NamedTree, Profile, Reference
from appliance.findings import Lesion
from tests.appliance.analysis.tubes import BLOOD, FAT, WALL, Deposit, Vessel, named_tree, render, segmentation_of, straight

Float = NDArray[np.float64]

STEP_MM = 0.4
IN_PLANE_MM, ACROSS_MM = np.hypot(0.28, 0.4 / np.sqrt(12)), np.hypot(0.30, 0.5 / np.sqrt(12))
"""The blur that ``tubes.render`` gives: the scanner's, and the voxel's own size."""
SHOULDER_MM = 2.355 * ACROSS_MM + STEP_MM
"""Where a plaque begins can be told to the blur's width at half its height, and to a step of the line."""
DIAMETER_MM = 0.15
"""Mean error that a measured diameter may have."""
HALF_WAY = 0.05
"""Of a remodelling index: half way from none (1.0) to positive (1.1)."""


@dataclass(frozen=True)
class Stretched:
    """A plaque of a tube: where its plateau begins and ends (mm from the tube's first point), and lumen and vessel diameter there."""

    first: float
    last: float
    lumen: float
    vessel: float


def tube(length: float, *plaques: Stretched, deposits: tuple[Deposit, ...] = (), ramp_mm: float = STEP_MM) -> Vessel:
    """A tube of 3 mm with a wall of 0.5 mm, nearly along the scanner's axis; a plaque begins and ends over ``ramp_mm``."""
    plain = straight(3.0, length=length, direction=(0.1, 0.15, 0.98))
    lumen, outer = plain.lumen.copy(), plain.outer.copy()
    for one in plaques:
        off = np.maximum(np.maximum(one.first - plain.along, plain.along - one.last), 0.0)
        share = np.clip(1.0 - off / ramp_mm, 0.0, 1.0)
        lumen, outer = lumen + share * (one.lumen / 2 - lumen), outer + share * (one.vessel / 2 - outer)
    return replace(plain, lumen=lumen, outer=outer, deposits=deposits)


def inside(vessel: Vessel, plaque: Stretched) -> NDArray[np.bool_]:
    return np.asarray((vessel.along >= plaque.first - 1e-6) & (vessel.along <= plaque.last + 1e-6))


def profile_of(vessel: Vessel) -> Profile:
    """What would be measured without any error."""
    same = np.ones(len(vessel.points))
    lumen = 2 * vessel.lumen
    return Profile(lumen, lumen, lumen, 2 * vessel.outer, 0.0 * same, BLOOD * same, 20.0 * same, same)


def survey_of(vessel: Vessel, profile: Profile, plaques: tuple[Stretched, ...], healthy: Reference | None = None) -> Survey:
    """The plaques where they are, and the healthy tube as the reference."""
    same = np.ones(len(vessel.points))
    stretches = []
    for one in plaques:
        rows = np.flatnonzero(inside(vessel, one))
        at = int(rows[np.argmin(2 * vessel.lumen[rows])]) if np.ptp(vessel.lumen[rows]) > 0 else int(rows[len(rows) // 2])
        percent = 100.0 * (1.0 - 2 * vessel.lumen[at] / 3.0)
        stretches.append(Stretch(0, int(rows[0]), at, int(rows[-1]) + 1, float(2 * vessel.lumen[at]), 3.0, float(percent), 5.0, 0.9))
    return Survey((profile,), (healthy or Reference(3.0 * same, 4.0 * same, same),), (), (), tuple(stretches))


def given(vessel: Vessel, *, seed: int = 0) -> LumenResult:
    """The vessel's image, cut along its line, with lumen and outer wall as they are and no calcium."""
    volume, classes = render([vessel], margin=6.0, seed=seed)
    sections = cut_sections(named_tree([vessel]), volume, segmentation_of(volume, classes))
    count = len(vessel.points)
    same, rays = np.ones(count), np.ones((count, RAYS))
    fitted = Fitted(
        lumen_mm=2 * vessel.lumen, outer_mm=2 * vessel.outer, lumen_radius=vessel.lumen[:, None] * rays,
        outer_radius=vessel.outer[:, None] * rays, calcium_begin=0.0 * rays, calcium_end=0.0 * rays, calcium_hu=800.0 * same,
        wall_hu=WALL * same, background=FAT * rays, residual=20.0 * same, support=same, blood_hu=BLOOD * same, blood_told=same,
        shift=np.zeros((count, 3)),
    )  # fmt: skip
    blur = Blur(float(IN_PLANE_MM), float(ACROSS_MM))
    return LumenResult((profile_of(vessel),), sections, fitted, BLOOD * same, blur, 20.0)


# the definitions: a hump of 12 mm, of which all integrals are known


@pytest.fixture(scope="module")
def hump() -> tuple[NamedTree, Plaque, Lesion]:
    """Lumen 3 (1 - h/2), vessel 4 + 0.8 h, h a cosine hump from 0 to 1 and back over 12 mm; the reference tapers from 4.4 to 3.6 mm."""
    vessel = tube(40.0)
    place = vessel.along - 14.0
    shape = np.where((place >= 0) & (place <= 12.0), 0.5 - 0.5 * np.cos(2 * np.pi * place / 12.0), 0.0)
    vessel = replace(vessel, lumen=1.5 * (1 - 0.5 * shape), outer=2.0 + 0.4 * shape)
    count = len(vessel.points)
    outer = np.interp(vessel.along, [14.0, 26.0], [4.4, 3.6])
    survey = survey_of(
        vessel, profile_of(vessel), (Stretched(14.0, 26.0, 1.5, 4.8),), Reference(np.full(count, 3.0), outer, np.ones(count))
    )
    sections = cut_nothing(vessel)
    named = named_tree([vessel])
    plaques = describe_plaques(named, survey, sections)
    return named, plaques[0], make_lesions(named, survey, plaques)[0]


def cut_nothing(vessel: Vessel) -> LumenResult:
    """Sections without an image: every sample is soft plaque of 60 HU."""
    short = given(tube(12.0))
    count = len(vessel.points)
    rows = np.zeros(count, np.intp)
    fitted = replace(short.fitted, **{name: getattr(short.fitted, name)[rows] for name in Fitted.__dataclass_fields__})
    fitted = replace(fitted, lumen_radius=np.repeat(vessel.lumen[:, None], RAYS, 1), outer_radius=np.repeat(vessel.outer[:, None], RAYS, 1))
    sections = replace(short.sections.take(rows), rays=np.full((count, RAYS, SAMPLES), WALL))
    return replace(short, profiles=(profile_of(vessel),), sections=sections, fitted=fitted, blood=np.full(count, BLOOD))


def test_the_volume_is_the_integral_of_vessel_less_lumen(hump: tuple[NamedTree, Plaque, Lesion]) -> None:
    _, plaque, _ = hump
    once, twice = 6.0, 4.5  # integrals of h and of its square over 12 mm
    true = np.pi / 4 * ((16.0 * 12.0 + 6.4 * once + 0.64 * twice) - 9.0 * (12.0 - once + 0.25 * twice))
    one_section = np.pi / 4 * (16.0 - 9.0) * STEP_MM
    assert plaque.volume.total == pytest.approx(true, abs=one_section + 0.01)
    assert plaque.volume.noncalcified == plaque.volume.total
    assert (plaque.volume.calcified, plaque.volume.low_attenuation) == (0.0, 0.0)
    assert plaque.volume.fibrofatty == plaque.volume.total  # 60 HU
    assert plaque.volume.fibrous == 0.0


def test_remodelling_is_of_diameters_against_the_mean_of_both_references(hump: tuple[NamedTree, Plaque, Lesion]) -> None:
    _, plaque, lesion = hump
    assert plaque.remodeling_index == pytest.approx(4.8 / (0.5 * (4.4 + 3.6)), abs=0.01)  # by area it would be 1.44
    assert lesion.remodeling_index == pytest.approx(plaque.remodeling_index, abs=1e-3)
    assert plaque.high_risk == ("positive_remodeling",)


def test_burden_length_and_degrees_of_the_findings(hump: tuple[NamedTree, Plaque, Lesion]) -> None:
    _, _, lesion = hump
    assert lesion.plaque_burden_percent == pytest.approx(100.0 * (1.0 - (1.5 / 4.8) ** 2), abs=0.01)
    assert lesion.length_mm == pytest.approx(12.0, abs=0.01)
    assert lesion.diameter_stenosis_percent == pytest.approx(50.0, abs=0.01)
    assert lesion.area_stenosis_percent == pytest.approx(75.0, abs=0.01)
    assert lesion.minimum_lumen_diameter_mm == pytest.approx(1.5, abs=0.001)


# an image, measured whole


@pytest.mark.parametrize(
    "true",
    [
        pytest.param(Stretched(13.0, 23.0, 2.1, 4.0), id="narrowed"),
        pytest.param(Stretched(13.0, 23.0, 3.0, 5.0), id="only widened"),
    ],
)
def test_a_plaque_is_as_long_and_as_thick_as_it_is(true: Stretched) -> None:
    vessel = tube(true.last + 13.0, true)
    volume, classes = render([vessel], margin=6.0)
    named = named_tree([vessel])
    lumen = measure_lumen(named, volume, segmentation_of(volume, classes))
    survey = find_lesions(named, lumen)
    (lesion,) = make_lesions(named, survey, describe_plaques(named, survey, lumen))
    begins, ends = true.first - STEP_MM, true.last + STEP_MM
    assert vessel.along[lesion.start] == pytest.approx(begins, abs=SHOULDER_MM)
    assert vessel.along[lesion.end - 1] == pytest.approx(ends, abs=SHOULDER_MM)
    assert lesion.length_mm == pytest.approx(ends - begins, abs=2 * SHOULDER_MM)
    assert lesion.remodeling_index == pytest.approx(true.vessel / 4.0, abs=HALF_WAY)
    share = (true.lumen / true.vessel) ** 2
    within = 100.0 * 2 * share * (DIAMETER_MM / true.lumen + DIAMETER_MM / true.vessel)
    assert lesion.plaque_burden_percent == pytest.approx(100.0 * (1.0 - share), abs=within)
    assert lesion.plaque_type == "noncalcified"
    assert lesion.diameter_stenosis_percent == pytest.approx(100.0 * (1.0 - true.lumen / 3.0), abs=6.0)


# calcium, measured whole

CALCIFIED = tuple(Stretched(first, first + 10.0, 2.0, 5.0) for first in (13.0, 33.0, 53.0, 73.0))
_ARC, _ON_RAY = 0.6, (1.4, 2.2)


def calcium(first: float, last: float, *, arc: float = _ARC, radius: tuple[float, float] = _ON_RAY, angle: float = 0.0) -> Deposit:
    return Deposit(900.0, (first, last), radius, angle, arc, 3)


@pytest.fixture(scope="module")
def calcified() -> tuple[Plaque, ...]:
    """A spot of 2 mm; two spots on two sides; a rod of 5 mm; a short plate around half the lumen."""
    deposits = (
        calcium(17.0, 19.0),
        calcium(34.0, 35.6),
        calcium(40.0, 41.6, angle=2.0),
        calcium(55.5, 60.5),
        calcium(77.3, 78.7, arc=3.3, radius=(1.4, 1.9)),
    )
    vessel = tube(96.0, *CALCIFIED, deposits=deposits)
    volume, classes = render([vessel], margin=6.0)
    named = named_tree([vessel])
    lumen = measure_lumen(named, volume, segmentation_of(volume, classes))
    return describe_plaques(named, survey_of(vessel, lumen.profiles[0], CALCIFIED), lumen)


@pytest.mark.parametrize(
    ("number", "spotty"),
    [
        pytest.param(0, True, id="a spot of 2 mm"),
        pytest.param(1, True, id="two spots, each short, 6 mm apart"),
        pytest.param(2, False, id="a rod of 5 mm is no spot"),
        pytest.param(3, False, id="around half the lumen is no spot"),
    ],
)
def test_spotty_calcium_is_short_and_narrow_within_soft_plaque(calcified: tuple[Plaque, ...], number: int, spotty: bool) -> None:
    plaque = calcified[number]
    assert plaque.kind == "mixed"
    assert 0.8 <= plaque.volume.calcified < 0.15 * plaque.volume.total
    assert ("spotty_calcification" in plaque.high_risk) is spotty


# what lies between a lumen and an outer wall that are given

SOFT = tuple(Stretched(first, first + 10.0, 2.0, 6.4) for first in (8.0, 22.0, 36.0, 50.0, 64.0))
PLAIN, LOW, NAPKIN, BRIGHT_RIM, NO_RIM = range(5)
_CORE_HU, _CORE_MM, _CORE_RADIUS = -10.0, 8.0, (1.5, 2.3)


@pytest.fixture(scope="module")
def soft() -> tuple[Plaque, ...]:
    """Thick soft plaques: of 60 HU; with a core of low attenuation in it; the core in a rim of 110 HU, of 350 HU; a core up to the fat."""
    deposits = []
    for number, rim in ((NAPKIN, 110.0), (BRIGHT_RIM, 350.0)):
        deposits.append(Deposit(rim, (SOFT[number].first, SOFT[number].last), (2.3, 9.0)))
    for number, radius in ((LOW, _CORE_RADIUS), (NAPKIN, _CORE_RADIUS), (BRIGHT_RIM, _CORE_RADIUS), (NO_RIM, (1.5, 9.0))):
        middle = 0.5 * (SOFT[number].first + SOFT[number].last)
        deposits.append(Deposit(_CORE_HU, (middle - _CORE_MM / 2, middle + _CORE_MM / 2), radius, 0.0, np.pi))
    vessel = tube(82.0, *SOFT, deposits=tuple(deposits), ramp_mm=2.0)
    lumen = given(vessel)
    return describe_plaques(named_tree([vessel]), survey_of(vessel, lumen.profiles[0], SOFT), lumen)


@pytest.mark.parametrize(
    ("number", "low", "napkin"),
    [
        pytest.param(PLAIN, False, False, id="soft plaque of 60 HU"),
        pytest.param(LOW, True, False, id="a core in soft plaque of 60 HU"),
        pytest.param(NAPKIN, True, True, id="a core in a denser rim"),
        pytest.param(BRIGHT_RIM, True, False, id="a core in a rim as dense as calcium"),
        pytest.param(NO_RIM, True, False, id="a core that reaches the fat"),
    ],
)
def test_a_core_is_of_low_attenuation_and_a_napkin_ring_has_a_denser_rim(
    soft: tuple[Plaque, ...], number: int, low: bool, napkin: bool
) -> None:
    features = soft[number].high_risk
    assert ("low_attenuation" in features) is low
    assert ("napkin_ring" in features) is napkin
    assert (soft[number].volume.low_attenuation > 0.0) is low
    assert soft[number].kind == "noncalcified"


def test_the_volume_of_a_core_in_soft_plaque_is_right_to_half_a_voxel(soft: tuple[Plaque, ...]) -> None:
    """0.2 mm more or less on each of its sides, which is half of its thickness of 0.8 mm."""
    true = np.pi / 2 * (_CORE_RADIUS[1] ** 2 - _CORE_RADIUS[0] ** 2) * _CORE_MM
    assert soft[LOW].volume.low_attenuation == pytest.approx(true, rel=0.5)
