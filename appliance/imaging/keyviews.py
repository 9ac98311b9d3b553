"""The key views of a study, in reading order: heart, tree, curved and straightened reformations, sections, MIP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from appliance.findings import Findings
from appliance.imaging.one_tree import as_one_tree
from appliance.imaging.paths import VesselPath, diseased_side_paths, main_paths
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
from appliance.imaging.volume_views import SIZE, heart_views, tree_views
from appliance.study import KeyView
from appliance.volume import LabelMap, Volume

ANGLES = (0.0, 90.0)
SHOWN = ("LM", "LAD", "LCX", "RCA")
"""The vessels that the title of a tree names where they come from another phase."""


def make_key_views(
    volume: Volume,
    findings: Findings,
    *,
    structures: LabelMap,
    others: Mapping[str, Volume] | None = None,
    progress: Callable[[str, float], None] | None = None,
    rendering_pixels: int = SIZE,
) -> list[KeyView]:
    """Make the pictures of an analysed study.

    Ids are stable and fit for file names. A vessel that was not found has no pictures, a vessel without lesions has evenly spaced sections.
    The pictures carry no patient data and no notice.

    Args:
        volume: the series that was measured.
        findings: its findings, positions in the volume's patient coordinates.
        structures: heart labels (1 to 8, analysis/locate) on a coarse grid of the same frame of reference.
        others: the volume of each further series that a branch was measured in, by its UID; its pictures are made of it.
        progress: told ("pictures", fraction done).
        rendering_pixels: width and height of the volume renderings; smaller where nobody will look at them.

    Raises:
        ImagingError: IMG-001, no heart in ``structures``; IMG-010, the typeface is not installed.
    """
    tell = progress or (lambda _stage, _fraction: None)
    further = others or {}

    def shown_in(path: VesselPath) -> Volume:
        return further.get(path.series_uid or "", volume)

    def named(made: Iterable[KeyView], path: VesselPath) -> list[KeyView]:
        return _titled(made, _phase_words(findings, path.series_uid))

    main = main_paths(findings)
    side = diseased_side_paths(findings, main)
    views: list[KeyView] = []

    box, whole, words = heart_box(volume, structures, findings, others=further), as_one_tree(findings), _tree_words(findings)
    tell("pictures", 0.1)
    views += _titled(heart_views(box, whole, size=rendering_pixels), words)
    tell("pictures", 0.4)
    views += _titled(tree_views(box, whole, size=rendering_pixels), words)
    tell("pictures", 0.55)
    for path in (*main, *side):
        views += named(curved_views(shown_in(path), path, angles=ANGLES), path)
    tell("pictures", 0.7)
    for path in (*main, *side):
        views += named(straight_views(shown_in(path), path, angles=ANGLES), path)
    tell("pictures", 0.8)
    shown: set[int] = set()
    for path in (*main, *side):
        for span in path.lesions:
            if span.lesion.id not in shown:  # a lesion of the left main lies on two paths
                views += named(lesion_sections(shown_in(path), path, span), path)
                shown.add(span.lesion.id)
        if not path.lesions:
            views += named(plain_sections(shown_in(path), path), path)
    views += unread_views(volume, findings, others=further)
    tell("pictures", 0.85)
    for path in main:
        own = shown_in(path)
        slabs = (axial_mip_view(own, path, worst_position(path)), plane_mip_view(own, path), curved_mip_view(own, path))
        views += named(slabs, path)
    tell("pictures", 1.0)
    return views


def _titled(made: Iterable[KeyView], words: tuple[str, str]) -> list[KeyView]:
    """The pictures with some words more at the end of their titles."""
    return [replace(view, title_zh=view.title_zh + words[0], title_en=view.title_en + words[1]) for view in made]


def _phase_words(findings: Findings, series_uid: str | None) -> tuple[str, str]:
    """What a picture's title says of a phase other than the main one; empty for that."""
    series = next((each for each in findings.other_series if series_uid == each.series_uid), None)
    if series is None:
        return "", ""
    percent = "" if series.phase_percent is None else f" {series.phase_percent:g}%"
    return f"（另一期相{percent}）", f" (another phase{percent})"


def _tree_words(findings: Findings) -> tuple[str, str]:
    """What the title of a picture of the whole tree says: which arteries another phase shows."""
    said = []
    for uid in sorted({branch.series_uid for branch in findings.branches if branch.series_uid is not None}):
        there = {branch.vessel for branch in findings.branches if branch.series_uid == uid}
        names = [vessel for vessel in SHOWN if vessel in there]
        zh, en = _phase_words(findings, uid)
        said.append((f"（{'、'.join(names)}：{zh[1:]}" if zh else "", f" ({', '.join(names)}: {en[2:]}" if en else ""))
    return "".join(zh for zh, _ in said), "".join(en for _, en in said)
