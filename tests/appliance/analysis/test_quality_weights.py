"""The released quality network on a virtual patient of the development family: it knows the blurred picture from the still one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.analysis.locate import locate
from appliance.analysis.phase_choice import Look, look_at
from appliance.analysis.phases import Phase, best_phase
from appliance.analysis.quality_network import SCORES
from appliance.analysis.quality_places import MAIN_VESSELS, Place, patch_grid, patches
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from appliance.volume import Geometry, Volume
from models.phantom import Patient, Scan, draw_patient, draw_scan, render
from models.phantom.scan import VESSELS, undisturbed, with_motion

pytestmark = pytest.mark.skipif("quality" not in ModelCatalog.load(installed_catalog()), reason="no quality network is released yet")

PLACES_PER_ARTERY = 3
MOVED_MM = 4.0
SPACING = (0.5, 0.5, 0.6)


@pytest.fixture(scope="module")
def catalog() -> ModelCatalog:
    return ModelCatalog.load(installed_catalog())


@pytest.fixture(scope="module")
def session(catalog: ModelCatalog) -> Session:
    return best_engine().load(catalog["quality"])


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(100_003)


@pytest.fixture(scope="module")
def still() -> Scan:
    return replace(undisturbed(draw_scan(100_003)), noise_hu=22.0)


def places_on(patient: Patient) -> tuple[Place, ...]:
    """Points of the main arteries, from a third to two thirds of each."""
    places = []
    for vessel in MAIN_VESSELS:
        branch = next(each for each in patient.branches if each.name == vessel)
        for share in np.linspace(0.35, 0.6, PLACES_PER_ARTERY):
            x, y, z = (float(value) for value in branch.points_mm[int(share * len(branch.points_mm))])
            places.append(Place(vessel, (x, y, z)))
    return tuple(places)


def answers(patient: Patient, scan: Scan, session: Session) -> dict[str, np.ndarray]:
    """Scores at the places, each rendered by itself at voxels of its own."""
    cut = []
    for place in places_on(patient):
        grid = patch_grid(place, np.eye(3))
        x, y, z = (float(value) - 0.7 for value in grid.origin)
        origin = (x, y, z)
        shape = (30, 68, 68)
        rendered = render(patient, scan, origin=origin, spacing=SPACING, shape=shape)
        cut.append(patches(Volume(rendered.hu, Geometry(shape, SPACING, origin)), (place,)))
    scores = session.run(np.concatenate(cut))["scores"]
    return dict(zip(SCORES, scores.T, strict=True))


def test_it_knows_the_blurred_picture_from_the_still_one(patient: Patient, still: Scan, session: Session) -> None:
    blurred = with_motion(still, dict.fromkeys(VESSELS, MOVED_MM))
    calm, moved = answers(patient, still, session), answers(patient, blurred, session)
    for artery in range(len(MAIN_VESSELS)):
        mine = slice(artery * PLACES_PER_ARTERY, (artery + 1) * PLACES_PER_ARTERY)
        assert moved["motion_mm"][mine].mean() > calm["motion_mm"][mine].mean() + 0.5
        assert moved["grade"][mine].mean() < calm["grade"][mine].mean()


def test_it_knows_the_noisy_picture_from_the_quiet_one(patient: Patient, still: Scan, session: Session) -> None:
    quiet, noisy = (answers(patient, replace(still, noise_hu=noise), session)["noise_hu"] for noise in (15.0, 45.0))
    assert (noisy > quiet + 8.0).all()


def test_of_two_phases_it_takes_the_still_one(patient: Patient, still: Scan, session: Session, catalog: ModelCatalog) -> None:
    """The header speaks for mid-diastole, but there everything moves; the locator finds the heart in each phase by itself."""
    heart = best_engine().load(catalog["heart-loc"])
    scans = (with_motion(replace(still, phase_percent=75.0), dict.fromkeys(VESSELS, 3.5)), replace(still, phase_percent=40.0))
    looks = [look(patient, scan, heart, session) for scan in scans]
    phases = [Phase(str(index), scan.phase_percent, each.rated) for index, (scan, each) in enumerate(zip(scans, looks, strict=True))]
    assert best_phase(phases) == 1
    assert best_phase([replace(phase, rated=None) for phase in phases]) == 0
    assert {vessel.vessel for vessel in looks[1].quality.vessels} >= {"LAD", "RCA"}


def look(patient: Patient, scan: Scan, heart: Session, session: Session) -> Look:
    low, high = (np.asarray(corner) for corner in patient.heart_box)
    x, y, z = (float(value) for value in low - 12.0)
    origin = (x, y, z)
    nx, ny, nz = (int(n) for n in np.ceil((high - low + 24.0) / np.asarray(SPACING)))
    rendered = render(patient, scan, origin=origin, spacing=SPACING, shape=(nz, ny, nx))
    volume = Volume(rendered.hu, Geometry((nz, ny, nx), SPACING, origin))
    return look_at(volume, locate(volume, session=heart), session)
