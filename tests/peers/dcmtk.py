"""DCMTK (https://dcmtk.org) as a second opinion: command line SCUs, and SCPs that run while a block does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from tests.peers.waiting import answers, free_port, wait_until

# Debian's DCMTK leaves Nagle's algorithm on unless told otherwise, which costs 40 ms a message.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def need(tool: str) -> str:
    """Path of a DCMTK tool; the test fails where it is not installed."""
    path = shutil.which(tool)
    if path is None:
        pytest.fail(f"{tool} (DCMTK) is not installed: make test installs it")
    return path


def echoscu(port: int, *, called: str = "CORONET", calling: str = "DCMTK") -> subprocess.CompletedProcess[str]:
    """One C-ECHO; the return code tells."""
    return _run([need("echoscu"), "-aet", calling, "-aec", called, "127.0.0.1", str(port)])


def storescu(
    port: int, files: Sequence[Path], *options: str, called: str = "CORONET", calling: str = "DCMTK"
) -> subprocess.CompletedProcess[str]:
    """C-STORE files; the return code tells."""
    return _run([need("storescu"), *options, "-aet", calling, "-aec", called, "127.0.0.1", str(port), *map(str, files)])


def storescu_profile(folder: Path, files: list[Path]) -> Path:
    """A storescu profile that proposes each kind of the files in the transfer syntax of the files only."""
    kinds = {
        (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in (pydicom.dcmread(path).file_meta for path in files)
    }
    lines = ["[[TransferSyntaxes]]"]
    lines += [f"[S{number}]\nTransferSyntax1 = {syntax}" for number, (_, syntax) in enumerate(sorted(kinds))]
    lines += ["[[PresentationContexts]]", "[C]"]
    lines += [f"PresentationContext{number + 1} = {sop_class}\\S{number}" for number, (sop_class, _) in enumerate(sorted(kinds))]
    lines += ["[[Profiles]]", "[All]", "PresentationContexts = C"]
    profile = folder / "profile.cfg"
    profile.write_text("\n".join(lines) + "\n")
    return profile


def start_storescu(port: int, files: Sequence[Path], *, calling: str = "DCMTK") -> subprocess.Popen[bytes]:
    """C-STORE files in the background."""
    command = [need("storescu"), "-aet", calling, "-aec", "CORONET", "127.0.0.1", str(port), *map(str, files)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@dataclass(frozen=True)
class StoreScp:
    """A running ``storescp``: AE title STORESCP."""

    port: int
    folder: Path

    def files(self) -> list[Path]:
        """What has arrived."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


@contextmanager
def storescp(folder: Path, *options: str, port: int | None = None) -> Iterator[StoreScp]:
    """Run ``storescp``, which keeps what it gets, bit by bit, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [need("storescp"), "-aet", "STORESCP", "+xa", "-od", str(folder), *options, str(port)]
    with running(command, port):
        yield StoreScp(port, folder)


@dataclass(frozen=True)
class Archive:
    """A running ``dcmqrscp``: AE title QRSCP."""

    port: int
    folder: Path

    def files(self) -> dict[str, Path]:
        """What it has stored, by SOP Instance UID; a file that is still being written is left out."""
        found = {}
        for path in sorted(self.folder.iterdir()):
            try:
                found[str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)] = path
            except (pydicom.errors.InvalidDicomError, AttributeError, EOFError):
                continue
        return found


@contextmanager
def dcmqrscp(folder: Path, *, hosts: Mapping[str, int]) -> Iterator[Archive]:
    """Run ``dcmqrscp``, which stores and answers C-FIND, C-MOVE and C-GET; ``hosts``: AE title -> port of those it may send to."""
    storage = folder / "QRSCP"
    storage.mkdir(parents=True)
    port = free_port()
    lines = ["MaxPDUSize = 16384", "MaxAssociations = 16", "HostTable BEGIN"]
    lines += [f"host{number} = ({title}, 127.0.0.1, {its})" for number, (title, its) in enumerate(hosts.items())]
    lines += ["HostTable END", "VendorTable BEGIN", "VendorTable END"]
    lines += ["AETable BEGIN", f"QRSCP {storage} RW (200, 1024mb) ANY", "AETable END"]
    config = folder / "dcmqrscp.cfg"
    config.write_text("\n".join(lines) + "\n")
    with running([need("dcmqrscp"), "-c", str(config), str(port)], port):
        yield Archive(port, storage)


@dataclass(frozen=True)
class PrintScp:
    """A running ``dcmprscp``: AE title IHEFULL."""

    port: int
    folder: Path

    def pages(self) -> list[Path]:
        """Hardcopy Grayscale Images, one per printed image box, oldest first."""
        return sorted(self.folder.glob("HG_*.dcm"), key=lambda path: path.stat().st_mtime_ns)

    def prints(self) -> list[Path]:
        """Stored Print objects, one per printed film box."""
        return sorted(self.folder.glob("SP_*.dcm"))


@contextmanager
def dcmprscp(folder: Path) -> Iterator[PrintScp]:
    """Run the DCMTK print server on the settings that come with it, storing into ``folder``."""
    tool = need("dcmprscp")
    source = Path("/etc/dcmtk/dcmpstat.cfg")
    if not source.exists():
        pytest.fail("DCMTK's dcmpstat.cfg is not installed: make test installs it")
    port, database = free_port(), folder / "database"
    database.mkdir(parents=True)
    text = source.read_text("utf-8", "replace")
    text = re.sub(r"(?m)^(LogDirectory|Directory)\s*=.*$", lambda match: f"{match.group(1)} = {database}", text)
    text = re.sub(r"(?m)^Port\s*=\s*10005\s*$", f"Port = {port}", text)
    config = folder / "print.cfg"
    config.write_text(text)
    with running([tool, "-c", str(config), "-p", "IHEFULL"], port):
        yield PrintScp(port, database)


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Run a server until the block ends; it answers on ``port`` when the block begins."""
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, what=f"{Path(command[0]).name} answering")
        if process.poll() is not None:
            raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}")
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
