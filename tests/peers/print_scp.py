"""A film printer with a will of its own: a pynetdicom print SCP that answers each step as a test says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.dicom.print_client import (
    FILM_BOX,
    FILM_SESSION,
    GRAYSCALE_META,
    IMAGE_BOX,
    PRESENTATION_LUT,
    PRINT_JOB,
    PRINTER,
    PRINTER_INSTANCE,
)
from tests.peers.datasets import ROOT
from tests.peers.scp import scp


@dataclass
class Script:
    """What the printer does.

    Attributes:
        status: by step, e.g. ``{"create film": 0xC616}``; every other step succeeds.
        printer: Printer Status and Printer Status Info.
        jobs: execution states that a print job goes through, one for each look; none: the printer makes no jobs.
        empty_create: N-CREATE of a film box answers without attributes.
        no_image_box: nor does N-GET tell an image box.
        event: type and Printer Status Info of an N-EVENT-REPORT that the printer sends while it is told to print.
        meta_accepted: grayscale print management is offered.
        vanish_at: the step at which the printer drops the connection without an answer.
    """

    status: dict[str, int] = field(default_factory=dict)
    printer: tuple[str, str] = ("NORMAL", "NORMAL")
    jobs: tuple[tuple[str, str], ...] = ()
    empty_create: bool = False
    no_image_box: bool = False
    vanish_at: str = ""
    event: tuple[int, str] | None = None
    meta_accepted: bool = True


@dataclass
class FilmPrinter:
    """The printer as it runs, and what it has seen."""

    script: Script
    port: int = 0
    steps: list[str] = field(default_factory=list)
    requests: dict[str, Dataset] = field(default_factory=dict)
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    event_status: int | None = None

    def step(self, event: Event, name: str, dataset: Dataset | None = None) -> int:
        """Note a step; its status."""
        self.steps.append(name)
        if dataset is not None:
            self.requests[name] = dataset
        if self.script.vanish_at == name:
            event.assoc.abort()
        return self.script.status.get(name, 0x0000)


@contextmanager
def film_printer(script: Script) -> Iterator[FilmPrinter]:  # noqa: C901 - one small handler for each service
    """Run the printer: AE title PRINTER."""
    printer = FilmPrinter(script)
    ae = AE("PRINTER")
    ae.maximum_pdu_size = 131072
    classes = [GRAYSCALE_META, PRESENTATION_LUT] if script.meta_accepted else [PRESENTATION_LUT]
    contexts = [build_context(uid) for uid in [*classes, *([PRINT_JOB] if script.jobs else [])]]
    looks = iter(script.jobs)

    def get(event: Event) -> tuple[int, Dataset]:
        reply: Any = Dataset()
        sop_class = event.request.RequestedSOPClassUID
        if sop_class == PRINT_JOB:
            reply.ExecutionStatus, reply.ExecutionStatusInfo = next(looks)
            return printer.step(event, "get job"), reply
        if sop_class == FILM_BOX:
            return printer.step(event, "get film"), Dataset() if script.no_image_box else _boxes(event.request.RequestedSOPInstanceUID)
        reply.PrinterStatus, reply.PrinterStatusInfo = script.printer
        return printer.step(event, "get printer"), reply

    def create(event: Event) -> tuple[int, Dataset | None]:
        request = event.request
        name = {FILM_SESSION: "create session", FILM_BOX: "create film", PRESENTATION_LUT: "create lut"}[request.AffectedSOPClassUID]
        status = printer.step(event, name, event.attribute_list)
        if name != "create film" or script.empty_create:
            return status, None
        return status, _boxes(request.AffectedSOPInstanceUID)

    def set_image(event: Event) -> tuple[int, None]:
        item = event.modification_list.BasicGrayscaleImageSequence[0]
        status = printer.step(event, "set image", event.modification_list)
        size = item.Rows * item.Columns
        printer.images.append(np.frombuffer(item.PixelData[:size], np.uint8).reshape(item.Rows, item.Columns))
        return status, None

    def action(event: Event) -> tuple[int, Dataset | None]:
        if script.event is not None:
            printer.event_status = _tell(event, *script.event)
        status = printer.step(event, "print")
        if status in (0x0000, 0xB604):
            printer.printed.append(str(event.request.RequestedSOPInstanceUID))
        if not script.jobs:
            return status, None
        reply: Any = Dataset()
        job: Any = Dataset()
        job.ReferencedSOPClassUID, job.ReferencedSOPInstanceUID = PRINT_JOB, ROOT + "500"
        reply.ReferencedPrintJobSequence = [job]
        return status, reply

    def delete(event: Event) -> int:
        return printer.step(event, "delete film" if event.request.RequestedSOPClassUID == FILM_BOX else "delete session")

    handlers = [
        (evt.EVT_N_GET, get), (evt.EVT_N_CREATE, create), (evt.EVT_N_SET, set_image), (evt.EVT_N_ACTION, action),
        (evt.EVT_N_DELETE, delete),
    ]  # fmt: skip
    with scp(ae, contexts=contexts, handlers=handlers) as printer.port:
        yield printer


def _tell(event: Event, kind: int, info: str) -> int | None:
    """Send an N-EVENT-REPORT of the printer; the status of the answer."""
    information: Any = Dataset()
    information.PrinterStatusInfo = info
    answer, _ = event.assoc.send_n_event_report(information, kind, PRINTER, PRINTER_INSTANCE, meta_uid=GRAYSCALE_META)
    return answer.get("Status")  # type: ignore[no-any-return]


def _boxes(film_uid: str) -> Dataset:
    reply: Any = Dataset()
    box: Any = Dataset()
    box.ReferencedSOPClassUID, box.ReferencedSOPInstanceUID = IMAGE_BOX, f"{film_uid[:60]}.1"
    reply.ReferencedImageBoxSequence = [box]
    return reply  # type: ignore[no-any-return]
