"""The first set-up: one step's fields in two columns, a keyboard while one is typed into, back and on below."""

from __future__ import annotations

from kivy.uix.boxlayout import BoxLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act, Screen, brand
from kiosk.screens.keyboard import Keyboard
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Gap, Lamp, Panel, Tap, Text, TextTap
from kiosk.views.set_up import KEY_ROWS, FieldView, SetUpView

FIELD_HEIGHT = 82
KEY_HEIGHT = 64


class SetUpScreen(Screen):
    """See the module."""

    name = "set_up"

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, act=act)
        self._shown: tuple[object, ...] | None = None
        self._dots_shown: tuple[int, int] | None = None
        self.bar.add_widget(brand(scale))
        self._heading = Text(scale=scale, type_size=theme.LARGE, bold=True)
        self._position = Text(scale=scale, type_size=theme.SMALL + 1, colour=theme.MUTED, align="right")
        self._dots = BoxLayout(size_hint_x=None, width=scale(110), spacing=scale(8))
        for part in (self._heading, self._position, self._dots):
            self.bar.add_widget(part)
        self.body.orientation = "vertical"
        self._title = Text(scale=scale, type_size=theme.TITLE, bold=True, size_hint_y=None, height=scale(44))
        self._area = BoxLayout(orientation="vertical", spacing=scale(12))
        self._message = Text(scale=scale, type_size=theme.BODY, lines=2)
        self._keyboard = Keyboard(scale=scale, act=act, rows=KEY_ROWS)
        for part in (self._title, self._area, self._foot()):
            self.body.add_widget(part)

    def show(self, view: SetUpView) -> None:
        """Draw the view; fields are built anew when they change."""
        self.show_frame(view.frame)
        self.body.opacity = 1.0
        self._heading.words = view.heading
        self._position.words = view.position
        self._title.words = view.title
        self._message.words = view.error or view.help
        self._message.color = theme.BAD if view.error else theme.MUTED
        self._show_dots(view)
        self._show_area(view)
        self._label(self._back, view.back)
        self._label(self._next, view.next or view.finish)
        if view.keyboard and self._keyboard.parent is None:
            self.body.add_widget(self._keyboard)
        elif not view.keyboard and self._keyboard.parent is not None:
            self.body.remove_widget(self._keyboard)
        # what is typed into counts more than the title where there is little room
        self._title.height = 0 if view.keyboard else self.scale(44)
        self._title.opacity = 0 if view.keyboard else 1
        self._keyboard.say(done=view.done, space=view.space)
        self._finishing = bool(view.finish)

    def _foot(self) -> BoxLayout:
        scale = self.scale
        foot = BoxLayout(size_hint_y=None, height=scale(KEY_HEIGHT), spacing=scale(theme.GAP))
        self._finishing = False
        self._back: TextTap = TextTap(
            scale=scale, test_id="set-up-back", text="", fill=theme.PANEL, border=theme.LINE, size_hint_x=None, width=scale(170),
            on_tap=lambda: self.act(actions.TurnStep(-1)),
        )  # fmt: skip
        self._next: TextTap = TextTap(
            scale=scale, test_id="set-up-next", text="", bold=True, fill=theme.ACCENT_DEEP, pressed=theme.ACCENT_PRESSED, size_hint_x=None,
            width=scale(230), on_tap=lambda: self.act(actions.FinishSetUp() if self._finishing else actions.TurnStep(1)),
        )  # fmt: skip
        for part in (self._message, self._back, self._next):
            foot.add_widget(part)
        return foot

    def _label(self, key: TextTap, text: str) -> None:
        key.label.words = text
        key.tappable = bool(text)
        key.opacity = 1 if text else 0

    def _show_dots(self, view: SetUpView) -> None:
        if self._dots_shown == (view.step, view.steps):
            return
        self._dots_shown = (view.step, view.steps)
        self._dots.clear_widgets()
        for number in range(view.steps):
            self._dots.add_widget(Lamp(scale=self.scale, colour=theme.ACCENT if number <= view.step else theme.LINE, diameter=12))

    def _show_area(self, view: SetUpView) -> None:
        shown = (view.rows, view.summary, view.frame.language)
        if shown == self._shown:
            return
        self._shown = shown
        self._area.clear_widgets()
        if view.summary:
            self._area.add_widget(self._summary(view.summary))
        for fields in view.rows:
            row = BoxLayout(size_hint_y=None, height=self.scale(FIELD_HEIGHT), spacing=self.scale(22))
            for field in fields:
                row.add_widget(self._field(field))
            self._area.add_widget(row)
        if not view.summary:
            self._area.add_widget(Gap(scale=self.scale))

    def _field(self, field: FieldView) -> BoxLayout:
        scale = self.scale
        box = BoxLayout(orientation="vertical", spacing=scale(4), size_hint_x=0.45 if field.id.endswith("port") else 1)
        head = BoxLayout(size_hint_y=None, height=scale(22))
        label = Text(scale=scale, text=field.label, type_size=theme.SMALL, colour=theme.MUTED, size_hint_x=None)
        label.width = label.natural_width() + scale(14)
        head.add_widget(label)
        head.add_widget(Text(scale=scale, text=field.hint, type_size=theme.TINY, colour=theme.FAINT))
        box.add_widget(head)
        if field.choices:
            row = BoxLayout(spacing=scale(8))
            for choice in field.choices:
                row.add_widget(self._choice(field.id, choice.value, choice.text, chosen=choice.chosen))
            box.add_widget(row)
            return box
        entry = Tap(
            scale=scale, test_id=f"field-{field.id}", on_tap=lambda: self.act(actions.ChooseField(field.id)), padding=(16, 4, 12, 4),
            border=theme.ACCENT if field.typing else theme.LINE,
        )  # fmt: skip
        cursor = "|" if field.typing else ""
        entry.add_widget(Text(scale=scale, text=field.value + cursor, type_size=theme.BODY))
        box.add_widget(entry)
        return box

    def _choice(self, field: str, value: str, text: str, *, chosen: bool) -> TextTap:
        return TextTap(
            scale=self.scale, test_id=f"choose-{field}-{value.replace('/', '-')}", text=text, type_size=theme.SMALL + 1, bold=chosen,
            fill=theme.ACCENT_DEEP if chosen else theme.PANEL, border=theme.CLEAR if chosen else theme.LINE,
            on_tap=lambda: self.act(actions.ChooseValue(field, value)),
        )  # fmt: skip

    def _summary(self, rows: tuple[tuple[str, str], ...]) -> Panel:
        scale = self.scale
        panel = Panel(scale=scale, orientation="vertical", padding=(26, 18, 26, 18), gap=0)
        for label, value in rows:
            line = BoxLayout(size_hint_y=None, height=scale(48))
            line.add_widget(Text(scale=scale, text=label, type_size=theme.BODY, colour=theme.MUTED, size_hint_x=0.4))
            line.add_widget(Text(scale=scale, text=value, type_size=theme.BODY))
            panel.add_widget(line)
        panel.add_widget(Gap(scale=scale))
        return panel
