"""Putting measured figures where people read them: the catalog and the model cards."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from models.evaluation.tables import BY_NAME
from models.training.catalog_file import record_figures

MODELS = Path(__file__).resolve().parents[1]
STATISTICS = ("median", "mean", "worst")
_BLOCK = re.compile(r"<!-- figures -->.*?<!-- end of figures -->", re.DOTALL)


def record(result: dict[str, Any], *, command: str, models: Path = MODELS) -> None:
    """Write the medians into the catalog's figures, and a table into each card between its two figure marks.

    A network of which the catalog knows nothing is passed over, as is a card without the marks.
    """
    known = {entry["name"] for entry in tomllib.loads((models / "catalog.toml").read_text(encoding="utf-8"))["model"]}
    for name, measures in divide(result).items():
        if name not in known:
            continue
        origin = {"family": kind_of(result), "cases": result["overall"]["cases"], "statistic": "median", "data": "virtual patients"}
        values = {measure: result["overall"][measure]["median"] for measure in measures}
        record_figures(name, {**origin, **values}, catalog=models / "catalog.toml")
        card = models / "cards" / f"{name}.md"
        if card.exists():
            table = figures_table(result, measures, command=command)
            before, *after = _BLOCK.split(card.read_text(encoding="utf-8"), maxsplit=1)
            card.write_text(before + table + after[0] if after else before, encoding="utf-8")


def kind_of(result: dict[str, Any]) -> str:
    """The kind of family: development or test."""
    kind: str = result["families"][0]["kind"]
    return kind


def divide(result: dict[str, Any]) -> dict[str, list[str]]:
    """Which measures belong to which network; those that no case has are left out."""
    parts: dict[str, list[str]] = {}
    for name, measure in BY_NAME.items():
        if result["overall"].get(name, {}).get("n"):
            parts.setdefault(measure.network, []).append(name)
    return parts


def figures_table(result: dict[str, Any], measures: list[str], *, command: str) -> str:
    """A Markdown table of the measures, with where they come from, and below it how they differ between families."""
    overall, kind = result["overall"], kind_of(result)
    lines = [
        "<!-- figures -->",
        f"Measured on {overall['cases']} virtual patients of the {kind} families (not trained on, made by the same generator) with",
        f"`{command}`; the whole product was run on each of them. {overall['declined']} were declined and {overall['failed']} failed:",
        "these count as a result that shows nothing. 95 % interval of the mean by bootstrap over the patients.",
        "Synthetic figures: they say nothing about how well it reads patients.",
        "",
        "| measure | median | mean | 95 % | worst | n | wanted |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in measures:
        row, measure = overall[name], BY_NAME[name]
        wanted = "" if measure.reach is None else f"{'at most' if measure.high_is_bad else 'at least'} {measure.reach:g}"
        numbers = " | ".join(str(row[key]) for key in ("median", "mean"))
        lines.append(f"| {measure.meaning} | {numbers} | {row['low']} to {row['high']} | {row['worst']} | {row['n']} | {wanted} |")
    main = [name for name in measures if BY_NAME[name].reach is not None]
    if main and len(result["families"]) > 1:
        lines += ["", f"Means by family (`models/training/families.toml`): {', '.join(main)}.", ""]
        lines += ["| family | cases | " + " | ".join(main) + " |", "|---" * (len(main) + 2) + "|"]
        for family in result["families"]:
            lines.append(f"| {family['name']} | {family['cases']} | " + " | ".join(str(family[name]["mean"]) for name in main) + " |")
    return "\n".join([*lines, "<!-- end of figures -->"])
