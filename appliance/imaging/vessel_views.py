"""Key views along vessels: curved and straightened reformations, sections, thin-slab MIP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.imaging.annotate import GRADE_COLOUR, GREY, Canvas, across_vessel, lesion_label
from appliance.imaging.paths import LesionSpan, VesselPath
from appliance.imaging.reformat import (
    CTA_WINDOW,
    MIP_WINDOW,
    Reformation,
    curve,
    section,
    slab_mip,
    straighten,
    to_grey,
)
from appliance.imaging.volume_views import vessel_title
from appliance.study import KeyView
from appliance.volume import Volume

Float = NDArray[np.float64]

CURVED_SIZE = (1160, 704)
STRIP_COLUMNS = 1600
STRIP_HALF = 104
STRIP_BANDS = (52, 40)
FINEST_STRIP_MM = 0.075
BEFORE_MM, AFTER_MM = 8.0, 4.0
SECTION_SIZE = 321
SECTION_HALF_MM = 7.5
MIP_SIZE = 720
SLAB_MM = 8.0
CURVED_SLAB_MM = 5.0
REFERENCE_GAP_MM = 2.0


def curved_views(volume: Volume, path: VesselPath, *, angles: Sequence[float]) -> Iterator[KeyView]:
    """Curved reformations of a vessel with its segments and lesions."""
    for angle in angles:
        made = curve(volume, path, angle_degrees=angle, size=CURVED_SIZE)
        canvas = Canvas.of(to_grey(made.hu, CTA_WINDOW), scale=1.15)
        zh, en = path.note
        canvas.caption(f"{vessel_title(path.name)} 曲面重建 {angle:.0f}°{zh}", f"{path.name} CPR {angle:.0f}°{en}")
        _dress(canvas, made, path, CTA_WINDOW)
        yield KeyView(
            id=f"cpr-{path.name.lower()}-{angle:03.0f}",
            kind="cpr",
            title_zh=f"{vessel_title(path.name)} 曲面重建 {angle:.0f}°",
            title_en=f"{path.name} curved reformation {angle:.0f}°",
            image=canvas.pixels,
            vessel=path.vessel,
            pixel_spacing_mm=(made.spacing_mm, made.spacing_mm),
            angle_degrees=angle,
            window=CTA_WINDOW,
        )


def curved_mip_view(volume: Volume, path: VesselPath) -> KeyView:
    """Maximum intensity over a thin slab that follows the vessel."""
    made = curve(volume, path, angle_degrees=0.0, size=CURVED_SIZE, thickness_mm=CURVED_SLAB_MM, projection="max")
    canvas = Canvas.of(to_grey(made.hu, MIP_WINDOW), scale=1.15)
    zh, en = path.note
    canvas.caption(
        f"{vessel_title(path.name)} 曲面薄层 MIP {CURVED_SLAB_MM:g} mm{zh}", f"{path.name} curved thin-slab MIP {CURVED_SLAB_MM:g} mm{en}"
    )
    _dress(canvas, made, path, MIP_WINDOW)
    return KeyView(
        id=f"mip-curved-{path.name.lower()}",
        kind="mip",
        title_zh=f"{vessel_title(path.name)} 曲面薄层最大密度投影",
        title_en=f"{path.name} curved thin-slab MIP",
        image=canvas.pixels,
        vessel=path.vessel,
        pixel_spacing_mm=(made.spacing_mm, made.spacing_mm),
        angle_degrees=0.0,
        window=MIP_WINDOW,
    )


def _dress(canvas: Canvas, made: Reformation, path: VesselPath, window: tuple[float, float]) -> None:
    """Segment borders and names, lesions, scale and window of a curved picture."""
    gap = 3.4 / made.spacing_mm
    canvas.keep_off(made.curve[::12], gap * 0.8)
    canvas.scale_bar(10.0, made.spacing_mm)
    canvas.footer(_window_text(window))
    canvas.orientation(made.across, None)
    for span in path.lesions:
        at = int(np.argmin(np.abs(made.curve_mm - span.minimum)))
        row, column = made.curve[at]
        side = across_vessel(made.curve, at)
        if column > canvas.image.width / 2:
            side = (-side[0], -side[1])
        canvas.arrow((column, row), side, lesion_label(span.lesion), GRADE_COLOUR[span.lesion.grade], gap=0.62 * gap)
    for number, segment in enumerate(path.segments):
        if number:
            at = int(np.argmin(np.abs(made.curve_mm - segment.start)))
            row, column = made.curve[at]
            canvas.tick((column, row), across_vessel(made.curve, at), gap=0.75 * gap)
    for segment in path.segments:
        at = int(np.argmin(np.abs(made.curve_mm - (segment.start + segment.end) / 2)))
        row, column = made.curve[at]
        if segment.name != "other":
            canvas.name_beside((column, row), across_vessel(made.curve, at), segment.name, gap=1.15 * gap)


def straight_views(volume: Volume, path: VesselPath, *, angles: Sequence[float]) -> Iterator[KeyView]:
    """Straightened reformations: the vessel from left (ostium) to right, lesions marked above, segments below."""
    for angle in angles:
        spacing = max((BEFORE_MM + path.length_mm + AFTER_MM) / (STRIP_COLUMNS - 1), FINEST_STRIP_MM)
        made = straighten(
            volume,
            path,
            angle_degrees=angle,
            half_width_mm=STRIP_HALF * spacing,
            spacing_mm=spacing,
            before_mm=BEFORE_MM,
            after_mm=AFTER_MM,
        )
        above, below = STRIP_BANDS
        page = np.zeros((above + made.hu.shape[0] + below, STRIP_COLUMNS), np.uint8)
        used = min(made.hu.shape[1], STRIP_COLUMNS)
        page[above : above + made.hu.shape[0], :used] = to_grey(made.hu, CTA_WINDOW)[:, :used]
        canvas = Canvas.of(page, scale=1.3)
        _dress_strip(canvas, made, path, angle)
        yield KeyView(
            id=f"scpr-{path.name.lower()}-{angle:03.0f}",
            kind="scpr",
            title_zh=f"{vessel_title(path.name)} 拉直重建 {angle:.0f}°",
            title_en=f"{path.name} straightened reformation {angle:.0f}°",
            image=canvas.pixels,
            vessel=path.vessel,
            pixel_spacing_mm=(spacing, spacing),
            angle_degrees=angle,
            window=CTA_WINDOW,
        )


def _dress_strip(canvas: Canvas, made: Reformation, path: VesselPath, angle: float) -> None:
    above, below = STRIP_BANDS
    bottom = canvas.image.height - below
    head = f"{path.name} {angle:.0f}°{path.note[0]}"
    canvas.text((8, above / 2), head, size=18, anchor="lm", weight="Bold")
    right = 8 + canvas.size_of(head, 18, "Bold")[0] + 24
    for span in path.lesions:
        right = _mark_lesion(canvas, made, span, above, right)
    for number, segment in enumerate(path.segments):
        start, end = made.place(segment.start)[1], made.place(segment.end)[1]
        if number:
            canvas.draw.line([(start, bottom + 2), (start, bottom + 14)], fill=GREY, width=2)
            canvas.draw.line([(start, bottom - 10), (start, bottom)], fill=GREY, width=2)
        if segment.name != "other" and end - start > canvas.size_of(segment.name, 15)[0] + 6:
            canvas.text(((start + end) / 2, bottom + below / 2), segment.name, size=15, colour=GREY, anchor="mm")
    length = 10.0 / made.spacing_mm
    edge = canvas.image.width - 10
    canvas.draw.line(
        [(edge - length, above - 14), (edge - length, above - 8), (edge, above - 8), (edge, above - 14)], fill=(240, 240, 240), width=2
    )
    canvas.text((edge - length - 8, above / 2 + 4), "10 mm", size=14, anchor="rm")


def _mark_lesion(canvas: Canvas, made: Reformation, span: LesionSpan, above: float, free_from: float) -> float:
    """A bracket over the lesion's length, a pointer at its minimum and its label; returns where the next label may begin."""
    colour = GRADE_COLOUR[span.lesion.grade]
    start, at, end = (made.place(position)[1] for position in (span.start, span.minimum, span.end))
    canvas.draw.line([(start, above + 5), (start, above - 2), (end, above - 2), (end, above + 5)], fill=colour, width=2)
    canvas.draw.polygon([(at, above + 16), (at - 6, above + 3), (at + 6, above + 3)], fill=colour, outline=(0, 0, 0))
    text = lesion_label(span.lesion)
    wide = canvas.size_of(text, 17)[0]
    left = min(max(at - wide / 2, free_from), canvas.image.width - wide - 150)
    canvas.text((left, above / 2 - 5), text, size=17, colour=colour, anchor="lm")
    return left + wide + 16


