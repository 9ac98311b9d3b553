"""The storage SCU: sends files to an archive, one answer for each file (PS3.4 annex B).

A file goes out byte for byte as it lies on the disk where the peer accepts its transfer syntax; only where it does not, the file is
written in an uncompressed one. What the peer answered is kept for every instance: sent is not accepted.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext, build_context

from appliance.dicom.association import associate, connection_lost
from appliance.dicom.statuses import store_accepted, store_reason
from appliance.dicom.store_stream import Kind, StoreStream, open_stream
from appliance.dicom.syntaxes import VERIFICATION
from appliance.errors import DicomError, Reason
from appliance.settings import DestinationSettings

MOST_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 section 9.3.2.2: odd numbers from 1 to 255)."""
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""Explicit and implicit little endian: what a file is converted to where the peer does not take it as it is."""
BIG_ENDIAN = "1.2.840.10008.1.2.2"
"""Retired; goes as it is or not at all."""

IMPLICIT = "1.2.840.10008.1.2"
META_BYTES = 4096
META_UIDS = {0x0002: "class", 0x0003: "instance", 0x0010: "syntax"}
LONG_VRS = (b"OB", b"OW", b"SQ", b"UN", b"UT")
MAPPED_FROM = 16 << 20
UNREADABLE = Reason("DCM-007", zh="文件无法读取或不是 DICOM 文件", en="the file cannot be read or is no DICOM file")


@dataclass(frozen=True)
class SendOutcome:
    """What became of one file.

    Attributes:
        path: the file.
        sop_instance_uid: empty if the file could not be read.
        status: C-STORE status that the peer answered, None if it answered none.
        accepted: the peer has taken the instance (success, or a warning).
        reason: why not, or the warning.
    """

    path: Path
    sop_instance_uid: str
    status: int | None
    accepted: bool
    reason: Reason | None
    sop_class_uid: str = ""


@dataclass(frozen=True)
class _Instance:
    path: Path
    sop_instance_uid: str
    kind: Kind
    offset: int


def echo(destination: DestinationSettings) -> None:
    """C-ECHO (PS3.4 annex A).

    Raises:
        DicomError: the peer cannot be reached, rejects us, or answers with a failure.
    """
    with _associate(destination, [build_context(VERIFICATION)]) as association:
        answer = association.send_c_echo()
    if "Status" not in answer:
        raise connection_lost()
    if answer.Status != 0:
        raise DicomError("DCM-006", zh=f"对方对连通测试答复 {answer.Status:04X}", en=f"the peer answered the echo with {answer.Status:04X}")


def send(destination: DestinationSettings, files: Sequence[Path]) -> list[SendOutcome]:
    """Send files; every file has an outcome, in the order given. Nothing is raised for a peer that is down or refuses."""
    outcomes: dict[Path, SendOutcome] = {}
    instances = []
    for path in files:
        try:
            instances.append(_identify(path))
        except (OSError, ValueError):
            outcomes[path] = SendOutcome(path, "", None, accepted=False, reason=UNREADABLE)
    for batch in _batches(instances):
        for outcome in _send_batch(destination, batch):
            outcomes[outcome.path] = outcome
    return [outcomes[path] for path in files]


def _identify(path: Path) -> _Instance:
    with path.open("rb") as file:
        meta, offset = read_meta(file.read(META_BYTES))
        size = file.seek(0, os.SEEK_END)
    if offset >= size:
        raise ValueError("no data set")
    return _Instance(path, meta["instance"], (meta["class"], meta["syntax"]), offset)


def read_meta(start: bytes) -> tuple[dict[str, str], int]:
    """SOP class, SOP instance and transfer syntax by the file meta information (PS3.10 7.1), and where the data set begins.

    Raises:
        ValueError: not a DICOM file.
    """
    if start[128:132] != b"DICM":
        raise ValueError("no DICOM prefix")
    found: dict[str, str] = {}
    at = 132
    while start[at : at + 2] == b"\x02\x00":
        element, vr = int.from_bytes(start[at + 2 : at + 4], "little"), start[at + 4 : at + 6]
        head = 12 if vr in LONG_VRS else 8
        length = int.from_bytes(start[at + 8 : at + 12] if head == 12 else start[at + 6 : at + 8], "little")
        if element in META_UIDS:
            found[META_UIDS[element]] = start[at + head : at + head + length].rstrip(b"\0 ").decode("ascii")
        at += head + length
    if at + 8 > len(start) or set(found) != set(META_UIDS.values()) or not all(found.values()):
        raise ValueError("no whole file meta information")
    return found, at


def _proposals(kinds: Sequence[Kind]) -> list[Kind]:
    """The contexts to propose: each kind itself, and the two uncompressed syntaxes to which it can be converted."""
    wanted = dict.fromkeys(kinds)
    for sop_class, syntax in kinds:
        if syntax != BIG_ENDIAN:
            wanted.update(dict.fromkeys((sop_class, other) for other in UNCOMPRESSED))
    return list(wanted)


def _batches(instances: Sequence[_Instance]) -> Iterator[list[_Instance]]:
    """Instances in order, parted where one association's contexts would not suffice."""
    batch: list[_Instance] = []
    kinds: dict[Kind, None] = {}
    for instance in instances:
        if instance.kind not in kinds and len(_proposals([*kinds, instance.kind])) > MOST_CONTEXTS:
            yield batch
            batch, kinds = [], {}
        kinds[instance.kind] = None
        batch.append(instance)
    if batch:
        yield batch


