r"""The print SCU: film pages to a DICOM film printer by Basic Grayscale Print Management (PS3.4 annex H).

A page is one image that fills the film, printed with STANDARD\1,1, so that the printer lays nothing out. Few attributes are sent, and only
those that the settings name: printers refuse whole jobs for an attribute that they do not know. Film session and film box carry UIDs of
ours, since some printers answer N-CREATE with nothing.

    DCM-020  the printer refused a step           DCM-022  the printer reports a failure
    DCM-021  the printer made no image box        DCM-023  the print job failed
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.dicom.association import associate, connection_lost
from appliance.dicom.statuses import print_failure, print_warning, printer_state
from appliance.errors import DicomError, Reason
from appliance.settings import PrinterSettings
from appliance.study import FilmPage

GRAYSCALE_META = "1.2.840.10008.5.1.1.9"
FILM_SESSION = "1.2.840.10008.5.1.1.1"
FILM_BOX = "1.2.840.10008.5.1.1.2"
IMAGE_BOX = "1.2.840.10008.5.1.1.4"
PRINTER, PRINTER_INSTANCE = "1.2.840.10008.5.1.1.16", "1.2.840.10008.5.1.1.17"
PRINT_JOB = "1.2.840.10008.5.1.1.14"
PRESENTATION_LUT = "1.2.840.10008.5.1.1.23"
PRINT_ACTION = 1
LONGEST_LABEL = 64
JOB_WAIT_S = 2.0
"""How long a print job is watched for an early failure; films take longer, their fate shows on the printer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrintOutcome:
    """The printer has taken all pages.

    Attributes:
        status: the last status: 0 or a warning.
        warnings: what the printer altered or asks for, for a person to read.
        job_uid: SOP Instance UID of the last print job, where the printer made one.
    """

    status: int
    warnings: tuple[Reason, ...]
    job_uid: str | None


def print_pages(
    printer: PrinterSettings,
    pages: Sequence[FilmPage],
    *,
    label: str,
    uids: Callable[[], str] = generate_uid,
    sleep: Callable[[float], None] = time.sleep,
) -> PrintOutcome:
    """Print pages in one film session, a film each.

    Args:
        printer: from the settings.
        pages: uint8 grey images, 0 black.
        label: film session label, at most 64 ASCII characters are used; never patient data.
        uids: makes UIDs.
        sleep: waits between looks at a print job.

    Raises:
        DicomError: the pages are not, or not all, printed; ``details["pages_printed"]`` counts those that the printer took,
            ``details["maybe_done"]`` is True if films may come out nevertheless.
    """
    if not pages:
        raise ValueError("no page to print")
    contexts = [build_context(GRAYSCALE_META), build_context(PRINT_JOB)]
    if printer.presentation_lut:
        contexts.append(build_context(PRESENTATION_LUT))
    session: _FilmSession | None = None
    events: list[Reason] = []
    try:
        with associate(
            host=printer.host,
            port=printer.port,
            ae_title=printer.ae_title,
            calling_ae_title=printer.calling_ae_title,
            contexts=contexts,
            timeout_s=printer.timeout_s,
            handlers=[(evt.EVT_N_EVENT_REPORT, _event_handler(events))],
        ) as association:
            session = _FilmSession(association, printer, uids=uids, sleep=sleep)
            return session.run(pages, label=label, events=events)
    except DicomError as error:
        printed = session.printed if session else 0
        maybe = bool(printed) or (session is not None and session.action_sent)
        raise DicomError(
            error.code, zh=error.zh, en=error.en, **{**error.details, "pages_printed": printed, "maybe_done": maybe}
        ) from error


def _event_handler(events: list[Reason]) -> Callable[[Event], tuple[int, None]]:
    """Answer N-EVENT-REPORTs of the printer (PS3.4 section H.4.6.2.1: 1 normal, 2 warning, 3 failure), and note the last two."""

    def report(event: Event) -> tuple[int, None]:
        if event.event_type in (2, 3):
            zh, en = printer_state(str(event.event_information.get("PrinterStatusInfo", "")))
            events.append(Reason("DCM-022", zh=f"打印机:{zh}", en=f"printer: {en}"))
        return 0x0000, None

    return report