def lesion_sections(volume: Volume, path: VesselPath, span: LesionSpan) -> Iterator[KeyView]:
    """Sections at the proximal reference, the minimum and the distal reference of a lesion."""
    places = (
        ("proximal", max(span.start - REFERENCE_GAP_MM, 0.0), "近端参考", "proximal"),
        (
            "minimum",
            span.minimum,
            "最窄处" if span.lesion.grade != "none" else "斑块处",
            "minimum" if span.lesion.grade != "none" else "plaque",
        ),
        ("distal", min(span.end + REFERENCE_GAP_MM, path.length_mm), "远端参考", "distal"),
    )
    for key, position, zh, en in places:
        colour = GRADE_COLOUR[span.lesion.grade] if key == "minimum" else GREY
        diameter = span.lesion.minimum_lumen_diameter_mm if key == "minimum" else _known(path.lumen_diameter_mm, path.index_at(position))
        yield _section_view(
            volume, path, position, f"section-l{span.lesion.id}-{key}", (zh, en), diameter=diameter, colour=colour, lesion=span.lesion.id
        )


def plain_sections(volume: Volume, path: VesselPath, *, count: int = 3) -> Iterator[KeyView]:
    """Evenly spaced sections of a vessel without lesions."""
    for number in range(count):
        position = path.length_mm * (number + 1) / (count + 1) * 0.8
        name = path.segment_at(position)
        diameter = _known(path.lumen_diameter_mm, path.index_at(position))
        yield _section_view(
            volume, path, position, f"section-{path.name.lower()}-{number + 1}", (name, ""), diameter=diameter, colour=GREY, lesion=None
        )


