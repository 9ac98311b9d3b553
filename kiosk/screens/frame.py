"""The frame of every screen: top bar, notices, connection bar, body, message, and a layer for pop-ups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kivy.graphics import Color, Rectangle
from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout
from kivy.uix.widget import Widget

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.icons import Icon, IconName
from kiosk.screens.theme import Colour, Scale
from kiosk.screens.widgets import Panel, Tap, Text, TextTap
from kiosk.views.frame import Frame

Act = Callable[[actions.Action], None]

BAR_HEIGHT = 72
NOTICE_HEIGHT = 34
ALERT_HEIGHT = 44


class Strip(BoxLayout):
    """A horizontal strip with a plain ground."""

    def __init__(self, *, scale: Scale, fill: Colour, height: float, **more: Any) -> None:
        super().__init__(orientation="horizontal", size_hint_y=None, height=scale(height), **more)
        self.scale = scale
        with self.canvas.before:
            Color(*fill)
            self._ground = Rectangle()
        self.bind(pos=self._place, size=self._place)

    def _place(self, *_change: object) -> None:
        self._ground.pos, self._ground.size = self.pos, self.size


class NoticeBanner(Strip):
    """The sentences that must stand on every screen with study data."""

    def __init__(self, *, scale: Scale) -> None:
        super().__init__(scale=scale, fill=theme.WARNING_DEEP, height=NOTICE_HEIGHT, padding=[scale(20), 0], spacing=scale(10))
        self.test_id = "notices"
        self.add_widget(Icon(scale=scale, name="warning", size=20, colour=theme.WARNING))
        self._text = Text(scale=scale, type_size=15.5, colour=theme.WARNING)
        self.add_widget(self._text)

    def show(self, notices: tuple[str, ...]) -> None:
        """Show these sentences; without any the banner goes."""
        self._text.words = "      ".join(notices)
        self.height = self.scale(NOTICE_HEIGHT) if notices else 0
        self.opacity = 1 if notices else 0


class AlertBar(Strip):
    """A red bar, there only while it has something to say."""

    def __init__(self, *, scale: Scale, icon: IconName) -> None:
        super().__init__(scale=scale, fill=theme.BAD_DEEP, height=0, padding=[scale(20), 0], spacing=scale(10))
        self._icon = Icon(scale=scale, name=icon, size=22, colour=theme.BAD)
        self._text = Text(scale=scale, type_size=theme.SMALL + 1, colour=theme.TEXT, bold=True)
        self.add_widget(self._icon)
        self.add_widget(self._text)
        self.opacity = 0
        self._on_tap: Callable[[], None] | None = None

    def opens(self, on_tap: Callable[[], None]) -> None:
        """A tap on the bar shows more."""
        self._on_tap = on_tap
        self.test_id = "troubles"

    def on_touch_down(self, touch: Any) -> bool:
        """A finger came down."""
        if self._on_tap is not None and self.opacity and self.collide_point(*touch.pos):
            self._on_tap()
            return True
        return bool(super().on_touch_down(touch))

    def show(self, text: str) -> None:
        """Show the text; empty: the bar goes."""
        self._text.words = text
        self.height = self.scale(ALERT_HEIGHT) if text else 0
        self.opacity = 1 if text else 0


class Toast(Panel):
    """What was done or went wrong just now."""

    def __init__(self, *, scale: Scale) -> None:
        super().__init__(scale=scale, fill=theme.RAISED, border=theme.ACCENT, size_hint=(None, None), padding=(22, 8, 22, 8))
        self._text = Text(scale=scale, type_size=theme.BODY, align="center", lines=2)
        self.add_widget(self._text)
        self.height = scale(60)
        self.opacity = 0

    def show(self, message: str, *, error: bool) -> None:
        """Show the message; empty: it goes."""
        self.opacity = 1 if message else 0
        if message:
            self._text.words = message
            self.width = min(self._text.natural_width() + self.scale(60), self.scale(760))
            self.paint(theme.BAD_DEEP if error else theme.RAISED, theme.BAD if error else theme.ACCENT)


class Screen(FloatLayout):
    """Base of the screens: ``bar`` at the top, notices and alerts, ``body`` below, pop-ups above it."""

    name = ""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__()
        self.scale = scale
        self.act = act
        self.bar = Strip(scale=scale, fill=theme.BAR, height=BAR_HEIGHT, padding=[scale(20), scale(8)], spacing=scale(14))
        self.notices = NoticeBanner(scale=scale)
        self.offline = AlertBar(scale=scale, icon="wait")
        self.alert = AlertBar(scale=scale, icon="warning")
        self.body = BoxLayout(orientation="horizontal", padding=scale(theme.PAD), spacing=scale(theme.PAD))
        column = BoxLayout(orientation="vertical")
        for part in (self.bar, self.notices, self.offline, self.alert, self.body):
            column.add_widget(part)
        self.add_widget(column)
        self._toast = Toast(scale=scale)
        corner = AnchorLayout(anchor_x="center", anchor_y="top", padding=[0, scale(BAR_HEIGHT + NOTICE_HEIGHT + 10), 0, 0])
        corner.add_widget(self._toast)
        self.add_widget(corner)
        self.popup: Widget | None = None

    def show_frame(self, frame: Frame) -> None:
        """Show the parts that every screen has; the body is greyed while its data may be old."""
        self.notices.show(frame.notices)
        self.offline.show(frame.offline_text)
        self.body.opacity = 1.0 if frame.online else 0.5
        self._toast.show(frame.message, error=frame.message_is_error)

    def open_popup(self, popup: Widget) -> None:
        """Show one pop-up above everything."""
        self.close_popup()
        self.popup = popup
        popup.size_hint_y = None
        self.bind(height=self._place_popup)
        self.notices.bind(height=self._place_popup)
        self._place_popup()
        self.add_widget(popup)

    def _place_popup(self, *_change: object) -> None:
        """Below the notices, which stay to be read."""
        if self.popup is not None:
            self.popup.height = self.height - self.bar.height - self.notices.height

    def close_popup(self) -> None:
        """Take the pop-up away."""
        if self.popup is not None:
            self.remove_widget(self.popup)
            self.popup = None

    def bar_button(self, test_id: str, action: actions.Action, *, text: str, width: float = 96) -> TextTap:
        """A quiet button of the top bar."""
        return TextTap(
            scale=self.scale,
            test_id=test_id,
            text=text,
            type_size=theme.SMALL + 1,
            fill=theme.BAR,
            border=theme.LINE,
            on_tap=lambda: self.act(action),
            size_hint=(None, None),
            size=(self.scale(width), self.scale(52)),
            pos_hint={"center_y": 0.5},
        )


class Shade(FloatLayout):
    """Darkens what is below a pop-up and takes its touches; a tap beside the pop-up closes it."""

    def __init__(self, *, on_outside: Callable[[], None], content: Widget) -> None:
        super().__init__()
        self._on_outside = on_outside
        self._content = content
        with self.canvas.before:
            Color(*theme.SHADE)
            self._ground = Rectangle()
        self.bind(pos=self._place, size=self._place)
        content.pos_hint = {"center_x": 0.5, "center_y": 0.5}
        self.add_widget(content)

    def on_touch_down(self, touch: Any) -> bool:
        """Nothing below is touched, nor beside it."""
        if self._content.collide_point(*touch.pos):
            super().on_touch_down(touch)
        else:
            self._on_outside()
        return True

    def _place(self, *_change: object) -> None:
        self._ground.pos, self._ground.size = self.pos, self.size


def brand(scale: Scale) -> BoxLayout:
    """The product's mark and name."""
    box = BoxLayout(orientation="horizontal", spacing=scale(10), size_hint_x=None, width=scale(150))
    box.add_widget(Icon(scale=scale, name="heart", size=32, colour=theme.BAD, weight=1.8))
    box.add_widget(Text(scale=scale, text="Coronet", type_size=theme.LARGE + 1, bold=True))
    return box


__all__ = ["Act", "Screen", "Shade", "Strip", "Tap", "brand"]
