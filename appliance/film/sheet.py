"""A sheet of film: a black page measured in millimetres on which pictures and words are set, whatever the printer's matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from appliance.fonts import SIMPLIFIED_CHINESE, Weight, cjk_font
from appliance.study import KeyView

WHITE, GREY, DIM = 255, 190, 96


class Area(NamedTuple):
    """A rectangle on the sheet in mm from its upper left corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.top + self.height

    def rows(self, *heights: float, gap: float = 0.0) -> list[Area]:
        """The area cut into rows from the top; the last one takes what is left when its height is 0."""
        out, top = [], self.top
        for height in heights:
            taken = height or self.bottom - top
            out.append(Area(self.left, top, self.width, taken))
            top += taken + gap
        return out

    def columns(self, *widths: float, gap: float = 0.0) -> list[Area]:
        """The area cut into columns from the left; the last one takes what is left when its width is 0."""
        out, left = [], self.left
        for width in widths:
            taken = width or self.right - left
            out.append(Area(left, self.top, taken, self.height))
            left += taken + gap
        return out

    def grid(self, count: int, aspect: float, *, gap: float, columns: int | None = None, from_top: bool = False) -> list[Area]:
        """``count`` equal cells of ``aspect`` (width / height), row by row, with as many columns as make them largest.

        The block of cells stands in the middle of the area, or at its top.
        """

        def fitting(number: int) -> float:
            rows = -(-count // number)
            return min((self.width - gap * (number - 1)) / number, (self.height - gap * (rows - 1)) / rows * aspect)

        across = columns or max(range(1, count + 1), key=fitting)
        down = -(-count // across)
        width = (self.width - gap * (across - 1)) / across
        height = fitting(across) / aspect
        top = self.top if from_top else self.top + (self.height - down * height - gap * (down - 1)) / 2
        return [Area(self.left + (k % across) * (width + gap), top + (k // across) * (height + gap), width, height) for k in range(count)]


@lru_cache(maxsize=64)
def typeface(size: int, weight: Weight) -> ImageFont.FreeTypeFont:
    """Noto Sans CJK SC in ``size`` pixels.

    Raises:
        ImagingError: IMG-010, the typeface is not installed.
    """
    return ImageFont.truetype(str(cjk_font(weight)), size, index=SIMPLIFIED_CHINESE)


@dataclass(frozen=True)
class Sheet:
    """A page being set: ``image`` in grey, ``scale`` in pixels per mm."""

    image: Image.Image
    scale: float

    @classmethod
    def blank(cls, page_pixels: tuple[int, int], width_mm: float) -> Sheet:
        """A black sheet of (columns, rows) pixels that is ``width_mm`` wide."""
        return cls(Image.new("L", page_pixels, 0), page_pixels[0] / width_mm)

    @property
    def draw(self) -> ImageDraw.ImageDraw:
        """Pen on the sheet, in pixels."""
        return ImageDraw.Draw(self.image)

    def px(self, millimetres: float) -> int:
        """Pixels of a length."""
        return round(millimetres * self.scale)

    def width_of(self, text: str, size: float, weight: Weight = "Regular") -> float:
        """Width of a text in mm; ``size`` is the letter height in mm."""
        return float(typeface(max(self.px(size), 6), weight).getlength(text)) / self.scale

    def text(
        self, left: float, top: float, text: str, *, size: float, shade: int = WHITE, anchor: str = "la", weight: Weight = "Regular"
    ) -> None:
        """Text at a place in mm; ``size`` in mm; ``anchor`` as in Pillow."""
        self.draw.text((self.px(left), self.px(top)), text, font=typeface(max(self.px(size), 6), weight), fill=shade, anchor=anchor)

    def fitted(self, area: Area, text: str, *, size: float, shade: int = WHITE, weight: Weight = "Regular", anchor: str = "lm") -> None:
        """One line of text in the middle of an area; where it is too wide it is made smaller, and then cut short with an ellipsis."""
        pixels = self.px(area.width)
        face = typeface(max(self.px(size), 6), weight)
        smallest = max(int(self.px(size) * 0.62), 6)
        while face.size > smallest and face.getlength(text) > pixels:
            face = typeface(int(face.size) - 1, weight)
        while len(text) > 1 and face.getlength(text) > pixels:
            text = text[:-2].rstrip() + "…"
        left = {"l": area.left, "m": area.left + area.width / 2, "r": area.right}[anchor[0]]
        self.draw.text((self.px(left), self.px(area.top + area.height / 2)), text, font=face, fill=shade, anchor=anchor)

    def line(self, points: Sequence[tuple[float, float]], *, shade: int = DIM, width: float = 0.25) -> None:
        """A line through places in mm."""
        self.draw.line([(self.px(x), self.px(y)) for x, y in points], fill=shade, width=max(self.px(width), 1))

    def picture(self, area: Area, view: KeyView) -> None:
        """The whole picture, as large as the area allows, in its middle."""
        grey = Image.fromarray(film_grey(view))
        factor = min(self.px(area.width) / grey.width, self.px(area.height) / grey.height)
        size = (max(round(grey.width * factor), 1), max(round(grey.height * factor), 1))
        grey = grey.resize(size, Image.Resampling.LANCZOS)
        left = self.px(area.left + area.width / 2) - size[0] // 2
        top = self.px(area.top + area.height / 2) - size[1] // 2
        self.image.paste(grey, (left, top))

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """uint8, shape (rows, columns), 0 black."""
        return np.asarray(self.image).copy()


def film_grey(view: KeyView) -> NDArray[np.uint8]:
    """A picture in grey for film.

    A CT picture keeps its grey values, and its coloured marks become white. A volume rendering is red on black: its channels are weighed
    so that vessels stand out from muscle, and it is stretched to the film's whole range.
    """
    rgb = view.image.astype(np.float32)
    if view.kind not in ("vr_heart", "vr_tree"):
        return np.asarray(rgb.max(axis=2), np.uint8)
    grey = rgb @ np.array([0.42, 0.46, 0.12], np.float32)
    lit = grey[grey > 16]
    top = float(np.percentile(lit, 99.3)) if lit.size else 255.0
    stretched = np.clip(grey / max(top, 64.0), 0, 1) ** 0.85 * 255
    return np.asarray(stretched, np.uint8)
