"""A picture of each case, so that the worst ones can be looked at.

Three maximum intensity projections of what lies within 4 mm of true or found vessels: from the front, from the left, from below.
Green: found and named right. Magenta: found, named wrong. Red: missed (1.5 mm and more). Orange: missed, smaller. Yellow: false.
Circles: true ostia. Diamonds: true lesions.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

from appliance.volume import Geometry
from models.evaluation.cases import Case, Seen
from models.evaluation.lines import ResultLine
from models.evaluation.measures import Mask, Points, TrueBranch, is_false
from models.evaluation.tables import KEPT, worst_cases

VIEWS = ((1, "from the front"), (2, "from the left"), (0, "from below"))
"""The axis (z, y, x) that is looked along."""
WINDOW_HU = (-150.0, 600.0)
BAND_MM = 4.0
COARSE = 4
ZOOM = 2
HEAD_PX = 64
COLOURS = {
    "right": (60, 220, 110),
    "misnamed": (235, 70, 235),
    "missed": (255, 50, 50),
    "small": (200, 120, 30),
    "false": (255, 235, 40),
}


@dataclass(frozen=True)
class Marks:
    """What is drawn besides lines: circles and diamonds at places, texts at places; LPS mm."""

    circles: Points = field(default_factory=lambda: np.zeros((0, 3)))
    diamonds: Points = field(default_factory=lambda: np.zeros((0, 3)))
    texts: tuple[tuple[str, Points], ...] = ()


def draw_case(case: Case, seen: Seen, path: Path) -> None:
    """Write the picture of a case; a case without a segmented volume gets a grid of its own and no attenuation."""
    geometry = seen.geometry or _own_grid(seen.truth.native_points)
    hu = seen.hu if seen.hu is not None else np.full(geometry.shape, -1024, np.int16)
    values = "   ".join(f"{name} {value:.3f}" for name in KEPT if (value := case.values.get(name)) is not None)
    head = f"{case.seed}   {case.family}   {case.status} {case.code}\n{values}\n{', '.join(case.conditions)}"
    marks = Marks(
        circles=np.asarray(seen.truth.ostia).reshape(-1, 3),
        diamonds=np.asarray([lesion.points[lesion.minimum] for lesion in seen.truth.lesions]).reshape(-1, 3),
        texts=tuple(wrong_names(seen.truth.branches, seen.lines)),
    )
    draw_lines(hu, geometry, marked_lines(seen.truth.branches, seen.lines), path, head=head, marks=marks)


def draw_lines(
    hu: npt.NDArray[np.int16],
    geometry: Geometry,
    lines: Sequence[tuple[str, Points]],
    path: Path,
    *,
    head: str = "",
    marks: Marks | None = None,
) -> None:
    """Write the three projections of what lies around lines, with the lines in the colours of their kinds (``COLOURS``)."""
    around = [points for _, points in lines if len(points)] or [geometry.centre[None]]
    band = np.where(_band(around, geometry), hu, -1024)
    panels = [_panel(band, geometry, axis, title, lines, marks or Marks()) for axis, title in VIEWS]
    picture = Image.new("RGB", (sum(p.width for p in panels), max(p.height for p in panels) + HEAD_PX))
    at = 0
    for panel in panels:
        picture.paste(panel, (at, HEAD_PX))
        at += panel.width
    ImageDraw.Draw(picture).multiline_text((6, 4), head, fill=(230, 230, 230))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def keep_worst(cases: Sequence[Case], *, pictures: Path, out: Path) -> list[Path]:
    """Copy the pictures of the worst cases of each kept measure to ``out`` as <measure>-<rank>-<seed>.png; those of earlier runs go."""
    for old in out.glob("*.png"):
        old.unlink()
    out.mkdir(parents=True, exist_ok=True)
    copies = []
    for name in KEPT:
        for rank, case in enumerate(worst_cases(cases, name), start=1):
            source = pictures / f"{case.seed}.png"
            if source.exists():
                copies.append(Path(shutil.copy(source, out / f"{name}-{rank}-{case.seed}.png")))
    return copies


def marked_lines(truth: Sequence[TrueBranch], lines: Sequence[ResultLine]) -> list[tuple[str, Points]]:
    """Stretches of lines with what they are: ``right``, ``misnamed``, ``missed``, ``small`` or ``false``."""
    result = np.concatenate([np.zeros((0, 3)), *(line.points for line in lines)])
    near = cKDTree(result) if len(result) else None
    points = np.concatenate([branch.points for branch in truth])
    names = np.concatenate([branch.names for branch in truth])
    nearest_true = cKDTree(points)
    marked: list[tuple[str, Points]] = []
    for branch in truth:
        missed = np.ones(len(branch.points), np.bool_) if near is None else near.query(branch.points)[0] > branch.found_within
        missed &= branch.healthy_radius > 0.0
        marked += [("missed", run) for run in _runs(branch.points, missed & branch.large)]
        marked += [("small", run) for run in _runs(branch.points, missed & ~branch.large)]
    for line in lines:
        false = is_false(truth, line.points)
        right = names[nearest_true.query(line.points)[1]] == line.names
        marked += [("right", run) for run in _runs(line.points, ~false & right)]
        marked += [("misnamed", run) for run in _runs(line.points, ~false & ~right)]
        marked += [("false", run) for run in _runs(line.points, false)]
    return marked


def wrong_names(truth: Sequence[TrueBranch], lines: Sequence[ResultLine]) -> list[tuple[str, Points]]:
    """Of each misnamed stretch of 5 mm and more: 'wrong, not right' and its middle, (1, 3)."""
    points = np.concatenate([branch.points for branch in truth])
    names = np.concatenate([branch.names for branch in truth])
    texts = []
    for line in lines:
        right = names[cKDTree(points).query(line.points)[1]]
        wrong = (right != line.names) & ~is_false(truth, line.points)
        for given in np.unique(line.names[wrong]):
            for wanted in np.unique(right[wrong & (line.names == given)]):
                where = line.points[wrong & (line.names == given) & (right == wanted)]
                if len(where) >= 10:  # at steps of half a millimetre
                    texts.append((f"{given}, not {wanted}", where[len(where) // 2][None]))
    return texts


def _runs(points: Points, mask: Mask) -> list[Points]:
    """The stretches where the mask is true, two points or more each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [points[a : min(b + 1, len(points))] for a, b in zip(edges[::2], edges[1::2], strict=True) if b + 1 - a > 1]


