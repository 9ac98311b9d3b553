"""The cache of engines: whole or not at all, built by one process at a time, damaged files built anew."""

from __future__ import annotations

import logging
import multiprocessing
import os
from pathlib import Path

import msgspec
import pytest

from appliance.errors import InferenceError
from appliance.inference.engine_cache import EngineCache, EngineKey
from appliance.inference.tensorrt_layers import Layer, Layers

KEY = EngineKey(
    model="net", sha256="ab", library="tensorrt", version="10.99", capability="8.6", device="", precision="fp16", shapes="1x1 1x1 1x1"
)
LAYERS = Layers((Layer(name="a", kind="correlation", inputs=("Half",), weights=("Half",)),))
PLAN = bytes(range(256)) * 64


class Builds:
    def __init__(self, plan: bytes = PLAN) -> None:
        self.plan, self.count = plan, 0

    def __call__(self) -> tuple[bytes, Layers, float]:
        self.count += 1
        return self.plan, LAYERS, 1.5


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path)


def test_what_was_built_is_found_again(cache: EngineCache, tmp_path: Path) -> None:
    builds = Builds()
    first, second = cache.get(KEY, builds), cache.get(KEY, builds)
    assert (first.built_now, second.built_now, builds.count) == (True, False, 1)
    assert second.plan == PLAN
    assert second.kept.layers == LAYERS
    assert [path.name for path, _ in cache.entries()] == [KEY.file_name]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("changed", [{name: "other"} for name in EngineKey.__struct_fields__], ids=list(EngineKey.__struct_fields__))
def test_each_part_of_the_key_counts(cache: EngineCache, changed: dict[str, str]) -> None:
    cache.get(KEY, Builds())
    assert cache.find(msgspec.structs.replace(KEY, **changed)) is None


DAMAGE = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "cut in the head": lambda content: content[:40],
    "longer": lambda content: content + b"x",
    "a bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "other file": lambda _: b"{}" * 50,
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_told_and_built_anew(cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    cache.get(KEY, Builds())
    path = tmp_path / KEY.file_name
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    assert isinstance(next(cache.entries())[1], str)
    builds = Builds()
    with caplog.at_level(logging.WARNING):
        entry = cache.get(KEY, builds)
    assert (entry.plan, builds.count) == (PLAN, 1)
    assert "built anew" in caplog.text
    assert cache.get(KEY, builds).built_now is False


def test_engines_that_came_with_the_image_are_used_and_never_written(tmp_path: Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    EngineCache(shipped).get(KEY, Builds())
    cache, builds = EngineCache(own, shipped=[shipped]), Builds()
    assert cache.get(KEY, builds).built_now is False
    path = shipped / KEY.file_name
    path.write_bytes(b"damaged")
    assert cache.get(KEY, builds).built_now is True
    assert path.read_bytes() == b"damaged"
    assert (own / KEY.file_name).exists()


def test_an_engine_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    entry = EngineCache(tmp_path / "file").get(KEY, Builds())
    assert entry.plan == PLAN
    assert "was not kept" in caplog.text


def test_a_build_that_fails_leaves_nothing(cache: EngineCache, tmp_path: Path) -> None:
    def fails() -> tuple[bytes, Layers, float]:
        raise InferenceError("INF-071", zh="错", en="no")

    with pytest.raises(InferenceError, match="INF-071"):
        cache.get(KEY, fails)
    assert list(cache.entries()) == []
    assert cache.get(KEY, Builds()).built_now is True


def test_the_cache_stays_bounded(cache: EngineCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.inference.engine_cache.MOST_BYTES", 3 * len(PLAN))
    for number in range(6):
        key = msgspec.structs.replace(KEY, model=f"net{number}")
        cache.get(key, Builds())
        os.utime(tmp_path / key.file_name, (number, number))
    assert [path.name.split("-")[0] for path, _ in cache.entries()] == ["net4", "net5"]


def _build_slowly(folder: Path, started: object, done: object) -> None:
    """In a process of its own: holds the lock until told."""

    def build() -> tuple[bytes, Layers, float]:
        started.set()  # type: ignore[attr-defined]
        assert done.wait(60)  # type: ignore[attr-defined]
        return PLAN, LAYERS, 0.0

    EngineCache(folder).get(KEY, build)


def test_two_processes_build_it_once_and_neither_waits_for_ever(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    started, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_build_slowly, args=(tmp_path, started, done))
    other.start()
    try:
        assert started.wait(120)
        builds = Builds()
        with pytest.raises(InferenceError, match="INF-053"):
            EngineCache(tmp_path, lock_s=0.1).get(KEY, builds)
        done.set()
        entry = EngineCache(tmp_path, lock_s=60).get(KEY, builds)
        assert (entry.plan, entry.built_now, builds.count) == (PLAN, False, 0)
    finally:
        done.set()
        other.join(60)
    assert other.exitcode == 0


def test_the_lock_of_a_process_that_died_is_free(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    started, done = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_build_slowly, args=(tmp_path, started, done))
    other.start()
    assert started.wait(120)
    other.kill()
    other.join(60)
    assert EngineCache(tmp_path, lock_s=30).get(KEY, Builds()).built_now is True
