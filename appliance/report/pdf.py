"""The report as a PDF: Chinese findings and impression, the lesion table, key views, and the English report.

The same input gives the same bytes. The font is embedded as a subset, so the file can be read anywhere and archived.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from xml.sax.saxutils import escape

from PIL import Image
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, PageBreak, Paragraph, Spacer, Table, TableStyle
from reportlab.platypus import Image as Picture

from appliance.anatomy import SEGMENTS
from appliance.findings import GRADES, Findings, Lesion
from appliance.report.fonts import wrap
from appliance.report.pdf_page import (
    ACCENT,
    BODY_WIDTH,
    FONT,
    INK,
    QUIET,
    RULE,
    WASH,
    NumberedCanvas,
    ReportPages,
    register_font,
)
from appliance.report.phrases import GRADE_NAMES, PLAQUES, Phrase, chinese_punctuation
from appliance.report.regions import SEGMENT_ORDER
from appliance.report.sentences import about_percent
from appliance.study import Approval, KeyView, ReportSection, ReportText, StudyHeader

MAXIMUM_VIEWS = 6
SHORT_REPORT = 3
"""Up to so many sections (a declined study) both languages stand on one page."""

PICTURE_PIXELS = 900
"""Longer side of an embedded picture: about 250 dpi at the printed size."""

HEADING_WIDTH = 38 * mm
SENTENCES_PER_ROW = 8
"""A table row cannot be parted between pages, so a long section takes several."""

CELL_FONT = ("FONTNAME", (0, 0), (-1, -1), FONT)
"""Without it the library names its own font, which is not embedded, in every table."""

BODY = ParagraphStyle("body", fontName=FONT, fontSize=8.8, leading=12.2, textColor=INK)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=10.4)
CELL = ParagraphStyle("cell", parent=SMALL, alignment=TA_CENTER)
LABEL = ParagraphStyle("label", parent=CELL, fontSize=7.5, leading=9.6, textColor=ACCENT)
CAPTION = ParagraphStyle("caption", parent=CELL, textColor=QUIET)
HEADING = ParagraphStyle("heading", parent=BODY, textColor=ACCENT)
PART = ParagraphStyle("part", parent=BODY, fontSize=12, leading=16, textColor=ACCENT, spaceBefore=4, spaceAfter=2)
CATEGORY = ParagraphStyle("category", parent=BODY, fontSize=13.5, leading=18, textColor=ACCENT)


def make_pdf(
    report: ReportText, header: StudyHeader, key_views: Sequence[KeyView], *, approval: Approval | None, findings: Findings
) -> bytes:
    """The PDF file, A4 portrait.

    Args:
        report: text and notices; the notices stand on every page.
        header: patient and exam for the page heads.
        key_views: pictures to choose from; at most ``MAXIMUM_VIEWS`` are shown.
        approval: who approved, for the signature block.
        findings: for the lesion table, the choice of pictures and the footer.

    Raises:
        ImagingError: IMG-201, the font is not installed.
    """
    register_font()
    target = io.BytesIO()
    story: list[Flowable] = [*_text(report.zh, findings), _signature(approval)]
    if findings.lesions:
        story += [Spacer(1, 4 * mm), *_lesion_table(findings)]
    views = choose_views(key_views, findings)
    if views:
        story += [Spacer(1, 4 * mm), *_pictures(views)]
    story += [
        PageBreak() if len(report.zh) > SHORT_REPORT else Spacer(1, 12 * mm),
        *_text(report.en, findings),
        Spacer(1, 3 * mm),
        _paragraph(_status(approval).en, SMALL),
    ]
    ReportPages(report=report, header=header, findings=findings).document(target).build(story, canvasmaker=NumberedCanvas)
    return target.getvalue()


def choose_views(key_views: Sequence[KeyView], findings: Findings, *, limit: int = MAXIMUM_VIEWS) -> list[KeyView]:
    """The pictures for the report: the tree, the worst lesions, each main vessel, then whatever is left."""
    worst = sorted(
        findings.lesions, key=lambda lesion: (-GRADES.index(lesion.grade), -(lesion.diameter_stenosis_percent or 0.0), lesion.id)
    )
    wanted = [
        *[view for view in key_views if view.kind == "vr_tree"][:1],
        *[view for lesion in worst[:2] for view in key_views if view.lesion == lesion.id and view.kind in ("scpr", "cpr")][:2],
        *[view for vessel in ("LAD", "LCX", "RCA") for view in _first(key_views, "cpr", vessel)],
        *[view for lesion in worst[:1] for view in key_views if view.lesion == lesion.id],
        *[view for view in key_views if view.kind == "vr_heart"][:1],
        *key_views,
    ]
    chosen: list[KeyView] = []
    for view in wanted:
        if all(view is not other for other in chosen):
            chosen.append(view)
    return chosen[:limit]


def _severity(lesion: Lesion) -> tuple[int, float, int]:
    """Sort key: the worst lesion first."""
    return -GRADES.index(lesion.grade), -(lesion.diameter_stenosis_percent or 0.0), lesion.id


def _first(key_views: Sequence[KeyView], kind: str, vessel: str) -> list[KeyView]:
    return [view for view in key_views if view.kind == kind and view.vessel == vessel][:1]


def _paragraph(text: str, style: ParagraphStyle, width: float = BODY_WIDTH) -> Paragraph:
    """A paragraph broken by our own rules: the library would break Latin words inside Chinese text."""

    def measure(part: str) -> float:
        return float(stringWidth(part, style.fontName, style.fontSize))

    lines = [line for part in text.splitlines() for line in wrap(part, width - 1, measure)]
    return Paragraph("<br/>".join(escape(line) for line in lines), style)


def _text(sections: Sequence[ReportSection], findings: Findings) -> list[Flowable]:
    """All sections, headings in a column of their own; the last one, the impression, in a box."""
    width = BODY_WIDTH - HEADING_WIDTH - 2 * mm
    rows = []
    for section in sections[:-1]:
        for start in range(0, len(section.sentences), SENTENCES_PER_ROW):
            heading = [] if start else [_paragraph(section.heading, HEADING, HEADING_WIDTH - 2 * mm)]
            rows.append([heading, [_paragraph(sentence, BODY, width) for sentence in section.sentences[start : start + SENTENCES_PER_ROW]]])
    body = Table(rows, colWidths=[HEADING_WIDTH, BODY_WIDTH - HEADING_WIDTH])
    body.setStyle(
        TableStyle(
            [
                CELL_FONT,
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -2), 0.3, RULE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 1.4),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2.8),
            ]
        )
    )
    return [body, Spacer(1, 3 * mm), _impression(sections[-1], findings)]


def _impression(section: ReportSection, findings: Findings) -> Flowable:
    """The impression with the CAD-RADS category large."""
    width = BODY_WIDTH - 10 * mm
    category = f"{findings.cad_rads.text}" if findings.cad_rads is not None else None
    rows: list[list[Flowable]] = [[_paragraph(section.heading, PART)]]
    for sentence in section.sentences:
        is_category = category is not None and sentence.rstrip("。.") == category
        rows.append([_paragraph(category, CATEGORY) if is_category and category else _paragraph(sentence, BODY, width)])
    box = Table(rows, colWidths=[BODY_WIDTH])
    box.setStyle(
        TableStyle(
            [
                CELL_FONT,
                ("BACKGROUND", (0, 0), (-1, -1), WASH),
                ("LINEBEFORE", (0, 0), (0, -1), 2.5, ACCENT),
                ("LEFTPADDING", (0, 0), (-1, -1), 5 * mm),
                ("TOPPADDING", (0, 0), (-1, -1), 0.3),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 0.3),
                ("TOPPADDING", (0, 0), (-1, 0), 1.4 * mm),
                ("BOTTOMPADDING", (0, -1), (-1, -1), 2 * mm),
            ]
        )
    )
    return KeepTogether([box])


def _status(approval: Approval | None) -> Phrase:
    if approval is None:
        return Phrase("AI 草稿,未经审核", "AI draft, not reviewed")
    if approval.final:
        return Phrase("终版,已由医师审核", "Final, approved by a physician")
    return Phrase("图像已放行,报告待审核", "Images released, report pending")


def _signature(approval: Approval | None) -> Flowable:
    """Who answers for the report, or the line where a physician will sign."""
    status = _status(approval)
    released = "" if approval is None or approval.final else f"{approval.user_name}  {moment(approval)}"
    signed = f"{approval.user_name}  {moment(approval)}" if approval is not None and approval.final else "______________________"
    cells = [
        [_paragraph("状态 Status", CAPTION), _paragraph("放行 Released by", CAPTION), _paragraph("审核医师 Physician", CAPTION)],
        [
            _paragraph(f"{chinese_punctuation(status.zh)}\n{status.en}", CELL, BODY_WIDTH / 3 - 6 * mm),
            _paragraph(released or "—", CELL, BODY_WIDTH / 3 - 6 * mm),
            _paragraph(signed, CELL, BODY_WIDTH / 3 - 6 * mm),
        ],
    ]
    block = Table(cells, colWidths=[BODY_WIDTH / 3] * 3)
    block.setStyle(
        TableStyle(
            [
                CELL_FONT,
                ("LINEABOVE", (0, 0), (-1, 0), 0.6, RULE),
                ("LINEBELOW", (0, -1), (-1, -1), 0.6, RULE),
                ("LINEAFTER", (0, 0), (-2, -1), 0.4, RULE),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ]
        )
    )
    return KeepTogether([Spacer(1, 3 * mm), block])


def moment(approval: Approval) -> str:
    """When it was approved, in the time zone of the approval, which is named."""
    zone = approval.at.strftime("%z")
    return approval.at.strftime("%Y-%m-%d %H:%M") + (f" (UTC{zone[:3]}:{zone[3:5]})" if zone else "")


COLUMNS: tuple[tuple[str, str, float], ...] = (
    ("节段", "Segment", 36),
    ("斑块", "Plaque", 27),
    ("直径狭窄", "Stenosis", 19),
    ("程度", "Grade", 24),
    ("长度", "Length mm", 16),
    ("最小管腔", "MLD mm", 17),
    ("重构指数", "RI", 15),
    ("高危特征", "High-risk", 24),
)
FEATURE_LETTERS = {
    "low_attenuation": "低密度 LAP",
    "positive_remodeling": "重构 PR",
    "spotty_calcification": "点状钙化 SC",
    "napkin_ring": "餐巾环 NRS",
}


def _lesion_table(findings: Findings) -> list[Flowable]:
    lesions = sorted(findings.lesions, key=lambda lesion: (SEGMENT_ORDER.index(lesion.segment), lesion.branch, lesion.start))
    widths = [width * mm for _, _, width in COLUMNS]
    head = [Paragraph(f"{zh}<br/>{en}", LABEL) for zh, en, _ in COLUMNS]
    rows = [[_paragraph(text, CELL, width - 4) for text, width in zip(_lesion_row(lesion), widths, strict=True)] for lesion in lesions]
    table = Table([head, *rows], colWidths=widths, repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                CELL_FONT,
                ("BACKGROUND", (0, 0), (-1, 0), WASH),
                ("LINEBELOW", (0, 0), (-1, 0), 0.8, ACCENT),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, RULE),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("LEFTPADDING", (0, 0), (-1, -1), 2),
                ("RIGHTPADDING", (0, 0), (-1, -1), 2),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return [CondPageBreak(45 * mm), _paragraph("病变列表  Lesions", PART), table]


def _lesion_row(lesion: Lesion) -> tuple[str, ...]:
    segment, grade, plaque = SEGMENTS[lesion.segment], GRADE_NAMES[lesion.grade], PLAQUES[lesion.plaque_type]
    corrected = " (修正 corrected)" if lesion.grade_source == "corrected" else ""
    percent = "—" if lesion.diameter_stenosis_percent is None else about_percent(lesion.diameter_stenosis_percent).en
    return (
        f"{segment.zh} {segment.name}",
        f"{plaque.zh} {plaque.en.removesuffix(' plaque')}",
        percent.removeprefix("about ").replace("less than ", "<"),
        f"{grade.zh} {grade.en}{corrected}",
        f"{lesion.length_mm:.0f}",
        _number(lesion.minimum_lumen_diameter_mm),
        _number(lesion.remodeling_index, 2),
        "\n".join(FEATURE_LETTERS[feature] for feature in lesion.high_risk) or "—",
    )


def _number(value: float | None, digits: int = 1) -> str:
    return "—" if value is None else f"{value:.{digits}f}"


def _pictures(views: Sequence[KeyView]) -> list[Flowable]:
    """A grid of two columns; each picture with its caption."""
    width, height = BODY_WIDTH / 2, 50 * mm
    cells: list[list[Flowable]] = [_picture(view, width - 4 * mm, height) for view in views]
    cells += [[]] * (len(cells) % 2)
    rows = [cells[index : index + 2] for index in range(0, len(cells), 2)]
    grid = Table(rows, colWidths=[width, width])
    grid.setStyle(
        TableStyle(
            [CELL_FONT, ("ALIGN", (0, 0), (-1, -1), "CENTER"), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("TOPPADDING", (0, 0), (-1, -1), 2)]
        )
    )
    return [CondPageBreak(height + 30 * mm), _paragraph("关键图像  Key views", PART), grid]


def _picture(view: KeyView, width: float, height: float) -> list[Flowable]:
    image = Image.fromarray(view.image)
    image.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=92, subsampling=0)
    data.seek(0)
    columns, rows = ImageReader(data).getSize()
    scale = min(width / columns, height / rows)
    data.seek(0)
    return [Picture(data, columns * scale, rows * scale), _paragraph(f"{view.title_zh}  {view.title_en}", CAPTION, width)]
