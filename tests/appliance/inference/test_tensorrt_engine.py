"""The TensorRT engine on a stand-in of library and card: right answers, and everything that goes wrong ends on the processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from appliance.analysis.golden import check_models, record
from appliance.analysis.pipeline import Models
from appliance.errors import InferenceError, Reason
from appliance.inference.catalog import ModelCatalog
from appliance.inference.choose import GpuPlan, best_engine
from appliance.inference.cuda.binary import fatbin_path
from appliance.inference.guarded import GuardedWholeSession
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.inference.sliding import sliding_window
from appliance.inference.tensorrt_engine import TensorRtEngine
from appliance.inference.use_mark import UseMark
from appliance.inference.whole import Image, Whole, WholeSession
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
        self.at_exit: list[Callable[[], None]] = []
        self.progress: list[tuple[str, float]] = []

    def plan(self) -> GpuPlan:
        return GpuPlan(
            cache=self.folder / "engines",
            shipped=(self.folder / "shipped",),
            on_build=lambda name, part: self.progress.append((name, part)),
            on_trouble=self.told.append,
            driver=lambda _: self.driver,
            library=self.trt.library,
            at_exit=self.at_exit.append,
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


def give_kernels(box: Box) -> None:
    """The stand-in of the card has the kernels already; only the file must be there."""
    path = fatbin_path(box.folder / "shipped")
    path.parent.mkdir()
    path.write_bytes(b"kernels")


def volume() -> Whole:
    at = tuple(np.arange(40, dtype=np.float32) for _ in range(3))
    voxels = np.random.default_rng(5).integers(0, 250, (40, 40, 40)).astype(np.int16)
    return Whole(image=Image(voxels, (at[0], at[1], at[2])), channels=("image",), overlap=8)


def test_whole_volumes_stay_on_the_card(box: Box, catalog: ModelCatalog) -> None:
    give_kernels(box)
    engine = box.engine()
    assert not isinstance(engine.load(catalog["sequence"]), WholeSession)
    session = engine.load(catalog["threshold"])
    assert isinstance(session, WholeSession)
    found = session.whole_volume(volume())
    assert found is not None
    expected = sliding_window(OnnxRuntimeEngine(threads=1).load(catalog["threshold"]), [volume().image.voxels], overlap=8)
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_allclose(found.share, expected.share, atol=1)
    assert box.driver.held_bytes == 0, "activations are a patient's: nothing stays on the card"
    assert box.codes == []


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_card_lost_within_a_volume_leaves_the_study_to_the_processor(box: Box, catalog: ModelCatalog, part: float) -> None:
    give_kernels(box)
    engine = box.engine()
    session = engine.load(catalog["threshold"])
    assert isinstance(session, GuardedWholeSession)
    before = box.driver.calls
    session.whole_volume(volume())
    spent = box.driver.calls - before
    box.driver.fail_at = box.driver.calls + max(1, round(part * spent))
    found = session.whole_volume(volume())
    # the very last calls only give memory back: the answer was there already
    assert found is None or part > 0.9
    assert set(box.codes) == {"INF-061"}
    np.testing.assert_array_equal(sliding_window(session, [volume().image.voxels], overlap=8).classes, volume().image.voxels > 100)
    assert engine.name in ("openvino", "onnxruntime")
    assert session.whole_volume(volume()) is None


def box_models(box: Box, catalog: ModelCatalog) -> Models:
    """The tiny network in the parts of both that every box has, with golden answers."""
    model = catalog["threshold"]
    sessions = {name: msgspec.structs.replace(model, name=name) for name in ("heart-loc", "cor-seg")}
    right = OnnxRuntimeEngine(threads=1)
    record(Models(engine=right, sessions={name: right.load(each) for name, each in sessions.items()}))
    engine = box.engine()
    return Models(engine=engine, sessions={name: engine.load(each) for name, each in sessions.items()})


def test_a_card_that_gives_the_golden_answers_is_used(box: Box, catalog: ModelCatalog) -> None:
    give_kernels(box)
    models = box_models(box, catalog)
    check_models(models)
    assert (models.engine.name, box.codes) == ("tensorrt", [])
    assert models.engine.why("cor-seg").code == "GPU"


def test_a_card_that_answers_wrongly_is_never_used(box: Box, catalog: ModelCatalog) -> None:
    give_kernels(box)
    models = box_models(box, catalog)
    assert list((box.folder / "engines").glob("*.engine"))
    box.trt.breaks = "wrong"
    check_models(models)
    assert box.codes == ["INF-051"]
    assert models.engine.name in ("openvino", "onnxruntime")
    assert "INF-051" in models.engine.why("cor-seg").en
    given = models.coronary.run(values())
    np.testing.assert_array_equal(given["classes"], (values()[:, 0] > 100).astype(np.uint8))
    assert not list((box.folder / "engines").glob("*.engine")), "the next start builds them anew"


def test_a_processor_that_answers_wrongly_too_is_refused(box: Box, catalog: ModelCatalog) -> None:
    models = box_models(box, catalog)
    path = catalog["threshold"].path.parent / "golden.json"
    expected = json.loads(path.read_bytes())
    expected["cor-seg"]["answers"]["classes"] = [0.0, 4096.0]
    path.write_text(json.dumps(expected))
    with pytest.raises(InferenceError, match="INF-051"):
        check_models(models)


def test_the_process_after_one_that_died_on_the_card_leaves_it_alone_once(box: Box) -> None:
    dying = f"""
import os, pathlib
from appliance.inference.use_mark import UseMark
UseMark(pathlib.Path({str(box.folder / "engines")!r})).begin()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", dying], check=False, timeout=60)
    engine = best_engine(threads=1, gpu=box.plan())
    assert (engine.name in ("openvino", "onnxruntime"), box.codes) == (True, ["INF-074"])
    again = best_engine(threads=1, gpu=box.plan())
    assert again.name == "tensorrt"
    assert len(box.at_exit) == 1
    box.at_exit[0]()
    assert not (box.folder / "engines" / "gpu-in-use").exists()


def test_a_mark_from_before_a_restart_says_nothing_and_one_of_a_living_process_stays(tmp_path: Path) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("first")
    (tmp_path / "gpu-in-use").write_text(json.dumps({"pid": 2**22 + 1, "started": "1", "boot": "earlier"}))
    mark = UseMark(tmp_path, boot_id=boot)
    mark.begin()
    mark.end()
    assert not (tmp_path / "gpu-in-use").exists()
    ticks = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19]
    (tmp_path / "gpu-in-use").write_text(json.dumps({"pid": os.getppid(), "started": ticks, "boot": "first"}))
    mark.begin()
    mark.end()
    assert (tmp_path / "gpu-in-use").exists()
