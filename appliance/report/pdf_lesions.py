"""The lesion table of the PDF report."""

from __future__ import annotations

from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, Paragraph, Table, TableStyle

from appliance.anatomy import SEGMENTS
from appliance.findings import Findings, Lesion, percent_as_read
from appliance.report.pdf_page import ACCENT, RULE, WASH
from appliance.report.pdf_text import CELL, CELL_FONT, LABEL, PART, paragraph
from appliance.report.phrases import GRADE_NAMES, PLAQUES, UNREADABLE, degree_unknown
from appliance.report.regions import SEGMENT_ORDER

COLUMNS: tuple[tuple[str, str, float], ...] = (
    ("节段", "Segment", 31),
    ("斑块", "Plaque", 25),
    ("直径狭窄", "Diameter %", 17),
    ("面积狭窄", "Area %", 17),
    ("程度", "Grade", 23),
    ("长度", "Length mm", 16),
    ("最小管腔", "MLD mm", 16),
    ("重构指数", "RI", 14),
    ("高危特征", "High-risk", 19),
)
FEATURE_LETTERS = {
    "low_attenuation": "低密度 LAP",
    "positive_remodeling": "重构 PR",
    "spotty_calcification": "点状钙化 SC",
    "napkin_ring": "餐巾环 NRS",
}


def lesion_table(findings: Findings) -> list[Flowable]:
    """A heading and a row per lesion, in the order of the text."""
    lesions = sorted(findings.lesions, key=lambda lesion: (SEGMENT_ORDER.index(lesion.segment), lesion.branch, lesion.start))
    widths = [width * mm for _, _, width in COLUMNS]
    head = [Paragraph(f"{zh}<br/>{en}", LABEL) for zh, en, _ in COLUMNS]
    rows = [[paragraph(text, CELL, width - 4) for text, width in zip(lesion_row(lesion), widths, strict=True)] for lesion in lesions]
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
    return [CondPageBreak(45 * mm), paragraph("病变列表  Lesions", PART), table]


def lesion_row(lesion: Lesion) -> tuple[str, ...]:
    """What the table says of one lesion, column by column."""
    segment, grade, plaque = SEGMENTS[lesion.segment], GRADE_NAMES[lesion.grade], PLAQUES[lesion.plaque_type]
    grade = UNREADABLE if degree_unknown(lesion) else grade
    corrected = "\n(修正 corrected)" if lesion.grade_source == "corrected" else ""
    return (
        f"{segment.zh} {segment.name}",
        f"{plaque.zh} {plaque.en.removesuffix(' plaque')}",
        _percent(lesion.diameter_stenosis_percent),
        _percent(lesion.area_stenosis_percent),
        f"{grade.zh} {grade.en}{corrected}",
        f"{lesion.length_mm:.0f}",
        _number(lesion.minimum_lumen_diameter_mm),
        _number(lesion.remodeling_index, 2),
        "\n".join(FEATURE_LETTERS[feature] for feature in lesion.high_risk) or "—",
    )


def _percent(value: float | None) -> str:
    return "—" if value is None else percent_as_read(value)


def _number(value: float | None, digits: int = 1) -> str:
    return "—" if value is None else f"{value:.{digits}f}"
