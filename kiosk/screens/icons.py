"""Line icons drawn on the canvas, so that they are sharp at every scale and need no font."""

from __future__ import annotations

import math
from typing import Literal

from kivy.graphics import Color, InstructionGroup, SmoothLine
from kivy.uix.widget import Widget

from kiosk.screens import theme
from kiosk.screens.theme import Colour, Scale

IconName = Literal["back", "next", "check", "undo", "warning", "printer", "archive", "erase", "leave", "wait", "heart", "search", "close"]
Stroke = tuple[tuple[float, float], ...]


def _arc(cx: float, cy: float, radius: float, start: float, end: float, steps: int = 24) -> Stroke:
    """Part of a circle in degrees, counter-clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return tuple((cx + radius * math.cos(angle), cy + radius * math.sin(angle)) for angle in angles)


def _heart(begin: float, steps: int = 24) -> Stroke:
    """Half of the heart curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t from t = ``begin``, in the unit square."""
    points = []
    for step in range(steps + 1):
        t = begin + math.pi * step / steps
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((0.5 + x / 38, 0.54 + y / 38))
    return tuple(points)


# strokes in a unit square, y upwards
STROKES: dict[IconName, tuple[Stroke, ...]] = {
    "back": (((0.62, 0.85), (0.28, 0.5), (0.62, 0.15)),),
    "next": (((0.38, 0.85), (0.72, 0.5), (0.38, 0.15)),),
    "check": (((0.14, 0.5), (0.4, 0.24), (0.88, 0.76)),),
    "undo": (((0.38, 0.9), (0.14, 0.66), (0.38, 0.42)), ((0.14, 0.66), (0.6, 0.66), *_arc(0.6, 0.41, 0.25, 90, -90), (0.32, 0.16))),
    "warning": (((0.5, 0.9), (0.94, 0.12), (0.06, 0.12), (0.5, 0.9)), ((0.5, 0.62), (0.5, 0.38)), ((0.5, 0.25), (0.5, 0.23))),
    "printer": (
        ((0.28, 0.62), (0.28, 0.9), (0.72, 0.9), (0.72, 0.62)),
        ((0.28, 0.28), (0.1, 0.28), (0.1, 0.62), (0.9, 0.62), (0.9, 0.28), (0.72, 0.28)),
        ((0.28, 0.42), (0.72, 0.42), (0.72, 0.08), (0.28, 0.08), (0.28, 0.42)),
    ),
    "archive": (
        ((0.1, 0.72), (0.1, 0.92), (0.9, 0.92), (0.9, 0.72), (0.1, 0.72)),
        ((0.16, 0.72), (0.16, 0.1), (0.84, 0.1), (0.84, 0.72)),
        ((0.4, 0.52), (0.6, 0.52)),
    ),
    "erase": (
        ((0.34, 0.84), (0.04, 0.5), (0.34, 0.16), (0.96, 0.16), (0.96, 0.84), (0.34, 0.84)),
        ((0.5, 0.64), (0.76, 0.36)),
        ((0.76, 0.64), (0.5, 0.36)),
    ),
    "leave": (
        ((0.52, 0.88), (0.14, 0.88), (0.14, 0.12), (0.52, 0.12)),
        ((0.4, 0.5), (0.92, 0.5)),
        ((0.72, 0.7), (0.92, 0.5), (0.72, 0.3)),
    ),
    "wait": (_arc(0.5, 0.5, 0.4, 0, 360, 40), ((0.5, 0.74), (0.5, 0.5), (0.66, 0.4))),
    "search": (_arc(0.42, 0.58, 0.3, 0, 360, 40), ((0.64, 0.36), (0.92, 0.08))),
    "close": (((0.18, 0.82), (0.82, 0.18)), ((0.18, 0.18), (0.82, 0.82))),
    "heart": (_heart(0.0), _heart(math.pi)),
}


class Icon(Widget):
    """An icon in a square of ``size`` design pixels."""

    def __init__(self, *, scale: Scale, name: IconName, size: float = 24, colour: Colour = theme.TEXT, weight: float = 1.25) -> None:
        side = scale(size)
        super().__init__(size_hint=(None, None), size=(side, side), pos_hint={"center_y": 0.5})
        self._name = name
        self._width = max(weight * scale.factor, 1.0)
        self._colour = Color(*colour)
        self._strokes = InstructionGroup()
        self.canvas.add(self._colour)
        self.canvas.add(self._strokes)
        self.bind(pos=self._draw, size=self._draw)
        self._draw()

    def turn(self, name: IconName) -> None:
        """Become another icon."""
        if name != self._name:
            self._name = name
            self._draw()

    def _draw(self, *_change: object) -> None:
        self._strokes.clear()
        for stroke in STROKES[self._name]:
            points = [value for x, y in stroke for value in (self.x + x * self.width, self.y + y * self.height)]
            self._strokes.add(SmoothLine(points=points, width=self._width, joint="round", cap="round"))
