"""STOW-RS (PS3.18 10.5): uploads are put aside part by part, then sent to our own receiver, so that one path stores.

An instance is reported as stored only when the receiver has answered its C-STORE with success: then it is on the disk. Few files lie aside
at a time, whatever is uploaded, and none when the request is over.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.to_thread
import pydicom
from pydicom.dataset import Dataset

from appliance.dicom.sender import SendOutcome, send
from appliance.errors import ApiError
from appliance.settings import DestinationSettings

AT_A_TIME = 20
MOST_PARTS = 20_000
NOT_DICOM, NOT_THIS_STUDY, NO_ANSWER = 0xC000, 0x0110, 0xA700
"""Failure reasons (0008,1197): cannot understand; processing failure; out of resources."""

Sender = Callable[[DestinationSettings, Sequence[Path]], Sequence[SendOutcome]]


@dataclass
class Upload:
    """What became of the parts of one request: SOP class and instance of each, with the failure reason or None."""

    stored: list[tuple[str, str, str]] = field(default_factory=list)
    failed: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def http_status(self) -> int:
        """200 all stored, 202 some, 409 none (PS3.18 table 10.5.3-1)."""
        if not self.failed:
            return 200
        return 202 if self.stored else 409

    def answer(self, base: str) -> dict[str, Any]:
        """The Store Instances Response Module in DICOM JSON (PS3.18 table 10.5.3-2)."""
        answer = Dataset()
        if self.failed:
            answer.FailedSOPSequence = [_failure(*each) for each in self.failed]
        if self.stored:
            answer.ReferencedSOPSequence = [_reference(base, *each) for each in self.stored]
        return dict(answer.to_json_dict())


class Storing:
    """Takes uploads.

    Args:
        receiver: how our own receiver is reached.
        scratch: folder in which parts lie while they are under way; emptied at the start.
        maximum_part_bytes: the largest instance.
        maximum_bytes: the largest request.
        send_files: C-STORE of files; another one in tests of failures.
    """

    def __init__(
        self, *, receiver: DestinationSettings, scratch: Path, maximum_part_bytes: int, maximum_bytes: int, send_files: Sender = send
    ) -> None:
        self._receiver = receiver
        self._scratch = scratch
        self._maximum_part = maximum_part_bytes
        self._maximum = maximum_bytes
        self._send = send_files
        scratch.mkdir(parents=True, exist_ok=True)
        for left in scratch.iterdir():
            left.unlink(missing_ok=True)

    async def take(self, pieces: AsyncIterator[bytes | None], *, study: str | None) -> Upload:
        """Store what arrives.

        Args:
            pieces: of parts, None where one ends.
            study: Study Instance UID that every instance must have, if the request named one.

        Raises:
            ApiError: API-047 the request is too large.
        """
        upload = Upload()
        waiting: list[Path] = []
        total = parts = 0
        current = self._new_file()
        try:
            async for piece in pieces:
                if piece is not None:
                    total += len(piece)
                    if total > self._maximum or current[1].tell() + len(piece) > self._maximum_part:
                        raise _too_large()
                    await anyio.to_thread.run_sync(current[1].write, piece)
                    continue
                current[1].close()
                waiting.append(current[0])
                parts += 1
                if parts > MOST_PARTS:
                    raise _too_large()
                if len(waiting) == AT_A_TIME:
                    await anyio.to_thread.run_sync(self._store, waiting, study, upload)
                    waiting = []
                current = self._new_file()
            if waiting:
                await anyio.to_thread.run_sync(self._store, waiting, study, upload)
        finally:
            current[1].close()
            for path in (*waiting, current[0]):
                path.unlink(missing_ok=True)
        return upload

    def _new_file(self) -> tuple[Path, Any]:
        file = tempfile.NamedTemporaryFile(dir=self._scratch, suffix=".dcm", delete=False)  # noqa: SIM115 - closed when the part ends
        return Path(file.name), file

    def _store(self, paths: list[Path], study: str | None, upload: Upload) -> None:
        """Send some parts to the receiver and note what it said; the files are gone afterwards."""
        identified = {path: _identity(path) for path in paths}
        try:
            usable = []
            for path, (sop_class, uid, its_study) in identified.items():
                if not uid:
                    upload.failed.append((sop_class, uid, NOT_DICOM))
                elif study is not None and its_study != study:
                    upload.failed.append((sop_class, uid, NOT_THIS_STUDY))
                else:
                    usable.append(path)
            for outcome in self._send(self._receiver, usable) if usable else ():
                sop_class, uid, its_study = identified[outcome.path]
                if outcome.accepted:
                    upload.stored.append((sop_class, uid, its_study))
                else:
                    upload.failed.append((sop_class, uid, outcome.status if outcome.status is not None else NO_ANSWER))
        finally:
            for path in paths:
                path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[str, str, str]:
    """SOP class, SOP instance and study of a file; empty where it is no DICOM file."""
    with contextlib.suppress(Exception):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        meta: Any = dataset.file_meta
        return str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(dataset.get("StudyInstanceUID", ""))
    return "", "", ""


def _failure(sop_class: str, uid: str, reason: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = uid
    item.FailureReason = reason
    return item


def _reference(base: str, sop_class: str, uid: str, study: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = uid
    item.RetrieveURL = f"{base}/studies/{study}"
    return item


def _too_large() -> ApiError:
    return ApiError("API-047", zh="上传内容过大", en="the upload is too large", status=413)
