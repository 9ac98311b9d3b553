"""The coronary tree as rows for the rasteriser: lumen, wall, plaque, calcium and stents."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from models.phantom import painting
from models.phantom.physics import calcium_factor
from models.phantom.types import Branch, FloatArray, Lesion, Patient, Scan, Sheet, Vector

LUMEN, WALL, CALCIUM, VEIN = 1, 2, 3, 4
CALCIUM_KIND = "calcium"
AORTA_REACH_MM = 9.0
#: Below this radius (mm) a lumen counts as closed.
CLOSED_MM = 0.02
#: Columns of the two sheets in a segment row, and the width of one.
SHEET_COLUMNS = (26, 34)
SHEET_WIDTH = 8


@dataclass(frozen=True)
class Rows:
    """A tree ready to be painted: segment, blob and strut rows, and the branch that each one belongs to."""

    segments: FloatArray
    blobs: FloatArray
    struts: FloatArray
    segment_branch: FloatArray
    blob_branch: FloatArray
    strut_branch: FloatArray
    aorta: FloatArray
    grid_origin: FloatArray
    grid_spacing: float


def tree_rows(patient: Patient) -> Rows:
    """All rows of a patient's tree; kept in the patient's cache."""
    if "coronaries" not in patient.cache:
        struts = [np.column_stack([s.struts, np.full(len(s.struts), s.hu)]) for s in patient.stents]
        patient.cache["coronaries"] = Rows(
            segments=coronary_rows(patient),
            blobs=blob_rows(patient),
            struts=np.concatenate(struts) if struts else np.zeros((0, 8)),
            segment_branch=np.repeat([b.id for b in patient.branches], [len(b.points_mm) - 1 for b in patient.branches]),
            blob_branch=np.array([lesion.branch for lesion in patient.lesions for _ in lesion.blobs], np.int64),
            strut_branch=np.array([s.branch for s in patient.stents for _ in s.struts], np.int64),
            aorta=np.ascontiguousarray(patient.channels[..., patient.channel_names.index("ao")]),
            grid_origin=np.asarray(patient.grid.origin, np.float64),
            grid_spacing=patient.grid.spacing,
        )
    rows: Rows = patient.cache["coronaries"]
    return rows


def coronary_rows(patient: Patient) -> FloatArray:
    """Segment rows of the whole tree for `painting.paint_coronaries`, one per step of a centreline, branch after branch."""
    ostia = list(patient.ostia.values())
    return np.concatenate([_branch_rows(b, [x for x in patient.lesions if x.branch == b.id], ostia) for b in patient.branches])


def _branch_rows(b: Branch, lesions: list[Lesion], ostia: list[Vector]) -> FloatArray:
    p, q = b.points_mm, b.points_mm + b.outer_offset_mm
    n = len(p) - 1
    rows = np.zeros((n, painting.SEGMENT_COLUMNS))
    inner = np.where(b.lumen_radius_mm > CLOSED_MM, b.lumen_radius_mm, -1.0)
    rows[:, 0:3], rows[:, 3:6], rows[:, 6], rows[:, 7] = p[:-1], p[1:], inner[:-1], inner[1:]
    rows[:, 8:11], rows[:, 11:14] = q[:-1], q[1:]
    rows[:, 14], rows[:, 15] = b.outer_radius_mm[:-1], b.outer_radius_mm[1:]
    for ostium in ostia:
        rows[:, 18] = np.maximum(rows[:, 18], np.linalg.norm(p[:-1] - np.asarray(ostium), axis=1) < AORTA_REACH_MM)
    if b.look is None:
        rows[:, 16], rows[:, 17], rows[:, 19] = 45.0, 1.0, 1.0
    else:
        rows[:, 16], rows[:, 17] = _middle(b.look.wall_hu), _middle(b.look.contrast)
        rows[:, 19:25], rows[:, 25] = _middle(b.look.shape), _middle(b.look.halo_hu)
    halo = np.where(rows[:, 25] > 0.0, painting.HALO_MM, 0.0)
    shift = np.linalg.norm(b.outer_offset_mm, axis=1)
    rows[:, 42] = np.maximum((b.outer_radius_mm + shift)[:-1], (b.outer_radius_mm + shift)[1:]) + halo
    for lesion in lesions:
        for sheet in lesion.sheets:
            _put_sheet(rows, sheet)
    return rows


def _middle(values: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (values[:-1] + values[1:]))


def _put_sheet(rows: FloatArray, sheet: Sheet) -> None:
    """Write a sheet into the first free place of its segments; a third one over another two is left out."""
    span = rows[sheet.start : sheet.start + len(sheet.half_arc) - 1]
    block = np.column_stack([
        _middle(sheet.direction), sheet.half_arc[:-1], sheet.half_arc[1:], np.tile([*sheet.depth, sheet.hu], (len(span), 1)),
    ])  # fmt: skip
    free = np.ones(len(span), bool)
    for at in SHEET_COLUMNS:
        place = free & (span[:, at + SHEET_WIDTH - 1] == 0.0)
        span[place, at : at + SHEET_WIDTH] = block[place]
        free &= ~place


def blob_rows(patient: Patient) -> FloatArray:
    """Rows of all calcium and soft ellipsoids, rims before the cores that lie in them."""
    rows = [[*b.centre, *b.axes.ravel(), *b.radii, b.hu, float(b.kind == CALCIUM_KIND)] for lesion in patient.lesions for b in lesion.blobs]
    return np.asarray(rows, np.float64).reshape(-1, 17)


def paint_tree(patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, vessels: FloatArray) -> None:
    """Paint the coronary tree with its disease into `hu` and `vessels`, both (z, y, x) with voxel (0, 0, 0) at `start`, mm, LPS."""
    paint(tree_rows(patient), hu, vessels, start, step, lumen_hu=scan.vessel_hu, calcium_scale=calcium_factor(scan.kvp))


def paint(
    rows: Rows, hu: FloatArray, vessels: FloatArray, start: FloatArray, step: FloatArray, *, lumen_hu: float, calcium_scale: float = 1.0,
    owner: FloatArray | None = None, material: FloatArray | None = None, metal: bool = True,
) -> None:  # fmt: skip
    """Rasterise a tree into a volume; `owner` (int32) gets the segment row and `material` (float32) the HU of wall and plaque."""
    s, blobs, struts = rows.segments, rows.blobs, rows.struts
    reach = np.maximum(s[:, 14:16].max(1), s[:, 6:8].max(1)) + float(step.max())
    reach = np.where(s[:, 25] > 0.0, np.maximum(reach, s[:, 14:16].max(1) + painting.HALO_MM), reach)[:, None]
    ends = np.stack([s[:, 0:3], s[:, 3:6], s[:, 8:11], s[:, 11:14]])
    lists = painting.brick_lists(ends.min(0) - reach, ends.max(0) + reach, start, step, hu.shape)
    size = blobs[:, 12:15].max(1)[:, None] + float(step.max()) if len(blobs) else np.zeros((0, 1))
    blob_lists = painting.brick_lists(blobs[:, :3] - size, blobs[:, :3] + size, start, step, hu.shape)
    none = np.zeros((0, 0, 0))
    painting.paint_coronaries(
        hu, vessels, start, step, s, lists, blobs, blob_lists, rows.aorta, rows.grid_origin, rows.grid_spacing, lumen_hu,
        calcium_scale,
        none.astype(np.int32) if owner is None else owner, none.astype(np.float32) if material is None else material,
    )  # fmt: skip
    if metal and len(struts):
        far = struts[:, 6:7] + 3.5 * painting.STRUT_SPREAD * float(step.max())
        lo, hi = np.minimum(struts[:, :3], struts[:, 3:6]) - far, np.maximum(struts[:, :3], struts[:, 3:6]) + far
        painting.paint_struts(hu, start, step, struts, painting.brick_lists(lo, hi, start, step, hu.shape))


def moved(rows: Rows, patient: Patient, shift: dict[int, FloatArray]) -> Rows:
    """The same tree with each point of each branch displaced by `shift` (branch id: (n, 3), mm); plaque and stents go with it."""
    segments, blobs, struts = rows.segments.copy(), rows.blobs.copy(), rows.struts.copy()
    for b in patient.branches:
        by = shift[b.id]
        own = rows.segment_branch == b.id
        segments[own, 0:3] += by[:-1]
        segments[own, 8:11] += by[:-1]
        segments[own, 3:6] += by[1:]
        segments[own, 11:14] += by[1:]
        nearest = cKDTree(b.points_mm)
        own = rows.blob_branch == b.id
        blobs[own, 0:3] += by[nearest.query(blobs[own, 0:3])[1]]
        own = rows.strut_branch == b.id
        for at in (0, 3):
            struts[own, at : at + 3] += by[nearest.query(struts[own, at : at + 3])[1]]
    return replace(rows, segments=segments, blobs=blobs, struts=struts)
