"""Export of studies to a stick or folder: encrypted unless a person signs for it, whole or not at all, read back before it gets its name.

Encrypted is one ZIP file with AES-256 (WinZip's AE-2), because every hospital can open it (7-Zip, WinZip, Keka) without software of ours.
That format turns passphrases into keys quickly, so its strength is the passphrase's: the command line makes one of 100 bits unless one is
given. Plain is a folder with a DICOMDIR, for a patient's own medium: only with a person's PIN and a reason, both in the audit trail.

The files are a file-set of PS3.10 for general purpose media (PS3.11 annexes D, H, J): what is not compressed is in Explicit VR Little
Endian, the rest stays as it was sent. No name in it, and none of the medium's, says whose it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import pydicom
import pyzipper

from appliance.archive.archive import Archive
from appliance.archive.files import sync_folder
from appliance.archive.sealed import check_passphrase
from appliance.archive.users import User
from appliance.errors import WorkflowError
from appliance.workflow.dicomdir import Entry, write_dicomdir
from appliance.workflow.release import release_name

What = Literal["source", "results"]
FILE_SET_ID = "CORONET"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
REWRITTEN = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"})
"""Uncompressed syntaxes that general purpose media do not have: of the same values, only written otherwise."""
MAY_EXPORT_PLAIN = frozenset({"physician", "radiographer"})
README = """心脏 CT 影像。请用支持 DICOM 的软件打开本文件夹中的 DICOMDIR。
CT images. Open the file DICOMDIR of this folder with software that reads DICOM.
"""


@dataclass(frozen=True)
class Permit:
    """Who signs for plain media, and why."""

    user: User
    reason: str


@dataclass(frozen=True)
class Exported:
    """What was written, and where."""

    path: Path
    studies: int
    files: int
    bytes: int


def export_studies(
    archive: Archive,
    keys: Sequence[str],
    target: Path,
    *,
    what: Sequence[What],
    passphrase: str | None = None,
    permit: Permit | None = None,
    actor: str,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Exported:
    """Write studies to a folder, encrypted with a passphrase or plain with a permit.

    Args:
        archive: where they are.
        keys: the studies.
        target: the medium.
        what: the images as received, the released results, or both.
        passphrase: encrypts; 12 characters or more.
        permit: allows plain media.
        actor: user id, or ``service``.
        progress: told (files written, all files).

    Raises:
        WorkflowError: WF-066 there is nothing to export; WF-067 plain without a permit; WF-068 what was written reads back otherwise;
            WF-069 the medium cannot be written (full, pulled out, FAT's 4 GiB).
        ArchiveError: no such study, or the passphrase is too short.
    """
    if passphrase is not None:
        check_passphrase(passphrase)
    elif permit is None or permit.user.role not in MAY_EXPORT_PLAIN or permit.user.disabled or not permit.reason.strip():
        raise WorkflowError(
            "WF-067",
            zh="明文导出须由医师或技师输入 PIN 并填写原因",
            en="plain media need the PIN of a radiographer or physician and a reason",
        )
    files = [(number, path) for number, key in enumerate(keys, start=1) for path in _files(archive, key, what)]
    if not files:
        raise WorkflowError("WF-066", zh="没有可导出的内容", en="there is nothing to export")
    details: dict[str, Any] = {"encrypted": passphrase is not None, "what": list(what), "files": len(files)}
    if permit is not None:
        actor, details["reason"] = permit.user.id, permit.reason.strip()
    _audit(archive, keys, actor=actor, action="export-begun", details=details)
    stamp = datetime.fromtimestamp(archive.clock.wall(), UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        with tempfile.TemporaryDirectory(dir=archive.data) as scratch, _sink(target, stamp, passphrase) as sink:
            written = _write(files, sink, Path(scratch), progress)
            path = sink.finish(written)
    except OSError as error:
        raise WorkflowError("WF-069", zh=f"介质无法写入:{error.strerror}", en=f"the medium cannot be written: {error.strerror}") from error
    done = Exported(path, len(set(keys)), len(files), sum(size for size, _ in written.values()))
    _audit(archive, keys, actor=actor, action="export", details={**details, "bytes": done.bytes})
    return done


def _files(archive: Archive, key: str, what: Sequence[What]) -> list[Path]:
    """Files of a study, images first."""
    study = archive.studies.get(key)
    files = [image.path for image in archive.index.of_study(key)] if "source" in what else []
    if "results" in what:
        files += sorted((archive.drafts / release_name(study) / "objects").glob("*.dcm"))
    return files


def _audit(archive: Archive, keys: Sequence[str], *, actor: str, action: str, details: dict[str, Any]) -> None:
    with archive.database.transaction():
        for key in dict.fromkeys(keys):
            archive.audit.record(actor=actor, action=action, study=key, details=details)


# -- what goes on the medium

Written = dict[str, tuple[int, str]]
"""Name on the medium -> bytes, SHA-256."""


class Sink(Protocol):
    """A medium that is being written."""

    def add(self, name: str, data: bytes) -> None:
        """Write one file."""
        ...

    def finish(self, written: Written) -> Path:
        """Put everything on the medium, read it back, and give it its name."""
        ...


def _write(files: Sequence[tuple[int, Path]], sink: Sink, scratch: Path, progress: Callable[[int, int], None]) -> Written:
    written: Written = {}

    def add(name: str, data: bytes) -> None:
        sink.add(name, data)
        written[name] = (len(data), hashlib.sha256(data).hexdigest())

    entries = []
    for number, (study, path) in enumerate(files, start=1):
        data = _as_on_media(path)
        file_id = ("DICOM", f"ST{study:06d}", f"IM{number:06d}")
        entries.append(Entry(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True), file_id))
        add("/".join(file_id), data)
        progress(number, len(files))
    write_dicomdir(entries, scratch / "DICOMDIR", file_set_id=FILE_SET_ID)
    add("README.TXT", README.replace("\n", "\r\n").encode("utf-8-sig"))
    add("DICOMDIR", (scratch / "DICOMDIR").read_bytes())
    return written


def _as_on_media(path: Path) -> bytes:
    """A file as the profiles of general purpose media want it."""
    data = path.read_bytes()
    if str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID) not in REWRITTEN:
        return data
    dataset: Any = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


@contextlib.contextmanager
def _sink(target: Path, stamp: str, passphrase: str | None) -> Iterator[Sink]:
    """The medium; whatever is unfinished on it goes when the block ends."""
    part = target / f".coronet-{stamp}.part"
    for left in target.glob(".coronet-*.part"):  # of an export that was killed, or a stick that was pulled out
        _clear(left)
    sink = (
        PlainFolder(part, target / f"CORONET-{stamp}")
        if passphrase is None
        else EncryptedFile(part, target / f"CORONET-{stamp}.zip", passphrase)
    )
    try:
        yield sink
    finally:
        sink.close()
        with contextlib.suppress(OSError):
            _clear(part)


def _clear(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


class PlainFolder:
    """A folder with a DICOMDIR."""

    def __init__(self, part: Path, final: Path) -> None:
        self._part = part
        self._final = final
        part.mkdir()

    def add(self, name: str, data: bytes) -> None:
        """See `Sink`."""
        path = self._part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, written: Written) -> Path:
        """See `Sink`."""
        for folder in sorted({path.parent for path in self._part.rglob("*")}, reverse=True):
            sync_folder(folder)
        for name, (_, digest) in written.items():
            with (self._part / name).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the medium, not from memory
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise _unequal()
        self._part.rename(self._final)
        sync_folder(self._final.parent)
        return self._final

    def close(self) -> None:
        """Nothing is open."""


class EncryptedFile:
    """One ZIP file with AES-256."""

    def __init__(self, part: Path, final: Path, passphrase: str) -> None:
        self._part = part
        self._final = final
        self._passphrase = passphrase.encode()
        self._file = part.open("xb")
        self._zip = pyzipper.AESZipFile(self._file, "w", compression=pyzipper.ZIP_DEFLATED, compresslevel=1, encryption=pyzipper.WZ_AES)
        self._zip.setpassword(self._passphrase)
        self._zip.setencryption(pyzipper.WZ_AES, nbits=256)

    def add(self, name: str, data: bytes) -> None:
        """See `Sink`."""
        self._zip.writestr(name, data)

    def finish(self, written: Written) -> Path:
        """See `Sink`."""
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        with self._part.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the medium, not from memory
            try:
                with pyzipper.AESZipFile(file) as bundle:
                    bundle.setpassword(self._passphrase)
                    again = {name: hashlib.sha256(bundle.read(name)).hexdigest() for name in bundle.namelist()}
            except (pyzipper.BadZipFile, RuntimeError) as error:
                raise _unequal() from error
        if again != {name: digest for name, (_, digest) in written.items()}:
            raise _unequal()
        self._part.rename(self._final)
        sync_folder(self._final.parent)
        return self._final

    def close(self) -> None:
        """Let go of the file, whatever state it is in."""
        self._zip.fp = None  # else its end would be written, late, to a file that is closed
        with contextlib.suppress(OSError):
            self._file.close()


def _unequal() -> WorkflowError:
    return WorkflowError("WF-068", zh="写入的内容回读不一致,请更换介质", en="what was written reads back otherwise: take another medium")
