"""The stage itself, with a card and without: one answer, and the study is finished whatever the card does."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from appliance.analysis.locate import Located
from appliance.analysis.segment import segment
from appliance.analysis.stages import Heart
from appliance.errors import InferenceError
from appliance.inference.catalog import Channel, Model
from appliance.inference.cuda.session import Card, CudaSession
from appliance.volume import Geometry, LabelMap, Volume
from tests.appliance.inference.cuda.hostcuda import HostDriver
from tests.appliance.inference.cuda.networks import HostNetwork, ProcessorSession, made_model
from tests.appliance.inference.cuda.test_window import CT, LOOK, ct, fine, mask

GRID = fine((40, 40, 40))


def model() -> Model:
    named = zip(("hu", "inside_pericardium", "blood_pool", "blood_hu"), made_model((24, 24, 24)).channels, strict=True)
    channels = tuple(Channel(name=name, unit="1", low=0.0, high=1.0, padding=channel.padding) for name, channel in named)
    return msgspec.structs.replace(made_model((24, 24, 24)), channels=channels)


@pytest.fixture(scope="module")
def study() -> tuple[Volume, Located]:
    labels = np.zeros(LOOK.shape, np.uint8)
    labels[3:8, 2:8, 2:8] = 3
    labels[8:, 3:7, 3:7] = 6
    heart = Heart(structures=LabelMap(labels, LOOK), roi=GRID)
    return Volume(ct(), CT), Located(heart=heart, inside_pericardium=mask("noise", 3), blood_pool=mask("noise", 4))


def test_segment_gives_the_same_with_a_card_as_without(study: tuple[Volume, Located]) -> None:
    driver = HostDriver()
    host = ProcessorSession(model())
    card = CudaSession(card=Card(driver), network=HostNetwork(driver, model()), host=host, on_failure=pytest.fail)
    found = segment(*study, session=card)
    assert host.runs == 0
    wanted = segment(*study, session=host)
    np.testing.assert_array_equal(found.hu, wanted.hu)
    np.testing.assert_array_equal(found.classes, wanted.classes)
    assert np.abs(found.coronary.astype(int) - wanted.coronary).max() <= 1
    assert wanted.classes.any()
    driver.close()


def test_a_card_lost_in_the_middle_leaves_the_study_finished_on_the_processor(study: tuple[Volume, Located]) -> None:
    driver = HostDriver(fail_at=45)
    told: list[InferenceError] = []
    host = ProcessorSession(model())
    card = CudaSession(card=Card(driver), network=HostNetwork(driver, model()), host=host, on_failure=told.append)
    found = segment(*study, session=card)
    assert [error.code for error in told] == ["INF-061"]
    assert host.runs > 0
    np.testing.assert_array_equal(found.classes, segment(*study, session=ProcessorSession(model())).classes)


def test_a_scan_on_oblique_axes_is_the_same_on_both(study: tuple[Volume, Located]) -> None:
    turned = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    volume, located = study
    heart = located.heart

    def turn(grid: Geometry) -> Geometry:
        return Geometry(grid.shape, grid.spacing, tuple(float(v) for v in turned @ np.array(grid.origin)), turned)  # type: ignore[arg-type]

    structures = LabelMap(heart.structures.labels, turn(heart.structures.geometry))
    tilted = Located(Heart(structures=structures, roi=turn(heart.roi)), located.inside_pericardium, located.blood_pool)
    driver = HostDriver()
    card = CudaSession(card=Card(driver), network=HostNetwork(driver, model()), host=ProcessorSession(model()), on_failure=pytest.fail)
    moved = Volume(volume.voxels, turn(volume.geometry))
    found, wanted = segment(moved, tilted, session=card), segment(moved, tilted, session=ProcessorSession(model()))
    np.testing.assert_array_equal(found.hu, wanted.hu)
    np.testing.assert_array_equal(found.classes, wanted.classes)
    driver.close()
