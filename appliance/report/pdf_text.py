"""Type styles of the PDF report, and paragraphs with our own line breaks."""

from __future__ import annotations

from xml.sax.saxutils import escape

from reportlab.lib.enums import TA_CENTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Paragraph

from appliance.report.fonts import wrap
from appliance.report.pdf_page import ACCENT, BODY_WIDTH, FONT, INK, QUIET

CELL_FONT = ("FONTNAME", (0, 0), (-1, -1), FONT)
"""Without it the library names its own font, which is not embedded, in every table."""

BODY = ParagraphStyle("body", fontName=FONT, fontSize=8.8, leading=12.2, textColor=INK)
ENGLISH = ParagraphStyle("english", parent=BODY, fontSize=8.2, leading=11.2)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=8, leading=10.4)
CELL = ParagraphStyle("cell", parent=SMALL, alignment=TA_CENTER)
LABEL = ParagraphStyle("label", parent=CELL, fontSize=7.5, leading=9.6, textColor=ACCENT)
CAPTION = ParagraphStyle("caption", parent=CELL, fontSize=7.4, leading=9.4, textColor=QUIET)
HEADING = ParagraphStyle("heading", parent=BODY, textColor=ACCENT)
PART = ParagraphStyle("part", parent=BODY, fontSize=12, leading=16, textColor=ACCENT, spaceBefore=4, spaceAfter=2)
CATEGORY = ParagraphStyle("category", parent=BODY, fontSize=13.5, leading=18, textColor=ACCENT)


def paragraph(text: str, style: ParagraphStyle, width: float = BODY_WIDTH) -> Paragraph:
    """A paragraph broken by our own rules: the library would break Latin words inside Chinese text."""

    def measure(part: str) -> float:
        return float(stringWidth(part, style.fontName, style.fontSize))

    lines = [line for part in text.splitlines() for line in wrap(part, width - 1, measure)]
    return Paragraph("<br/>".join(escape(line) for line in lines), style)
