"""Curves of a training run: a CSV file that grows, and a picture of its columns."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image, ImageDraw

_PANEL = (420, 240)
_MARGIN = 34
_POSITION = ("minutes", "steps", "drawn", "rendered")


class Curve:
    """Rows of named numbers in a CSV file; a file with other columns is begun anew beside a kept copy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, row: dict[str, float]) -> None:
        """Append a row."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = not self._path.exists()
        if not new and self._columns() != list(row):
            self._path.replace(self._path.with_suffix(".earlier.csv"))
            new = True
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row))
            if new:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})

    def rows(self) -> list[dict[str, float]]:
        """All rows so far."""
        if not self._path.exists():
            return []
        with self._path.open(encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    def draw(self, picture: Path) -> None:
        """Draw each column over the minutes, one panel each, as a PNG; nothing where there are fewer than two rows."""
        rows = self.rows()
        if len(rows) < 2:
            return
        names = [name for name in rows[0] if name not in _POSITION]
        columns = 3
        lines = -(-len(names) // columns)
        image = Image.new("RGB", (_PANEL[0] * columns, _PANEL[1] * lines), "white")
        minutes = [row["minutes"] for row in rows]
        for index, name in enumerate(names):
            corner = (_PANEL[0] * (index % columns), _PANEL[1] * (index // columns))
            _draw_panel(ImageDraw.Draw(image), corner, name, minutes, [row[name] for row in rows])
        image.save(picture)

    def _columns(self) -> list[str]:
        with self._path.open(encoding="utf-8") as file:
            return next(csv.reader(file))


def _draw_panel(draw: ImageDraw.ImageDraw, corner: tuple[int, int], name: str, minutes: list[float], values: list[float]) -> None:
    left, top = corner[0] + _MARGIN + 14, corner[1] + _MARGIN
    width, height = _PANEL[0] - 2 * _MARGIN, _PANEL[1] - 2 * _MARGIN
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    length = (minutes[-1] - minutes[0]) or 1.0
    points = [
        (left + width * (minute - minutes[0]) / length, top + height * (high - value) / span)
        for minute, value in zip(minutes, values, strict=True)
    ]
    draw.rectangle((left, top, left + width, top + height), outline="#999999")
    draw.line(points, fill="#1f5fa8", width=2)
    draw.text((left, top - 18), f"{name}: {values[-1]:.4g}", fill="black")
    draw.text((corner[0] + 2, top - 4), f"{high:.3g}", fill="black")
    draw.text((corner[0] + 2, top + height - 8), f"{low:.3g}", fill="black")
    draw.text((left, top + height + 4), f"{minutes[0]:.0f} to {minutes[-1]:.0f} min", fill="black")
