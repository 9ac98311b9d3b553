"""The sign-in screen: a PIN pad with large keys."""

from __future__ import annotations

from kivy.graphics import Color
from kivy.graphics import SmoothEllipse as Ellipse
from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout
from kivy.uix.gridlayout import GridLayout
from kivy.uix.widget import Widget

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act, Screen, brand
from kiosk.screens.icons import Icon
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Gap, Panel, Tap, Text, TextTap
from kiosk.views.sign_in import ServiceView, SignInView

KEY_WIDTH, KEY_HEIGHT = 116, 76
HEADING_HEIGHT, PROMPT_HEIGHT, TWO_LINES = 46, 52, 62
DOTS = 6
SERVICE_WIDTH = 290


class PinDots(Widget):
    """One dot per digit typed, on at least DOTS places."""

    def __init__(self, *, scale: Scale) -> None:
        super().__init__(size_hint_y=None, height=scale(26))
        self._scale = scale
        self._digits = -1
        self.bind(pos=self._draw, size=self._draw)

    def show(self, digits: int) -> None:
        """Show so many digits."""
        if digits != self._digits:
            self._digits = digits
            self._draw()

    def _draw(self, *_change: object) -> None:
        places = max(DOTS, self._digits)
        step, side = self._scale(30), self._scale(14)
        left = self.x + self.width / 2 - step * (places - 1) / 2
        self.canvas.clear()
        with self.canvas:
            for place in range(places):
                Color(*(theme.ACCENT if place < self._digits else theme.LINE))
                Ellipse(pos=(left + step * place - side / 2, self.y + (self.height - side) / 2), size=(side, side))


class ServiceCard(AnchorLayout):
    """For the service engineer, beside the keys: the box's code, what became of the order on the stick, and the key that reads it."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(anchor_x="right", anchor_y="center")
        self._code = Text(scale=scale, type_size=theme.LARGE, bold=True, lines=None, size_hint_y=None)
        self._said = Text(scale=scale, type_size=theme.BODY, lines=None, size_hint_y=None)
        self._read = TextTap(
            scale=scale, test_id="service-stick", text="", type_size=theme.BODY, on_tap=lambda: act(actions.ReadServiceStick()),
            size_hint_y=None, height=scale(60),
        )  # fmt: skip
        self._panel = Panel(scale=scale, orientation="vertical", size_hint=(None, None), padding=(20, 18, 20, 18), gap=14)
        self._panel.width = scale(SERVICE_WIDTH)
        self._panel.bind(minimum_height=self._panel.setter("height"))

    def show(self, view: ServiceView | None) -> None:
        """Draw it; nothing takes no room."""
        if (view is None) == bool(self.children):
            self.clear_widgets()
            if view is not None:
                self.add_widget(self._panel)
        if view is None:
            return
        self._code.words = view.code
        self._said.words = view.said
        self._said.color = theme.BAD if view.error else theme.TEXT
        self._read.label.words = view.read
        self._read.tappable = not view.busy
        wanted = [part for part, there in ((self._code, view.code), (self._said, True), (self._read, view.read)) if there]
        if list(reversed(self._panel.children)) != wanted:
            self._panel.clear_widgets()
            for part in wanted:
                self._panel.add_widget(part)


class SignInScreen(Screen):
    """See the module."""

    name = "sign_in"

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, act=act)
        self.bar.add_widget(brand(scale))
        self._site = Text(scale=scale, type_size=theme.BODY, colour=theme.MUTED)
        self.bar.add_widget(self._site)
        self._language = self.bar_button("language", actions.SwitchLanguage(), text="", width=110)
        self.bar.add_widget(self._language)
        self._heading = Text(
            scale=scale, type_size=theme.LARGE + 2, bold=True, align="center", size_hint_y=None, height=scale(HEADING_HEIGHT)
        )
        self._prompt = Text(
            scale=scale, type_size=theme.BODY, colour=theme.MUTED, align="center", lines=2, size_hint_y=None, height=scale(PROMPT_HEIGHT)
        )
        self._dots = PinDots(scale=scale)
        self._typed = Text(scale=scale, type_size=theme.BODY, align="center", lines=2, size_hint_y=None, height=scale(TWO_LINES))
        self._so_far = BoxLayout(size_hint_y=None, height=self._dots.height)
        self._service = ServiceCard(scale=scale, act=act)
        layers = FloatLayout()
        layers.add_widget(self._middle())
        layers.add_widget(self._service)
        self.body.add_widget(layers)

    def show(self, view: SignInView) -> None:
        """Draw the view."""
        self.show_frame(view.frame)
        self.body.opacity = 1.0
        self._site.words = view.frame.title
        self._language.label.words = view.switch_language
        self._heading.words = view.heading
        self._heading.height = self.scale(HEADING_HEIGHT) if view.heading else 0
        self._prompt.height = self.scale(PROMPT_HEIGHT if view.heading else TWO_LINES)
        self._prompt.words = view.prompt
        self._prompt.color = theme.BAD if view.error else theme.MUTED
        self._dots.show(view.digits)
        self._typed.words = view.typed or ""
        part = self._dots if view.typed is None else self._typed
        if self._so_far.children != [part]:
            self._so_far.clear_widgets()
            self._so_far.add_widget(part)
            self._so_far.height = part.height
        self._enter.label.words = view.enter
        self._enter.tappable = not view.busy
        self._service.show(view.service)

    def _middle(self) -> AnchorLayout:
        scale = self.scale
        card = Panel(scale=scale, orientation="vertical", size_hint=(None, None), padding=(44, 26, 44, 30), gap=10)
        card.width = scale(3 * KEY_WIDTH + 2 * theme.GAP + 88)
        for part in (self._heading, self._prompt, self._so_far, Gap(scale=scale, height=8), self._pad(), self._enter_key()):
            card.add_widget(part)
        card.bind(minimum_height=card.setter("height"))
        middle = AnchorLayout()
        middle.add_widget(card)
        return middle

    def _pad(self) -> GridLayout:
        scale = self.scale
        pad = GridLayout(cols=3, spacing=scale(theme.GAP), size_hint_y=None, height=scale(4 * KEY_HEIGHT + 3 * theme.GAP))
        for digit in "123456789":
            pad.add_widget(self._digit(digit))
        pad.add_widget(Gap(scale=scale))
        pad.add_widget(self._digit("0"))
        erase = Tap(scale=scale, test_id="erase", on_tap=lambda: self.act(actions.ErasePin()), fill=theme.PANEL, border=theme.LINE)
        centre = AnchorLayout()
        centre.add_widget(Icon(scale=scale, name="erase", size=30, colour=theme.MUTED))
        erase.add_widget(centre)
        pad.add_widget(erase)
        return pad

    def _digit(self, digit: str) -> TextTap:
        return TextTap(
            scale=self.scale, test_id=f"digit-{digit}", text=digit, type_size=30, on_tap=lambda: self.act(actions.PressDigit(digit))
        )

    def _enter_key(self) -> BoxLayout:
        self._enter = TextTap(
            scale=self.scale,
            test_id="sign-in",
            text="",
            type_size=theme.LARGE,
            bold=True,
            fill=theme.ACCENT_DEEP,
            pressed=theme.ACCENT_PRESSED,
            on_tap=lambda: self.act(actions.SubmitPin()),
        )
        box = BoxLayout(size_hint_y=None, height=self.scale(72))
        box.add_widget(self._enter)
        return box
