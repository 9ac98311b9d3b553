"""Tells a test driver where everything is: a JSON file, replaced whole whenever the screen has changed.

    {"screen": "review", "study": "KEY" | null, "language": "zh", "online": true, "size": [w, h], "frame": n,
     "state": "draft", "revision": 1, "cad_rads": "CAD-RADS 3/P2", "undo_seconds": 6 | null,
     "widgets": {"approve": [x, y, w, h], ...}, "disabled": [...], "texts": ["...", ...], "cut": [texts that do not fit],
     "small": [widgets too small for a finger], "touched": false}

Rectangles are window pixels from the top left, cut to what can be seen; only what can be tapped now is listed under ``widgets`` (nothing
below an open pop-up). The file holds what is on the screen, patient names too: it is for tests and the demo, never for a hospital.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kivy.uix.scrollview import ScrollView
from kivy.uix.widget import Widget

from kiosk.screens.frame import Screen
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Text
from kiosk.views import ReviewView, View

Rectangle = tuple[float, float, float, float]
SMALLEST = 8
LEAST_TARGET = 44
"""Design pixels a fingertip needs at least, either way (WCAG 2.2, success criterion 2.5.5)."""


class Announcer:
    """Writes the file when its content has changed and stood still for two frames, so that nobody taps where something is moving away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: dict[str, Any] | None = None
        self._written: dict[str, Any] | None = None
        self._frame = 0

    def announce(self, screen: Screen, view: View, size: tuple[float, float], *, touched: bool) -> None:
        """Once per frame: write what ``screen`` shows in a window of ``size`` pixels, and whether a finger is on it."""
        content = describe(screen, view, size) | {"touched": touched}
        before, self._before = self._before, content
        if content != before or content == self._written:
            return
        self._written = content
        self._frame += 1
        _write_whole(self._path, json.dumps({**content, "frame": self._frame}, ensure_ascii=False))


def describe(screen: Screen, view: View, size: tuple[float, float]) -> dict[str, Any]:
    """The content of the file."""
    review = view if isinstance(view, ReviewView) else None
    widgets: dict[str, list[int]] = {}
    disabled: list[str] = []
    texts: list[str] = []
    cut: list[str] = []
    small: list[str] = []
    least = LEAST_TARGET * Scale.for_window(*size).factor
    top: Widget = screen.popup or screen
    for widget, seen in _seen(top, (0.0, 0.0, *size)):
        name = getattr(widget, "test_id", None)
        if name is not None and hasattr(widget, "tappable") and min(widget.size) < least - 1:
            small.append(name)
        if name is not None and not getattr(widget, "tappable", True):
            disabled.append(name)
        elif name is not None:
            left, bottom, right, up = seen
            widgets[name] = [round(left), round(size[1] - up), round(right - left), round(up - bottom)]
        if isinstance(widget, Text) and widget.words:
            texts.append(widget.words)
            if widget.cut:
                cut.append(widget.words)
    return {
        "screen": screen.name,
        "study": review.key if review else None,
        "language": view.frame.language,
        "online": view.frame.online,
        "size": [round(size[0]), round(size[1])],
        "state": review.state if review else None,
        "revision": review.revision if review else None,
        "cad_rads": review.cad_rads if review else None,
        "undo_seconds": review.undo.seconds if review and review.undo else None,
        "message": view.frame.message,
        "widgets": widgets,
        "disabled": disabled,
        "texts": texts,
        "cut": cut,
        "small": small,
    }


def _seen(widget: Widget, clip: Rectangle) -> Iterator[tuple[Widget, Rectangle]]:
    """Every widget that can be seen, with the part of it that is."""
    if widget.opacity == 0:
        return
    left, bottom = widget.to_window(*widget.pos)
    own = (left, bottom, left + widget.width, bottom + widget.height)
    seen = (max(own[0], clip[0]), max(own[1], clip[1]), min(own[2], clip[2]), min(own[3], clip[3]))
    visible = seen[2] - seen[0] >= SMALLEST and seen[3] - seen[1] >= SMALLEST
    if visible:
        yield widget, seen
    if visible or not isinstance(widget, ScrollView):
        for child in reversed(widget.children):
            yield from _seen(child, seen if isinstance(widget, ScrollView) else clip)


def _write_whole(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)
