"""Words and marks on pictures."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ImagingError
from appliance.findings import whole_percent
from appliance.fonts import cjk_font
from appliance.imaging.annotate import Canvas, across_vessel, lesion_label, side_letters
from tests.appliance.imaging.made_study import branch_of, lesion_of, on_ball

BRANCH = branch_of(1, "LAD", on_ball((0, 40), (0, -40), 30.0), ("pLAD",), None, 3.0)


def test_missing_typeface_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(ImagingError) as caught:
        cjk_font(folders=(tmp_path,))
    assert caught.value.code == "IMG-010"
    assert "fonts-noto-cjk" in caught.value.en


@given(st.floats(0, 100))
def test_whole_percent_never_crosses_a_border_of_the_degrees(percent: float) -> None:
    bands = (25, 50, 70, 100)
    assert sum(whole_percent(percent) >= border for border in bands) == sum(percent >= border for border in bands)
    assert abs(whole_percent(percent) - percent) < 1


def test_label_says_what_was_measured() -> None:
    assert lesion_label(lesion_of(0, BRANCH, 40, 62.4, "pLAD")) == "pLAD 62% 中度"
    assert lesion_label(lesion_of(0, BRANCH, 40, None, "pLAD")) == "pLAD 中度 moderate"
    corrected = msgspec.structs.replace(lesion_of(0, BRANCH, 40, 62.4, "pLAD"), grade="severe", grade_source="corrected")
    assert lesion_label(corrected) == "pLAD 重度（人工修改）"
    plaque = msgspec.structs.replace(lesion_of(0, BRANCH, 40, 0.0, "pLAD"), grade="none")
    assert lesion_label(plaque) == "pLAD 斑块 plaque"
    assert lesion_label(lesion_of(0, BRANCH, 40, 80.0, "other")) == "LAD 分支 80% 中度"
    unread = msgspec.structs.replace(lesion_of(0, BRANCH, 40, None, "pLAD"), grade="none")
    assert lesion_label(unread) == "pLAD 程度无法评价 degree not assessable"
    assert lesion_label(msgspec.structs.replace(unread, grade_source="corrected")) == "pLAD 斑块，无狭窄（人工修改）"


@pytest.mark.parametrize(
    ("direction", "letters"), [((1, 0, 0), "L"), ((0, -1, 0), "A"), ((0, 0, 1), "H"), ((-0.8, 0.6, 0), "RP"), ((0.5, 0.5, -0.7), "FL")]
)
def test_letters_name_the_patients_sides(direction: tuple[float, float, float], letters: str) -> None:
    assert set(side_letters(np.array(direction))) == set(letters)


@pytest.mark.parametrize("tip", [(20.0, 20.0), (380.0, 150.0), (200.0, 290.0), (200.0, 150.0)])
def test_arrow_and_label_leave_the_vessel_free_and_stay_inside(tip: tuple[float, float]) -> None:
    canvas = Canvas.of(np.zeros((300, 400), np.uint8))
    canvas.arrow(tip, (1.0, 0.0), "pLAD 62%", (255, 184, 76), gap=8.0)
    drawn = canvas.pixels.sum(axis=2) > 0
    rows, columns = np.nonzero(drawn)
    assert len(rows) > 150
    assert np.hypot(rows - tip[1], columns - tip[0]).min() > 6
    left, top, right, bottom = canvas.taken[-1]
    assert left >= 0
    assert top >= 0
    assert right <= 400
    assert bottom <= 300


def test_names_give_way_to_what_is_there() -> None:
    canvas = Canvas.of(np.zeros((200, 200), np.uint8))
    canvas.keep_off(np.array([[100.0, column] for column in range(0, 200, 4)]), 60)
    assert not canvas.name_beside((100, 100), (0.0, 1.0), "mLAD", gap=4)
    assert canvas.pixels.max() == 0


def test_names_keep_off_arrows() -> None:
    canvas = Canvas.of(np.zeros((200, 200), np.uint8))
    canvas.arrow((100.0, 100.0), (1.0, 0.0), "pLAD 62%", (255, 184, 76), gap=8.0)
    before = canvas.pixels
    assert canvas.name_beside((100, 100), (1.0, 0.0), "LAD", gap=12)
    left, top, right, bottom = (round(side) for side in canvas.taken[-1])
    assert before[top:bottom, left:right].max() == 0


def test_scale_bar_has_its_length() -> None:
    canvas = Canvas.of(np.zeros((200, 300), np.uint8))
    canvas.scale_bar(10.0, 0.1)
    columns = np.nonzero(canvas.pixels[186:190].max(axis=(0, 2)) > 200)[0]
    assert np.ptp(columns) == pytest.approx(100, abs=3)


def test_across_is_at_right_angles_to_the_curve() -> None:
    curve = np.stack([np.arange(50.0), 2 * np.arange(50.0)], axis=1)
    column, row = across_vessel(curve, 25)
    assert column * 2 + row * 1 == pytest.approx(0)
    assert column > 0
