"""The table by family, condition and overall; the worst cases; and cases on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.evaluation.cases import Case
from models.evaluation.measures import Share
from models.evaluation.store import CaseStore, case_from, case_line
from models.evaluation.tables import KEPT, make_result, text_table, worst_cases


def case(seed: int, lumen: float, false_mm: float, *, family: str = "as-drawn", found: tuple[float, float] = (90.0, 100.0)) -> Case:
    return Case(
        seed,
        family,
        conditions=("metal",) if seed % 2 else (),
        measures={"lumen_dice": lumen, "false_mm_per_case": false_mm, "calcium_dice": None},
        shares={"found_1_5mm": Share(*found)},
        seconds={"analyze": 20.0},
    )


CASES = [
    case(1, 0.9, 3.0),
    case(2, 0.7, 30.0, found=(10.0, 300.0)),
    case(3, 0.8, 12.0, family="noisy"),
    Case(4, "noisy", status="rightly_declined", code="DEC-102"),
]


def test_every_family_and_condition_has_its_row() -> None:
    result = make_result(CASES, kind="test", commit="abc")
    assert [(row["name"], row["kind"], row["cases"]) for row in result["families"]] == [("as-drawn", "test", 2), ("noisy", "test", 2)]
    assert result["families"][0]["lumen_dice"]["median"] == pytest.approx(0.8)
    assert [(row["name"], row["cases"], row["lumen_dice"]["n"]) for row in result["groups"]] == [("metal", 2, 2)]
    assert result["overall"]["rightly_declined"] == 1
    assert result["overall"]["lumen_dice"]["n"] == 3
    assert result["commit"] == "abc"
    assert json.loads(json.dumps(result)) == result
    assert set(KEPT) <= set(result["overall"]), "a measure without a case is there, and says so"
    assert result["overall"]["calcium_dice"]["median"] is None
    assert result["overall"]["calcium_dice"]["n"] == 0
    assert "notice" not in result
    assert "never quote" in make_result(CASES, kind="development", quick=True)["notice"]


def test_a_share_is_pooled_over_all_lengths() -> None:
    found = make_result(CASES, kind="test")["overall"]["found_1_5mm"]
    assert found["median"] == 0.9
    assert found["worst"] == pytest.approx(10 / 300, abs=1e-4)
    assert found["pooled"] == pytest.approx((90 + 10 + 90) / 500)


def test_the_worst_come_first_and_only_those_that_fall_short() -> None:
    assert [each.seed for each in worst_cases(CASES, "lumen_dice")] == [2, 3]
    assert [each.seed for each in worst_cases(CASES, "false_mm_per_case")] == [2, 3]
    assert worst_cases(CASES, "plaque_type_accuracy") == []


def test_the_text_says_what_is_wanted() -> None:
    text = text_table(make_result(CASES, kind="test"))
    assert "4 cases, declined 0, failed 0" in text
    assert ">=0.88" in text
    assert "noisy" in text


def test_cases_survive_the_disk(tmp_path: Path) -> None:
    path, weights = tmp_path / "new" / "cases.jsonl", {"cor-seg": "1234"}
    store = CaseStore(path, weights=weights, resume=True)
    for each in CASES[:2]:
        store.add(each)
    assert case_from(case_line(CASES[0])) == CASES[0]
    with path.open("a", encoding="utf-8") as file:
        file.write(case_line(CASES[2])[:40])  # the machine went down here
    again = CaseStore(path, weights=weights, resume=True)
    assert again.cases == CASES[:2]
    again.add(CASES[3])
    assert CaseStore(path, weights=weights, resume=True).cases == [*CASES[:2], CASES[3]]


def test_cases_of_other_weights_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    CaseStore(path, weights={"cor-seg": "1234"}, resume=False).add(CASES[0])
    with pytest.raises(ValueError, match="other weights"):
        CaseStore(path, weights={"cor-seg": "9"}, resume=True)
    assert CaseStore(path, weights={"cor-seg": "9"}, resume=False).cases == []
