"""Figures reach the catalog and the cards, and each network gets its own."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from models.evaluation.__main__ import make_result
from models.evaluation.cases import Case
from models.evaluation.record import MODELS, divide, record


def result() -> dict[str, object]:
    cases = [
        Case(seed=1, measures={"heart_located": 1.0, "dice_lv": 0.9, "lumen_dice": 0.8, "calcium_dice": None, "false_mm_per_case": 12.0}),
        Case(seed=2, measures={"heart_located": 0.0}, declined="DEC-101"),
        Case(seed=3, measures={"heart_located": 1.0, "dice_lv": 0.8, "lumen_dice": 0.6, "calcium_dice": None, "false_mm_per_case": 4.0}),
    ]
    return make_result(cases, family="development", quick=False, engine="test")


def test_a_declined_case_counts_as_not_located_and_has_no_other_measure() -> None:
    table = result()["overall"]
    assert isinstance(table, dict)
    assert table["heart_located"] == {"median": 1.0, "mean": 0.6667, "worst": 0.0, "low": 0.0, "high": 1.0, "n": 3}
    assert (table["lumen_dice"]["median"], table["lumen_dice"]["n"]) == (0.7, 2)
    assert table["false_mm_per_case"]["worst"] == 12.0
    assert table["calcium_dice"]["n"] == 0


def test_measures_go_to_the_network_that_they_belong_to() -> None:
    assert divide(result()) == {"heart-loc": ["heart_located", "dice_lv"], "cor-seg": ["lumen_dice", "false_mm_per_case"]}


def test_figures_are_written_and_written_over(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "cards", tmp_path / "cards")
    shutil.copy(MODELS / "catalog.toml", tmp_path)
    for command in ("the first command", "the second command"):
        record(result(), command=command, models=tmp_path)
    card = (tmp_path / "cards" / "cor-seg.md").read_text(encoding="utf-8")
    assert "| Dice, coronary lumen | 0.7 | 0.7 |" in card
    assert "the second command" in card
    assert "the first command" not in card
    assert "Limits" in card
    entries = {entry["name"]: entry for entry in tomllib.loads((tmp_path / "catalog.toml").read_text(encoding="utf-8"))["model"]}
    assert entries["cor-seg"]["figures"]["lumen_dice"] == 0.7
    assert entries["heart-loc"]["figures"]["cases"] == 3
    assert "lumen_dice" not in entries["heart-loc"]["figures"]
