"""What every page of the PDF report carries: title and patient, notices, page number, and what made the findings."""

from __future__ import annotations

from typing import Any

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import getRegisteredFontNames, registerFont, stringWidth
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

from appliance.findings import Findings
from appliance.report.fonts import find_font, wrap
from appliance.study import ReportText, StudyHeader

FONT = "CoronetReport"
INK = HexColor("#1B2733")
QUIET = HexColor("#66727E")
RULE = HexColor("#C9D1D9")
ACCENT = HexColor("#134B77")
WASH = HexColor("#F2F6FA")
WARNING_INK = HexColor("#8A2A0A")
WARNING_WASH = HexColor("#FFF1E6")
WARNING_EDGE = HexColor("#D9731A")

WIDTH, HEIGHT = A4
MARGIN = 16 * mm
BODY_WIDTH = WIDTH - 2 * MARGIN
FOOTER_TOP = 19 * mm
NOTICE_LEADING = 5.2 * mm

SEXES = {"M": "男 M", "F": "女 F", "O": "其他 O"}


def prepare_library() -> None:
    """Make the report font known to the PDF library, once, and let it write binary streams (a fifth smaller than its default).

    Raises:
        ImagingError: the font is not installed.
    """
    rl_config.useA85 = 0
    if FONT not in getRegisteredFontNames():
        registerFont(TTFont(FONT, str(find_font()), subfontIndex=0))


