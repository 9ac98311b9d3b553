"""The composition in torch against the compiled one: the same patches, labels and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.phantom import Patient, Scan, draw_patient, draw_scan, render  # noqa: E402
from models.phantom.device import DevicePatient, prepare_scan, render_patch, to_device  # noqa: E402
from models.phantom.types import Ghost, Step  # noqa: E402

pytestmark = pytest.mark.train

SIZE = 20


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(5)


@pytest.fixture(scope="module")
def on_device(patient: Patient) -> DevicePatient:
    return to_device(patient, torch.device("cpu"))


def still_scan(seed: int) -> Scan:
    """A drawn scan in which nothing moves."""
    return replace(draw_scan(seed), motion_mm={}, heart_motion_mm=0.0, steps=(), ghost=None, round_field=False)


SCANS = {
    "still": still_scan(1),
    "beating": replace(still_scan(2), heart_motion_mm=3.0),
    "moving": replace(
        still_scan(3),
        motion_mm={"LAD": 2.0, "LCX": 1.0, "RCA": 4.0},
        motion_direction={"LAD": (1.0, 0.0, 0.0), "LCX": (0.0, 1.0, 0.0), "RCA": (0.6, 0.8, 0.0)},
        motion_doubling=0.7,
    ),
    "stepped": replace(still_scan(4), steps=(Step(0.0, (2.0, -1.0, 0.5)),), ghost=Ghost(-30.0, 30.0, (3.0, 2.0, 0.0), 0.3)),
    "dense": replace(still_scan(5), beam_hardening=1.0, streaks=1.0, metal=("lead", "wires")),
}


def places(patient: Patient) -> dict[str, np.ndarray]:
    branches = {b.name: np.asarray(b.points_mm) for b in patient.branches}
    lesion = patient.lesions[0]
    return {
        "ostium": branches["RCA"][2],
        "groove": branches["LAD"][60],
        "plaque": np.asarray(patient.branches[lesion.branch].points_mm)[lesion.minimum],
        "middle": np.mean(patient.heart_box, axis=0),
    }


@pytest.mark.parametrize("name", list(SCANS))
def test_patches_are_those_of_the_compiled_renderer(name: str, patient: Patient, on_device: DevicePatient) -> None:
    scan = SCANS[name]
    prepared = prepare_scan(on_device, scan)
    for place, centre in list(places(patient).items())[: 2 if name == "moving" else 4]:
        x, y, z = (float(value) for value in centre - 5.0)
        expected = render(patient, scan, origin=(x, y, z), spacing=(0.5, 0.5, 0.5), shape=(SIZE,) * 3, seed=3)
        patch = render_patch(on_device, prepared, origin=(x, y, z), spacing=(0.5, 0.5, 0.5), shape=(SIZE,) * 3, seed=3)
        difference = np.abs(patch.hu.numpy() - expected.hu)
        assert np.median(difference) <= 1.0, (place, np.median(difference))
        # where two pieces of a vessel are equally near, either may be taken: single voxels at the edge of calcium differ by more
        assert np.percentile(difference, 99) <= 5.0, (place, np.percentile(difference, 99))
        assert (patch.vessels.numpy() == expected.vessels).mean() > 0.9995, place
        assert (patch.structures.numpy() == expected.structures).mean() > 0.9995, place


def test_thick_slices_are_averaged_alike(patient: Patient, on_device: DevicePatient) -> None:
    scan = replace(still_scan(6), noise_hu=0.0)
    x, y, z = (float(value) for value in places(patient)["groove"] - 5.0)
    spacing = (0.4, 0.4, 2.5)
    expected = render(patient, scan, origin=(x, y, z), spacing=spacing, shape=(4, 24, 24))
    patch = render_patch(on_device, prepare_scan(on_device, scan), origin=(x, y, z), spacing=spacing, shape=(4, 24, 24), seed=0)
    assert np.percentile(np.abs(patch.hu.numpy() - expected.hu), 99) <= 3.0