def _own_grid(points: Points) -> Geometry:
    low, high = points.min(axis=0) - 10.0, points.max(axis=0) + 10.0
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / 0.5))
    return Geometry((nz, ny, nx), (0.5, 0.5, 0.5), (float(low[0]), float(low[1]), float(low[2])))


def _panel(
    band: npt.NDArray[np.int16], geometry: Geometry, axis: int, title: str, lines: Sequence[tuple[str, Points]], marks: Marks
) -> Image.Image:
    low, high = WINDOW_HU
    grey = (np.clip((band.max(axis=axis) - low) / (high - low), 0.0, 1.0) * 255).astype(np.uint8)
    rows, columns = (other for other in range(3) if other != axis)
    flip = rows == 0  # z runs from feet to head, pictures run down
    image = Image.fromarray(grey[::-1] if flip else grey).resize((grey.shape[1] * ZOOM, grey.shape[0] * ZOOM)).convert("RGB")
    draw = ImageDraw.Draw(image)

    def place(points: Points) -> list[tuple[float, float]]:
        index = geometry.to_index(points)
        row = geometry.shape[rows] - 1 - index[:, rows] if flip else index[:, rows]
        return [(float(x), float(y)) for x, y in zip(ZOOM * index[:, columns], ZOOM * row, strict=True)]

    for kind, colour in COLOURS.items():
        for _, points in (each for each in lines if each[0] == kind):
            draw.line(place(points), fill=colour, width=1 if kind in ("right", "small") else 3)
    for x, y in place(marks.circles):
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=(255, 255, 255))
    for x, y in place(marks.diamonds):
        draw.polygon([(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)], outline=(90, 200, 255))
    for text, where in marks.texts:
        x, y = place(where)[0]
        draw.text((x + 5, y), text, fill=COLOURS["misnamed"])
    draw.text((6, 4), title, fill=(180, 180, 180))
    return image


def _band(lines: Sequence[Points], geometry: Geometry) -> Mask:
    """True within 4 mm of the lines, to the precision of a coarse grid."""
    coarse = np.zeros([-(-n // COARSE) for n in geometry.shape], np.bool_)
    index = np.concatenate([geometry.to_index(points) for points in lines if len(points)])
    index = index[((index >= 0) & (index < np.array(geometry.shape) - 1)).all(axis=1)]
    coarse[tuple((index / COARSE).astype(int).T)] = True
    spacing = [COARSE * s for s in geometry.spacing[::-1]]
    near = ndimage.distance_transform_edt(~coarse, sampling=spacing) <= BAND_MM
    for axis in range(3):
        near = np.repeat(near, COARSE, axis=axis)
    nz, ny, nx = geometry.shape
    return np.asarray(near[:nz, :ny, :nx])
