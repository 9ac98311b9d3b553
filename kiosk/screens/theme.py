"""Colours and sizes: a calm dark theme for a reading room, one scale for every screen size."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk.views.review import ShownGrade
from kiosk.views.worklist import Tone

Colour = tuple[float, float, float, float]


def colour(hexadecimal: str, alpha: float = 1.0) -> Colour:
    """``"1a2b3c"`` as Kivy wants it."""
    red, green, blue = (int(hexadecimal[index : index + 2], 16) / 255 for index in (0, 2, 4))
    return (red, green, blue, alpha)


BACKGROUND = colour("0a0d12")
BAR = colour("10151c")
PANEL = colour("141a22")
RAISED = colour("1d2530")
RAISED_PRESSED = colour("2a3544")
LINE = colour("263040")
TEXT = colour("eaf0f6")
MUTED = colour("9aa9ba")
FAINT = colour("65758a")
ACCENT = colour("4aa8ff")
ACCENT_DEEP = colour("1463b8")
ACCENT_PRESSED = colour("0f4e92")
GOOD = colour("3fcf8e")
WARNING = colour("f6bd45")
WARNING_DEEP = colour("3a2c08")
BAD = colour("ff6b6b")
BAD_DEEP = colour("4a1518")
INK = colour("0a0d12")
BLACK = colour("000000")
CLEAR: Colour = (0.0, 0.0, 0.0, 0.0)
SHADE = colour("04060a", 0.78)

# Severity runs from green over yellow and orange to red and magenta; the text on a chip is dark on light colours and white on deep ones.
CATEGORY_COLOUR: dict[str, Colour] = {
    "0": colour("3fcf8e"),
    "1": colour("a4d65e"),
    "2": colour("f0d24c"),
    "3": colour("f79a3e"),
    "4A": colour("ee5a3a"),
    "4B": colour("dd2f4b"),
    "5": colour("b5179e"),
    "N": colour("7d8ea3"),
}
CATEGORY_INK: dict[str, Colour] = {"4A": TEXT, "4B": TEXT, "5": TEXT}
GRADE_COLOUR: dict[ShownGrade, Colour] = {
    "unknown": CATEGORY_COLOUR["N"],
    "none": CATEGORY_COLOUR["0"],
    "minimal": CATEGORY_COLOUR["1"],
    "mild": CATEGORY_COLOUR["2"],
    "moderate": CATEGORY_COLOUR["3"],
    "severe": CATEGORY_COLOUR["4A"],
    "occluded": CATEGORY_COLOUR["5"],
}
GRADE_INK: dict[ShownGrade, Colour] = {"severe": TEXT, "occluded": TEXT}
TONE_COLOUR: dict[Tone, Colour] = {"todo": ACCENT, "working": TEXT, "done": GOOD, "caution": WARNING, "trouble": BAD, "quiet": MUTED}

DESIGN_WIDTH, DESIGN_HEIGHT = 1280, 800


@dataclass(frozen=True)
class Scale:
    """Design pixels (at 1280 x 800) to window pixels."""

    factor: float

    @classmethod
    def for_window(cls, width: float, height: float) -> Scale:
        """The scale at which the whole design fits the window."""
        return cls(factor=max(min(width / DESIGN_WIDTH, height / DESIGN_HEIGHT), 0.5))

    def __call__(self, design_pixels: float) -> int:
        """Whole window pixels, at least 1 for a positive size."""
        return max(round(design_pixels * self.factor), 1) if design_pixels > 0 else round(design_pixels * self.factor)


# type sizes in design pixels; nothing that matters is below 15, which is 4 mm on a 15 inch screen
TINY, SMALL, BODY, LARGE, TITLE, HUGE = 14, 16, 19, 23, 28, 58
GAP, PAD, RADIUS = 12, 16, 12
TOUCH = 56
"""Smallest height of something to tap."""
