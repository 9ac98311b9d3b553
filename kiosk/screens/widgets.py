"""The building blocks of the screens: panels, text, things to tap, chips, bars, pictures. Nothing here looks like Kivy's own theme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kivy.core.text import Label as TextMeasure
from kivy.graphics import Color, Line, Rectangle, RoundedRectangle, SmoothRoundedRectangle
from kivy.graphics.texture import Texture
from kivy.uix.behaviors import ButtonBehavior
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.label import Label
from kivy.uix.scrollview import ScrollView
from kivy.uix.stencilview import StencilView
from kivy.uix.widget import Widget

from kiosk.screens import theme
from kiosk.screens.text import break_lines
from kiosk.screens.theme import Colour, Scale
from kiosk.state import Pixels


class Panel(BoxLayout):
    """A box with a rounded background and, where wanted, a border."""

    def __init__(
        self,
        *,
        scale: Scale,
        fill: Colour = theme.PANEL,
        border: Colour = theme.CLEAR,
        radius: float = theme.RADIUS,
        padding: float | tuple[float, float, float, float] = theme.PAD,
        gap: float = theme.GAP,
        **more: Any,
    ) -> None:
        """Sizes in design pixels; ``padding`` is one number or left, top, right, bottom."""
        sides = (padding,) * 4 if isinstance(padding, int | float) else padding
        super().__init__(padding=[scale(side) for side in sides], spacing=scale(gap), **more)
        self.scale = scale
        with self.canvas.before:
            self._fill = Color(*fill)
            self._shape = SmoothRoundedRectangle(radius=[scale(radius)])
            self._border = Color(*border)
            self._outline = Line(width=max(scale.factor, 1.0))
        self._radius = scale(radius)
        self.bind(pos=self._place, size=self._place)

    def paint(self, fill: Colour, border: Colour | None = None) -> None:
        """Change the colours."""
        self._fill.rgba = fill
        if border is not None:
            self._border.rgba = border

    def _place(self, *_change: object) -> None:
        self._shape.pos, self._shape.size = self.pos, self.size
        self._outline.rounded_rectangle = (self.x + 1, self.y + 1, max(self.width - 2, 1), max(self.height - 2, 1), self._radius)


class Text(Label):
    """Text that breaks into lines at its own width; its height follows its text unless ``lines`` fixes it."""

    def __init__(
        self,
        *,
        scale: Scale,
        text: str = "",
        type_size: float = theme.BODY,
        colour: Colour = theme.TEXT,
        bold: bool = False,
        align: str = "left",
        lines: int | None = 1,
        **more: Any,
    ) -> None:
        """``lines`` is the most that are shown (None: all); they stand in the middle of the height."""
        super().__init__(
            font_size=scale(type_size),
            color=colour,
            disabled_color=colour,
            bold=bold,
            halign=align,
            **more,
        )
        self._lines = lines
        self._whole = text
        self._is_cut = False
        self._needed_height = 0.0
        self._measure = TextMeasure(font_size=scale(type_size), bold=bold, font_name=self.font_name)
        self.line_height = 1.12
        self.bind(width=self._wrap)
        self._wrap()

    @property
    def words(self) -> str:
        """The whole text, whatever of it fits."""
        return self._whole

    @words.setter
    def words(self, text: str) -> None:
        if text != self._whole:
            self._whole = text
            self._wrap()

    @property
    def cut(self) -> bool:
        """Whether some of the text cannot be seen."""
        spills = self._needed_height > self.height + self.font_size / 2
        lines_missing = bool(self._whole) and self.texture_size[1] < 0.9 * self._needed_height
        return bool(self._is_cut or spills or lines_missing)

    def natural_width(self) -> int:
        """Width of the text on one line."""
        return int(max((self._measure.get_extents(line)[0] for line in self._whole.split("\n")), default=0)) + 4

    def _wrap(self, *_change: object) -> None:
        lines = break_lines(self._whole, width=max(self.width - 2, 1), measure=self._width_of, maximum_lines=self._lines)
        self._is_cut = lines[-1].endswith("…") and not self._whole.endswith("…")
        self._needed_height = self._measure.get_extents("国Ag")[1] * len(lines) * self.line_height
        self.text = "\n".join(lines)
        if self.size_hint_y is None and self._lines is None:
            self.height = int(self._needed_height + 0.5)
        # no height: Kivy leaves whole lines out where one is given and they do not fit
        self.text_size = (self.width, None)

    def _width_of(self, piece: str) -> float:
        return float(self._measure.get_extents(piece)[0])


class Tap(ButtonBehavior, Panel):
    """A panel to tap. ``test_id`` names it for the person who tests; ``on_tap`` is called once per tap.

    One that is not ``tappable`` lets touches through to what it holds (Kivy's ``disabled`` would disable that too).
    """

    def __init__(
        self,
        *,
        scale: Scale,
        test_id: str,
        on_tap: Callable[[], None],
        fill: Colour = theme.RAISED,
        pressed: Colour = theme.RAISED_PRESSED,
        **more: Any,
    ) -> None:
        super().__init__(scale=scale, fill=fill, **more)
        self.test_id = test_id
        self.tappable = True
        self._on_tap = on_tap
        self._rest, self._pressed = fill, pressed
        self.bind(state=self._show_press)

    def on_touch_down(self, touch: Any) -> bool:
        """A finger came down."""
        return bool(super().on_touch_down(touch) if self.tappable else Panel.on_touch_down(self, touch))

    def on_release(self) -> None:
        """The finger went up where it went down."""
        if self.tappable and self.collide_point(*self.last_touch.pos):
            self._on_tap()

    def rest(self, fill: Colour, pressed: Colour | None = None, border: Colour | None = None) -> None:
        """Change the colours."""
        self._rest, self._pressed = fill, pressed or self._pressed
        self.paint(fill, border)

    def _show_press(self, _tap: object, state: str) -> None:
        self.paint(self._pressed if state == "down" else self._rest)


class TextTap(Tap):
    """A tap with one centred text."""

    def __init__(
        self,
        *,
        scale: Scale,
        text: str,
        type_size: float = theme.BODY,
        colour: Colour = theme.TEXT,
        bold: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(scale=scale, padding=(8, 4, 8, 4), **more)
        self.label = Text(scale=scale, text=text, type_size=type_size, colour=colour, bold=bold, align="center")
        self.add_widget(self.label)


class Chip(Panel):
    """A short word on a coloured ground, as wide as it needs to be."""

    def __init__(
        self,
        *,
        scale: Scale,
        text: str,
        fill: Colour,
        ink: Colour = theme.INK,
        type_size: float = theme.SMALL,
        height: float = 28,
        width: float | None = None,
        radius: float | None = None,
    ) -> None:
        super().__init__(
            scale=scale,
            fill=fill,
            radius=height / 2 if radius is None else radius,
            padding=(0, 0, 0, 0),
            size_hint=(None, None),
            pos_hint={"center_y": 0.5},
        )
        self.label = Text(scale=scale, text=text, type_size=type_size, colour=ink, bold=True, align="center")
        self.height = scale(height)
        self.width = scale(width) if width is not None else self.label.natural_width() + scale(20)
        self.add_widget(self.label)


class Bar(Widget):
    """A thin progress bar; ``value`` 0..1."""

    def __init__(self, *, scale: Scale, colour: Colour = theme.ACCENT, thickness: float = 6, **more: Any) -> None:
        super().__init__(size_hint_y=None, height=scale(thickness), **more)
        self._value = 0.0
        with self.canvas:
            Color(*theme.LINE)
            self._ground = RoundedRectangle(radius=[scale(thickness) / 2])
            Color(*colour)
            self._done = RoundedRectangle(radius=[scale(thickness) / 2])
        self.bind(pos=self._place, size=self._place)

    @property
    def value(self) -> float:
        """The fraction done."""
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        self._value = min(max(value, 0.0), 1.0)
        self._place()

    def _place(self, *_change: object) -> None:
        self._ground.pos = self._done.pos = self.pos
        self._ground.size = self.size
        self._done.size = (max(self.width * self._value, self.height if self._value > 0 else 0), self.height)


class Lamp(Widget):
    """A small round light."""

    def __init__(self, *, scale: Scale, colour: Colour, diameter: float = 10) -> None:
        super().__init__(size_hint=(None, None), size=(scale(diameter), scale(diameter)), pos_hint={"center_y": 0.5})
        with self.canvas:
            Color(*colour)
            self._light = SmoothRoundedRectangle(radius=[scale(diameter) / 2])
        self.bind(pos=self._place, size=self._place)

    def _place(self, *_change: object) -> None:
        self._light.pos, self._light.size = self.pos, self.size


class Gap(Widget):
    """Nothing: takes what room is left, or a fixed part of it."""

    def __init__(self, *, scale: Scale, width: float | None = None, height: float | None = None) -> None:
        super().__init__()
        if width is not None:
            self.size_hint_x, self.width = None, scale(width)
        if height is not None:
            self.size_hint_y, self.height = None, scale(height)


class Scroll(ScrollView):
    """A vertical list that scrolls by touch, with a quiet bar."""

    def __init__(self, *, scale: Scale, gap: float = theme.GAP, **more: Any) -> None:
        super().__init__(
            do_scroll_x=False,
            bar_width=scale(5),
            bar_color=theme.FAINT,
            bar_inactive_color=theme.LINE,
            scroll_type=["content"],
            scroll_distance=scale(14),
            scroll_timeout=250,
            effect_cls="ScrollEffect",
            **more,
        )
        self.list = BoxLayout(orientation="vertical", spacing=scale(gap), size_hint_y=None, padding=[0, 0, scale(12), 0])
        self.list.bind(minimum_height=self.list.setter("height"))
        self.add_widget(self.list)


class PictureBox(StencilView):
    """A picture on black, whole and in its proportions, or a closer look at a part of it."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._pixels: Pixels | None = None
        self._texture: Texture | None = None
        self._zoom = 1.0
        self._offset = (0.0, 0.0)
        with self.canvas:
            Color(*theme.BLACK)
            self._ground = Rectangle()
            self._tint = Color(1, 1, 1, 0)
            self._image = Rectangle()
        self.bind(pos=self._place, size=self._place)

    @property
    def zoom(self) -> float:
        """1 shows the whole picture."""
        return self._zoom

    @zoom.setter
    def zoom(self, zoom: float) -> None:
        self._zoom = zoom
        self._offset = (0.0, 0.0)
        self._place()

    def drag(self, dx: float, dy: float) -> None:
        """Move the closer look; it never leaves the picture."""
        self._offset = (self._offset[0] + dx, self._offset[1] + dy)
        self._place()

    def show(self, pixels: Pixels | None) -> None:
        """Show other pixels, None: black."""
        if pixels is self._pixels:
            return
        self._pixels = pixels
        self._texture = texture_of(pixels) if pixels is not None else None
        self._image.texture = self._texture
        self._tint.a = 0 if pixels is None else 1
        self.zoom = 1.0

    def _place(self, *_change: object) -> None:
        # not center_x and its like: Kivy keeps them from before the change while it tells of the change
        self._ground.pos, self._ground.size = self.pos, self.size
        if self._pixels is None:
            return
        fit = min(self.width / self._pixels.width, self.height / self._pixels.height) * self._zoom
        width, height = self._pixels.width * fit, self._pixels.height * fit
        reach = (max(width - self.width, 0) / 2, max(height - self.height, 0) / 2)
        dx, dy = (min(max(value, -limit), limit) for value, limit in zip(self._offset, reach, strict=True))
        self._offset = (dx, dy)
        self._image.size = (width, height)
        self._image.pos = (self.x + (self.width - width) / 2 + dx, self.y + (self.height - height) / 2 + dy)


def texture_of(pixels: Pixels) -> Texture:
    """A texture with the picture's first row on top."""
    texture = Texture.create(size=(pixels.width, pixels.height), colorfmt="rgb")
    texture.blit_buffer(pixels.rgb, colorfmt="rgb", bufferfmt="ubyte")
    texture.flip_vertical()
    texture.min_filter = texture.mag_filter = "linear"
    return texture
