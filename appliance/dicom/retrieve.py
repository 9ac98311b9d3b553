"""One C-MOVE or C-GET: C-STORE sub-operations of the instances that were named, counted and answered one by one.

A file goes out byte for byte as it lies on the disk where the receiver takes its transfer syntax, and is converted to an uncompressed one
where it does not. C-MOVE sends on an association of its own to destinations known by the settings, C-GET on the association that asked.

Status (PS3.4 C.4.2.1.5, C.4.3.1.4):

    FF00  sub-operations go on                         A702  the sub-operations cannot be performed (too many, or no connection)
    0000  all instances were accepted                  A801  the move destination is unknown
    B000  some were not, or with a warning             A900  the identifier does not name what is to be retrieved
    FE00  cancelled                                    C511  a failure of ours
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import _config
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import build_context

from appliance.archive.audit import AuditTrail
from appliance.archive.search import FoundInstance, Level, SearchIndex
from appliance.archive.studies import study_key
from appliance.dicom.association import associate
from appliance.dicom.query_keys import KeyMismatchError, parse_retrieval
from appliance.dicom.sender import MOST_CONTEXTS, UNCOMPRESSED
from appliance.dicom.statuses import STORAGE_WARNINGS
from appliance.errors import ArchiveError, DicomError

SUCCESS, PENDING, CANCELLED, SOME_FAILED = 0x0000, 0xFF00, 0xFE00, 0xB000
UNABLE, UNKNOWN_DESTINATION, MISMATCH, FAULT = 0xA702, 0xA801, 0xA900, 0xC511
MOST_FAILED_UIDS = 1000
"""Failed SOP Instance UIDs that are named in an answer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MoveTarget:
    """A destination that C-MOVE may name by its AE title."""

    ae_title: str
    host: str
    port: int
    timeout_s: float = 60.0