def _known(values: Float, index: int) -> float | None:
    return float(values[index]) if np.isfinite(values[index]) else None


def _section_view(
    volume: Volume,
    path: VesselPath,
    position_mm: float,
    key: str,
    names: tuple[str, str],
    *,
    diameter: float | None,
    colour: tuple[int, int, int],
    lesion: int | None,
) -> KeyView:
    made = section(volume, path, position_mm, half_width_mm=SECTION_HALF_MM, size=SECTION_SIZE)
    canvas = Canvas.of(to_grey(made.hu, CTA_WINDOW), scale=1.3)
    zh, en = names
    canvas.text((8, 4), f"{zh} {en}".strip(), size=16, colour=colour)
    if diameter is not None:
        canvas.text((8, SECTION_SIZE - 6), f"Ø {diameter:.1f} mm", size=16, anchor="ld")
    canvas.scale_bar(5.0, made.spacing_mm)
    segment = path.segment_at(position_mm)
    return KeyView(
        id=key,
        kind="section",
        title_zh=f"{segment} 垂直断面 {zh}" if zh != segment else f"{segment} 垂直断面",
        title_en=f"{segment} perpendicular section {en}".strip(),
        image=canvas.pixels,
        vessel=path.vessel,
        segment=segment,
        lesion=lesion,
        pixel_spacing_mm=(made.spacing_mm, made.spacing_mm),
        window=CTA_WINDOW,
    )


