"""The released motion network on a virtual patient of the development family: it knows the blurred artery from the still one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.analysis.motion_network import Motion, motion_along
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from appliance.volume import Geometry, Volume
from models.phantom import Patient, Scan, draw_scan, render
from models.phantom.scan import VESSELS, undisturbed, with_motion
from tests.patients import drawn_patient

pytestmark = pytest.mark.skipif("motion" not in ModelCatalog.load(installed_catalog()), reason="no motion network is released yet")

MOVED_MM = 4.0
SPACING = (0.4, 0.4, 0.5)
HALF_MM = np.array([12.0, 12.0, 9.0])


@pytest.fixture(scope="module")
def session() -> Session:
    return best_engine().load(ModelCatalog.load(installed_catalog())["motion"])


@pytest.fixture(scope="module")
def patient() -> Patient:
    return drawn_patient(100_003)


@pytest.fixture(scope="module")
def still() -> Scan:
    return replace(undisturbed(draw_scan(100_003)), noise_hu=22.0)


def seen(patient: Patient, scan: Scan, vessel: str, session: Session) -> Motion:
    """What the network says of the middle of an artery that is rendered by itself."""
    branch = next(each for each in patient.branches if each.name == vessel)
    middle = branch.points_mm[len(branch.points_mm) // 2]
    x, y, z = (float(value) for value in middle - HALF_MM)
    nx, ny, nz = (int(n) for n in np.ceil(2 * HALF_MM / np.asarray(SPACING)))
    rendered = render(patient, scan, origin=(x, y, z), spacing=SPACING, shape=(nz, ny, nx))
    near = (np.abs(branch.points_mm - middle) <= HALF_MM - 5.0).all(axis=1)
    volume = Volume(rendered.hu, Geometry((nz, ny, nx), SPACING, (x, y, z)))
    found = motion_along(volume, branch.points_mm[near], scan.vessel_hu, session)
    assert found is not None
    return found


@pytest.mark.parametrize("vessel", VESSELS)
def test_it_knows_the_blurred_artery_from_the_still_one(patient: Patient, still: Scan, session: Session, vessel: str) -> None:
    blurred = with_motion(still, dict.fromkeys(VESSELS, MOVED_MM))
    calm, moved = seen(patient, still, vessel, session), seen(patient, blurred, vessel, session)
    assert moved.motion_mm.mean() > calm.motion_mm.mean() + 1.0
    assert moved.too_far.mean() > calm.too_far.mean() + 0.2
    assert calm.too_far.mean() < 0.5
