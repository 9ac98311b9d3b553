"""What can go wrong on a card: each a typed error, told once, and the study goes on on the processor; nothing of a patient stays behind."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import appliance.inference.cuda
from appliance.errors import InferenceError
from appliance.inference.cuda.binary import ARCHITECTURES, digest, fatbin_path, image_for
from appliance.inference.cuda.network import Tile
from appliance.inference.cuda.plan import SPARE_BYTES, budget, plan_memory
from appliance.inference.cuda.pycuda_driver import open_driver
from appliance.inference.cuda.session import Card, CudaSession
from tests.appliance.inference.cuda.hostcuda import HostDriver
from tests.appliance.inference.cuda.networks import HostNetwork, ProcessorSession, made_model, smaller
from tests.appliance.inference.cuda.test_window import asked, fine

GRID = fine((24, 24, 24))


def session_on(driver: HostDriver, network: HostNetwork, told: list[InferenceError]) -> CudaSession:
    return CudaSession(card=Card(driver), network=network, host=ProcessorSession(network.model), on_failure=told.append)


def calls_of_a_study() -> int:
    driver = HostDriver()
    session = session_on(driver, HostNetwork(driver, made_model(largest=None)), [])
    assert session.whole_volume(asked(GRID, reach="blob")) is not None
    return driver.calls


def test_a_card_lost_at_any_call_is_told_once_and_then_left_alone() -> None:
    whole = calls_of_a_study()
    assert whole > 60
    for number in range(3, whole + 1, 5):
        driver = HostDriver(fail_at=number)
        told: list[InferenceError] = []
        session = session_on(driver, HostNetwork(driver, made_model(largest=None)), told)
        assert session.whole_volume(asked(GRID, reach="blob")) is None, f"call {number}"
        assert [error.code for error in told] == ["INF-061"]
        assert "显卡" in told[0].zh
        calls = driver.calls
        assert session.whole_volume(asked(GRID, reach="blob")) is None
        assert driver.calls == calls
        assert len(told) == 1
        assert session.given_up is told[0]


def test_too_little_memory_is_refused_before_anything_large_is_taken() -> None:
    driver = HostDriver(total=8 << 30, taken=(8 << 30) - (65 << 20))
    told: list[InferenceError] = []
    network = HostNetwork(driver, made_model(), scratch=3 << 20)
    session = session_on(driver, network, told)
    assert session.whole_volume(asked(GRID, reach="blob")) is None
    assert [error.code for error in told] == ["INF-060"]
    assert "MiB" in told[0].en
    assert driver.peak_bytes < 100_000
    assert driver.held_bytes == 0
    driver.taken = 0  # another program has ended
    assert session.whole_volume(asked(GRID, reach="blob")) is not None


@pytest.mark.parametrize(
    ("gives", "spoiled"),
    [("scores", {"scores": np.float16(np.nan)}), ("scores", {"scores": np.float16(6e4)}), ("bytes", {"check": np.float32(np.inf)}),
     ("bytes", {"classes": np.uint8(5)})],
)  # fmt: skip
def test_values_that_no_sound_network_gives_are_refused(gives: str, spoiled: Mapping[str, np.generic]) -> None:
    driver = HostDriver()
    told: list[InferenceError] = []
    network = HostNetwork(driver, made_model(), gives=gives)  # type: ignore[arg-type]
    network.spoiled = spoiled
    session = session_on(driver, network, told)
    assert session.whole_volume(asked(GRID, reach="blob")) is None
    assert [error.code for error in told] == ["INF-062"]
    assert driver.held_bytes == 0


def test_a_network_that_the_kernels_cannot_serve_is_refused() -> None:
    for model in (smaller(made_model(), classes=tuple("abcdefghi")), made_model((16, 16, 15), None)):
        driver = HostDriver()
        told: list[InferenceError] = []
        assert session_on(driver, HostNetwork(driver, model), told).whole_volume(asked(GRID, reach="blob")) is None
        assert [error.code for error in told] == ["INF-062"]
        assert driver.held_bytes == 0


def test_the_codes_that_are_listed_are_those_that_are_raised() -> None:
    folder = Path(appliance.inference.cuda.__file__).parent
    raised = {code for path in folder.glob("*.py") for code in re.findall(r'"(INF-06\d)"', path.read_text("utf-8"))}
    assert set(re.findall(r"INF-06\d", appliance.inference.cuda.__doc__ or "")) == raised


def test_nothing_of_a_patient_stays_on_the_card_or_in_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = HostDriver()
    card = Card(driver)
    session = CudaSession(card=card, network=HostNetwork(driver, made_model()), host=ProcessorSession(made_model()), on_failure=pytest.fail)
    left: list[int] = []
    free = driver.free

    def looked(pointer: int) -> None:
        left.append(int(np.count_nonzero(driver.content(pointer))))
        free(pointer)

    monkeypatch.setattr(driver, "free", looked)
    assert session.whole_volume(asked(GRID, reach="noise")) is not None
    assert len(left) > 10
    assert not any(left)
    assert driver.held_bytes == 0
    assert not any(held.any() for held in card._pinned)


def test_never_two_patients_at_once() -> None:
    driver = HostDriver()
    card = Card(driver)
    inside, go_on = threading.Event(), threading.Event()

    class Waiting(HostNetwork):
        def prepare(self, batch: int, tile: Tile) -> None:
            inside.set()
            assert go_on.wait(30)

    told: list[InferenceError] = []
    first = CudaSession(card=card, network=Waiting(driver, made_model()), host=ProcessorSession(made_model()), on_failure=pytest.fail)
    second = CudaSession(card=card, network=HostNetwork(driver, made_model()), host=ProcessorSession(made_model()), on_failure=told.append)
    results = []
    thread = threading.Thread(target=lambda: results.append(first.whole_volume(asked(GRID, reach=None))))
    thread.start()
    assert inside.wait(30)
    assert second.whole_volume(asked(GRID, reach=None)) is None
    go_on.set()
    thread.join(60)
    assert [error.code for error in told] == ["INF-063"]
    assert results[0] is not None
    assert second.whole_volume(asked(GRID, reach=None)) is not None


def test_another_process_that_holds_the_card_is_waited_for_by_nobody(tmp_path: Path) -> None:
    node = tmp_path / "card"
    node.touch()
    driver = HostDriver()
    told: list[InferenceError] = []
    card = Card(driver, lease=node)
    session = CudaSession(card=card, network=HostNetwork(driver, made_model()), host=ProcessorSession(made_model()), on_failure=told.append)
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold, str(node)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert session.whole_volume(asked(GRID, reach="blob")) is None
        other.communicate("")
    assert [error.code for error in told] == ["INF-063"]
    assert session.whole_volume(asked(GRID, reach="blob")) is not None


def test_a_card_that_fell_off_its_bus_costs_no_study(tmp_path: Path) -> None:
    node = tmp_path / "card"
    node.mkdir()  # there, and cannot be opened
    driver = HostDriver()
    told: list[InferenceError] = []
    host = ProcessorSession(made_model())
    session = CudaSession(card=Card(driver, lease=node), network=HostNetwork(driver, made_model()), host=host, on_failure=told.append)
    assert session.whole_volume(asked(GRID, reach="blob")) is None
    assert [error.code for error in told] == ["INF-061"]


class Sized(HostNetwork):
    """cor-seg's measure: at half resolution (an eighth of the voxels) twelve feature maps of 32 channels in half precision."""

    def scratch_bytes(self, batch: int, tile: Tile) -> int:
        return batch * tile[0] * tile[1] * tile[2] // 8 * 32 * 2 * 12