def date_text(date: str) -> str:
    """A DICOM date (YYYYMMDD) as 2026-11-22; other text as it is."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else date


def age_text(age: str) -> str:
    """A DICOM age (nnnY, nnnM, nnnW, nnnD) as '58 岁 y'; other text as it is."""
    units = {"Y": "岁 y", "M": "月 m", "W": "周 w", "D": "天 d"}
    if len(age) == 4 and age[:3].isdigit() and age[3] in units:
        return f"{int(age[:3])} {units[age[3]]}"
    return age


class NumberedCanvas(Canvas):
    """A canvas that knows the number of pages when it draws the page number: pages are kept until the end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - the library's name
        """Keep the finished page instead of writing it."""
        self._kept.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write all pages with their numbers."""
        for page in self._kept:
            self.__dict__.update(page)
            self.setFont(FONT, 7.5)
            self.setFillColor(QUIET)
            number, total = self._pageNumber, len(self._kept)
            self.drawRightString(WIDTH - MARGIN, 9 * mm, f"第 {number} / {total} 页  Page {number} of {total}")
            super().showPage()
        super().save()


class ReportPages:
    """Draws the frame of the pages and gives the document template.

    Args:
        report: titles and notices.
        header: the patient and the exam.
        findings: software, engine and models for the footer.
    """

    def __init__(self, *, report: ReportText, header: StudyHeader, findings: Findings) -> None:
        self._report = report
        self._header = header
        self._findings = findings

    def document(self, target: Any) -> BaseDocTemplate:
        """A document whose first page has the full patient block and whose later pages have one line of it."""
        document = BaseDocTemplate(
            target,
            pagesize=A4,
            title=self._report.title_en,
            author="Coronet",
            subject="Coronary CT angiography",
            creator="Coronet",
            initialFontName=FONT,
            invariant=1,
        )
        notices = self._notices_height()
        first_top, later_top = HEIGHT - 58 * mm - notices, HEIGHT - 23 * mm - notices
        document.addPageTemplates(
            [
                PageTemplate("first", [self._frame(first_top)], onPage=self._draw_first, autoNextPageTemplate="later"),
                PageTemplate("later", [self._frame(later_top)], onPage=self._draw_later),
            ]
        )
        return document

    def _frame(self, top: float) -> Frame:
        return Frame(MARGIN, FOOTER_TOP, BODY_WIDTH, top - FOOTER_TOP, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)

    def _notices_height(self) -> float:
        count = len(self._report.notices)
        return count * NOTICE_LEADING + 3 * mm if count else 0.0

    def _draw_first(self, canvas: Canvas, _: BaseDocTemplate) -> None:
        canvas.saveState()
        canvas.setFillColor(ACCENT)
        canvas.setFont(FONT, 17)
        canvas.drawCentredString(WIDTH / 2, HEIGHT - 17 * mm, self._report.title_zh)
        canvas.setFillColor(QUIET)
        canvas.setFont(FONT, 9.5)
        canvas.drawCentredString(WIDTH / 2, HEIGHT - 22.5 * mm, self._report.title_en)
        self._draw_patient(canvas, HEIGHT - 27.5 * mm)
        self._draw_notices(canvas, HEIGHT - 57 * mm)
        self._draw_footer(canvas)
        canvas.restoreState()

    def _draw_later(self, canvas: Canvas, _: BaseDocTemplate) -> None:
        header = self._header
        line = "   ".join(
            part
            for part in (
                header.display_name,
                SEXES.get(header.patient_sex, ""),
                header.patient_id,
                header.accession_number,
                date_text(header.study_date),
            )
            if part
        )
        canvas.saveState()
        canvas.setFont(FONT, 9)
        canvas.setFillColor(ACCENT)
        canvas.drawString(MARGIN, HEIGHT - 17 * mm, self._report.title_zh)
        canvas.setFillColor(INK)
        canvas.drawRightString(WIDTH - MARGIN, HEIGHT - 17 * mm, line)
        canvas.setStrokeColor(ACCENT)
        canvas.setLineWidth(0.8)
        canvas.line(MARGIN, HEIGHT - 19.5 * mm, WIDTH - MARGIN, HEIGHT - 19.5 * mm)
        self._draw_notices(canvas, HEIGHT - 22 * mm)
        self._draw_footer(canvas)
        canvas.restoreState()

    def _draw_patient(self, canvas: Canvas, top: float) -> None:
        """Two rows of five labelled fields between two rules."""
        header = self._header
        rows = (
            (
                ("姓名 Name", header.display_name),
                ("性别 Sex", SEXES.get(header.patient_sex, header.patient_sex)),
                ("年龄 Age", age_text(header.patient_age)),
                ("出生日期 Born", date_text(header.patient_birth_date)),
                ("患者号 Patient ID", header.patient_id),
            ),
            (
                ("检查号 Accession", header.accession_number),
                ("检查日期 Exam date", date_text(header.study_date)),
                ("检查项目 Exam", header.study_description),
                ("设备 Scanner", " ".join(part for part in (header.manufacturer, header.manufacturer_model) if part)),
                ("序列 Series", header.series_description),
            ),
        )
        bottom = top - 25 * mm
        canvas.setStrokeColor(ACCENT)
        canvas.setLineWidth(0.8)
        canvas.line(MARGIN, top, WIDTH - MARGIN, top)
        canvas.line(MARGIN, bottom, WIDTH - MARGIN, bottom)
        column = BODY_WIDTH / 5
        for row, fields in enumerate(rows):
            for index, (label, value) in enumerate(fields):
                x, y = MARGIN + index * column + 1 * mm, top - 4.6 * mm - row * 12.2 * mm
                canvas.setFillColor(QUIET)
                canvas.setFont(FONT, 7)
                canvas.drawString(x, y, label)
                canvas.setFillColor(INK)
                self._draw_value(canvas, x, y - 4.4 * mm, value, column - 3 * mm)

    @staticmethod
    def _draw_value(canvas: Canvas, x: float, y: float, value: str, width: float) -> None:
        """A field's value at 9.5 points, in two smaller lines where one does not hold it."""
        if stringWidth(value, FONT, 9.5) <= width:
            canvas.setFont(FONT, 9.5)
            canvas.drawString(x, y, value or "—")
            return
        canvas.setFont(FONT, 7)
        lines = wrap(value, width, lambda text: float(stringWidth(text, FONT, 7)))
        for number, line in enumerate(lines[:2]):
            canvas.drawString(x, y + 0.6 * mm - number * 2.9 * mm, line)

    def _draw_notices(self, canvas: Canvas, top: float) -> None:
        if not self._report.notices:
            return
        height = len(self._report.notices) * NOTICE_LEADING
        canvas.setFillColor(WARNING_WASH)
        canvas.setStrokeColor(WARNING_EDGE)
        canvas.setLineWidth(0.8)
        canvas.roundRect(MARGIN, top - height, BODY_WIDTH, height, 1.2 * mm, fill=1)
        canvas.setFillColor(WARNING_INK)
        canvas.setFont(FONT, 9)
        for number, notice in enumerate(self._report.notices):
            canvas.drawCentredString(WIDTH / 2, top - (number + 0.7) * NOTICE_LEADING, notice)

    def _draw_footer(self, canvas: Canvas) -> None:
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.5)
        canvas.line(MARGIN, 17 * mm, WIDTH - MARGIN, 17 * mm)
        canvas.setFillColor(QUIET)
        canvas.setFont(FONT, 6.5)
        lines = wrap(made_by(self._findings), BODY_WIDTH, lambda text: float(stringWidth(text, FONT, 6.5)))
        for number, line in enumerate(lines[:2]):
            canvas.drawString(MARGIN, 14 * mm - number * 2.7 * mm, line)


def made_by(findings: Findings) -> str:
    """Software, engine and models (first eight digits of the hash) in one line."""
    parts = [f"Coronet {findings.software.version} ({findings.software.commit[:12]})"]
    if findings.engine is not None:
        parts.append(f"{findings.engine.name} {findings.engine.device} {findings.engine.precision}")
    parts += [f"{model.name} {model.version} [{model.sha256[:8]}]" for model in findings.models]
    return " · ".join(parts)
