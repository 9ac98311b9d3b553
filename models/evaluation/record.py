"""Putting measured figures where people read them: the catalog and the model cards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from models.training.catalog_file import record_figures

MODELS = Path(__file__).resolve().parents[1]
MEANINGS = {
    "heart_located": "heart located (fine box holds all coronary length and both ostia)",
    "lumen_dice": "Dice, coronary lumen",
    "coronary_dice": "Dice, lumen, wall and calcium together",
    "calcium_dice": "Dice, coronary calcium (patients who have some)",
    "vein_dice": "Dice, cardiac veins",
    "cl_dice": "clDice",
    "found_1_5mm": "found: share of the length of vessels of 1.5 mm and more",
    "false_mm_per_case": "false: mm of result per case that is no coronary",
}
_BLOCK = re.compile(r"<!-- figures -->.*?<!-- end of figures -->", re.DOTALL)


def record(result: dict[str, Any], *, command: str, models: Path = MODELS) -> None:
    """Write the medians into the catalog's figures, and a table into each card between its two figure marks."""
    for name, measures in divide(result).items():
        family = result["families"][0]
        origin = {"family": family["name"], "cases": family["cases"], "statistic": "median", "data": "virtual patients"}
        values = {measure: result["overall"][measure]["median"] for measure in measures}
        record_figures(name, {**origin, **values}, catalog=models / "catalog.toml")
        card = models / "cards" / f"{name}.md"
        table = figures_table(result, measures, command=command)
        before, after = _BLOCK.split(card.read_text(encoding="utf-8"), maxsplit=1)
        card.write_text(before + table + after, encoding="utf-8")


def divide(result: dict[str, Any]) -> dict[str, list[str]]:
    """Which measures belong to which network; those that no case has are left out."""
    known = [name for name, values in result["overall"].items() if values["n"]]
    heart = [name for name in known if name.startswith("dice_") or name == "heart_located"]
    return {"heart-loc": heart, "cor-seg": [name for name in known if name not in heart]}


def figures_table(result: dict[str, Any], measures: list[str], *, command: str) -> str:
    """A Markdown table of the measures, with where they come from."""
    family = result["families"][0]
    lines = [
        "<!-- figures -->",
        f"Measured on {family['cases']} virtual patients of the {family['name']} family (not trained on, made by the same generator) with",
        f"`{command}`; 95 % interval of the mean by bootstrap over the cases.",
        "Synthetic figures: they say nothing about how well it reads patients.",
        "",
        "| measure | median | mean | 95 % | worst | n |",
        "|---|---|---|---|---|---|",
    ]
    for name in measures:
        row = result["overall"][name]
        text = MEANINGS.get(name, "Dice, " + name.removeprefix("dice_").replace("_", " "))
        lines.append(f"| {text} | {row['median']} | {row['mean']} | {row['low']} to {row['high']} | {row['worst']} | {row['n']} |")
    return "\n".join([*lines, "<!-- end of figures -->"])
