"""Marks and words on pictures: arrows, segment borders, scale bars, orientation letters and captions.

Everything is small and keeps off the vessel. White and grey are for words and measures; colour is only for a lesion's degree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from appliance.degrees import degree_unknown
from appliance.findings import Grade, Lesion, percent_as_read
from appliance.fonts import SIMPLIFIED_CHINESE, Weight, cjk_font

Float = NDArray[np.float64]
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

WHITE: Colour = (240, 240, 240)
GREY: Colour = (196, 203, 210)
GRADE_COLOUR: dict[Grade, Colour] = {
    "none": (205, 214, 222),
    "minimal": (205, 214, 222),
    "mild": (250, 226, 120),
    "moderate": (255, 184, 76),
    "severe": (255, 132, 100),
    "occluded": (255, 132, 100),
}
GRADE_TEXT: dict[Grade, tuple[str, str]] = {
    "none": ("斑块，无狭窄", "plaque, no stenosis"),
    "minimal": ("轻微", "minimal"),
    "mild": ("轻度", "mild"),
    "moderate": ("中度", "moderate"),
    "severe": ("重度", "severe"),
    "occluded": ("闭塞", "occluded"),
}


@lru_cache(maxsize=32)
def typeface(size: int, weight: Weight = "Regular") -> ImageFont.FreeTypeFont:
    """Noto Sans CJK SC in ``size`` pixels.

    Raises:
        ImagingError: IMG-010, the typeface is not installed.
    """
    return ImageFont.truetype(str(cjk_font(weight)), size, index=SIMPLIFIED_CHINESE)


def lesion_label(lesion: Lesion) -> str:
    """Segment, diameter stenosis in whole percent and degree, e.g. ``pLAD 62% 中度``; a corrected degree stands without the percentage."""
    name = lesion.segment if lesion.segment != "other" else f"{lesion.vessel if lesion.vessel != 'other' else ''} 分支".strip()
    percent = lesion.diameter_stenosis_percent
    if degree_unknown(lesion):
        return f"{name} 程度无法评价 degree not assessable"
    zh, en = GRADE_TEXT[lesion.grade]
    if lesion.grade_source == "corrected":
        return f"{name} {zh}（人工修改）"
    if percent is None:
        return f"{name} {zh} {en}"
    if lesion.grade == "none":
        return f"{name} 斑块 plaque"
    return f"{name} {percent_as_read(percent)} {zh}"


@dataclass
class Canvas:
    """A picture that is being annotated.

    ``taken`` are boxes (left, top, right, bottom) that words must not cover; ``keep_off`` adds points, e.g. of the vessel.
    """

    image: Image.Image
    scale: float = 1.0
    taken: list[Box] = field(default_factory=list)

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], *, scale: float = 1.0) -> Canvas:
        """Canvas on a copy of grey (h, w) or RGB (h, w, 3) pixels; ``scale`` enlarges words and lines."""
        return cls(Image.fromarray(pixels).convert("RGB"), scale)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """uint8 RGB, shape (height, width, 3)."""
        return np.asarray(self.image).copy()

    @property
    def draw(self) -> ImageDraw.ImageDraw:
        """Pen on the picture."""
        return ImageDraw.Draw(self.image)

    def keep_off(self, points: Float, margin: float) -> None:
        """Words must stay ``margin`` pixels away from ``points``, (row, column) each."""
        for row, column in np.asarray(points)[:, :2]:
            self.taken.append((column - margin, row - margin, column + margin, row + margin))

    def size_of(self, text: str, size: float, weight: Weight = "Regular") -> tuple[float, float]:
        """Width and height of a text in pixels."""
        left, top, right, bottom = typeface(round(size * self.scale), weight).getbbox(text, anchor="ls")
        return right - left, bottom - top

    def text(
        self,
        place: tuple[float, float],
        text: str,
        *,
        size: float = 15,
        colour: Colour = WHITE,
        anchor: str = "la",
        weight: Weight = "Regular",
    ) -> None:
        """Text at (column, row) with a dark rim that keeps it legible on contrast, also where a film shows the picture at half its size."""
        font = typeface(round(size * self.scale), weight)
        rim = max(round(2 * self.scale), 1)
        self.draw.text(place, text, font=font, fill=colour, anchor=anchor, stroke_width=rim, stroke_fill=(0, 0, 0))
        left, top, right, bottom = self.draw.textbbox(place, text, font=font, anchor=anchor)
        self.taken.append((left, top, right, bottom))

    def caption(self, zh: str, en: str) -> None:
        """The picture's name in the upper left corner."""
        inset = 10 * self.scale
        self.text((inset, inset * 0.7), zh, size=17)
        self.text((inset, inset * 0.7 + 22 * self.scale), en, size=13, colour=GREY)

    def footer(self, text: str) -> None:
        """Small words in the lower left corner."""
        inset = 10 * self.scale
        self.text((inset, self.image.height - inset * 0.7), text, size=13, colour=GREY, anchor="ld")

    def scale_bar(self, millimetres: float, spacing_mm: float) -> None:
        """A bar of that length with its length in words, lower right corner."""
        length = millimetres / spacing_mm
        right, bottom = self.image.width - 12 * self.scale, self.image.height - 12 * self.scale
        tick = 4 * self.scale
        line = [(right - length, bottom - tick), (right - length, bottom), (right, bottom), (right, bottom - tick)]
        self._line(line, WHITE, 1.6)
        self.text((right - length / 2, bottom - 5 * self.scale), f"{millimetres:g} mm", size=13, anchor="md")

    def orientation(self, across: Float | None, down: Float | None) -> None:
        """Letters at the edges for the patient's sides (PS3.3 C.7.6.1.1.1), where the picture's axes have one direction."""
        width, height, inset = self.image.width, self.image.height, 8 * self.scale
        if across is not None:
            self.text((inset, height / 2), side_letters(-across), size=15, colour=GREY, anchor="lm")
            self.text((width - inset, height / 2), side_letters(across), size=15, colour=GREY, anchor="rm")
        if down is not None:
            self.text((width / 2, inset * 0.6), side_letters(-down), size=15, colour=GREY, anchor="ma")
            self.text((width / 2, height - inset * 0.6), side_letters(down), size=15, colour=GREY, anchor="md")

    def arrow(
        self, tip: tuple[float, float], direction: tuple[float, float], text: str, colour: Colour, *, gap: float, length: float = 34
    ) -> None:
        """An arrow that ends ``gap`` pixels before ``tip`` (column, row), coming from ``direction``, with a label at its tail.

        The side is turned where the label would lie outside the picture or on something else.
        """
        size = 16.0
        wide, high = self.size_of(text, size)
        best, best_cost = None, np.inf
        for turn in (0, 20, -20, 180, 40, -40, 160, 200, 70, -70, 140, 220, 100, -100):
            angle = np.radians(turn)
            dx = direction[0] * np.cos(angle) - direction[1] * np.sin(angle)
            dy = direction[0] * np.sin(angle) + direction[1] * np.cos(angle)
            for reach in (length, 1.7 * length, 2.6 * length):
                tail = (tip[0] + dx * (gap + reach * self.scale), tip[1] + dy * (gap + reach * self.scale))
                left = tail[0] + 5 * self.scale if dx >= 0 else tail[0] - 5 * self.scale - wide
                box = (left, tail[1] - high * 0.7, left + wide, tail[1] + high * 0.7)
                cost = self._cost(box) + abs((turn + 180) % 360 - 180) * 0.3 + reach * 0.5
                if cost < best_cost:
                    best, best_cost = (dx, dy, tail, left), cost
        assert best is not None  # noqa: S101 - the loop always finds one
        dx, dy, tail, left = best
        point = (tip[0] + dx * gap, tip[1] + dy * gap)
        head = 9 * self.scale
        self._line([tail, (point[0] + dx * head * 0.7, point[1] + dy * head * 0.7)], colour, 1.8)
        wing = [(point[0] + dx * head + s * dy * head * 0.42, point[1] + dy * head - s * dx * head * 0.42) for s in (1, -1)]
        self.draw.polygon([point, *wing], fill=colour, outline=(0, 0, 0))
        self.keep_off(np.linspace(point, tail, 8)[:, ::-1], head / 2)
        self.text((left, tail[1]), text, size=size, colour=colour, anchor="lm")

    def name_beside(
        self, place: tuple[float, float], direction: tuple[float, float], text: str, *, gap: float, colour: Colour = GREY, size: float = 14
    ) -> bool:
        """A name beside a place (column, row), on the side of ``direction``, else on the other; left out (False) where both are taken."""
        wide, high = self.size_of(text, size)
        for sign in (1, -1):
            for more in (1.0, 1.6, 2.3):
                reach = gap * more
                middle = (place[0] + sign * direction[0] * (reach + wide / 2), place[1] + sign * direction[1] * (reach + high / 2))
                box = (middle[0] - wide / 2, middle[1] - high * 0.8, middle[0] + wide / 2, middle[1] + high * 0.8)
                if self._cost(box) == 0:
                    self.text(middle, text, size=size, colour=colour, anchor="mm")
                    return True
        return False

    def tick(
        self, place: tuple[float, float], direction: tuple[float, float], *, gap: float, length: float = 8, colour: Colour = WHITE
    ) -> None:
        """A short stroke on both sides of a place (column, row), at right angles to the vessel, leaving ``gap`` pixels free."""
        for sign in (1, -1):
            near = (place[0] + sign * direction[0] * gap, place[1] + sign * direction[1] * gap)
            reach = gap + length * self.scale
            self._line([near, (place[0] + sign * direction[0] * reach, place[1] + sign * direction[1] * reach)], colour, 1.4)

    def _line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        thick = max(round(width * self.scale), 1)
        self.draw.line(list(points), fill=(0, 0, 0), width=thick + 2, joint="curve")
        self.draw.line(list(points), fill=colour, width=thick, joint="curve")

    def _cost(self, box: Box) -> float:
        """How much of the box lies outside the picture or on something taken; 0 where it is free."""
        left, top, right, bottom = box
        outside = max(0, 4 - left) + max(0, right + 4 - self.image.width) + max(0, 4 - top) + max(0, bottom + 4 - self.image.height)
        hits = sum(left < b[2] and right > b[0] and top < b[3] and bottom > b[1] for b in self.taken)
        return 20.0 * outside + 25.0 * hits


def side_letters(direction: Float) -> str:
    """Patient side of an LPS direction: up to two of R L A P H F, the leading one first."""
    names = (("R", "L"), ("A", "P"), ("F", "H"))
    order = np.argsort(-np.abs(direction))
    letters = [names[axis][int(direction[axis] > 0)] for axis in order if abs(direction[axis]) > 0.38]
    return "".join(letters[:2])


def across_vessel(curve: Float, at: int, reach: int = 12) -> tuple[float, float]:
    """Unit (column, row) direction at right angles to a curve of (row, column) points, pointing to the right (down where level)."""
    low, high = max(at - reach, 0), min(at + reach, len(curve) - 1)
    row, column = curve[high] - curve[low]
    length = float(np.hypot(row, column))
    if length < 1e-6:
        return 1.0, 0.0
    x, y = float(row / length), float(-column / length)
    return (x, y) if (x, y) >= (0.0, 0.0) else (-x, -y)
