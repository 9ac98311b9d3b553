"""The report as a PDF: Chinese findings and impression, the lesion table, key views, and the English report.

The same input gives the same bytes. The font is embedded as a subset, so the file can be read anywhere and archived.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, Spacer, Table, TableStyle

from appliance.findings import Findings
from appliance.punctuation import chinese_punctuation
from appliance.report.pdf_lesions import lesion_table
from appliance.report.pdf_page import ACCENT, BODY_WIDTH, RULE, WASH, NumberedCanvas, ReportPages, prepare_library
from appliance.report.pdf_pictures import choose_rows, pictures
from appliance.report.pdf_text import BODY, CAPTION, CATEGORY, CELL, CELL_FONT, ENGLISH, HEADING, PART, SMALL, paragraph
from appliance.report.phrases import Phrase
from appliance.study import Approval, KeyView, ReportSection, ReportText, StudyHeader

SHORT_TABLE = 3
"""A table of up to so many lesions stands below the signature, a longer one after the pictures, so that no page stays half empty."""

SPACE_FOR_TEXT = 80 * mm
"""The English report begins on a new page where less than this is left."""

HEADING_WIDTH = 38 * mm
SENTENCES_PER_ROW = 8
"""A table row cannot be parted between pages, so a long section takes several."""


def make_pdf(
    report: ReportText, header: StudyHeader, key_views: Sequence[KeyView], *, approval: Approval | None, findings: Findings
) -> bytes:
    """The PDF file, A4 portrait.

    Args:
        report: text and notices; the notices stand on every page.
        header: patient and exam for the page heads.
        key_views: pictures to choose from.
        approval: who approved, for the signature block.
        findings: for the lesion table, the choice of pictures and the footer.

    Raises:
        ImagingError: IMG-201, the font is not installed.
    """
    prepare_library()
    target = io.BytesIO()
    rows = choose_rows(key_views, findings)
    views = [Spacer(1, 4 * mm), *pictures(rows)] if rows else []
    table = [Spacer(1, 4 * mm), *lesion_table(findings)] if findings.lesions else []
    story: list[Flowable] = [
        *_text(report.zh, findings, BODY),
        _signature(approval),
        *(table + views if len(findings.lesions) <= SHORT_TABLE else views + table),
        Spacer(1, 3 * mm),
        CondPageBreak(SPACE_FOR_TEXT),
        paragraph(f"{report.title_en}: {_status(approval).en}", SMALL),
        Spacer(1, 1 * mm),
        *_text(report.en, findings, ENGLISH),
    ]
    ReportPages(report=report, header=header, findings=findings).document(target).build(story, canvasmaker=NumberedCanvas)
    return target.getvalue()


def _text(sections: Sequence[ReportSection], findings: Findings, style: ParagraphStyle) -> list[Flowable]:
    """All sections, headings in a column of their own; the last one, the impression, in a box."""
    width = BODY_WIDTH - HEADING_WIDTH - 2 * mm
    rows = []
    for section in sections[:-1]:
        for start in range(0, len(section.sentences), SENTENCES_PER_ROW):
            heading = [] if start else [paragraph(section.heading, HEADING, HEADING_WIDTH - 2 * mm)]
            rows.append([heading, [paragraph(sentence, style, width) for sentence in section.sentences[start : start + SENTENCES_PER_ROW]]])
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
    return [body, Spacer(1, 3 * mm), _impression(sections[-1], findings, style)]


def _impression(section: ReportSection, findings: Findings, style: ParagraphStyle) -> Flowable:
    """The impression with the CAD-RADS category large."""
    width = BODY_WIDTH - 10 * mm
    category = f"{findings.cad_rads.text}" if findings.cad_rads is not None else None
    rows: list[list[Flowable]] = [[paragraph(section.heading, PART)]]
    for sentence in section.sentences:
        is_category = category is not None and sentence.rstrip("。.") == category
        rows.append([paragraph(category, CATEGORY) if is_category and category else paragraph(sentence, style, width)])
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
        [paragraph("状态 Status", CAPTION), paragraph("放行 Released by", CAPTION), paragraph("审核医师 Physician", CAPTION)],
        [
            paragraph(f"{chinese_punctuation(status.zh)}\n{status.en}", CELL, BODY_WIDTH / 3 - 6 * mm),
            paragraph(released or "—", CELL, BODY_WIDTH / 3 - 6 * mm),
            paragraph(signed, CELL, BODY_WIDTH / 3 - 6 * mm),
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
