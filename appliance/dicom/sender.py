"""The storage SCU: sends files to an archive, one answer for each file (PS3.4 annex B).

A file goes out byte for byte as it lies on the disk where the peer accepts its transfer syntax; an uncompressed file is converted to
another uncompressed syntax where it must be. What the peer answered is kept for every instance: sent is not accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import _config
from pynetdicom.presentation import PresentationContext, build_context

from appliance.dicom.association import associate, connection_lost
from appliance.dicom.statuses import store_accepted, store_reason
from appliance.dicom.syntaxes import VERIFICATION
from appliance.errors import DicomError, Reason
from appliance.settings import DestinationSettings

MOST_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 section 9.3.2.2: odd numbers from 1 to 255)."""
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
CONVERTIBLE = (*UNCOMPRESSED, "1.2.840.10008.1.2.1.99")
"""Explicit and implicit little endian, and deflated: of the same values, only written otherwise."""

Kind = tuple[str, str]
"""SOP class UID, transfer syntax UID."""


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
        except (OSError, InvalidDicomError, KeyError, AttributeError, ValueError):
            reason = Reason("DCM-007", zh="文件无法读取或不是 DICOM 文件", en="the file cannot be read or is no DICOM file")
            outcomes[path] = SendOutcome(path, "", None, accepted=False, reason=reason)
    for batch in _batches(instances):
        for outcome in _send_batch(destination, batch):
            outcomes[outcome.path] = outcome
    return [outcomes[path] for path in files]


def _identify(path: Path) -> _Instance:
    meta = read_file_meta_info(path)
    kind = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
    return _Instance(path, str(meta.MediaStorageSOPInstanceUID), kind)


def _proposals(kinds: Sequence[Kind]) -> list[Kind]:
    """The contexts to propose: each kind itself, and for uncompressed kinds the two syntaxes to which they can be converted."""
    wanted = dict.fromkeys(kinds)
    for sop_class, syntax in kinds:
        if syntax in CONVERTIBLE:
            wanted.update(dict.fromkeys((sop_class, other) for other in UNCOMPRESSED))
    return list(wanted)


def _batches(instances: Sequence[_Instance]) -> Iterator[list[_Instance]]:
    """Instances in order, parted where one association's contexts would not suffice."""
    batch: list[_Instance] = []
    for instance in instances:
        if len(_proposals([each.kind for each in (*batch, instance)])) > MOST_CONTEXTS:
            yield batch
            batch = []
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
    # A switch of the library, not a state of ours: a path given to send_c_store is sent as it lies on the disk, in chunks.
    _config.STORE_SEND_CHUNKED_DATASET = True
    contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in _proposals([each.kind for each in batch])]
    done = 0
    try:
        with _associate(destination, contexts) as association:
            accepted = {(str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in association.accepted_contexts}
            for instance in batch:
                if not association.is_established:
                    raise connection_lost()
                yield _send_one(association, instance, accepted)
                done += 1
    except DicomError as error:
        for instance in batch[done:]:
            yield SendOutcome(instance.path, instance.sop_instance_uid, None, accepted=False, reason=error.reason)


def _send_one(association: Any, instance: _Instance, accepted: set[Kind]) -> SendOutcome:
    sop_class, syntax = instance.kind
    what: Any = None
    if instance.kind in accepted:
        what = instance.path
    elif syntax in CONVERTIBLE and any((sop_class, other) in accepted for other in UNCOMPRESSED):
        what = pydicom.dcmread(instance.path)
    if what is None:
        name = pydicom.uid.UID(sop_class).name
        reason = Reason("DCM-004", zh=f"对方不接收此类对象:{name}", en=f"the peer does not take objects of this kind: {name}")
        return SendOutcome(instance.path, instance.sop_instance_uid, None, accepted=False, reason=reason)
    answer = association.send_c_store(what)
    if "Status" not in answer:
        raise connection_lost()
    status = int(answer.Status)
    return SendOutcome(
        instance.path,
        instance.sop_instance_uid,
        status,
        accepted=store_accepted(status),
        reason=store_reason(status),
        sop_class_uid=sop_class,
    )
