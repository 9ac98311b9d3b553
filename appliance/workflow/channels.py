"""The ways out: to a DICOM archive and to a film printer, as the delivery workers use them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from appliance.archive.outbox import OutboxRow
from appliance.dicom.print_client import print_pages
from appliance.dicom.sender import SendOutcome, send
from appliance.dicom.treatment import Treater, Treatment
from appliance.errors import DicomError, WorkflowError
from appliance.settings import DestinationSettings, PrinterSettings, Settings
from appliance.study import FilmPage
from appliance.workflow.delivery import Answer, Channel, Delivered

TREATED_AT_ONCE, TREATED_BYTES = 64, 256 << 20
"""Treated files lie on the disk in lots of so many, or of so many bytes, while they are sent."""


class StoreChannel:
    """Sends DICOM files to one destination (PS3.4 annex B), treated on the way where the route says so.

    Args:
        settings: the destination.
        treater: carries out what routes do to files; rows with a treatment fail without one.
    """

    def __init__(self, settings: DestinationSettings, *, treater: Treater | None = None) -> None:
        self._settings = settings
        self._treater = treater

    @property
    def name(self) -> str:
        """As in the settings."""
        return self._settings.name

    @property
    def commitment(self) -> bool:
        """See `Channel`."""
        return self._settings.commitment

    def deliver(self, row: OutboxRow, files: Sequence[Path]) -> Delivered:
        """See `Channel`."""
        if row.treatment is None:
            return Delivered(tuple(_answer(each.path, each) for each in send(self._settings, files)))
        treatment = msgspec.json.decode(row.treatment, type=Treatment)
        if self._treater is None:
            raise WorkflowError("WF-034", zh="路由的处理不可用,未发送", en="what the route asks cannot be done here; nothing was sent")
        answers: list[Answer] = []
        for lot in _lots(files):
            answers += self._deliver_treated(self._treater, treatment, lot)
        return Delivered(tuple(answers))

    def _deliver_treated(self, treater: Treater, treatment: Treatment, files: Sequence[Path]) -> list[Answer]:
        """Treat and send some files; one that cannot be treated is not sent, and the others go."""
        answers, made = [], dict[Path, Path]()
        with tempfile.TemporaryDirectory(prefix="coronet-route-") as folder:
            for number, path in enumerate(files):
                try:
                    content = treater.treat(path, treatment)
                except DicomError as error:
                    answers.append(Answer(path, accepted=False, status=None, reason=error.reason))
                    continue
                if content is None:
                    answers.append(Answer(path, accepted=True, status=None, left_out=True))
                    continue
                target = Path(folder) / f"{number}.dcm"
                target.write_bytes(content)
                made[target] = path
            answers += [_answer(made[each.path], each) for each in send(self._settings, list(made))] if made else []
        return answers


def _lots(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Files in their order, few enough at a time; a file that is too large alone is a lot of its own."""
    lot: list[Path] = []
    size = 0
    for path in files:
        octets = path.stat().st_size
        if lot and (len(lot) == TREATED_AT_ONCE or size + octets > TREATED_BYTES):
            yield lot
            lot, size = [], 0
        lot.append(path)
        size += octets
    if lot:
        yield lot


def _answer(path: Path, outcome: SendOutcome) -> Answer:
    return Answer(
        path=path,
        accepted=outcome.accepted,
        status=outcome.status,
        reason=outcome.reason,
        sop_class_uid=outcome.sop_class_uid or None,
        sop_instance_uid=outcome.sop_instance_uid or None,
    )


class PrintChannel:
    """Prints film pages on one printer (PS3.4 annex H), all pages of a row in one film session."""

    def __init__(self, settings: PrinterSettings) -> None:
        self._settings = settings

    @property
    def name(self) -> str:
        """As in the settings."""
        return self._settings.name

    @property
    def commitment(self) -> bool:
        """See `Channel`; films are not committed to."""
        return False

    def deliver(self, row: OutboxRow, files: Sequence[Path]) -> Delivered:
        """See `Channel`."""
        outcome = print_pages(self._settings, _pages(files, self._settings), label=f"Coronet {row.id}")
        answers = tuple(Answer(path=path, accepted=True, status=outcome.status) for path in files)
        return Delivered(answers, warning=outcome.warnings[0] if outcome.warnings else None)


def _pages(files: Sequence[Path], printer: PrinterSettings) -> list[FilmPage]:
    pages = []
    for number, path in enumerate(files, start=1):
        with Image.open(path) as picture:
            image = np.asarray(picture.convert("L"))
        pages.append(FilmPage(number=number, image=image, film_size_id=printer.film_size, orientation=printer.orientation))
    return pages


def make_channels(settings: Settings, *, treater: Treater | None = None) -> list[Channel]:
    """A channel for every destination and printer that is enabled."""
    stores: list[Channel] = [StoreChannel(each, treater=treater) for each in settings.destination if each.enabled]
    return stores + [PrintChannel(each) for each in settings.printer if each.enabled]
