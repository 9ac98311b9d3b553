"""A picture of each segment that cannot be read: the place itself, straightened, so that a reader sees why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from appliance.findings import Findings, NotAssessable, NotAssessableReason
from appliance.imaging.annotate import Canvas
from appliance.imaging.paths import VesselPath, branch_path
from appliance.imaging.reformat import CTA_WINDOW, straighten, to_grey
from appliance.study import KeyView
from appliance.volume import Volume

UNREAD = "unread-"
"""How the ids of these pictures begin."""
COLUMNS, ROWS, GAP = 1000, 280, 12
BESIDE_MM = 8.0
"""So much of the vessel is shown before and after the segment, to compare with."""
ANGLES = (0.0, 90.0)
REASONS: dict[NotAssessableReason, tuple[str, str]] = {
    "motion": ("运动伪影", "motion"),
    "noise": ("噪声", "noise"),
    "blooming": ("钙化伪影", "calcium blooming"),
    "stent": ("支架", "stent"),
    "truncated": ("扫描未包全", "not covered by the scan"),
}


def unread_views(volume: Volume, findings: Findings, *, others: Mapping[str, Volume] | None = None) -> Iterator[KeyView]:
    """One picture of each segment that cannot be read and whose place is known, in the order of the findings."""
    for entry in findings.quality.not_assessable if findings.quality is not None else ():
        path = _path_of(entry, findings)
        if path is not None:
            yield _view((others or {}).get(path.series_uid or "", volume), path, entry)


def _path_of(entry: NotAssessable, findings: Findings) -> VesselPath | None:
    """The vessel along the segment and a little beyond; None where the place is not known or too short to be drawn."""
    branch = next((each for each in findings.branches if each.id == entry.branch), None)
    if branch is None or entry.start is None or entry.end is None:
        return None
    path = branch_path(branch)
    count = max(len(branch.points_mm) - 1, 1)
    beside = round(BESIDE_MM / path.step_mm)
    first, last = (round(index / count * (len(path.points) - 1)) for index in (entry.start, min(entry.end, count)))
    span = slice(max(first - beside, 0), min(last + beside, len(path.points) - 1) + 1)
    if span.stop - span.start < 8:
        return None
    return replace(
        path,
        points=path.points[span],
        segments=(),
        lesions=(),
        outer_diameter_mm=path.outer_diameter_mm[span],
        lumen_diameter_mm=path.lumen_diameter_mm[span],
    )


def _view(volume: Volume, path: VesselPath, entry: NotAssessable) -> KeyView:
    spacing = max(path.length_mm / (COLUMNS - 1), 0.03)
    strips = [
        straighten(
            volume, path, angle_degrees=angle, half_width_mm=0.5 * ROWS * spacing, spacing_mm=spacing, before_mm=0.0, after_mm=0.0
        ).hu
        for angle in ANGLES
    ]
    page = np.zeros((sum(strip.shape[0] for strip in strips) + GAP, max(strip.shape[1] for strip in strips)), np.uint8)
    row = 0
    for strip in strips:
        page[row : row + strip.shape[0], : strip.shape[1]] = to_grey(strip, CTA_WINDOW)
        row += strip.shape[0] + GAP
    zh, en = REASONS[entry.reason]
    canvas = Canvas.of(page, scale=1.15)
    canvas.caption(f"{entry.segment} 不能评价:{zh}{path.note[0]}", f"{entry.segment} not assessable: {en}{path.note[1]}")
    canvas.scale_bar(5.0, spacing)
    canvas.footer(f"W {CTA_WINDOW[0]:g}  L {CTA_WINDOW[1]:g}")
    return KeyView(
        id=f"{UNREAD}{entry.segment.lower()}-{entry.branch}",
        kind="scpr",
        title_zh=f"{entry.segment} 不能评价({zh})",
        title_en=f"{entry.segment} not assessable ({en})",
        image=canvas.pixels,
        vessel=path.vessel,
        segment=entry.segment,
        pixel_spacing_mm=(spacing, spacing),
        window=CTA_WINDOW,
    )
