"""The locator with its real weights on virtual patients of the development family, whose anatomy is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from appliance.analysis.locate import Located, locate
from appliance.analysis.quality import assess
from appliance.analysis.stages import Structure
from appliance.errors import DeclinedError
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from appliance.volume import Geometry, Volume
from models.phantom import draw_scan, render
from models.phantom.types import Patient, Scan
from tests.patients import drawn_patient

GRID = (140, 224, 224)
SPACING = (0.9, 0.9, 1.0)


@dataclass(frozen=True)
class Case:
    """A virtual patient, its scan, and where the locator says everything is."""

    patient: Patient
    scan: Scan
    volume: Volume
    structures: np.ndarray
    located: Located


@pytest.fixture(scope="module")
def session() -> Session:
    return best_engine().load(ModelCatalog.load(installed_catalog())["heart-loc"])


@pytest.fixture(scope="module")
def case(session: Session) -> Case:
    patient, scan = drawn_patient(100_003), draw_scan(100_003)
    middle = np.mean(patient.heart_box, axis=0)
    origin = tuple(float(c - s * (n - 1) / 2) for c, s, n in zip(middle, SPACING, reversed(GRID), strict=True))
    rendered = render(patient, scan, origin=origin, spacing=SPACING, shape=GRID)
    volume = Volume(rendered.hu, Geometry(GRID, SPACING, origin))
    return Case(patient, scan, volume, rendered.structures, locate(volume, session=session))


def test_the_fine_box_holds_every_coronary(case: Case) -> None:
    roi = case.located.heart.roi
    for branch in case.patient.branches:
        index = roi.to_index(branch.points_mm)
        assert (index >= 0).all(), branch.name
        assert (index <= np.asarray(roi.shape) - 1).all(), branch.name


@pytest.mark.parametrize("structure", [Structure.LV, Structure.LEFT_ATRIUM, Structure.RV, Structure.RIGHT_ATRIUM])
def test_chambers_are_where_they_truly_are(case: Case, structure: Structure) -> None:
    found = case.located.heart.centroid(structure)
    true = case.volume.geometry.to_points(np.argwhere(case.structures == int(structure))).mean(axis=0)
    assert found is not None
    assert np.linalg.norm(found - true) < 5.0


def test_what_is_called_aorta_is_aorta(case: Case) -> None:
    points = case.located.heart.points(Structure.AORTA)
    z, y, x = np.rint(case.volume.geometry.to_index(points)).astype(int).clip(0, np.asarray(GRID) - 1).T
    assert (case.structures[z, y, x] == int(Structure.AORTA)).mean() > 0.85


def test_contrast_and_noise_are_those_of_the_scan(case: Case) -> None:
    quality = assess(case.volume, case.located.heart)
    assert quality.aorta_mean_hu == pytest.approx(case.scan.vessel_hu, rel=0.08)
    assert quality.aorta_noise_hu is not None
    assert quality.aorta_noise_hu > 5
    assert quality.coverage_complete
    assert quality.motion is None
    assert quality.motion_reason == "not_measured"


def test_a_heart_that_is_cut_off_is_seen(case: Case, session: Session) -> None:
    geometry = case.volume.geometry
    cut = Geometry((105, *geometry.shape[1:]), geometry.spacing, tuple(geometry.to_points([35, 0, 0])))
    upper = Volume(np.ascontiguousarray(case.volume.voxels[35:]), cut)
    assert not assess(upper, locate(upper, session=session).heart).coverage_complete


def test_without_contrast_the_study_is_declined(case: Case) -> None:
    pale = Volume(np.minimum(case.volume.voxels, 60).astype(np.int16), case.volume.geometry)
    with pytest.raises(DeclinedError, match="DEC-102"):
        assess(pale, case.located.heart)


def test_water_has_no_heart(session: Session) -> None:
    water = Volume(np.zeros((60, 80, 80), np.int16), Geometry((60, 80, 80), (2, 2, 2), (0, 0, 0)))
    with pytest.raises(DeclinedError, match="DEC-101"):
        locate(water, session=session)


def test_in_a_scan_of_the_whole_chest_only_the_heart_is_looked_into(case: Case, session: Session) -> None:
    grid, spacing = (150, 170, 170), (2.0, 2.0, 2.0)
    middle = np.mean(case.patient.heart_box, axis=0) + np.array([30.0, -20.0, 45.0])
    origin = tuple(float(c - s * (n - 1) / 2) for c, s, n in zip(middle, spacing, reversed(grid), strict=True))
    wide = render(case.patient, case.scan, origin=origin, spacing=spacing, shape=grid)
    roi = locate(Volume(wide.hu, Geometry(grid, spacing, origin)), session=session).heart.roi
    for branch in case.patient.branches:
        index = roi.to_index(branch.points_mm)
        assert (index >= 0).all(), branch.name
        assert (index <= np.asarray(roi.shape) - 1).all(), branch.name
    usual = case.located.heart.roi
    assert np.prod(roi.shape) < 1.3 * np.prod(usual.shape)
