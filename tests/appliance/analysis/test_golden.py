"""The golden case: recorded, passed, and failed when the answer or the weights are other ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from appliance.analysis.golden import Golden, check_models, golden_input, golden_path, record
from appliance.analysis.pipeline import Models
from appliance.errors import InferenceError
from appliance.inference.catalog import ModelCatalog, installed_catalog


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """The installed models, in a folder of their own."""
    source = installed_catalog().parent
    shutil.copy(source / "catalog.toml", tmp_path)
    shutil.copytree(source / "weights", tmp_path / "weights")
    return Models.load(catalog=tmp_path / "catalog.toml", engine="openvino", threads=1)


def test_recorded_answers_pass_and_others_do_not(models: Models) -> None:
    path = record(models)
    assert path == golden_path(models)
    check_models(models)

    recorded = msgspec.json.decode(path.read_bytes(), type=dict[str, Golden])
    for name, golden in recorded.items():
        assert golden.sha256 == models.sessions[name].model.sha256
        for output, numbers in golden.answers.items():
            moved = {**golden.answers, output: [numbers[0] + 0.1 * sum(numbers) + 6.0, *numbers[1:]]}
            path.write_bytes(msgspec.json.encode({**recorded, name: Golden(golden.sha256, moved)}))
            with pytest.raises(InferenceError, match="INF-051"):
                check_models(models)
    path.write_bytes(msgspec.json.encode({**recorded, "cor-seg": Golden("0" * 64, recorded["cor-seg"].answers)}))
    with pytest.raises(InferenceError, match="INF-050"):
        check_models(models)


def test_the_input_of_each_model_fits_it_and_stays_within_its_ranges() -> None:
    for model in ModelCatalog.load(installed_catalog()).values():
        values = golden_input(model)
        assert values.shape[:2] == (1, len(model.channels))
        assert values.ndim == 2 + model.spatial
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, golden_input(model))
