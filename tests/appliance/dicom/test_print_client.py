"""Films at DCMTK's print server, and at a printer that misbehaves as told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from appliance.dicom.print_client import print_pages
from appliance.errors import DicomError
from appliance.settings import PrinterSettings
from appliance.study import FilmPage
from tests.peers.dcmtk import PrintScp, dcmprscp
from tests.peers.print_scp import FilmPrinter, Script, film_printer
from tests.peers.waiting import free_port


def page(number: int = 1, *, rows: int = 301, columns: int = 207, **more: Any) -> FilmPage:
    image = np.random.default_rng(number).integers(0, 256, (rows, columns), dtype=np.uint8)
    return FilmPage(number=number, image=image, **more)


def settings(port: int, **more: Any) -> PrinterSettings:
    return PrinterSettings(**{"name": "film", "host": "127.0.0.1", "port": port, "ae_title": "PRINTER", "timeout_s": 20.0, **more})


# -- DCMTK


@pytest.fixture
def dcmtk_printer(tmp_path: Path) -> Iterator[PrintScp]:
    with dcmprscp(tmp_path) as peer:
        yield peer


def test_pages_come_out_of_dcmtk_pixel_for_pixel(dcmtk_printer: PrintScp) -> None:
    pages = [page(1), page(2, rows=300, columns=400, orientation="LANDSCAPE")]
    outcome = print_pages(settings(dcmtk_printer.port, ae_title="IHEFULL"), pages, label="Coronet 7")
    assert outcome.status == 0
    assert outcome.warnings == ()
    hardcopies = [pydicom.dcmread(path) for path in dcmtk_printer.pages()]
    assert len(hardcopies) == len(dcmtk_printer.prints()) == 2
    for sent, hardcopy in zip(pages, hardcopies, strict=True):
        assert hardcopy.pixel_array.shape == sent.image.shape
        scale = 2 ** (hardcopy.BitsStored - 8)
        assert np.array_equal(hardcopy.pixel_array // scale, sent.image)
    films = [pydicom.dcmread(path).FilmBoxContentSequence[0] for path in dcmtk_printer.prints()]
    assert {film.ImageDisplayFormat for film in films} == {r"STANDARD\1,1"}
    assert {film.FilmSizeID for film in films} == {"14INX17IN"}
    assert sorted(film.FilmOrientation for film in films) == ["LANDSCAPE", "PORTRAIT"]


def test_dcmtk_refuses_a_film_size_that_it_does_not_have(dcmtk_printer: PrintScp) -> None:
    with pytest.raises(DicomError) as caught:
        print_pages(settings(dcmtk_printer.port, ae_title="IHEFULL"), [page(film_size_id="99INX99IN")], label="x")
    assert caught.value.code == "DCM-020"
    assert caught.value.details["status"] == 0x0106
    assert caught.value.details["maybe_done"] is False
    assert dcmtk_printer.prints() == []


# -- a printer as told


def run(script: Script, pages: int = 1, **more: Any) -> tuple[Any, FilmPrinter]:
    """Print on a scripted printer: the outcome or the error, and the printer."""
    with film_printer(script) as printer:
        try:
            return print_pages(settings(printer.port, **more), [page(number) for number in range(pages)], label="Coronet 1"), printer
        except DicomError as error:
            return error, printer


def test_the_steps_of_two_pages_and_nothing_more() -> None:
    outcome, printer = run(Script(), pages=2)
    film = ["create film", "set image", "print", "delete film"]
    assert printer.steps == ["get printer", "create session", *film, *film, "delete session"]
    assert (outcome.status, outcome.warnings, outcome.job_uid) == (0, (), None)
    assert [np.array_equal(image, page(number).image) for number, image in enumerate(printer.images)] == [True, True]
    assert {element.keyword for element in printer.requests["create session"]} == {"NumberOfCopies", "MediumType", "FilmSessionLabel"}
    assert {element.keyword for element in printer.requests["create film"]} == {
        "ImageDisplayFormat", "FilmOrientation", "FilmSizeID", "ReferencedFilmSessionSequence",
    }  # fmt: skip
    image = printer.requests["set image"].BasicGrayscaleImageSequence[0]
    assert (image.BitsAllocated, image.BitsStored, image.HighBit, image.PhotometricInterpretation) == (8, 8, 7, "MONOCHROME2")


def test_what_the_settings_name_is_sent() -> None:
    _, printer = run(Script(), medium="CLEAR FILM", destination="BIN_1", magnification="NONE", copies=2, presentation_lut=True)
    session, film = printer.requests["create session"], printer.requests["create film"]
    assert (session.MediumType, session.FilmDestination, session.NumberOfCopies) == ("CLEAR FILM", "BIN_1", 2)
    assert film.MagnificationType == "NONE"
    assert printer.requests["create lut"].PresentationLUTShape == "IDENTITY"
    assert len(film.ReferencedPresentationLUTSequence) == 1


def test_a_label_is_cut_to_ascii() -> None:
    with film_printer(Script()) as printer:
        print_pages(settings(printer.port), [page()], label="Coronet 测试 " + "x" * 100)
        assert printer.requests["create session"].FilmSessionLabel == ("Coronet  " + "x" * 100)[:64]


def test_an_empty_create_answer_is_made_up_for_by_a_get() -> None:
    outcome, printer = run(Script(empty_create=True))
    assert outcome.status == 0
    assert "get film" in printer.steps
    assert len(printer.images) == 1


def test_no_image_box_at_all_is_an_error() -> None:
    error, printer = run(Script(empty_create=True, no_image_box=True))
    assert error.code == "DCM-021"
    assert printer.printed == []


def test_a_warning_is_no_error_and_says_that_the_image_was_altered() -> None:
    outcome, printer = run(Script(status={"print": 0xB604}))
    assert outcome.status == 0xB604
    assert [reason.code for reason in outcome.warnings] == ["DCM-B604"]
    assert "altered" in outcome.warnings[0].en
    assert "图像已改变" in outcome.warnings[0].zh
    assert len(printer.printed) == 1


def test_a_printer_that_warns_prints_and_says_so() -> None:
    outcome, _ = run(Script(printer=("WARNING", "SUPPLY LOW")))
    assert outcome.warnings[0].zh == "打印机提示:胶片不足"


@pytest.mark.parametrize(("kind", "told"), [(1, []), (2, ["打印机:胶片不足"]), (3, ["打印机:胶片不足"])])
def test_what_the_printer_reports_meanwhile_is_answered_and_told(kind: int, told: list[str]) -> None:
    """N-EVENT-REPORT types: 1 normal, 2 warning, 3 failure."""
    outcome, printer = run(Script(event=(kind, "SUPPLY LOW")))
    assert printer.event_status == 0
    assert [reason.zh for reason in outcome.warnings] == told
    assert len(printer.printed) == 1


@pytest.mark.parametrize(
    ("info", "zh"), [("FILM JAM", "卡片"), ("SUPPLY EMPTY", "胶片已用完"), ("MAKERS OWN", "MAKERS OWN"), ("", "原因未知")]
)
def test_a_printer_that_has_failed_gets_nothing(info: str, zh: str) -> None:
    error, printer = run(Script(printer=("FAILURE", info)))
    assert error.code == "DCM-022"
    assert error.zh == f"打印机故障:{zh}"
    assert printer.steps == ["get printer"]
    assert error.details["maybe_done"] is False


def test_a_printer_that_tells_no_state_prints() -> None:
    outcome, _ = run(Script(status={"get printer": 0x0112}))
    assert outcome.status == 0


@pytest.mark.parametrize(
    ("step", "status", "words"),
    [
        ("create session", 0x0106, "attribute"),
        ("create film", 0xC616, "while another"),
        ("set image", 0xC603, "larger than the image box"),
        ("set image", 0xC605, "too little memory"),
        ("print", 0xC602, "queue is full"),
        ("print", 0x0213, "resource limitation"),
        ("print", 0xFFFE, "unknown cause"),
    ],
)
def test_a_refused_step_is_named_with_its_cause(step: str, status: int, words: str) -> None:
    error, printer = run(Script(status={step: status}))
    assert error.code == "DCM-020"
    assert words in error.en
    assert f"{status:04X}" in error.zh
    assert (error.details["status"], error.details["maybe_done"], printer.printed) == (status, False, [])


def test_a_job_that_fails_early_is_told() -> None:
    error, _ = run(Script(jobs=(("PENDING", "QUEUED"), ("FAILURE", "FILM JAM"))))
    assert error.code == "DCM-023"
    assert "film jam" in error.en


def test_a_job_that_gets_done_gives_its_uid() -> None:
    outcome, printer = run(Script(jobs=(("PENDING", ""), ("PRINTING", ""), ("DONE", ""))))
    assert outcome.job_uid is not None
    assert printer.steps.count("get job") == 3


@pytest.mark.parametrize(
    ("step", "maybe"), [("get printer", False), ("create film", False), ("set image", False), ("print", True), ("delete film", False)]
)
def test_a_connection_lost_on_the_way(step: str, maybe: bool) -> None:
    """Before the print command nothing can come out; after it, it may; once it was answered, it will."""
    error, _ = run(Script(vanish_at=step))
    if step == "delete film":
        assert error.status == 0
        return
    assert error.code == "DCM-005"
    assert error.details["maybe_done"] is maybe


def test_the_second_page_refused_tells_that_the_first_is_out() -> None:
    with film_printer(Script()) as printer:
        prints = iter([0x0000, 0xC602])
        printer.script.status = _Changing({"print": prints})
        with pytest.raises(DicomError) as caught:
            print_pages(settings(printer.port), [page(1), page(2)], label="x")
    assert caught.value.details["pages_printed"] == 1
    assert caught.value.details["maybe_done"] is True


class _Changing(dict):  # type: ignore[type-arg]
    def get(self, key: str, default: Any = None) -> Any:
        return next(self[key]) if key in self else default


def test_a_printer_without_grayscale_printing() -> None:
    error, _ = run(Script(meta_accepted=False), presentation_lut=True)
    assert error.code == "DCM-004"


def test_a_printer_that_is_off() -> None:
    with pytest.raises(DicomError) as caught:
        print_pages(settings(free_port(), timeout_s=3.0), [page()], label="x")
    assert caught.value.code == "DCM-001"
    assert caught.value.details["maybe_done"] is False
