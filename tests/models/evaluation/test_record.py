"""Figures reach the catalog and the cards, and each network gets its own."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

from models.evaluation.cases import Case
from models.evaluation.measures import Share
from models.evaluation.record import MODELS, divide, record
from models.evaluation.tables import make_result


def result() -> dict[str, Any]:
    first = {"heart_located": 1.0, "dice_lv": 0.9, "lumen_dice": 0.8, "calcium_dice": None, "false_mm_per_case": 12.0}
    third = {"heart_located": 1.0, "dice_lv": 0.8, "lumen_dice": 0.6, "calcium_dice": None, "false_mm_per_case": 4.0}
    cases = [
        Case(1, "as-drawn", measures=first, shares={"name_accuracy": Share(9.0, 10.0)}),
        Case(2, "noisy", status="declined", code="DEC-101", measures={"heart_located": 0.0}),
        Case(3, "noisy", measures=third),
    ]
    return make_result(cases, kind="development")


def test_a_declined_case_counts_as_not_located() -> None:
    figure = result()["overall"]["heart_located"]
    assert (figure["median"], figure["mean"], figure["worst"], figure["low"], figure["high"], figure["n"]) == (
        1.0,
        0.6667,
        0.0,
        0.0,
        1.0,
        3,
    )
    assert result()["overall"]["declined"] == 1


def test_measures_go_to_the_network_that_they_belong_to() -> None:
    parts = divide(result())
    assert set(parts["heart-loc"]) == {"heart_located", "dice_lv"}
    assert set(parts["cor-seg"]) == {"lumen_dice", "false_mm_per_case"}
    assert parts["naming"] == ["name_accuracy"]


def test_figures_are_written_and_written_over(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "cards", tmp_path / "cards")
    shutil.copy(MODELS / "catalog.toml", tmp_path)
    (tmp_path / "cards" / "naming.md").write_text("no marks here\n", encoding="utf-8")
    for command in ("the first command", "the second command"):
        record(result(), command=command, models=tmp_path)
    card = (tmp_path / "cards" / "cor-seg.md").read_text(encoding="utf-8")
    assert "| Dice, coronary lumen | 0.7 | 0.7 |" in card
    assert "at least 0.88" in card
    assert "| noisy | 2 | 0.6 |" in card
    assert "1 were declined" in card
    assert "the second command" in card
    assert "the first command" not in card
    assert "Limits" in card
    assert (tmp_path / "cards" / "naming.md").read_text(encoding="utf-8") == "no marks here\n"
    entries = {entry["name"]: entry for entry in tomllib.loads((tmp_path / "catalog.toml").read_text(encoding="utf-8"))["model"]}
    assert entries["cor-seg"]["figures"]["lumen_dice"] == 0.7
    assert entries["heart-loc"]["figures"]["cases"] == 3
    assert "lumen_dice" not in entries["heart-loc"]["figures"]
