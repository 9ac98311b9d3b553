"""The PDF as another program (poppler) reads it."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from appliance.findings import Findings
from appliance.report.pdf import make_pdf
from appliance.report.pdf_pictures import choose_rows
from appliance.report.text import write_report
from appliance.study import DRAFT_NOTICE, NOT_VALIDATED_NOTICE, Approval, KeyView
from tests.appliance.report.studies import (
    CORRECTED,
    DECLINED,
    HEADER,
    KEY_VIEWS,
    NORMAL,
    OCCLUSION,
    PHYSICIAN,
    RADIOGRAPHER,
    SEVERAL,
    lesion,
    view,
)

Pages = Callable[..., list[str]]


def pdf_of(findings: Findings, approval: Approval | None = None) -> bytes:
    report = write_report(HEADER, findings, approval=approval)
    views = KEY_VIEWS if findings.status == "analysed" else []
    return make_pdf(report, HEADER, views, approval=approval, findings=findings)


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """The text of each page."""

    def read(findings: Findings, approval: Approval | None = None) -> list[str]:
        path = tmp_path / "report.pdf"
        path.write_bytes(pdf_of(findings, approval))
        text = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True).stdout.decode()
        return text.removesuffix("\f").split("\f")

    return read


def test_same_input_same_bytes() -> None:
    assert pdf_of(SEVERAL) == pdf_of(SEVERAL)


@pytest.mark.parametrize("findings", [SEVERAL, DECLINED])
def test_notices_patient_and_page_number_stand_on_every_page(pages: Pages, findings: Findings) -> None:
    text = pages(findings)
    for number, page in enumerate(text, start=1):
        assert DRAFT_NOTICE in page
        assert NOT_VALIDATED_NOTICE in page
        assert f"第 {number} / {len(text)} 页" in page
        assert f"Page {number} of {len(text)}" in page
        assert "王小明" in page
        assert "P0012345" in page
        assert "Coronet 0.1.0 (28e610e)" in page


def test_a_physician_takes_the_draft_notice_away(pages: Pages) -> None:
    for page in pages(CORRECTED, PHYSICIAN):
        assert DRAFT_NOTICE not in page
        assert NOT_VALIDATED_NOTICE in page


@pytest.mark.parametrize(
    ("approval", "words"),
    [
        (None, ["AI draft, not reviewed"]),
        (RADIOGRAPHER, ["Images released, report pending", "赵技师 2026-11-22 16:30 (UTC+08:00)"]),
        (PHYSICIAN, ["Final, approved by a physician", "张医师 2026-11-22 16:30 (UTC+08:00)"]),
    ],
)
def test_the_signature_block_names_the_state(pages: Pages, approval: Approval | None, words: list[str]) -> None:
    first = " ".join(pages(OCCLUSION, approval)[0].split())
    for word in words:
        assert word in first


def test_both_languages_table_pictures_and_category(pages: Pages) -> None:
    text = "\n".join(pages(SEVERAL))
    assert text.count("CAD-RADS 4A/P2/HRP/S") == 2
    assert "Mixed plaque in the proximal LAD, moderate stenosis, with high-risk plaque features." in text
    assert "左前降支中段心肌桥。" in text
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("左回旋支中远段 LCx")]
    assert rows == [["左回旋支中远段", "LCx", "49%", "74%", "轻度", "mild", "10", "1.5", "1.15", "点状钙化", "SC"]]
    assert {"vr-heart-0", "vr-tree-0", "cpr-lad-000", "scpr-lesion-3", "section-lesion-3"} <= set(text.split())
    assert "openvino CPU fp32 · heart-locator 1 [abababab] · coronary 1 [cdcdcdcd]" in text


def test_every_font_is_embedded(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf_of(SEVERAL))
    listing = subprocess.run(["pdffonts", path], capture_output=True, check=True, text=True).stdout.splitlines()[2:]
    assert listing
    assert all(line.split()[-5:-2] == ["yes", "yes", "yes"] for line in listing)  # embedded, subset, with Unicode map


def test_a_long_report_runs_over_several_pages(pages: Pages) -> None:
    many = tuple(lesion(number, 1, "pLAD", (number, number + 2, number + 4), 60.0, "moderate", "mixed") for number in range(40))
    text = "\n".join(pages(msgspec.structs.replace(SEVERAL, lesions=many)))
    assert text.count("左前降支近段 pLAD") == 40


def test_a_declined_study_has_one_page_with_the_reason(pages: Pages) -> None:
    (page,) = pages(DECLINED)
    assert "DEC-004" in page
    assert "There are no AI findings; a physician must read the images." in page


def test_no_tree_at_all_still_makes_a_report(pages: Pages) -> None:
    assert "未能追踪冠状动脉" in "\n".join(pages(msgspec.structs.replace(NORMAL, branches=(), cad_rads=None, cad_rads_reason="not_traced")))


def test_an_empty_header_makes_a_report(tmp_path: Path) -> None:
    header = type(HEADER)(study_uid="1.2.3", series_uid="1.2.4")
    data = make_pdf(write_report(header, SEVERAL), header, KEY_VIEWS, approval=None, findings=SEVERAL)
    (tmp_path / "report.pdf").write_bytes(data)
    subprocess.run(["pdfinfo", tmp_path / "report.pdf"], capture_output=True, check=True)


def chosen(views: list[KeyView], findings: Findings) -> list[list[str]]:
    return [[item.id for item in row] for _, row in choose_rows(views, findings)]


def test_pictures_of_the_heart_the_main_vessels_and_the_worst_lesion() -> None:
    assert chosen(KEY_VIEWS, SEVERAL) == [
        ["vr-heart-0", "vr-tree-0"],
        ["cpr-lad-000", "cpr-lcx-000", "cpr-rca-000"],
        ["scpr-lesion-3"],
        ["section-lesion-3"],
    ]


def test_the_straightened_vessel_is_found_by_lesion_then_segment_then_vessel() -> None:
    other = [item for item in KEY_VIEWS if item.kind != "scpr"]
    whole, part = view("scpr-lad-000", "scpr", vessel="LAD"), dataclasses.replace(view("scpr-d1", "scpr", vessel="LAD"), segment="D1")
    left_main = msgspec.structs.replace(NORMAL, lesions=(lesion(0, 0, "LM", (2, 6, 9), 55.0, "moderate", "mixed"),))
    diagonal = msgspec.structs.replace(NORMAL, lesions=(lesion(0, 4, "D1", (2, 6, 9), 55.0, "moderate", "mixed"),))
    assert ["scpr-lad-000"] in chosen([*other, whole, part], left_main)
    assert ["scpr-d1"] in chosen([*other, whole, part], diagonal)


def test_a_normal_study_shows_heart_tree_and_main_vessels() -> None:
    assert chosen(KEY_VIEWS, NORMAL) == [["vr-heart-0", "vr-tree-0"], ["cpr-lad-000", "cpr-lcx-000", "cpr-rca-000"]]