def test_the_largest_study_fits_a_card_of_eight_gigabytes_with_two_to_spare() -> None:
    driver = HostDriver()
    network = Sized(driver, made_model((96, 96, 96), (160, 160, 160)), largest_batch=8)
    total = 8 * 10**9  # a card's gigabytes
    box_mm = (160, 200, 200)
    voxels = int(np.prod([2 * side for side in box_mm]))
    tiles = int(np.prod([-(-(2 * side - 16) // 144) for side in box_mm]))
    plan = plan_memory(
        network, source_voxels=512 * 512 * 640, fine_voxels=voxels, tile=(160, 160, 160), tiles=tiles, small_bytes=1 << 20,
        free=total - (300 << 20), total=total,
    )  # fmt: skip
    assert plan.total <= total - SPARE_BYTES
    assert plan.batch >= 2


def test_the_plan_holds_what_is_taken() -> None:
    driver = HostDriver()
    network = HostNetwork(driver, made_model(largest=None))
    assert session_on(driver, network, []).whole_volume(asked(GRID, reach="blob")) is not None
    assert driver.peak_bytes > 0
    batch, tile = network.prepared[0]
    voxels, tiles = 24**3, 8
    plan = plan_memory(
        network, source_voxels=40 * 60 * 52, fine_voxels=voxels, tile=tile, tiles=tiles, small_bytes=40_000, free=6 << 30, total=8 << 30
    )
    assert plan.batch == batch
    assert driver.peak_bytes <= plan.total


def test_budget_leaves_the_spare_and_what_others_hold() -> None:
    gib = 1 << 30
    assert budget(8 * gib, 8 * gib) == 6 * gib
    assert budget(3 * gib, 8 * gib) < 3 * gib
    assert budget(2 * gib, 2 * gib) == gib
    assert budget(0, 8 * gib) == 0


def test_without_a_card_the_error_says_so() -> None:
    with pytest.raises(InferenceError, match="INF-064") as caught:
        open_driver(99)
    assert "显卡" in caught.value.zh


def test_kernels_of_other_sources_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "coronet-kernels-0123456789abcdef.fatbin").write_bytes(b"old")
    with pytest.raises(InferenceError, match="INF-065"):
        image_for((0, 1), folders=(tmp_path,), cache=tmp_path / "missing")
    fatbin_path(tmp_path).write_bytes(b"right")
    assert image_for((8, 6), folders=(tmp_path,)) == b"right"
    assert 86 in ARCHITECTURES


def test_a_card_newer_than_the_fatbin_asks_for_its_own(tmp_path: Path) -> None:
    fatbin_path(tmp_path).write_bytes(b"not for this card")
    (tmp_path / f"coronet-kernels-{digest()}-sm103.cubin").write_bytes(b"made before")
    assert image_for((10, 3), folders=(tmp_path,), cache=tmp_path) == b"made before"


def test_kernels_that_cannot_be_kept_are_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.inference.cuda.binary.compile_for", lambda *_arguments, **_more: b"made now")
    (tmp_path / "full").write_text("no folder can be made here")
    assert image_for((10, 3), folders=(), cache=tmp_path / "full" / "engines") == b"made now"
    assert image_for((10, 3), folders=(), cache=tmp_path) == b"made now"
    assert (tmp_path / f"coronet-kernels-{digest()}-sm103.cubin").read_bytes() == b"made now"
