"""Mutated DICOM files against every reader of the product: each answers with a value or a typed error, in time and in bounded memory.

The readers run in a process of their own, which says before each file which one it is: a crash or a hang is told with the seed that
causes it, and the campaign goes on behind it.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pydicom
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from appliance.analysis.pixels import read_hu
from appliance.analysis.reading import read_headers, read_series
from appliance.dicom.dataset_start import NotDicomError, read_start
from appliance.dicom.whole import CutShortError, check_whole
from appliance.errors import CoronetError, Reason
from appliance.study import StudyHeader
from appliance.workflow.examiner import examine
from appliance.workflow.headers import read_identity
from appliance.workflow.importing import _prepare
from appliance.workflow.media import Found
from tests.faults.mutations import mutate, nested
from tests.faults.tally import Tally
from tests.peers.datasets import ct_slice, save

LIMIT_S = 20
"""For one file and all readers together, on a machine that has other work."""
MEMORY_GROWTH = 512 << 20
SLICES = 4
LARGEST = 8 << 20


def mutated_files(*, files: int, seed: int = 1) -> Tally:
    """Try so many files."""
    tally = Tally()
    begin = 0
    while begin < files:
        begin = _some(begin, files, seed, tally)
    return tally


def _some(begin: int, end: int, seed: int, tally: Tally) -> int:
    """Run readers from one file on; returns where to go on: the end, or behind the file that ended them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.faults.files", folder, str(seed), str(begin), str(end)]
        with (Path(folder) / "errors").open("w+") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
            current, result = _follow(process, begin)
            process.kill()
            process.wait()
            if result is None:
                errors.seek(0)
                tally.losses.append(f"file {current}: the readers ended or hung: {errors.read()[-500:]}")
                tally.count("mutated files", current + 1 - begin)
                return current + 1
    tally.losses += result["losses"]
    for name, number in result["tried"].items():
        tally.count(name, number)
    return end


def _follow(process: subprocess.Popen[bytes], begin: int) -> tuple[int, dict[str, Any] | None]:
    """The number of the last file begun, and the result if the readers came to their end."""
    current, text = begin, b""
    assert process.stdout is not None
    while True:
        ready, _, _ = select.select([process.stdout], [], [], 3 * LIMIT_S)
        data = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not data:
            return current, None
        text += data
        *lines, text = text.split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                return current, json.loads(line)
            current = int(line)


# -- the process of the readers


def originals() -> tuple[bytes, ...]:
    """Whole files of many kinds: plain, implicit, compressed, multi-frame, with sequences, from scanners."""
    found = []
    explicit: Any = ct_slice()
    inner: Any = pydicom.Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "DCM", "测试"
    explicit.ProcedureCodeSequence = [inner]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one"
        found.append(save(explicit, path).read_bytes())
        packed: Any = pydicom.dcmread(path)
        packed.compress(RLELossless)
        buffer = io.BytesIO()
        packed.save_as(buffer, enforce_file_format=True)
        found.append(buffer.getvalue())
        plain: Any = pydicom.dcmread(path)
        plain.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        buffer = io.BytesIO()
        plain.save_as(buffer, enforce_file_format=True, implicit_vr=True, little_endian=True)
        found.append(buffer.getvalue())
    for name in ("legacy-enhanced.zip", "empty-uids.zip", "tilt-and-gaps.zip"):
        with zipfile.ZipFile(Path("tests/data") / name) as bundle:
            members = sorted(each for each in bundle.namelist() if not each.endswith("/"))
            found += [bundle.read(member) for member in members[:2]]
    for name in ("JPEG2000.dcm", "JPEG-LL.dcm", "CT_small.dcm", "MR_small_bigendian.dcm", "rtstruct.dcm", "reportsi.dcm", "image_dfl.dcm"):
        path = Path(pydicom.__file__).parent / "data" / "test_files" / name
        if path.exists():
            found.append(path.read_bytes())
    return tuple(found)


def mutant(number: int, seed: int, bases: tuple[bytes, ...]) -> bytes:
    """The n-th mutated file."""
    rng = random.Random(f"file {seed} {number}")
    base = rng.choice(bases)
    if rng.random() < 0.02:
        at = 132 + 12 + int.from_bytes(base[140:144], "little")
        return base[:at] + nested(rng)
    return mutate(base, rng, others=bases)


class _Readers:
    """All readers on one file; whatever is not a value or a typed error is a loss."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "mutant.dcm"
        self._copy = folder / "copy.dcm"
        self._good = [save(ct_slice(index=index), folder / f"{index}.dcm") for index in range(1, SLICES)]

    def all(self) -> dict[str, tuple[Callable[[], Any], tuple[type[Exception], ...]]]:
        """Name -> the reader, and the errors that it may raise."""
        return {
            "start": (self._start, (NotDicomError,)),
            "whole": (lambda: check_whole(self.path), (CutShortError, ValueError)),
            "identity": (self._identity, (CoronetError,)),
            "headers": (lambda: read_headers([self.path]), (CoronetError,)),
            "pixels": (lambda: read_hu(self.path), (CoronetError,)),
            "series": (lambda: read_series([self.path, *self._good]), (CoronetError,)),
            "examiner": (lambda: examine("1.2", [self.path, *self._good]), (CoronetError,)),
            "import": (self._import, ()),
        }

    def _start(self) -> None:
        data = self.path.read_bytes()
        for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"):
            for at in (0, 132, 144 + int.from_bytes(data[140:144], "little")):
                try:
                    read_start(data[at:], syntax)
                except NotDicomError:
                    continue

    def _identity(self) -> None:
        if not isinstance(read_identity(self.path), StudyHeader):
            raise TypeError("no header")

    def _import(self) -> None:
        answer = _prepare(Found(self.path, self.path.stat().st_size), self._copy, LARGEST)
        if not isinstance(answer, bool | Reason):
            raise TypeError("no answer")


def _late(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"not done after {LIMIT_S} s")


def run_readers(folder: Path, seed: int, begin: int, end: int) -> dict[str, Any]:
    """Try the files from ``begin`` to ``end``; what was tried and what was wrong."""
    bases, readers = originals(), _Readers(folder)
    losses: list[str] = []
    tried = {"mutated files": 0, "typed errors": 0}
    signal.signal(signal.SIGALRM, _late)
    steady, descriptors = 0, 0
    for number in range(begin, end):
        os.write(1, f"{number}\n".encode())
        readers.path.write_bytes(mutant(number, seed, bases))
        for name, (reader, allowed) in readers.all().items():
            signal.alarm(LIMIT_S)
            started = time.monotonic()
            try:
                reader()
            except allowed:
                tried["typed errors"] += 1
            except (Exception, RecursionError) as error:  # noqa: BLE001 - that is what is looked for
                losses.append(f"file {number}: {name} raised {type(error).__name__}: {error} after {time.monotonic() - started:.1f} s")
            finally:
                signal.alarm(0)
        tried["mutated files"] += 1
        if number == begin + (end - begin) // 4:
            steady, descriptors = _resident(), _descriptors()
    if steady and _resident() - steady > MEMORY_GROWTH:
        losses.append(f"memory grew by {(_resident() - steady) >> 20} MiB")
    if descriptors and _descriptors() > descriptors + 2:
        losses.append("descriptors leak")
    tried["readers' peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {"losses": losses, "tried": tried}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


if __name__ == "__main__":
    place, given_seed, first, last = sys.argv[1:]
    outcome = run_readers(Path(place), int(given_seed), int(first), int(last))
    os.write(1, json.dumps(outcome).encode() + b"\n")
