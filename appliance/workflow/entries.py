"""What the search index keeps of one file, read from its header without pixels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom

from appliance.analysis.slices import lenient
from appliance.archive.archive import Archive
from appliance.archive.found import InstanceEntry
from appliance.archive.instance_files import instance_name

log = logging.getLogger(__name__)

_TEXTS = {
    "modality": "Modality", "series_description": "SeriesDescription", "body_part": "BodyPartExamined", "protocol": "ProtocolName",
    "series_date": "SeriesDate", "series_time": "SeriesTime", "content_date": "ContentDate", "content_time": "ContentTime",
}  # fmt: skip
_NUMBERS = {
    "series_number": "SeriesNumber", "instance_number": "InstanceNumber", "rows": "Rows", "columns": "Columns", "frames": "NumberOfFrames",
}  # fmt: skip
_TAGS = ["SpecificCharacterSet", "SeriesInstanceUID", *_TEXTS.values(), *_NUMBERS.values()]
LARGEST_NUMBER = 2**31


def read_entry(path: Path, *, relative: str, result: bool = False) -> InstanceEntry:
    """The entry of one DICOM file.

    Args:
        path: the file.
        relative: its path below the data folder.
        result: made by this appliance.

    Raises:
        Exception: whatever a broken or hostile file makes the reader raise.
    """
    with lenient():
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        meta: Any = dataset.file_meta
        texts: dict[str, Any] = {name: _text(dataset.get(keyword)) for name, keyword in _TEXTS.items()}
        numbers: dict[str, Any] = {name: _number(dataset.get(keyword)) for name, keyword in _NUMBERS.items()}
        return InstanceEntry(
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            series_uid=_text(dataset.get("SeriesInstanceUID")),
            path=relative,
            result=result,
            **texts,
            **numbers,
        )


def read_results(archive: Archive, objects: Sequence[Path]) -> list[InstanceEntry]:
    """Entries of the DICOM objects of a release."""
    entries = [_entry_or_none(archive, archive.relative(path), result=True) for path in objects]
    return [entry for entry in entries if entry is not None]


def index_missing(archive: Archive, stop: threading.Event) -> None:
    """Enter what was kept before there was a search index, once, then wait to be told to stop."""
    studies, images = archive.studies.refresh_search(), 0
    for batch in archive.found.missing():
        if stop.is_set():
            return
        for study in dict.fromkeys(key for key, _ in batch):
            entries = [_entry_or_none(archive, f"spool/{instance_name(uid)}") for key, uid in batch if key == study]
            archive.found.add([entry for entry in entries if entry is not None], study=study)
        images += len(batch)
    if studies or images:
        log.info("search index: %d studies and %d images entered", studies, images)
    stop.wait()


def _entry_or_none(archive: Archive, relative: str, *, result: bool = False) -> InstanceEntry | None:
    try:
        return read_entry(archive.data / relative, relative=relative, result=result)
    except Exception as error:  # noqa: BLE001 - one file that cannot be read leaves the others alone; it is kept and delivered all the same
        log.warning("an object cannot be entered into the search index: %s", type(error).__name__)
        return None


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip(" \0")


def _number(value: Any) -> int | None:
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < LARGEST_NUMBER else None
