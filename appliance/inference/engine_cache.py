"""Built engines on the disk: found again by everything that they depend on, never used damaged, built by one process at a time.

A file holds a line of JSON (what it is of, its checksum, what it consists of) and then the engine. It appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from appliance.errors import InferenceError
from appliance.inference.tensorrt_layers import Layers

log = logging.getLogger(__name__)

FORMAT = 1
SUFFIX = ".engine"
LOCK_S = 1800.0
"""How long another process may build: the full TensorRT takes minutes for a network."""
MOST_BYTES = 2 << 30
_MAGIC = b"coronet-engine\n"
_LONGEST_HEADER = 1 << 20
_POLL_S = 0.2


class EngineKey(msgspec.Struct, frozen=True, order=True):
    """Everything that an engine depends on.

    Attributes:
        model: name of the network; ``sha256`` of its float32 weights.
        library, version: ``tensorrt`` or ``tensorrt_rtx``, and which.
        capability: compute capability of the device, such as ``8.6``.
        device: name and driver of the device where the engine runs on that one only (full TensorRT); empty where it need not.
        precision: ``fp16`` or ``int8``; for ``int8`` with the digest of the calibration.
        shapes: least, usual and largest input.
    """

    model: str
    sha256: str
    library: str
    version: str
    capability: str
    device: str
    precision: str
    shapes: str

    @property
    def digest(self) -> str:
        """A short name of the key."""
        return hashlib.sha256(msgspec.json.encode([FORMAT, self])).hexdigest()[:20]

    @property
    def file_name(self) -> str:
        """The file in the cache."""
        return f"{self.model}-sm{self.capability.replace('.', '')}-{self.precision.split(':')[0]}-{self.digest}{SUFFIX}"


class Kept(msgspec.Struct, frozen=True):
    """The first line of a file."""

    key: EngineKey
    sha256: str
    bytes: int
    seconds: float
    layers: Layers


class Entry(msgspec.Struct, frozen=True):
    """An engine, and where it came from."""

    kept: Kept
    plan: bytes
    built_now: bool


class EngineCache:
    """See the module.

    Args:
        folder: where new engines go; made when first needed.
        shipped: folders that came with the image: read, never written.
        lock_s: how long another process may build before this one gives up.
    """

    def __init__(self, folder: Path, *, shipped: Sequence[Path] = (), lock_s: float = LOCK_S) -> None:
        self._folder = folder
        self._shipped = tuple(shipped)
        self._lock_s = lock_s

    def find(self, key: EngineKey) -> Entry | None:
        """The engine of a key; None where there is none. A damaged file is removed, with a warning, and counts as none."""
        for folder in (self._folder, *self._shipped):
            path = folder / key.file_name
            try:
                entry = _read(path)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.warning("engine file %s cannot be used (%s); it is built anew", path.name, error)
                if folder == self._folder:
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
                continue
            if entry.kept.key == key:
                with contextlib.suppress(OSError):
                    os.utime(path)  # used now; what came with the image is read-only, and stays
                return entry
        return None

    def get(self, key: EngineKey, build: Callable[[], tuple[bytes, Layers, float]]) -> Entry:
        """The engine of a key, built by ``build`` (plan, layers, seconds) where there is none.

        Where the disk takes nothing the engine is used all the same, and built again next time.

        Raises:
            InferenceError: INF-053 where another process builds it and does not come to an end; what ``build`` raises.
        """
        entry = self.find(key)
        if entry is not None:
            return entry
        with self._building(key):
            entry = self.find(key)  # another process may have built it meanwhile
            if entry is not None:
                return entry
            plan, layers, seconds = build()
            kept = Kept(key=key, sha256=hashlib.sha256(plan).hexdigest(), bytes=len(plan), seconds=round(seconds, 3), layers=layers)
            self._write(kept, plan)
            return Entry(kept=kept, plan=plan, built_now=True)

    def discard(self, key: EngineKey) -> None:
        """Remove an engine that did not do what it should."""
        with contextlib.suppress(OSError):  # a disk that takes nothing: found wanting again at the next start
            (self._folder / key.file_name).unlink(missing_ok=True)

    def entries(self) -> Iterator[tuple[Path, Kept | str]]:
        """Every file, with its first line if the whole file is sound, else with what is wrong."""
        for folder in (self._folder, *self._shipped):
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                try:
                    yield path, _read(path).kept
                except (OSError, ValueError) as error:
                    yield path, str(error)

    def timing_cache(self, name: str) -> bytes:
        """What earlier builds measured, empty where there is nothing."""
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return b""

    def keep_timing_cache(self, name: str, content: bytes) -> None:
        """Keep what a build measured, for the next one; a full disk only costs time later."""
        try:
            self._replace(self._folder / name, content)
        except OSError as error:
            log.warning("%s was not kept: %s", name, error)

    def _write(self, kept: Kept, plan: bytes) -> None:
        try:
            self._replace(self._folder / kept.key.file_name, _MAGIC + msgspec.json.encode(kept) + b"\n" + plan)
            self._prune(kept.key)
        except OSError as error:
            log.warning("the engine of %s was not kept: %s", kept.key.model, error)

    def _replace(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        finally:
            partial.unlink(missing_ok=True)

    def _prune(self, newest: EngineKey) -> None:
        """Keep the cache bounded: the engines used longest ago go first, never the one just made."""
        files = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
        left = [path for path in self._folder.glob(".*.partial") if path.stat().st_mtime < time.time() - self._lock_s]
        for path in left:  # of a process that was killed while it wrote
            path.unlink(missing_ok=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > MOST_BYTES and path.name != newest.file_name:
                path.unlink(missing_ok=True)

    @contextmanager
    def _building(self, key: EngineKey) -> Iterator[None]:
        """Only one process builds an engine; the system lets go of the lock of a process that died."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / f".{key.digest}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("engines cannot be locked (%s); this one is built without", error)
            yield
            return
        try:
            self._lock(file, key)
            yield
        finally:
            os.close(file)

    def _lock(self, file: int, key: EngineKey) -> None:
        until = time.monotonic() + self._lock_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise InferenceError(
                        "INF-053",
                        zh=f"另一进程正在生成 {key.model} 的引擎，等待超时。",
                        en=f"Another process is building the engine of {key.model} and does not come to an end.",
                    ) from error
                time.sleep(_POLL_S)
            else:
                return


def _read(path: Path) -> Entry:
    """A file, whole; ValueError where it is not."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it is no engine file")
        line = file.readline(_LONGEST_HEADER)
        if not line.endswith(b"\n"):
            raise ValueError("its head is cut off")
        kept = msgspec.json.decode(line, type=Kept)
        plan = file.read(kept.bytes + 1)
    if len(plan) != kept.bytes or hashlib.sha256(plan).hexdigest() != kept.sha256:
        raise ValueError("its content is not what was written")
    return Entry(kept=kept, plan=plan, built_now=False)