def _associate(destination: DestinationSettings, contexts: Sequence[PresentationContext]) -> Any:
    return associate(
        host=destination.host,
        port=destination.port,
        ae_title=destination.ae_title,
        calling_ae_title=destination.calling_ae_title,
        contexts=contexts,
        timeout_s=destination.timeout_s,
    )


def _send_batch(destination: DestinationSettings, batch: Sequence[_Instance]) -> Iterator[SendOutcome]:
    done = 0
    try:
        with open_stream(
            host=destination.host,
            port=destination.port,
            ae_title=destination.ae_title,
            calling_ae_title=destination.calling_ae_title,
            kinds=_proposals([each.kind for each in batch]),
            timeout_s=destination.timeout_s,
            megabits_s=destination.megabits_s,
        ) as stream:
            for instance in batch:
                yield _send_one(stream, instance)
                done += 1
    except DicomError as error:
        for instance in batch[done:]:
            yield SendOutcome(instance.path, instance.sop_instance_uid, None, accepted=False, reason=error.reason)


def _send_one(stream: StoreStream, instance: _Instance) -> SendOutcome:
    sop_class, syntax = instance.kind
    if instance.kind in stream.accepted:
        try:
            status = _send_file(stream, instance)
        except (OSError, ValueError):
            return _not_sent(instance, UNREADABLE)
    else:
        other = next((each for each in UNCOMPRESSED if (sop_class, each) in stream.accepted), None)
        if syntax == BIG_ENDIAN or other is None:
            return _not_sent(instance, not_taken(sop_class))
        converted = _converted(instance.path, implicit=other == IMPLICIT)
        if converted is None:
            return _not_sent(instance, not_taken(sop_class))
        status = stream.store((sop_class, other), instance.sop_instance_uid, memoryview(converted))
    return SendOutcome(
        instance.path,
        instance.sop_instance_uid,
        status,
        accepted=store_accepted(status),
        reason=store_reason(status),
        sop_class_uid=sop_class,
    )


def _not_sent(instance: _Instance, reason: Reason) -> SendOutcome:
    return SendOutcome(instance.path, instance.sop_instance_uid, None, accepted=False, reason=reason)


def not_taken(sop_class: str) -> Reason:
    """Why an object did not go: the peer takes neither its transfer syntax nor one to which it can be converted."""
    name = pydicom.uid.UID(sop_class).name
    return Reason("DCM-004", zh=f"对方不接收此类对象:{name}", en=f"the peer does not take objects of this kind: {name}")


def _converted(path: Path, *, implicit: bool) -> bytes | None:
    """The data set in an uncompressed syntax, of the same values and the same UID; None if it cannot be decoded."""
    try:
        dataset = pydicom.dcmread(path)
        if dataset.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in dataset:
            dataset.decompress(generate_instance_uid=False)
        return encode(dataset, implicit, True)
    except Exception:  # noqa: BLE001 - whatever a strange object or a codec raises, it is this file that cannot go, not the others
        return None


def _send_file(stream: StoreStream, instance: _Instance) -> int:
    """The data set as it lies on the disk: small files are read, large ones mapped."""
    with instance.path.open("rb") as file:
        if file.seek(0, os.SEEK_END) < MAPPED_FROM:
            file.seek(instance.offset)
            return stream.store(instance.kind, instance.sop_instance_uid, memoryview(file.read()))
        # not closed by us: after an error the views in the traceback still hold it; it goes with the last of them
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return stream.store(instance.kind, instance.sop_instance_uid, memoryview(whole)[instance.offset :])