class _FilmSession:
    """The conversation about one film session."""

    def __init__(self, association: Any, printer: PrinterSettings, *, uids: Callable[[], str], sleep: Callable[[float], None]) -> None:
        self._association = association
        self._printer = printer
        self._uids = uids
        self._sleep = sleep
        self._warnings: list[Reason] = []
        self._status = 0
        self._lost = False
        self._has_jobs = any(context.abstract_syntax == PRINT_JOB for context in association.accepted_contexts)
        self.printed = 0
        self.action_sent = False

    def run(self, pages: Sequence[FilmPage], *, label: str, events: list[Reason]) -> PrintOutcome:
        if not any(context.abstract_syntax == GRAYSCALE_META for context in self._association.accepted_contexts):
            raise DicomError("DCM-004", zh="打印机不支持灰度胶片打印", en="the printer does not offer grayscale print management")
        self._check_printer()
        session_uid = self._create_session(label)
        lut_uid = self._create_presentation_lut()
        job_uid = None
        for page in pages:
            if self._lost:
                raise connection_lost()
            film_uid, image_uid = self._create_film(page, session_uid, lut_uid)
            self._set_image(page, image_uid)
            job_uid = self._print(film_uid)
            self.printed += 1
            self._delete(FILM_BOX, film_uid)
        self._delete(FILM_SESSION, session_uid)
        return PrintOutcome(status=self._status, warnings=tuple(dict.fromkeys([*self._warnings, *events])), job_uid=job_uid)

    # -- steps

    def _check_printer(self) -> None:
        """Stop before anything is sent if the printer says that it cannot print."""
        wanted = [Tag("PrinterStatus"), Tag("PrinterStatusInfo")]
        answer, attributes = self._association.send_n_get(wanted, PRINTER, PRINTER_INSTANCE, meta_uid=GRAYSCALE_META)
        if "Status" not in answer:
            raise connection_lost()
        if attributes is None or answer.Status not in (0x0000, 0x0107):
            log.info("the printer does not tell its state", extra={"event": "print.no-state"})
            return
        zh, en = printer_state(str(attributes.get("PrinterStatusInfo", "") or ""))
        state = str(attributes.get("PrinterStatus", ""))
        if state == "FAILURE":
            raise DicomError("DCM-022", zh=f"打印机故障:{zh}", en=f"the printer reports a failure: {en}")
        if state == "WARNING":
            self._warnings.append(Reason("DCM-022", zh=f"打印机提示:{zh}", en=f"the printer warns: {en}"))

    def _create_session(self, label: str) -> str:
        request: Any = Dataset()
        request.NumberOfCopies = str(self._printer.copies)
        if self._printer.medium is not None:
            request.MediumType = self._printer.medium
        if self._printer.destination is not None:
            request.FilmDestination = self._printer.destination
        text = label.encode("ascii", "ignore").decode().replace("\\", " ")[:LONGEST_LABEL]
        if text:
            request.FilmSessionLabel = text
        uid = str(self._uids())
        self._create(request, FILM_SESSION, uid, "建立胶片会话", "creating the film session")
        return uid

    def _create_presentation_lut(self) -> str | None:
        """Pixel values are P-Values (PS3.14): lightness in equal steps. Only where the settings ask for it and the printer offers it."""
        if not any(context.abstract_syntax == PRESENTATION_LUT for context in self._association.accepted_contexts):
            return None
        request: Any = Dataset()
        request.PresentationLUTShape = "IDENTITY"
        uid = str(self._uids())
        answer, _ = self._association.send_n_create(request, PRESENTATION_LUT, uid)
        self._check(answer, "建立显示查找表", "creating the presentation LUT")
        return uid

    def _create_film(self, page: FilmPage, session_uid: str, lut_uid: str | None) -> tuple[str, str]:
        """A film box; its UID and that of its only image box."""
        request: Any = Dataset()
        request.ImageDisplayFormat = r"STANDARD\1,1"
        request.FilmOrientation = page.orientation
        request.FilmSizeID = page.film_size_id
        if self._printer.magnification is not None:
            request.MagnificationType = self._printer.magnification
        request.ReferencedFilmSessionSequence = [_reference(FILM_SESSION, session_uid)]
        if lut_uid is not None:
            request.ReferencedPresentationLUTSequence = [_reference(PRESENTATION_LUT, lut_uid)]
        uid = str(self._uids())
        attributes = self._create(request, FILM_BOX, uid, "建立胶片", "creating the film box")
        boxes = _image_boxes(attributes) or _image_boxes(self._get_film(uid))
        if not boxes:
            raise DicomError("DCM-021", zh="打印机未建立图像框", en="the printer made no image box")
        return uid, boxes[0]

    def _get_film(self, film_uid: str) -> Dataset | None:
        """The film box as the printer has it, for printers that answer N-CREATE with nothing."""
        wanted = [Tag("ReferencedImageBoxSequence")]
        answer, attributes = self._association.send_n_get(wanted, FILM_BOX, film_uid, meta_uid=GRAYSCALE_META)
        return attributes if answer.get("Status") == 0x0000 else None

    def _set_image(self, page: FilmPage, image_uid: str) -> None:
        request: Any = Dataset()
        request.ImageBoxPosition = 1
        request.BasicGrayscaleImageSequence = [_image(page)]
        answer, _ = self._association.send_n_set(request, IMAGE_BOX, image_uid, meta_uid=GRAYSCALE_META)
        self._check(answer, "传送图像", "sending the image")

    def _print(self, film_uid: str) -> str | None:
        """Print the film; the print job's UID where there is one."""
        self.action_sent = True
        answer, reply = self._association.send_n_action(None, PRINT_ACTION, FILM_BOX, film_uid, meta_uid=GRAYSCALE_META)
        if "Status" in answer and print_warning(answer.Status) is None and answer.Status != 0:
            self.action_sent = False  # refused for certain: nothing will come out
        self._check(answer, "打印", "printing")
        self.action_sent = False
        jobs = getattr(reply, "ReferencedPrintJobSequence", None) or []
        uid = str(jobs[0].get("ReferencedSOPInstanceUID", "")) if jobs else ""
        if uid and self._has_jobs:
            self._watch(uid)
        return uid or None

    def _watch(self, job_uid: str) -> None:
        """Look at the print job for a little while: a failure that shows early is told, not left to be found at the printer."""
        wanted = [Tag("ExecutionStatus"), Tag("ExecutionStatusInfo")]
        waited, step = 0.0, 0.1
        while waited <= JOB_WAIT_S:
            answer, attributes = self._association.send_n_get(wanted, PRINT_JOB, job_uid)
            self._lost = "Status" not in answer
            state = str(attributes.get("ExecutionStatus", "")) if attributes is not None and answer.get("Status") == 0 else ""
            if state == "FAILURE":
                zh, en = printer_state(str(attributes.get("ExecutionStatusInfo", "") or ""))
                raise DicomError("DCM-023", zh=f"打印任务失败:{zh}", en=f"the print job failed: {en}")
            if state not in ("PENDING", "PRINTING"):
                return
            self._sleep(step)
            waited, step = waited + step, step * 2

    def _delete(self, sop_class: str, uid: str) -> None:
        """Tidy up; the films are printed, so a refusal here is only logged."""
        if self._lost:
            return
        answer = self._association.send_n_delete(sop_class, uid, meta_uid=GRAYSCALE_META)
        self._lost = "Status" not in answer
        if answer.get("Status") != 0:
            log.info("the printer did not delete %s", sop_class, extra={"event": "print.not-deleted"})

    # -- answers

    def _create(self, request: Dataset, sop_class: str, uid: str, zh: str, en: str) -> Dataset | None:
        answer, attributes = self._association.send_n_create(request, sop_class, uid, meta_uid=GRAYSCALE_META)
        self._check(answer, zh, en)
        return attributes if isinstance(attributes, Dataset) else None

    def _check(self, answer: Dataset, zh: str, en: str) -> None:
        """Note a warning, raise for a failure or a lost connection."""
        if "Status" not in answer:
            raise connection_lost()
        status = int(answer.Status)
        if status == 0:
            return
        warning = print_warning(status)
        if warning is not None:
            self._warnings.append(warning)
            self._status = status
            return
        why_zh, why_en = print_failure(status)
        comment = str(answer.get("ErrorComment", "") or "")
        raise DicomError("DCM-020", zh=f"打印机拒绝{zh}:{why_zh}", en=f"the printer refused {en}: {why_en}", status=status, comment=comment)


def _reference(sop_class: str, uid: str) -> Dataset:
    item: Any = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = uid
    return item  # type: ignore[no-any-return]


def _image_boxes(film: Dataset | None) -> list[str]:
    """UIDs of the image boxes of a film box."""
    if film is None:
        return []
    boxes = film.get("ReferencedImageBoxSequence") or []
    return [str(box.ReferencedSOPInstanceUID) for box in boxes if box.get("ReferencedSOPInstanceUID")]


def _image(page: FilmPage) -> Dataset:
    """The whole page as an 8 bit MONOCHROME2 image (PS3.3 C.13.5)."""
    if page.image.dtype != np.uint8 or page.image.ndim != 2:
        raise ValueError("a film page is uint8 grey, shape (height, width)")
    item: Any = Dataset()
    item.SamplesPerPixel = 1
    item.PhotometricInterpretation = "MONOCHROME2"
    item.Rows, item.Columns = page.image.shape
    item.PixelAspectRatio = ["1", "1"]
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 8, 8, 7, 0
    data = np.ascontiguousarray(page.image).tobytes()
    item.PixelData = data + b"\0" * (len(data) % 2)
    item["PixelData"].VR = "OB"
    return item  # type: ignore[no-any-return]
