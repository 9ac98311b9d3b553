"""The ways out: to a DICOM archive and to a film printer, as the delivery workers use them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from appliance.archive.outbox import OutboxRow
from appliance.dicom.print_client import print_pages
from appliance.dicom.sender import send
from appliance.settings import DestinationSettings, PrinterSettings, Settings
from appliance.study import FilmPage
from appliance.workflow.delivery import Answer, Channel, Delivered


class StoreChannel:
    """Sends DICOM files to one destination (PS3.4 annex B)."""

    def __init__(self, settings: DestinationSettings) -> None:
        self._settings = settings

    @property
    def name(self) -> str:
        """As in the settings."""
        return self._settings.name

    def deliver(self, row: OutboxRow, files: Sequence[Path]) -> Delivered:  # noqa: ARG002 - the files say it all
        """See `Channel`."""
        outcomes = send(self._settings, files)
        return Delivered(tuple(Answer(path=each.path, accepted=each.accepted, status=each.status, reason=each.reason) for each in outcomes))


class PrintChannel:
    """Prints film pages on one printer (PS3.4 annex H), all pages of a row in one film session."""

    def __init__(self, settings: PrinterSettings) -> None:
        self._settings = settings

    @property
    def name(self) -> str:
        """As in the settings."""
        return self._settings.name

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


def make_channels(settings: Settings) -> list[Channel]:
    """A channel for every destination and printer that is enabled."""
    stores: list[Channel] = [StoreChannel(each) for each in settings.destination if each.enabled]
    return stores + [PrintChannel(each) for each in settings.printer if each.enabled]
