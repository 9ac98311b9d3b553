"""The key views of a study, in reading order: heart, tree, curved and straightened reformations, sections, MIP."""

from __future__ import annotations

from collections.abc import Callable

from appliance.findings import Findings
from appliance.imaging.paths import diseased_side_paths, main_paths
from appliance.imaging.scenes import heart_box
from appliance.imaging.unread_views import unread_views
from appliance.imaging.vessel_views import (
    axial_mip_view,
    curved_mip_view,
    curved_views,
    lesion_sections,
    plain_sections,
    plane_mip_view,
    straight_views,
    worst_position,
)
from appliance.imaging.volume_views import heart_views, tree_views
from appliance.study import KeyView
from appliance.volume import LabelMap, Volume

ANGLES = (0.0, 90.0)


def make_key_views(
    volume: Volume, findings: Findings, *, structures: LabelMap, progress: Callable[[str, float], None] | None = None
) -> list[KeyView]:
    """Make the pictures of an analysed study.

    Ids are stable and fit for file names. A vessel that was not found has no pictures, a vessel without lesions has evenly spaced sections.
    The pictures carry no patient data and no notice.

    Args:
        volume: the series that was measured.
        findings: its findings, positions in the volume's patient coordinates.
        structures: heart labels (1 to 8, analysis/locate) on a coarse grid of the same frame of reference.
        progress: told ("pictures", fraction done).

    Raises:
        ImagingError: IMG-001, no heart in ``structures``; IMG-010, the typeface is not installed.
    """
    tell = progress or (lambda _stage, _fraction: None)
    main = main_paths(findings)
    side = diseased_side_paths(findings, main)
    views: list[KeyView] = []

    box = heart_box(volume, structures, findings)
    tell("pictures", 0.1)
    views += heart_views(box, findings)
    tell("pictures", 0.4)
    views += tree_views(box, findings)
    tell("pictures", 0.55)
    for path in (*main, *side):
        views += curved_views(volume, path, angles=ANGLES)
    tell("pictures", 0.7)
    for path in (*main, *side):
        views += straight_views(volume, path, angles=ANGLES)
    tell("pictures", 0.8)
    shown: set[int] = set()
    for path in (*main, *side):
        for span in path.lesions:
            if span.lesion.id not in shown:  # a lesion of the left main lies on two paths
                views += lesion_sections(volume, path, span)
                shown.add(span.lesion.id)
        if not path.lesions:
            views += plain_sections(volume, path)
    views += unread_views(volume, findings)
    tell("pictures", 0.85)
    for path in main:
        views.append(axial_mip_view(volume, path, worst_position(path)))
        views.append(plane_mip_view(volume, path))
        views.append(curved_mip_view(volume, path))
    tell("pictures", 1.0)
    return views
