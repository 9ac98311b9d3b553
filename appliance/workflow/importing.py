"""Import from a stick, CD or folder: every DICOM file goes through our own door, the same durable way as what a CT sends.

The spool belongs to the receiver process, so files are handed to it by C-STORE over loopback. Each is copied off the medium first (a CD may
fail half-way, a stick be pulled, a file be swapped), looked over (is it DICOM, does it end where its data set ends), then sent. A DICOMDIR
is not needed and not trusted; where there is one, files that it names and that are not there are reported. Whatever was not taken is in the
summary, with its reason; nothing of a medium's names gets into logs or the audit trail, since they may hold patients' names.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
import pydicom
from pydicom.dataset import FileMetaDataset

from appliance.dicom.sender import SendOutcome
from appliance.dicom.whole import check_whole
from appliance.errors import Reason
from appliance.settings import DestinationSettings
from appliance.workflow.media import Found, Skipped, files_below, open_regular

BATCH = 64
LARGEST_BARE = 64 << 20
"""A file without the 128 bytes and ``DICM`` in front is read whole; none larger is tried."""
LARGEST_DIRECTORY = 64 << 20
REFUSALS_KEPT = 1000
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"

UNREADABLE = Reason(code="WF-062", zh="文件无法读取(介质损坏或已拔出)", en="the file cannot be read (medium damaged or pulled out)")
TOO_LARGE = Reason(code="WF-063", zh="文件过大", en="the file is too large")
CUT_SHORT = Reason(code="WF-064", zh="DICOM 文件不完整", en="the DICOM file is cut short")
NOT_NAMED = Reason(code="WF-065", zh="DICOMDIR 列出的文件不存在", en="a file that the DICOMDIR names is not there")


class Refused(msgspec.Struct, frozen=True):
    """One file that was not taken, by its path below the folder."""

    path: str
    reason: Reason


@dataclass
class ImportSummary:
    """What an import did.

    Attributes:
        files: regular files looked at.
        accepted: instances that the archive now holds (a second copy of one counts, too).
        other: files that are no DICOM images: viewers, texts, directories of media.
        refused: DICOM files that were not taken, the first `REFUSALS_KEPT`.
        reasons: how many were not taken for each code.
        skipped: links and the like.
    """

    files: int = 0
    accepted: int = 0
    other: int = 0
    refused: list[Refused] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: Skipped = field(default_factory=Skipped)

    def refuse(self, path: str, reason: Reason) -> None:
        """Note a file that was not taken."""
        self.reasons[reason.code] += 1
        if len(self.refused) < REFUSALS_KEPT:
            self.refused.append(Refused(path, reason))


Send = Callable[[DestinationSettings, Sequence[Path]], list[SendOutcome]]
Progress = Callable[[ImportSummary], None]


def import_folder(
    folder: Path,
    *,
    door: DestinationSettings,
    scratch: Path,
    largest: int,
    send: Send,
    progress: Progress = lambda _: None,
) -> ImportSummary:
    """Take in every DICOM file below a folder.

    Args:
        folder: the medium.
        door: our own receiver.
        scratch: where files are copied to before they are sent; on a disk of ours.
        largest: bytes of the largest file that is taken.
        send: C-STORE of files.
        progress: told after each batch.

    Raises:
        WorkflowError: WF-060 or WF-061, the folder cannot be read or holds too much.
        OSError: the scratch folder cannot be written.
    """
    summary = ImportSummary()
    named: set[str] = set()
    seen: set[str] = set()
    found = files_below(folder, summary.skipped)
    while batch := list(islice(found, BATCH)):
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            ready = {}
            for number, each in enumerate(batch):
                name = each.path.relative_to(folder).as_posix()
                seen.add(name.upper())
                copy = Path(place) / f"{number}.dcm"
                summary.files += 1
                verdict = _prepare(each, copy, largest)
                if isinstance(verdict, Reason):
                    summary.refuse(_shown(name), verdict)
                elif verdict:
                    ready[copy] = name
                else:
                    summary.other += 1
                    if each.path.name.upper() == "DICOMDIR" and copy.exists():
                        prefix = name.upper().rpartition("/")[0]
                        named |= {f"{prefix}/{file}".lstrip("/") for file in _named_files(copy)}
            for outcome in send(door, list(ready)):
                if outcome.accepted:
                    summary.accepted += 1
                else:
                    summary.refuse(_shown(ready[outcome.path]), outcome.reason or UNREADABLE)
        progress(summary)
    for name in sorted(named - seen):
        summary.refuse(_shown(name), NOT_NAMED)
    return summary


def _prepare(found: Found, copy: Path, largest: int) -> bool | Reason:
    """Copy a file and look it over: True, it can be sent; False, it is no image; else why it is not taken."""
    copied = _copy_off(found, copy, largest)
    if isinstance(copied, Reason):
        return copied
    if copy.stat().st_size == 0 or (not copied and not _complete_bare(copy)):
        return False
    try:
        if str(pydicom.filereader.read_file_meta_info(copy).MediaStorageSOPClassUID) == DIRECTORY_CLASS:
            return False
        check_whole(copy)
    except Exception:  # noqa: BLE001 - whatever a strange file raises, it is not passed on
        return CUT_SHORT
    return True


def _copy_off(found: Found, copy: Path, largest: int) -> bool | Reason:
    """Copy a file off its medium: whether it begins like part 10, or why it cannot be had. A large file of another kind is left empty."""
    try:
        source = open(open_regular(found.path), "rb")  # noqa: PTH123, SIM115 - a descriptor, closed below
    except OSError:
        return UNREADABLE
    dicom, left = False, largest
    with source, copy.open("wb") as target:
        while chunk := _read(source):
            if left == largest:
                dicom = chunk[128:132] == b"DICM"
                if found.bytes > (largest if dicom else LARGEST_BARE):
                    return TOO_LARGE if dicom else False
            left -= len(chunk)
            if left < 0:
                return TOO_LARGE
            target.write(chunk)
    return UNREADABLE if chunk is None else dicom


def _read(source: IO[bytes]) -> bytes | None:
    """The next piece; None if the medium does not give it."""
    try:
        return source.read(1 << 20)
    except OSError:
        return None


def _complete_bare(path: Path) -> bool:
    """Make a part 10 file of a data set that stands alone (as some old media have them); False if it is none."""
    try:
        dataset: Any = pydicom.dcmread(path, force=True)
        meta: Any = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        meta.TransferSyntaxUID = "1.2.840.10008.1.2.1" if not dataset.original_encoding[0] else "1.2.840.10008.1.2"
        if not dataset.SOPInstanceUID or not dataset.get("StudyInstanceUID"):
            return False
        dataset.file_meta = meta
        dataset.save_as(path, enforce_file_format=True)
    except Exception:  # noqa: BLE001 - a text, a picture, a program: anything may come of reading it as DICOM
        return False
    return True


def _named_files(directory: Path) -> Iterator[str]:
    """The files that a DICOMDIR refers to (PS3.3 annex F), in capitals, with slashes."""
    with contextlib.suppress(Exception):  # what it says is only compared; a broken one says nothing
        if directory.stat().st_size > LARGEST_DIRECTORY:
            return
        for record in pydicom.dcmread(directory).DirectoryRecordSequence:
            parts = record.get("ReferencedFileID")
            if parts:
                yield "/".join([parts] if isinstance(parts, str) else parts).upper()


def _shown(name: str) -> str:
    """A name as it may be printed: no control characters, no broken Unicode."""
    return "".join(each if each.isprintable() else "?" for each in name.encode("utf-8", "replace").decode("utf-8", "replace"))[:500]
