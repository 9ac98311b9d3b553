"""Both engines, on a tiny model with a known answer and on the installed networks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from appliance.errors import InferenceError
from appliance.inference.catalog import Model, ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Engine, check_outputs
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.inference.openvino_engine import OpenVinoEngine

ENGINES = ["openvino", "onnxruntime"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "openvino":
        return OpenVinoEngine(threads=1, precision="f32")
    return OnnxRuntimeEngine(threads=1)


def values(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 1, 16, 16, 16)).astype(np.float32)


def test_known_answer(engine: Engine, catalog: ModelCatalog) -> None:
    channels = values()
    outputs = engine.load(catalog["threshold"]).run(channels)
    np.testing.assert_array_equal(outputs["classes"], (channels[:, 0] > 100).astype(np.uint8))
    np.testing.assert_array_equal(outputs["share"], channels[:, 0].astype(np.uint8))
    assert outputs["check"] == pytest.approx(np.abs(channels).mean(), rel=1e-5)


def test_answers_are_kept_when_the_session_runs_again(engine: Engine, catalog: ModelCatalog) -> None:
    session = engine.load(catalog["threshold"])
    first = session.run(values(1))["share"]
    before = first.copy()
    session.run(values(2))
    np.testing.assert_array_equal(first, before)


def rows(count: int = 3, length: int = 5) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1.0, 1.0, (count, 2, length)).astype(np.float32)


def test_a_sequence_gives_scores_along_it_and_for_the_whole(engine: Engine, catalog: ModelCatalog) -> None:
    channels = rows()
    outputs = engine.load(catalog["sequence"]).run(channels)
    np.testing.assert_allclose(outputs["along"], channels.transpose(0, 2, 1), rtol=1e-6)
    np.testing.assert_array_equal(outputs["classes"], channels.argmax(axis=1))
    np.testing.assert_allclose(outputs["whole"], channels.mean(axis=2), rtol=1e-5)


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        ("INF-021", "along", np.zeros((3, 5, 3), np.float32)),
        ("INF-021", "whole", np.zeros((3, 5, 2), np.float32)),
        ("INF-022", "whole", np.full((3, 2), np.nan, np.float32)),
        ("INF-023", "classes", np.full((3, 5), 2, np.uint8)),
    ],
)
def test_unsound_scores_are_refused(catalog: ModelCatalog, code: str, name: str, value: np.ndarray) -> None:
    sound = {
        "along": np.zeros((3, 5, 2), np.float32),
        "classes": np.zeros((3, 5), np.uint8),
        "whole": np.zeros((3, 2), np.float32),
        "check": np.ones(3, np.float32),
    }
    assert check_outputs(catalog["sequence"], rows(), sound) is sound
    with pytest.raises(InferenceError, match=code):
        check_outputs(catalog["sequence"], rows(), {**sound, name: value})


@pytest.mark.parametrize("shape", [(1, 1, 16, 16, 8), (1, 2, 16, 16, 16), (1, 16, 16, 16)])
def test_input_of_wrong_shape_is_refused(engine: Engine, catalog: ModelCatalog, shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceError, match="INF-011"):
        engine.load(catalog["threshold"]).run(np.zeros(shape, np.float32))


def test_nan_in_the_input_is_refused(engine: Engine, catalog: ModelCatalog) -> None:
    channels = values()
    channels[0, 0, 3, 3, 3] = np.nan
    with pytest.raises(InferenceError, match="INF-011"):
        engine.load(catalog["threshold"]).run(channels)


def test_runaway_scores_are_refused(engine: Engine, catalog: ModelCatalog) -> None:
    with pytest.raises(InferenceError, match="INF-022"):
        engine.load(catalog["threshold"]).run(np.full((1, 1, 16, 16, 16), 1e6, np.float32))


def test_a_changed_file_is_not_loaded(engine: Engine, catalog: ModelCatalog) -> None:
    model = catalog["threshold"]
    model.path.write_bytes(model.path.read_bytes() + b" ")
    with pytest.raises(InferenceError, match="INF-003"):
        engine.load(model)


def sound_outputs() -> dict[str, np.ndarray]:
    block = np.zeros((1, 16, 16, 16), np.uint8)
    return {"classes": block, "share": block, "check": np.ones(1, np.float32)}


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        ("INF-020", "share", None),
        ("INF-021", "share", np.zeros((1, 16, 16, 8), np.uint8)),
        ("INF-021", "share", np.zeros((1, 16, 16, 16), np.float32)),
        ("INF-022", "check", np.array([np.nan], np.float32)),
        ("INF-022", "check", np.array([np.inf], np.float32)),
        ("INF-023", "classes", np.full((1, 16, 16, 16), 2, np.uint8)),
    ],
)
def test_unsound_outputs_are_refused(catalog: ModelCatalog, code: str, name: str, value: np.ndarray | None) -> None:
    outputs = sound_outputs()
    assert check_outputs(catalog["threshold"], values(), outputs) is outputs
    if value is None:
        del outputs[name]
    else:
        outputs[name] = value
    with pytest.raises(InferenceError, match=code):
        check_outputs(catalog["threshold"], values(), outputs)


def test_engine_describes_itself() -> None:
    engine = best_engine(threads=1)
    assert engine.name in ENGINES
    assert engine.precision in engine.describe()
    assert "fastest" in engine.describe() or "does not work" in engine.describe()
    assert best_engine(wanted="onnxruntime", threads=1).name == "onnxruntime"


def blobs(model: Model, shape: tuple[int, int, int]) -> np.ndarray:
    """Smooth structures over the range of each channel."""
    rng = np.random.default_rng(5)
    channels = [
        ndimage.zoom(rng.uniform(channel.low, channel.high, tuple(size // 8 for size in shape)), 8, order=1) for channel in model.channels
    ]
    return np.stack(channels)[None].astype(np.float32)


@pytest.mark.parametrize("name", ["heart-loc", "cor-seg"])
def test_engines_agree_on_the_installed_networks(name: str) -> None:
    model = ModelCatalog.load(installed_catalog())[name]
    channels = blobs(model, model.tile or (32, 48, 40))
    reference = OnnxRuntimeEngine(threads=2).load(model).run(channels)
    same = OpenVinoEngine(threads=2, precision="f32").load(model).run(channels)
    fast = OpenVinoEngine(threads=2).load(model).run(channels)
    assert (same["classes"] == reference["classes"]).mean() > 0.9995
    assert (fast["classes"] == reference["classes"]).mean() > 0.98
