"""The outer wall measured whole, in an image: of thick soft plaque, with what lies behind the fat, and what follows from it.

On two sides the surroundings are muscle, from which the noise is known as in a patient.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis.lesion_degree import Stretch
from appliance.analysis.lesions import Survey, find_lesions
from appliance.analysis.lumen import LumenResult, measure_lumen
from appliance.analysis.plaque import Plaque, describe_plaques
from appliance.analysis.stages import Reference
from tests.appliance.analysis.tubes import LUNG, MUSCLE, Behind, Deposit, Vessel, named_tree, render, segmentation_of, straight

Float = NDArray[np.float64]

HEALTHY_MM, WALL_MM, RAMP_MM, LONG_MM, EVERY_MM = 3.0, 0.5, 2.0, 10.0, 36.0
DIAMETER_MM = 0.15
"""Mean error that a measured diameter may have."""
STEP_MM = 0.4
NOISE_FROM = (Behind(MUSCLE, 6.0, (1.0, 0.0, 0.0)), Behind(MUSCLE, 6.0, (-1.0, 0.0, 0.0)))


def plaques(*sizes: tuple[float, float], lumen: float = 2.1, deposits: tuple[Deposit, ...] = ()) -> Vessel:
    """A tube of 3 mm in a vessel of 4 mm, with a soft plaque of 10 mm every 36 mm: healthy sections are the more.

    Args:
        sizes: of each plaque the vessel's diameter in mm, and how far the lumen lies off its middle, of all the way that it can (0 to 1).
        lumen: diameter in the plaques.
        deposits: in the wall, from the tube's first point.
    """
    plain = straight(HEALTHY_MM, length=EVERY_MM * len(sizes) + 4.0, wall=WALL_MM, direction=(0.1, 0.15, 0.98))
    inner, outer, beside = plain.lumen.copy(), plain.outer.copy(), np.zeros(len(plain.lumen))
    for number, (vessel, off) in enumerate(sizes):
        share = shape_of(plain, number)
        inner += share * (lumen / 2 - inner)
        outer += share * (vessel / 2 - outer)
        beside += share * off * (vessel / 2 - lumen / 2 - WALL_MM)
    return replace(plain, lumen=inner, outer=outer, beside=beside, deposits=deposits)


def shape_of(vessel: Vessel, number: int) -> Float:
    """1 on a plaque's plateau, 0 outside of it, and a ramp between."""
    first = 15.0 + EVERY_MM * number
    off = np.maximum(np.maximum(first - vessel.along, vessel.along - first - LONG_MM), 0.0)
    return np.asarray(np.clip(1.0 - off / RAMP_MM, 0.0, 1.0))


def measured(vessel: Vessel, *behind: Behind) -> LumenResult:
    volume, classes = render([vessel], margin=10.0, behind=(*NOISE_FROM, *behind))
    return measure_lumen(named_tree([vessel]), volume, segmentation_of(volume, classes))


def described(vessel: Vessel, lumen: LumenResult, number: int) -> Plaque:
    """A plaque between its true ends, beside a healthy vessel that is known."""
    rows = np.flatnonzero(shape_of(vessel, number) > 0.0)
    stretch = Stretch(0, int(rows[0]), int(rows[len(rows) // 2]), int(rows[-1]) + 1, 2.1, HEALTHY_MM, 30.0, 5.0, 0.9)
    same = np.ones(len(vessel.points))
    healthy = Reference(HEALTHY_MM * same, (HEALTHY_MM + 2 * WALL_MM) * same, same)
    (plaque,) = describe_plaques(named_tree([vessel]), Survey(lumen.profiles, (healthy,), (), (), (stretch,)), lumen)
    return plaque


THICK = ((4.4, 0.9), (4.8, 0.0), (5.2, 0.9))


@pytest.fixture(scope="module")
def thick() -> tuple[Vessel, LumenResult]:
    vessel = plaques(*THICK)
    return vessel, measured(vessel)


@pytest.mark.parametrize("number", range(len(THICK)))
def test_the_outer_wall_of_thick_soft_plaque_is_found(thick: tuple[Vessel, LumenResult], number: int) -> None:
    vessel, lumen = thick
    plateau = shape_of(vessel, number) == 1.0
    assert lumen.profiles[0].vessel_mm[plateau].mean() == pytest.approx(THICK[number][0], abs=DIAMETER_MM)
    assert lumen.profiles[0].lumen_mm[plateau].mean() == pytest.approx(2.1, abs=DIAMETER_MM)


@pytest.mark.parametrize("number", range(len(THICK)))
def test_its_remodelling_and_its_volume_follow(thick: tuple[Vessel, LumenResult], number: int) -> None:
    vessel, lumen = thick
    plaque = described(vessel, lumen, number)
    assert plaque.remodeling_index == pytest.approx(THICK[number][0] / (HEALTHY_MM + 2 * WALL_MM), abs=0.05)
    section = np.pi * (vessel.outer**2 - vessel.lumen**2)
    assert plaque.volume.total == pytest.approx(float(section[shape_of(vessel, number) > 0.0].sum()) * STEP_MM, rel=0.05)


def test_a_core_of_low_attenuation_is_found_in_what_was_measured() -> None:
    """Half of a ring of 0.8 mm, 8 mm long, in a wall of 2.2 mm: an edge half a voxel off takes half of its thickness."""
    core = (1.5, 2.3)
    vessel = plaques((6.4, 0.0), lumen=2.0, deposits=(Deposit(-10.0, (16.0, 24.0), core, 0.0, np.pi),))
    both_sides = (Behind(MUSCLE, 6.0, (0.0, 1.0, 0.0)), Behind(MUSCLE, 6.0, (0.0, -1.0, 0.0)))
    plaque = described(vessel, measured(vessel, *both_sides), 0)
    assert "low_attenuation" in plaque.high_risk
    assert plaque.volume.low_attenuation == pytest.approx(np.pi / 2 * (core[1] ** 2 - core[0] ** 2) * 8.0, rel=0.5)


@pytest.mark.parametrize(("hu", "from_mm"), [pytest.param(LUNG, 2.4, id="lung"), pytest.param(MUSCLE, 2.4, id="muscle")])
def test_fat_between_a_healthy_vessel_and_what_lies_behind_is_no_wall(hu: float, from_mm: float) -> None:
    vessel = straight(2.0, length=30.0, wall=WALL_MM, direction=(0.1, 0.15, 0.98))
    lumen = measured(vessel, Behind(hu, from_mm, (0.0, 1.0, 0.0)))
    outer = lumen.profiles[0].vessel_mm[(vessel.along > 3.0) & (vessel.along < 27.0)]
    assert outer.mean() == pytest.approx(3.0, abs=DIAMETER_MM)
    assert float(np.abs(outer - 3.0).max()) < 2 * DIAMETER_MM
    assert find_lesions(named_tree([vessel]), lumen).stretches == ()
