"""The film pages of a study: volume rendering, curved reformations, lesions with a summary; each page is one grey image.

Order and content follow the usual coronary CTA film on 14 x 17 in: pictures first, little text, black ground.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from appliance.degrees import rank
from appliance.errors import ImagingError
from appliance.film import words
from appliance.film.sheet import DIM, GREY, WHITE, Area, Sheet
from appliance.findings import GRADES, Findings, score_parts, whole_score
from appliance.study import Approval, FilmPage, KeyView, StudyHeader, notices

Orientation = Literal["PORTRAIT", "LANDSCAPE"]

FILM_MM: dict[Orientation, float] = {"PORTRAIT": 355.6, "LANDSCAPE": 431.8}
MARGIN = 6.0
BANNER = 25.0
FOOTER = 13.0
GAP = 1.6
MAX_SECTION_BLOCKS = 6
MAX_TABLE_ROWS = 12
MAX_CURVED_COLUMNS = 5
MILD = (float(GRADES.index("mild")), 0.0)


def make_film_pages(
    header: StudyHeader,
    findings: Findings,
    key_views: Sequence[KeyView],
    *,
    page_pixels: tuple[int, int],
    orientation: Orientation = "PORTRAIT",
    institution: str = "",
    approval: Approval | None = None,
) -> list[FilmPage]:
    """Set the key views of a study on film pages, each the whole page at the printer's matrix.

    Every page bears the patient banner, its number and all notices of the study.

    Args:
        header: patient and study.
        findings: for the lesion titles and the summary table.
        key_views: pictures by ``imaging.make_key_views``; a kind that is missing leaves its place to the others.
        page_pixels: (columns, rows) of the printer's matrix.
        orientation: of the film; a landscape page has more columns than rows.
        institution: name of the hospital; the images' own where empty.
        approval: the approval, None for a draft.

    Raises:
        ImagingError: IMG-020, there is no picture to print; IMG-021, the matrix does not fit the orientation; IMG-010, no typeface.
    """
    _check(page_pixels, orientation, key_views)
    contents = [
        content
        for content in (_rendering_page(key_views), _curved_page(findings, key_views), _lesion_page(findings, key_views))
        if content is not None
    ]
    marks = notices(approval=approval, validated_on_patients=findings.validated_on_patients)
    pages = []
    for number, content in enumerate(contents, start=1):
        sheet = Sheet.blank(page_pixels, FILM_MM[orientation])
        whole = Area(0, 0, page_pixels[0] / sheet.scale, page_pixels[1] / sheet.scale)
        inner = Area(MARGIN, MARGIN, whole.width - 2 * MARGIN, whole.height - 2 * MARGIN)
        banner, body, footer = inner.rows(BANNER, inner.height - BANNER - FOOTER - 2 * GAP, FOOTER, gap=GAP)
        _banner(sheet, banner, header, findings, institution or header.institution, f"{number} / {len(contents)}")
        content(sheet, body)
        _footer(sheet, footer, marks, approval)
        pages.append(FilmPage(number=number, image=sheet.pixels, orientation=orientation))
    return pages


Content = Callable[[Sheet, Area], None]


def _check(page_pixels: tuple[int, int], orientation: Orientation, key_views: Sequence[KeyView]) -> None:
    columns, rows = page_pixels
    if not key_views:
        raise ImagingError("IMG-020", zh="没有可打印的图像，无法排版胶片。", en="There is no picture to print, so no film can be set.")
    if min(page_pixels) < 600 or (columns > rows) != (orientation == "LANDSCAPE"):
        raise ImagingError(
            "IMG-021",
            zh=f"胶片像素矩阵 {columns}×{rows} 与方向 {orientation} 不符或过小。",
            en=f"The film matrix {columns}x{rows} does not fit the orientation {orientation} or is too small.",
        )


def _of_kind(key_views: Sequence[KeyView], *kinds: str) -> list[KeyView]:
    return [view for view in key_views if view.kind in kinds and not view.id.startswith("unread-")]


def _rendering_page(key_views: Sequence[KeyView]) -> Content | None:
    heart, tree = _of_kind(key_views, "vr_heart"), _of_kind(key_views, "vr_tree")
    views = [*heart[:6], *tree[: 9 - min(len(heart), 6)]]
    return (lambda sheet, area: _grid(sheet, area, views)) if views else None


def _curved_page(findings: Findings, key_views: Sequence[KeyView]) -> Content | None:
    """A column for each vessel, a row for each angle; all in one row where that makes the pictures larger."""
    views = _worth_film(findings, _of_kind(key_views, "cpr"))
    angles = sorted({view.angle_degrees or 0.0 for view in views})
    vessels = list(dict.fromkeys(_vessel_key(view) for view in views))[:MAX_CURVED_COLUMNS]
    placed = {(view.angle_degrees or 0.0, _vessel_key(view)): view for view in views}

    def content(sheet: Sheet, area: Area) -> None:
        height, width = views[0].image.shape[:2]
        stacked, row = (
            area.grid(len(vessels) * len(angles), width / height, gap=GAP, columns=n)[0] for n in (len(vessels), len(vessels) * len(angles))
        )
        if stacked.height >= row.height:
            _grid(sheet, area, [placed.get((angle, vessel)) for angle in angles for vessel in vessels], columns=len(vessels))
        else:
            _grid(sheet, area, [placed.get((angle, vessel)) for vessel in vessels for angle in angles], columns=len(vessels) * len(angles))

    return content if views else None


def _worth_film(findings: Findings, views: Sequence[KeyView]) -> list[KeyView]:
    """Main vessels always; side branches only where one of them is narrowed, so that pictures stay large."""
    narrowed = {lesion.segment.lower() for lesion in findings.lesions if rank(lesion) >= MILD}
    narrowed |= {f"{lesion.vessel.lower()}-branch" for lesion in findings.lesions if lesion.segment == "other" and "other" in narrowed}
    return [view for view in views if _vessel_key(view) in ("lad", "lcx", "rca") or _vessel_key(view) in narrowed]


def _vessel_key(view: KeyView) -> str:
    """What an id says between its kind and its angle."""
    return view.id.split("-", 1)[-1].rsplit("-", 1)[0]


def _grid(sheet: Sheet, area: Area, views: Sequence[KeyView | None], *, columns: int | None = None, from_top: bool = False) -> None:
    height, width = next(view.image.shape[:2] for view in views if view is not None)
    for cell, view in zip(area.grid(len(views), width / height, gap=GAP, columns=columns, from_top=from_top), views, strict=True):
        if view is not None:
            sheet.picture(cell, view)


def _lesion_page(findings: Findings, key_views: Sequence[KeyView]) -> Content | None:
    strips = _worth_film(findings, _of_kind(key_views, "scpr"))
    blocks = _section_blocks(findings, _of_kind(key_views, "section"))
    mips = [view for view in _of_kind(key_views, "mip") if "-curved-" not in view.id]
    curved = [view for view in _of_kind(key_views, "mip") if "-curved-" in view.id][:3]
    if not (strips or blocks or mips):
        return None

    def content(sheet: Sheet, area: Area) -> None:
        top = area.top
        if strips:
            top = _strips(sheet, Area(area.left, top, area.width, area.height), strips) + 2 * GAP
        if blocks:
            top = _sections(sheet, Area(area.left, top, area.width, area.bottom - top), blocks) + 2 * GAP
        _projections(sheet, Area(area.left, top, area.width, area.bottom - top), findings, mips, curved)

    return content


def _projections(sheet: Sheet, area: Area, findings: Findings, mips: Sequence[KeyView], curved: Sequence[KeyView]) -> None:
    """Projections and the summary: in two rows where there is height, else side by side."""
    chosen = _chosen_mips(findings, mips)
    table_height = 30.0 + 6.4 * min(max(len(findings.lesions), 1), MAX_TABLE_ROWS)
    row_height = (area.width - GAP * (len(chosen) - 1)) / max(len(chosen), 1)
    if chosen and area.height - row_height - 2 * GAP >= max(table_height, 60.0) and len(chosen) > 2:
        upper, lower = area.rows(row_height, 0, gap=2 * GAP)
        _grid(sheet, upper, chosen, columns=len(chosen), from_top=True)
        wanted = sum(lower.height * view.image.shape[1] / view.image.shape[0] + GAP for view in curved)
        pictures, table = lower.columns(min(wanted, 0.62 * lower.width), 0, gap=5.0)
        if curved:
            _grid(sheet, pictures, curved, columns=len(curved), from_top=True)
        _summary(sheet, table if curved else lower, findings)
        return
    pictures, table = area.columns(area.width * 0.55, 0, gap=5.0)
    if chosen:
        _grid(sheet, pictures, chosen, from_top=True)
    _summary(sheet, table if chosen else area, findings)


def _strips(sheet: Sheet, area: Area, strips: Sequence[KeyView]) -> float:
    """Straightened reformations, the angles of a vessel side by side; returns the lower edge."""
    shown = strips[:8]
    height, width = shown[0].image.shape[:2]
    cell_width = (area.width - GAP) / 2
    cell_height = cell_width * float(height) / float(width)
    for number, view in enumerate(shown):
        place = Area(area.left + (number % 2) * (cell_width + GAP), area.top + (number // 2) * (cell_height + GAP), cell_width, cell_height)
        sheet.picture(place, view)
    return area.top + -(-len(shown) // 2) * (cell_height + GAP) - GAP


Block = tuple[str, list[KeyView]]


def _section_blocks(findings: Findings, sections: Sequence[KeyView]) -> list[Block]:
    """Sections with their title: by lesion, the tightest first, then by vessel where a vessel has no lesion."""
    lesions = sorted(findings.lesions, key=rank, reverse=True)
    blocks: list[Block] = []
    for lesion in lesions:
        views = [view for view in sections if view.lesion == lesion.id]
        if views:
            blocks.append((words.lesion_title(lesion), views[:3]))
    if not blocks:
        vessels = dict.fromkeys(view.vessel for view in sections if view.vessel is not None)
        blocks += [(vessel, [view for view in sections if view.vessel == vessel][:3]) for vessel in vessels]
    return blocks[:MAX_SECTION_BLOCKS]


def _sections(sheet: Sheet, area: Area, blocks: Sequence[Block]) -> float:
    """Blocks of a title and three sections; returns the lower edge."""
    across = 2 if len(blocks) in (1, 2, 4) else 3
    down = -(-len(blocks) // across)
    title, between = 6.0, 5.0
    width = (area.width - between * (across - 1)) / across
    # at most half of what is left goes to sections
    side = min((width - 2 * GAP) / 3, area.height * 0.5 / down - title)
    for number, (text, views) in enumerate(blocks):
        left = area.left + (number % across) * (width + between)
        top = area.top + (number // across) * (title + side + 2 * GAP)
        sheet.fitted(Area(left, top, width, title), text, size=3.9, weight="Bold")
        for place, view in enumerate(views):
            sheet.picture(Area(left + place * (side + GAP), top + title, side, side), view)
    return area.top + down * (title + side + 2 * GAP) - 2 * GAP


def _chosen_mips(findings: Findings, mips: Sequence[KeyView]) -> list[KeyView]:
    """The vessel planes, and the axial picture of the vessel with the tightest lesion."""
    planes = [view for view in mips if "-plane-" in view.id]
    axial = [view for view in mips if "-axial-" in view.id]
    tight = max(findings.lesions, key=rank, default=None)
    axial.sort(key=lambda view: tight is None or view.vessel != tight.vessel)
    return [*planes[:3], *axial[:1]] or list(mips[:4])


def _summary(sheet: Sheet, area: Area, findings: Findings) -> None:
    """The lesions as a table, then CAD-RADS, scores and dominance."""
    row = 6.4
    size = 3.7
    sheet.fitted(Area(area.left, area.top, area.width, 8.0), "病变汇总 Lesions", size=4.6, weight="Bold")
    top = area.top + 9.0
    shares = (0.30, 0.34, 0.20, 0.16)
    heads = ("节段 Segment", "狭窄 Stenosis", "斑块 Plaque", "长度 mm")
    top = _table_row(sheet, Area(area.left, top, area.width, row), heads, shares, size=3.3, shade=GREY)
    sheet.line([(area.left, top), (area.right, top)], shade=GREY)
    lesions = sorted(findings.lesions, key=rank, reverse=True)
    space = int((area.bottom - top - 4 * row) // row)
    shown = lesions[: max(min(space, MAX_TABLE_ROWS), 1)]
    for lesion in shown:
        narrowing = f"{words.percent(lesion)} {words.grade(lesion)}" if lesion.grade != "none" else words.grade(lesion)
        cells = (words.segment(lesion), narrowing, " ".join(words.PLAQUE[lesion.plaque_type]), f"{lesion.length_mm:.0f}")
        top = _table_row(sheet, Area(area.left, top, area.width, row), cells, shares, size=size)
        sheet.line([(area.left, top), (area.right, top)])
    if not lesions:
        top = _table_row(sheet, Area(area.left, top, area.width, row), ("未见斑块 No plaque found",), (1.0,), size=size)
    if len(lesions) > len(shown):
        more = f"另有 {len(lesions) - len(shown)} 处，见报告 / {len(lesions) - len(shown)} more in the report"
        top = _table_row(sheet, Area(area.left, top, area.width, row), (more,), (1.0,), size=3.3, shade=GREY)
    if any(lesion.grade_source == "corrected" for lesion in shown):
        top = _table_row(sheet, Area(area.left, top, area.width, row), ("* 人工修改 corrected by a reader",), (1.0,), size=3.3, shade=GREY)
    _conclusion(sheet, Area(area.left, top + 2.0, area.width, area.bottom - top - 2.0), findings)


def _conclusion(sheet: Sheet, area: Area, findings: Findings) -> None:
    lines = []
    if findings.dominance is not None:
        lines.append(" ".join(words.DOMINANCE[findings.dominance]))
    if findings.segment_involvement_score is not None and findings.segment_stenosis_score is not None:
        lines.append(f"SIS {findings.segment_involvement_score}  SSS {findings.segment_stenosis_score}")
    if findings.calcium is not None:
        category = f" ({findings.calcium.category})" if findings.calcium.category else ""
        lines.append(f"钙化积分 Agatston {whole_score(findings.calcium.agatston)}{category}")
    top = area.top
    if findings.cad_rads is not None:
        sheet.fitted(Area(area.left, top, area.width, 8.0), findings.cad_rads.text, size=5.4, weight="Bold")
        top += 8.5
    for line in ("   ".join(lines), calcium_by_vessel(findings), not_assessable(findings)):
        if line:
            sheet.fitted(Area(area.left, top, area.width, 6.0), line, size=3.7, shade=GREY)
            top += 6.0


def calcium_by_vessel(findings: Findings) -> str:
    """The calcium score of each artery; empty without a score, or where it is 0."""
    calcium = findings.calcium
    if calcium is None or whole_score(calcium.agatston) == 0:
        return ""
    parts = score_parts(calcium)
    scores = [f"{name} {parts[name]}" for name in calcium.vessels]
    scores += [f"血管未明 artery unknown {parts['unassigned']}"] if calcium.unassigned > 0 else []
    return f"Agatston: {', '.join(scores)}   {calcium.volume_mm3:.0f} mm³"


def not_assessable(findings: Findings) -> str:
    """The segments that cannot be read; empty where all can."""
    segments = [] if findings.quality is None else [entry.segment for entry in findings.quality.not_assessable]
    return f"不能评价 not assessable: {', '.join(segments)}" if segments else ""


def _table_row(sheet: Sheet, area: Area, cells: Sequence[str], shares: Sequence[float], *, size: float, shade: int = WHITE) -> float:
    left = area.left
    for text, share in zip(cells, shares, strict=True):
        width = area.width * share
        sheet.fitted(Area(left, area.top, width - 2.0, area.height), text, size=size, shade=shade)
        left += width
    return area.bottom


def _banner(sheet: Sheet, area: Area, header: StudyHeader, findings: Findings, institution: str, number: str) -> None:
    """Hospital and kind of examination on the left, patient and examination in the middle, page number on the right."""
    left, middle, right = area.columns(area.width * 0.33, area.width * 0.56, 0)
    place = institution or "冠状动脉 CT 血管造影"
    sheet.fitted(Area(left.left, left.top, left.width - 4, 12.0), place, size=7.0, weight="Bold")
    sheet.fitted(Area(left.left, left.top + 12.0, left.width - 4, 8.0), "冠状动脉 CTA  Coronary CT angiography", size=3.9, shade=GREY)
    fields = (
        (
            ("姓名 Name", header.display_name or words.UNKNOWN),
            ("患者号 Patient ID", header.patient_id or words.UNKNOWN),
            ("性别 Sex", words.sex(header)),
            ("年龄 Age", words.age(header)),
        ),
        (
            ("检查号 No.", words.examination_number(header)),
            ("日期 Date", words.date(header.study_date)),
            ("期相 Phase", words.phase(header, findings)),
            ("出生 Born", words.date(header.patient_birth_date)),
        ),
    )
    for row, line in enumerate(fields):
        for column, (label, value) in enumerate(line):
            widths = (0.35, 0.29, 0.15, 0.21)
            x = middle.left + middle.width * sum(widths[:column])
            width = middle.width * widths[column] - 3
            y = middle.top + 0.6 + row * 10.6
            sheet.text(x, y + 0.4, label, size=2.9, shade=GREY)
            sheet.fitted(Area(x, y + 3.6, width, 6.0), value, size=5.0 if row == 0 else 4.4, weight="Bold" if row == 0 else "Regular")
    sheet.text(right.right, right.top + 1.0, number, size=6.0, anchor="ra", weight="Bold")
    sheet.text(right.right, right.top + 10.5, "Coronet", size=3.4, shade=GREY, anchor="ra")
    sheet.line([(area.left, area.bottom - 1.6), (area.right, area.bottom - 1.6)], shade=DIM, width=0.3)


def _footer(sheet: Sheet, area: Area, marks: Sequence[str], approval: Approval | None) -> None:
    """The notices in a frame of their own, then who approved."""
    signed = ""
    if approval is not None:
        role = "审核医师 Approved by" if approval.final else "放行 Released by"
        signed = f"{role} {approval.user_name}  {approval.at:%Y-%m-%d %H:%M}"
    width = sheet.width_of(signed, 3.6) + 4.0 if signed else 0.0
    room = area.width - width
    rows = area.rows(*([area.height / max(len(marks), 1)] * max(len(marks), 1)))
    for row, mark in zip(rows, marks, strict=False):
        wide = min(sheet.width_of(mark, 4.2, "Bold"), room - 6.0)
        box = Area(area.left, row.top + 0.4, wide + 6.0, row.height - 0.8)
        sheet.draw.rectangle(
            [sheet.px(box.left), sheet.px(box.top), sheet.px(box.right), sheet.px(box.bottom)], outline=WHITE, width=max(sheet.px(0.3), 1)
        )
        sheet.fitted(Area(box.left + 3.0, box.top, wide + 1.0, box.height), mark, size=4.2, weight="Bold")
    if signed:
        sheet.text(area.right, area.top + area.height / 2, signed, size=3.6, anchor="rm")
