"""Pictures say what is right, wrong, missed and false; the worst are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from appliance.volume import Geometry
from models.evaluation.cases import Case, Seen, heart_located, tree_measures
from models.evaluation.lines import ResultLine
from models.evaluation.measures import Share, TrueBranch
from models.evaluation.pictures import COLOURS, draw_case, keep_worst, marked_lines, wrong_names
from models.evaluation.truths import Truth


def points(start: float, end: float, *, y: float = 0.0) -> np.ndarray:
    x = np.arange(start, end + 0.25, 0.5)
    return np.stack([x, np.full_like(x, y), np.zeros_like(x)], axis=1)


def truth() -> Truth:
    """40 mm of LAD, half of it proximal, and 10 mm of a thin branch."""
    lad, thin = points(0.0, 40.0), points(0.0, 10.0, y=20.0)
    branches = (
        TrueBranch(lad, np.full(81, 1.0), np.full(81, 1.5), ((0, 40, "pLAD"), (40, 81, "mLAD")), name="LAD", vessel="LAD"),
        TrueBranch(thin, np.full(21, 0.4), np.full(21, 0.9), ((0, 21, "other"),)),
    )
    return Truth(branches, ((0.0, 0.0, 0.0),), (), "right", ())


def lines() -> list[ResultLine]:
    """The first 30 mm found, all of it called pLAD, and 15 mm of nothing."""
    return [
        ResultLine(points(0.0, 30.0), np.full(61, "pLAD", dtype="<U8"), root=True),
        ResultLine(points(0.0, 15.0, y=-20.0), np.full(31, "D1", dtype="<U8"), root=False),
    ]


def length(kind: str) -> float:
    marked = marked_lines(truth().branches, lines())
    return sum(float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for name, line in marked if name == kind)


def test_every_stretch_is_marked_for_what_it_is() -> None:
    assert abs(length("right") - 20.0) <= 1.0
    assert abs(length("misnamed") - 10.0) <= 1.0
    assert abs(length("missed") - 9.0) <= 1.0
    assert abs(length("small") - 10.0) <= 1.0
    assert abs(length("false") - 15.0) <= 1.0
    texts = wrong_names(truth().branches, lines())
    assert [text for text, _ in texts] == ["pLAD, not mLAD"]
    assert 20.0 < texts[0][1][0, 0] < 30.0


def test_the_picture_has_the_colours_of_what_went_wrong(tmp_path: Path) -> None:
    case = Case(7, "noisy", conditions=("metal",), shares={"found_1_5mm": Share(31.0, 40.0)})
    draw_case(case, Seen(truth(), lines()), tmp_path / "cases" / "7.png")
    with Image.open(tmp_path / "cases" / "7.png") as picture:
        pixels = {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3)}
    assert set(COLOURS.values()) <= pixels


def test_only_the_worst_are_kept_and_those_of_earlier_runs_go(tmp_path: Path) -> None:
    cases = [Case(seed, "as-drawn", shares={"found_1_5mm": Share(found, 100.0)}) for seed, found in ((1, 99.0), (2, 50.0), (3, 80.0))]
    (tmp_path / "cases").mkdir()
    for case in cases:
        (tmp_path / "cases" / f"{case.seed}.png").write_bytes(b"picture")
    (tmp_path / "worst").mkdir()
    (tmp_path / "worst" / "old.png").write_bytes(b"old")
    kept = keep_worst(cases, pictures=tmp_path / "cases", out=tmp_path / "worst")
    assert [path.name for path in kept] == ["found_1_5mm-1-2.png", "found_1_5mm-2-3.png"]
    assert sorted(path.name for path in (tmp_path / "worst").iterdir()) == sorted(path.name for path in kept)


def test_the_tree_of_the_findings_is_measured() -> None:
    measures: dict[str, float | None] = {}
    shares: dict[str, Share] = {}
    tree_measures(truth(), lines(), measures, shares)
    assert shares["found_1_5mm"].whole == 40.0
    assert shares["found_1_5mm"].part == 31.25
    assert shares["ostia_within_2mm"].value == 1.0
    assert shares["name_accuracy"].value == 19.75 / 40.0
    assert measures["false_mm_per_case"] == 15.0
    assert measures["ostium_distance_mm"] == 0.0


def test_the_heart_is_located_where_the_box_holds_everything() -> None:
    whole = Geometry((10, 60, 100), (0.5, 0.5, 0.5), (-1.0, -2.0, -1.0))
    assert heart_located(truth(), whole) == 1.0
    assert heart_located(truth(), Geometry((10, 60, 70), (0.5, 0.5, 0.5), (-1.0, -2.0, -1.0))) == 0.0
    assert heart_located(truth(), None) == 0.0