def plane_mip_view(volume: Volume, path: VesselPath, *, reach_mm: float = 90.0) -> KeyView:
    """Oblique thin-slab MIP through the plane in which the proximal ``reach_mm`` of a vessel run."""
    proximal = path.points[: path.index_at(reach_mm) + 1]
    centre = (proximal.min(axis=0) + proximal.max(axis=0)) / 2
    _, _, axes = np.linalg.svd(proximal - proximal.mean(axis=0), full_matrices=False)
    normal = axes[2]
    down = np.array([0.0, 0.0, -1.0]) - (-normal[2]) * normal
    if np.linalg.norm(down) < 0.5:
        down = np.array([0.0, 1.0, 0.0]) - normal[1] * normal
    down = down / np.linalg.norm(down)
    across = np.cross(down, normal)
    # the usual way round: the patient's left, or back, on the right
    if across @ np.array([1.0, 0.6, 0.0]) < 0:
        across = -across
    centre = centre + ((proximal.mean(axis=0) - centre) @ normal) * normal
    title = (f"{vessel_title(path.name)} 斜位薄层 MIP {SLAB_MM:g} mm", f"{path.name} oblique thin-slab MIP {SLAB_MM:g} mm")
    return _mip_view(volume, f"mip-plane-{path.name.lower()}", title, centre, across, down, path)


def axial_mip_view(volume: Volume, path: VesselPath, position_mm: float) -> KeyView:
    """Axial thin-slab MIP at the height of a place on a vessel, centred on the heart's own middle."""
    place = path.points[path.index_at(position_mm)]
    centre = np.array([*volume.geometry.centre[:2], place[2]])
    centre[:2] = 0.6 * place[:2] + 0.4 * centre[:2]
    title = (
        f"轴位薄层 MIP {SLAB_MM:g} mm · {path.segment_at(position_mm)}",
        f"Axial thin-slab MIP {SLAB_MM:g} mm, {path.segment_at(position_mm)}",
    )
    return _mip_view(volume, f"mip-axial-{path.name.lower()}", title, centre, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), path)


def _mip_view(volume: Volume, key: str, title: tuple[str, str], centre: Float, across: Float, down: Float, path: VesselPath) -> KeyView:
    spacing = 112.0 / MIP_SIZE
    made = slab_mip(
        volume, centre=centre, across=across, down=down, thickness_mm=SLAB_MM, size=(MIP_SIZE, MIP_SIZE), spacing_mm=spacing, path=path
    )
    canvas = Canvas.of(to_grey(made.hu, MIP_WINDOW), scale=1.15)
    canvas.caption(title[0] + path.note[0], title[1] + path.note[1])
    canvas.scale_bar(10.0, spacing)
    canvas.footer(_window_text(MIP_WINDOW))
    canvas.orientation(across, down)
    if len(made.curve):
        canvas.keep_off(made.curve[::10], 2.5 / spacing)
        for span in path.lesions:
            at = int(np.argmin(np.abs(made.curve_mm - span.minimum)))
            if abs(made.curve_mm[at] - span.minimum) < 1.0:
                row, column = made.curve[at]
                canvas.arrow(
                    (column, row),
                    across_vessel(made.curve, at),
                    lesion_label(span.lesion),
                    GRADE_COLOUR[span.lesion.grade],
                    gap=2.2 / spacing,
                )
    return KeyView(
        id=key,
        kind="mip",
        title_zh=title[0].replace("MIP", "最大密度投影"),
        title_en=title[1],
        image=canvas.pixels,
        vessel=path.vessel,
        pixel_spacing_mm=(spacing, spacing),
        window=MIP_WINDOW,
    )


def _window_text(window: tuple[float, float]) -> str:
    return f"W {window[0]:g}  L {window[1]:g}"


def worst_position(path: VesselPath) -> float:
    """Where an axial picture of a vessel is best taken: at its tightest lesion, else 15 mm from the ostium."""
    graded = [span for span in path.lesions if span.lesion.diameter_stenosis_percent is not None]
    if graded:
        return max(graded, key=lambda span: span.lesion.diameter_stenosis_percent or 0.0).minimum
    return min(15.0, path.length_mm / 2)