@dataclass
class _Counts:
    """Sub-operations by their outcome (PS3.7 9.1.4.1)."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)

    def count(self, instance: FoundInstance, status: int | None) -> None:
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status in STORAGE_WARNINGS:
            self.warning += 1
        else:
            self.failed += 1
            if len(self.failed_uids) < MOST_FAILED_UIDS:
                self.failed_uids.append(instance.sop_instance_uid)


class RefusedError(Exception):
    """A retrieval that is not begun; ``status`` and a comment for (0000,0902)."""

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment


class Retrieval:
    """Carries out one request.

    Args:
        association: the association that asked.
        request: the C-MOVE or C-GET primitive.
        context: its presentation context.
        root: top of the information model.
        search: finds the instances.
        targets: where C-MOVE may send.
        audit: what was handed out, and to whom.
        our_ae_title: calling AE title towards a target.
        maximum_instances: a request for more is refused.
    """

    def __init__(
        self,
        *,
        association: Any,
        request: C_MOVE | C_GET,
        context: Any,
        root: Level,
        search: SearchIndex,
        targets: Mapping[str, MoveTarget],
        audit: AuditTrail,
        our_ae_title: str,
        maximum_instances: int,
    ) -> None:
        self._association = association
        self._request: Any = request
        self._context = context
        self._root = root
        self._search = search
        self._targets = targets
        self._audit = audit
        self._our_ae_title = our_ae_title
        self._maximum = maximum_instances
        # a switch of the library, not a state of ours: a path given to send_c_store is sent as it lies on the disk, in chunks
        _config.STORE_SEND_CHUNKED_DATASET = True

    def run(self) -> None:
        """Do it and answer; returns when the final response has gone out or the association has ended."""
        counts = _Counts(0)
        try:
            target = self._target()
            instances = self._instances()
            counts = _Counts(len(instances))
            self._record(instances, target)
            status, comment = self._send(instances, target, counts), ""
        except RefusedError as refusal:
            status, comment = refusal.status, refusal.comment
        except ArchiveError as error:
            status, comment = FAULT, error.code
        except Exception as error:  # noqa: BLE001 - one request that fails leaves the door open; a traceback could hold patient data
            log.error("a retrieval failed: %s", type(error).__name__)  # noqa: TRY400
            status, comment = FAULT, "internal error"
        if self._association.is_established:
            self._answer(status, counts, comment=comment, final=True)
        log.info(
            "retrieval ended with %04X: %d completed, %d failed, %d with a warning",
            status, counts.completed, counts.failed, counts.warning, extra={"event": "query.retrieved"},
        )  # fmt: skip

    def _record(self, instances: Sequence[FoundInstance], target: MoveTarget | None) -> None:
        """The audit entry, one for each study, before the first image goes out."""
        studies = Counter(each.study_uid for each in instances)
        to = self._request_ae() if target is None else target.ae_title
        for uid, count in studies.items():
            details = {"instances": count, "to": to}
            self._audit.record(actor=f"dicom:{self._request_ae()}", action="retrieve", study=study_key(uid), details=details)

    # -- what to send, and where to

    def _target(self) -> MoveTarget | None:
        if isinstance(self._request, C_GET):
            return None
        title = str(self._request.MoveDestination or "").strip()
        if title not in self._targets:
            raise RefusedError(UNKNOWN_DESTINATION, "move destination unknown")
        return self._targets[title]

    def _instances(self) -> list[FoundInstance]:
        syntax = self._context.transfer_syntax[0]
        try:
            identifier = decode(self._request.Identifier, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            criteria = parse_retrieval(identifier, root=self._root)
        except KeyMismatchError as error:
            raise RefusedError(MISMATCH, str(error)) from error
        except Exception as error:
            raise RefusedError(MISMATCH, "the identifier cannot be read") from error
        if self._search.count("instance", criteria) > self._maximum:
            raise RefusedError(UNABLE, f"more than {self._maximum} instances")
        return list(self._search.instances(criteria))

    # -- sub-operations

    def _send(self, instances: Sequence[FoundInstance], target: MoveTarget | None, counts: _Counts) -> int:
        """Send them all, answering after each; the final status."""
        for batch in _batches(instances) if target is not None else ([instances] if instances else []):
            try:
                with self._way(batch, target) as way:
                    for instance in batch:
                        if self._cancelled():
                            return CANCELLED
                        if not self._association.is_established:
                            return FAULT
                        counts.count(instance, self._store(way, instance, own=target is not None))
                        if counts.remaining:
                            self._answer(PENDING, counts)
            except DicomError as error:
                left = batch[len(batch) - _left_of(batch, counts, instances) :]
                for instance in left:
                    counts.count(instance, None)
                log.warning("the move destination cannot be served: %s", error.code)
                if not counts.completed and not counts.warning:
                    raise RefusedError(UNABLE, error.code) from error
        if counts.failed and not counts.completed and not counts.warning:
            return UNABLE
        return SOME_FAILED if counts.failed or counts.warning else SUCCESS

    def _way(self, batch: Sequence[FoundInstance], target: MoveTarget | None) -> AbstractContextManager[Any]:
        if target is None:
            return nullcontext(self._association)
        return associate(
            host=target.host,
            port=target.port,
            ae_title=target.ae_title,
            calling_ae_title=self._our_ae_title,
            contexts=[build_context(sop_class, [syntax]) for sop_class, syntax in _proposals(batch)],
            timeout_s=target.timeout_s,
        )

    def _store(self, way: Any, instance: FoundInstance, *, own: bool) -> int | None:
        """One C-STORE; the status answered, None where the instance cannot be sent or was not answered.

        Raises:
            DicomError: the association of a C-MOVE has ended.
        """
        if own and not way.is_established:
            raise DicomError("DCM-005", zh="连接中断,对方未应答", en="the connection was lost before the peer answered")
        what = _encoding_for(way, instance)
        if what is None:
            return None
        origin = {"originator_aet": self._request_ae(), "originator_id": self._request.MessageID} if own else {}
        try:
            answer = way.send_c_store(what, msg_id=1, **origin)
        except (ValueError, RuntimeError, AttributeError, OSError) as error:
            log.warning("an instance cannot be sent: %s", type(error).__name__)
            return None
        return int(answer.Status) if "Status" in answer else None

    def _request_ae(self) -> str:
        return str(self._association.requestor.ae_title).strip()

    def _cancelled(self) -> bool:
        return self._request.MessageID in self._association.dimse.cancel_req

    # -- answers

    def _answer(self, status: int, counts: _Counts, *, comment: str = "", final: bool = False) -> None:
        answer: Any = C_MOVE() if isinstance(self._request, C_MOVE) else C_GET()
        answer.MessageIDBeingRespondedTo = self._request.MessageID
        answer.AffectedSOPClassUID = self._request.AffectedSOPClassUID
        answer.Status = status
        answer.NumberOfCompletedSuboperations = counts.completed
        answer.NumberOfFailedSuboperations = counts.failed
        answer.NumberOfWarningSuboperations = counts.warning
        if status in {PENDING, CANCELLED}:
            answer.NumberOfRemainingSuboperations = counts.remaining
        if comment:
            answer.ErrorComment = comment[:64]
        if final and counts.failed_uids:
            syntax = self._context.transfer_syntax[0]
            identifier = Dataset()
            identifier.FailedSOPInstanceUIDList = counts.failed_uids
            encoded = encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            answer.Identifier = BytesIO(encoded or b"")
        self._association.dimse.send_msg(answer, self._context.context_id)


def _left_of(batch: Sequence[FoundInstance], counts: _Counts, instances: Sequence[FoundInstance]) -> int:
    """How many of a batch have not been counted yet."""
    done = len(instances) - counts.remaining
    before = next(position for position, each in enumerate(instances) if each is batch[0])
    return len(batch) - (done - before)


def _proposals(batch: Sequence[FoundInstance]) -> list[tuple[str, str]]:
    """Contexts to propose: each kind itself, then, as far as there is room, the uncompressed syntaxes that it can be converted to."""
    kinds = dict.fromkeys((each.sop_class_uid, each.transfer_syntax_uid) for each in batch)
    further = dict.fromkeys((sop_class, syntax) for sop_class, _ in kinds for syntax in UNCOMPRESSED)
    return [*kinds, *(each for each in further if each not in kinds)][:MOST_CONTEXTS]


def _batches(instances: Sequence[FoundInstance]) -> Iterator[list[FoundInstance]]:
    """Instances in order, parted where one association's contexts would not suffice."""
    batch: list[FoundInstance] = []
    kinds: set[tuple[str, str]] = set()
    for instance in instances:
        kind = (instance.sop_class_uid, instance.transfer_syntax_uid)
        if kind not in kinds and len(kinds) == MOST_CONTEXTS // 3:
            yield batch
            batch, kinds = [], set()
        kinds.add(kind)
        batch.append(instance)
    if batch:
        yield batch


def _encoding_for(way: Any, instance: FoundInstance) -> Any:
    """What to give to the library: the file's path, or its data set in a syntax that the peer takes; None if there is no way."""
    accepted = {(str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in way.accepted_contexts if each.as_scu}
    if (instance.sop_class_uid, instance.transfer_syntax_uid) in accepted:
        return instance.path
    if not any((instance.sop_class_uid, syntax) in accepted for syntax in UNCOMPRESSED):
        return None
    try:
        dataset = pydicom.dcmread(instance.path)
        if dataset.file_meta.TransferSyntaxUID.is_compressed and not dataset.file_meta.TransferSyntaxUID.is_deflated:
            dataset.decompress()
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything; this instance fails, the others go on
        log.warning("an instance cannot be decoded: %s", type(error).__name__)
        return None
    return dataset
