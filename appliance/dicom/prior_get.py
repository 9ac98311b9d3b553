"""Fetches an earlier examination by C-GET (PS3.4 C.4.3), for an archive that cannot reach us: the images come on our own association.

They are put aside a few at a time and sent on to our own receiver, so that one path stores (as uploads do, `appliance.web.stow`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.dicom.association import associate, connection_lost, understood
from appliance.dicom.prior_scu import not_everything, study_identifier
from appliance.dicom.sender import SendOutcome, send
from appliance.dicom.syntaxes import STORAGE_CLASSES, TRANSFER_SYNTAXES
from appliance.settings import DestinationSettings, PriorsSettings

GET = "1.2.840.10008.5.1.4.1.2.2.3"
AT_A_TIME = 20
LARGEST_INSTANCE = 512 << 20
OUT_OF_RESOURCES = 0xA700

Sender = Callable[[DestinationSettings, Sequence[Path]], Sequence[SendOutcome]]


@understood()
def get_prior(settings: PriorsSettings, study_uid: str, *, door: DestinationSettings, scratch: Path, send_files: Sender = send) -> None:
    """Fetch a study and store it through our own receiver.

    Args:
        settings: one ``[[priors]]``.
        study_uid: which.
        door: how our own receiver is reached.
        scratch: existing folder in which some images at a time lie while they are under way.
        send_files: C-STORE of files; another one in tests of failures.

    Raises:
        DicomError: the archive cannot be reached, or DCM-022: it could not send everything, or our receiver did not take everything.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        taken = _Taken(folder=Path(folder), door=door, send_files=send_files)
        status, failed = _get(settings, study_uid, taken)
        taken.hand_on()
    if status != 0 or failed or taken.refused:
        raise not_everything(status or OUT_OF_RESOURCES)


class _Taken:
    """The images of one C-GET. ``refused``: how many of them our receiver has not stored."""

    def __init__(self, *, folder: Path, door: DestinationSettings, send_files: Sender) -> None:
        self._folder = folder
        self._door = door
        self._send = send_files
        self._waiting: list[Path] = []
        self._number = 0
        self.refused = 0

    def take(self, event: Event) -> int:
        """EVT_C_STORE: put one image aside; its status. Those before it are handed on when there are enough."""
        event.assoc.dul.socket.recv.message_done(LARGEST_INSTANCE)  # type: ignore[union-attr]
        try:
            if len(self._waiting) >= AT_A_TIME:
                self.hand_on()
            path = self._folder / f"{self._number}.dcm"
            path.write_bytes(event.encoded_dataset())
        except OSError:
            self.refused += 1
            return OUT_OF_RESOURCES
        self._number += 1
        self._waiting.append(path)
        return OUT_OF_RESOURCES if self.refused else 0

    def hand_on(self) -> None:
        """Send what waits to our receiver."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.refused += sum(not outcome.accepted for outcome in self._send(self._door, waiting))
        for path in waiting:
            path.unlink()


def _get(settings: PriorsSettings, study_uid: str, taken: _Taken) -> tuple[int, int]:
    """The final status, and how many sub-operations the archive calls failed."""
    final = Dataset()
    with associate(
        host=settings.host,
        port=settings.port,
        ae_title=settings.ae_title,
        calling_ae_title=settings.calling_ae_title,
        contexts=[build_context(GET), *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE_CLASSES)],
        timeout_s=settings.timeout_s,
        handlers=[(evt.EVT_C_STORE, taken.take)],
        roles=[build_role(uid, scp_role=True) for uid in STORAGE_CLASSES],
        largest_answer=LARGEST_INSTANCE,
    ) as association:
        answers: Any = association.send_c_get(study_identifier(study_uid), GET)
        for final, _ in answers:
            if "Status" not in final:
                raise connection_lost()
    return int(final.get("Status", 0xC000)), int(final.get("NumberOfFailedSuboperations") or 0)
