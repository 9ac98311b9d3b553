"""Which key views the PDF report shows, and how they stand on the page."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence

from PIL import Image
from reportlab.lib.units import mm
from reportlab.platypus import CondPageBreak, Flowable, Spacer, Table, TableStyle
from reportlab.platypus import Image as Picture

from appliance.anatomy import MAIN_VESSELS
from appliance.findings import GRADES, Findings, Lesion
from appliance.report.pdf_page import BODY_WIDTH
from appliance.report.pdf_text import CAPTION, CELL_FONT, PART, paragraph
from appliance.study import KeyView

DOTS_PER_INCH = 250
ROW_HEIGHTS = {"volume": 52 * mm, "cpr": 58 * mm, "scpr": 36 * mm, "section": 38 * mm}
CAPTION_HEIGHT = 9.2 * mm
GAP = 3 * mm


def choose_rows(key_views: Sequence[KeyView], findings: Findings) -> list[tuple[str, list[KeyView]]]:
    """The pictures by row, each row with its kind (a key of ``ROW_HEIGHTS``).

    Heart and tree; a curved reformation of each main vessel; the straightened vessel of the worst lesion; that lesion's sections. Rows
    without pictures are left out.
    """
    heart, tree = (_first(view for view in key_views if view.kind == kind) for kind in ("vr_heart", "vr_tree"))
    reformations = [_first(view for view in key_views if view.kind == "cpr" and view.vessel == vessel) for vessel in MAIN_VESSELS]
    rows = [("volume", heart + tree), ("cpr", [view for found in reformations for view in found])]
    if findings.lesions:
        worst = min(findings.lesions, key=_severity)
        rows.append(("scpr", _straightened(key_views, worst)))
        rows.append(("section", [view for view in key_views if view.kind == "section" and view.lesion == worst.id][:3]))
    return [(kind, views) for kind, views in rows if views]


def pictures(rows: Sequence[tuple[str, Sequence[KeyView]]]) -> list[Flowable]:
    """A heading and the rows, each picture with its caption."""
    needed = sum(ROW_HEIGHTS[kind] + CAPTION_HEIGHT for kind, _ in rows) + 10 * mm
    story: list[Flowable] = [CondPageBreak(needed), paragraph("关键图像  Key views", PART)]
    for kind, views in rows:
        width = BODY_WIDTH / len(views)
        cells = [_picture(view, width - GAP, ROW_HEIGHTS[kind]) for view in views]
        row = Table([cells], colWidths=[width] * len(views))
        row.setStyle(
            TableStyle(
                [
                    CELL_FONT,
                    ("ALIGN", (0, 0), (-1, -1), "CENTER"),
                    ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
                    ("LEFTPADDING", (0, 0), (-1, -1), 0),
                    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
                    ("TOPPADDING", (0, 0), (-1, -1), 2),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
                ]
            )
        )
        story.append(row)
    return story


def _first(views: Iterable[KeyView]) -> list[KeyView]:
    return list(itertools.islice(views, 1))


def _severity(lesion: Lesion) -> tuple[int, float, int]:
    """Sort key: the worst lesion first."""
    return -GRADES.index(lesion.grade), -(lesion.diameter_stenosis_percent or 0.0), lesion.id


def _straightened(key_views: Sequence[KeyView], lesion: Lesion) -> list[KeyView]:
    """The straightened reformation that shows the lesion: its own, else its segment's, else its vessel's (the LM is seen with the LAD)."""
    straight = [view for view in key_views if view.kind == "scpr"]
    vessel = "LAD" if lesion.vessel == "LM" else lesion.vessel
    for fits in (
        [view for view in straight if view.lesion == lesion.id],
        [view for view in straight if view.segment == lesion.segment],
        [view for view in straight if view.vessel == vessel],
    ):
        if fits:
            return fits[:1]
    return []


def _picture(view: KeyView, width: float, height: float) -> list[Flowable]:
    """The picture as large as it fits, and its caption."""
    rows, columns, _ = view.image.shape
    scale = min(width / columns, height / rows)
    image = Image.fromarray(view.image)
    pixels = round(max(rows, columns) * scale / 72 * DOTS_PER_INCH)
    image.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=92, subsampling=0)
    data.seek(0)
    return [Picture(data, columns * scale, rows * scale), Spacer(1, 1 * mm), paragraph(f"{view.title_zh}\n{view.title_en}", CAPTION, width)]
