"""Key views by volume rendering: the heart from five sides and the coronary tree in four projections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.anatomy import VESSEL_ZH
from appliance.degrees import degree_unknown
from appliance.findings import Branch, Findings
from appliance.geometry import arc_length
from appliance.imaging.annotate import GRADE_COLOUR, GREY, WHITE, Canvas, lesion_label
from appliance.imaging.paths import MAIN_SEGMENTS
from appliance.imaging.render import Camera, framed, project, render
from appliance.imaging.scenes import HeartBox, heart_scene, tree_scene
from appliance.study import KeyView

Float = NDArray[np.float64]

SIZE = 720
HEART_VIEWS: tuple[tuple[str, Camera, str, str], ...] = (
    ("anterior", Camera(0, 0), "前面观", "anterior"),
    ("lao", Camera(50, 15), "左前斜位", "left anterior oblique"),
    ("left", Camera(90, 5), "左侧面观", "left lateral"),
    ("posterior", Camera(180, 0), "后面观", "posterior"),
    ("inferior", Camera(10, -70), "膈面观", "diaphragmatic"),
)
TREE_VIEWS: tuple[tuple[str, Camera, str, str], ...] = (
    ("rao", Camera(-30, 0), "右前斜 30°", "RAO 30°"),
    ("lao", Camera(45, 0), "左前斜 45°", "LAO 45°"),
    ("lao-cranial", Camera(30, 30), "左前斜 30° 头位 30°", "LAO 30° CRA 30°"),
    ("cranial", Camera(0, 35), "正位 头位 35°", "AP CRA 35°"),
)


def heart_views(box: HeartBox, findings: Findings, *, size: int = SIZE) -> Iterator[KeyView]:
    """The heart, all views at one scale, each ``size`` pixels square."""
    scene = heart_scene(box, findings.branches)
    frames = [framed(camera, box.kept) for _, camera, _, _ in HEART_VIEWS]
    width = 1.04 * max(extent for _, extent in frames)
    for (name, camera, zh, en), (centre, _) in zip(HEART_VIEWS, frames, strict=True):
        canvas = Canvas.of(render(scene, camera, size=size, width_mm=width, centre=centre, caster=box.card), scale=1.0)
        canvas.caption(f"心脏 VR {zh}", f"Heart VR, {en}")
        right, up, _ = camera.axes()
        canvas.orientation(right, -up)
        yield KeyView(
            id=f"vr-heart-{name}",
            kind="vr_heart",
            title_zh=f"心脏容积再现 {zh}",
            title_en=f"Heart volume rendering, {en}",
            image=canvas.pixels,
            pixel_spacing_mm=(width / size, width / size),
            angle_degrees=camera.lao,
        )


def tree_views(box: HeartBox, findings: Findings, *, size: int = SIZE) -> Iterator[KeyView]:
    """The coronary tree with its names and lesions, all views at one scale, each ``size`` pixels square."""
    if not findings.branches:
        return
    scene = tree_scene(box, findings.branches)
    points = np.concatenate([np.asarray(branch.points_mm, np.float64) for branch in findings.branches])
    ostia = np.array([branch.points_mm[0] for branch in findings.branches if branch.parent is None] or [points[0]])
    root = ostia.mean(axis=0) + 14.0 * np.concatenate([np.eye(3), -np.eye(3)])
    frames = [framed(camera, np.concatenate([points, root])) for _, camera, _, _ in TREE_VIEWS]
    width = 1.18 * max(extent for _, extent in frames)
    for (name, camera, zh, en), (centre, _) in zip(TREE_VIEWS, frames, strict=True):
        canvas = Canvas.of(render(scene, camera, size=size, width_mm=width, centre=centre, caster=box.card), scale=1.0)
        canvas.caption(f"冠脉树 VR {zh}", f"Coronary tree VR, {en}")
        _label_tree(canvas, findings, camera, width, centre, size)
        yield KeyView(
            id=f"vr-tree-{name}",
            kind="vr_tree",
            title_zh=f"冠状动脉树 {zh}",
            title_en=f"Coronary tree, {en}",
            image=canvas.pixels,
            pixel_spacing_mm=(width / size, width / size),
            angle_degrees=camera.lao,
        )


def _label_tree(canvas: Canvas, findings: Findings, camera: Camera, width_mm: float, centre: Float, size: int) -> None:
    seen = {
        branch.id: project(camera, np.asarray(branch.points_mm, np.float64), size=size, width_mm=width_mm, centre=centre)
        for branch in findings.branches
    }
    for track in seen.values():
        canvas.keep_off(track[:: max(len(track) // 40, 1)], 7 * canvas.scale)
    for lesion in findings.lesions:
        places = seen.get(lesion.branch)
        if places is None or (lesion.grade in ("none", "minimal") and not degree_unknown(lesion)):
            continue
        row, column = places[min(lesion.minimum, len(places) - 1), :2]
        away = np.array([column - size / 2, row - size / 2])
        away = away / max(float(np.linalg.norm(away)), 1.0)
        canvas.arrow(
            (column, row), (float(away[0]), float(away[1])), lesion_label(lesion), GRADE_COLOUR[lesion.grade], gap=9 * canvas.scale
        )
    main = {name for names in MAIN_SEGMENTS.values() for name in names}
    for branch in findings.branches:
        if branch.name in main:
            _name_branch(canvas, branch, seen[branch.id], branch.vessel, (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8), WHITE)
        elif branch.name not in ("LM", "other"):
            _name_branch(canvas, branch, seen[branch.id], branch.name, (0.75, 0.9, 0.6), GREY)


def _name_branch(canvas: Canvas, branch: Branch, places: Float, text: str, parts: Sequence[float], colour: tuple[int, int, int]) -> None:
    """The branch's name at the first of ``parts`` of its length that has room beside it; a crowded projection may have none."""
    along_mm = arc_length(np.asarray(branch.points_mm, np.float64))
    for part in parts:
        at = int(np.searchsorted(along_mm, part * along_mm[-1]))
        row, column = places[at, :2]
        along = places[min(at + 10, len(places) - 1), :2] - places[max(at - 10, 0), :2]
        length = max(float(np.linalg.norm(along)), 1e-6)
        side = (float(along[0] / length), float(-along[1] / length))
        if canvas.name_beside((column, row), side, text, gap=13 * canvas.scale, colour=colour, size=16 if colour == WHITE else 14):
            return


def vessel_title(name: str) -> str:
    """Chinese name of a main vessel, the plain name of a side branch."""
    return next((zh for vessel, zh in VESSEL_ZH.items() if vessel == name), name.replace("-branch", " 分支"))
