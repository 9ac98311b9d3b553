"""The TensorRT engine on a stand-in of library and card: right answers, and everything that goes wrong ends on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.errors import InferenceError, Reason
from appliance.inference.catalog import ModelCatalog
from appliance.inference.choose import GpuPlan, best_engine
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.inference.tensorrt_engine import TensorRtEngine
from appliance.inference.whole import WholeSession
from tests.appliance.inference.cuda.hostcuda import HostDriver
from tests.appliance.inference.faketensorrt import FakeTensorRt

pytest.importorskip("onnx", reason="engines are built from FP16 copies, which onnx makes (image-build/requirements-gpu.lock)")


class Box:
    """A box with a card: what was told, and the engine chosen for it."""

    def __init__(self, folder: Path) -> None:
        self.driver = HostDriver()
        self.trt = FakeTensorRt(self.driver)
        self.folder = folder
        self.told: list[Reason] = []
        self.progress: list[tuple[str, float]] = []

    def plan(self) -> GpuPlan:
        return GpuPlan(
            cache=self.folder / "engines",
            shipped=(),
            on_build=lambda name, part: self.progress.append((name, part)),
            on_trouble=self.told.append,
            driver=lambda _: self.driver,
            library=self.trt.library,
            nodes=(self.folder,),
        )

    def engine(self) -> TensorRtEngine:
        engine = best_engine(threads=1, gpu=self.plan())
        assert isinstance(engine, TensorRtEngine)
        self.told.clear()  # that there are no compiled kernels here
        return engine

    @property
    def codes(self) -> list[str]:
        return [reason.code for reason in self.told]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def values(count: int = 1, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 16, 16, 16)).astype(np.float32)


def rows(count: int = 40, length: int = 5) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1.0, 1.0, (count, 2, length)).astype(np.float32)


def test_answers_like_the_processor_and_leaves_nothing_on_the_card(box: Box, catalog: ModelCatalog) -> None:
    session = box.engine().load(catalog["threshold"])
    expected = OnnxRuntimeEngine(threads=1).load(catalog["threshold"]).run(values())
    held = box.driver.held_bytes
    given = session.run(values())
    for name, array in expected.items():
        np.testing.assert_allclose(given[name], array, rtol=2e-3)
    assert box.trt.runs == 1
    assert box.driver.held_bytes == held
    assert box.codes == []


def test_many_items_go_in_pieces_that_the_engine_takes(box: Box, catalog: ModelCatalog) -> None:
    given = box.engine().load(catalog["sequence"]).run(rows())
    np.testing.assert_allclose(given["whole"], rows().mean(axis=2), rtol=5e-3, atol=1e-3)
    assert box.trt.runs == 3


def test_engines_are_built_once_with_progress_and_found_again(box: Box, catalog: ModelCatalog) -> None:
    box.engine().load(catalog["threshold"])
    assert box.trt.built == ["network"]
    assert [name for name, _ in box.progress] == ["threshold"] * len(box.progress)
    parts = [part for _, part in box.progress]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    again = Box(box.folder)
    again.engine().load(catalog["threshold"])
    assert again.trt.built == []
    assert (box.folder / "engines" / "tensorrt-10.99-sm86.timing").read_bytes() == b"timed."


@pytest.mark.parametrize(
    ("breaks", "code"),
    [("enqueue", "INF-012"), ("nan", "INF-022"), ("driver", "INF-072"), ("plan", "INF-052"), ("parse", "INF-071"), ("build", "INF-071")],
)
def test_what_fails_on_the_card_is_done_by_the_processor_and_told(box: Box, catalog: ModelCatalog, breaks: str, code: str) -> None:
    box.trt.breaks = breaks
    engine = box.engine()
    given = engine.load(catalog["threshold"]).run(values())
    np.testing.assert_array_equal(given["classes"], (values()[:, 0] > 100).astype(np.uint8))
    assert box.codes == [code]
    assert box.told[0].zh
    assert engine.trouble == box.told[0]
    assert engine.name in ("openvino", "onnxruntime")
    assert code in engine.describe()
    box.trt.breaks = ""
    runs = box.trt.runs
    engine.load(catalog["sequence"]).run(rows())
    assert box.trt.runs == runs, "a card that failed is left alone"


def test_a_card_lost_at_any_call_costs_no_answer(box: Box, catalog: ModelCatalog) -> None:
    engine = box.engine()
    session = engine.load(catalog["threshold"])
    before = box.driver.calls
    session.run(values())
    for late in range(1, box.driver.calls - before + 1):
        other = Box(box.folder)
        session = other.engine().load(catalog["threshold"])
        other.driver.fail_at = other.driver.calls + late
        given = session.run(values())
        np.testing.assert_array_equal(given["classes"], (values()[:, 0] > 100).astype(np.uint8))
        assert set(other.codes) == {"INF-061"}


def test_too_little_memory_is_for_this_study_only(box: Box, catalog: ModelCatalog) -> None:
    engine = box.engine()
    session = engine.load(catalog["threshold"])
    box.driver.taken = box.driver.total
    np.testing.assert_array_equal(session.run(values())["classes"], (values()[:, 0] > 100).astype(np.uint8))
    assert box.codes == ["INF-060"]
    assert engine.name == "tensorrt"
    box.driver.taken = 0
    engine.begin_study()
    session.run(values())
    assert (box.codes, engine.trouble) == (["INF-060"], None)


def test_an_input_that_nobody_takes_is_the_callers_fault(box: Box, catalog: ModelCatalog) -> None:
    engine = box.engine()
    with pytest.raises(InferenceError, match="INF-011"):
        engine.load(catalog["threshold"]).run(np.full((1, 1, 16, 16, 16), np.nan, np.float32))
    assert engine.name == "tensorrt"


def test_a_changed_model_file_is_refused_and_not_left_to_the_processor(box: Box, catalog: ModelCatalog) -> None:
    catalog["threshold"].path.write_bytes(b"other")
    with pytest.raises(InferenceError, match="INF-003"):
        box.engine().load(catalog["threshold"])


def test_without_a_card_the_processor_is_chosen_quietly(box: Box) -> None:
    plan = GpuPlan(cache=box.folder, nodes=(box.folder / "nothing",), on_trouble=box.told.append)
    assert best_engine(threads=1, gpu=plan).name in ("openvino", "onnxruntime")
    assert box.codes == []


def test_a_card_without_driver_library_is_told(box: Box) -> None:
    def missing() -> None:
        raise InferenceError("INF-070", zh="无", en="none")

    plan = GpuPlan(cache=box.folder, nodes=(box.folder,), on_trouble=box.told.append, driver=box.plan().driver, library=missing)  # type: ignore[arg-type]
    assert "INF-070" in best_engine(threads=1, gpu=plan).describe()
    assert box.codes == ["INF-070"]
    with pytest.raises(InferenceError, match="INF-030"):
        best_engine(wanted="tensorrt", threads=1, gpu=plan)


def test_only_networks_with_tiles_take_whole_volumes(box: Box, catalog: ModelCatalog) -> None:
    assert not isinstance(box.engine().load(catalog["sequence"]), WholeSession)
