"""The update screen: on the left what runs and the stick, on the right the update, its way and its notes, the keys below."""

from __future__ import annotations

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout

from appliance.api.messages import UpdateWish
from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act, Screen
from kiosk.screens.icons import Icon
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Bar, Gap, Lamp, Panel, Scroll, Tap, Text, TextTap
from kiosk.views.update import UpdateView

SIDE_WIDTH = 300
KEY_HEIGHT = 72


class UpdateScreen(Screen):
    """See the module."""

    name = "update"

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, act=act)
        self._keys_shown: tuple[object, ...] | None = None
        self._steps_shown: tuple[object, ...] | None = None
        self._fill_bar()
        self.body.add_widget(self._side())
        self.body.add_widget(self._main())

    def show(self, view: UpdateView) -> None:
        """Draw the view."""
        self.show_frame(view.frame)
        self._heading.words = view.heading
        self._user.words = view.frame.user
        self._language.label.words = view.switch_language
        self._sign_out.label.words = view.sign_out
        self._installed_label.words = view.installed_label
        self._installed.words = view.installed
        self._stick.words = view.stick
        self._stick.color = theme.TEXT if view.stick_there else theme.MUTED
        self._show_lamp(good=view.stick_there)
        self._title.words = view.title
        self._title.color = theme.TONE_COLOUR[view.tone]
        self._version.words = view.version
        self._text.words = view.text
        self._text.color = theme.TEXT if view.matters else theme.MUTED
        self._notes_title.words = view.notes_title
        self._notes.words = view.notes
        self._bar.opacity = 0 if view.progress is None else 1
        self._bar.value = 1.0 if view.progress is None or view.progress < 0 else view.progress
        self._percent.words = f"{view.progress:.0%}" if view.progress is not None and view.progress >= 0 else ""
        self._self_test.label.words = view.self_test
        self._self_test.opacity = 1 if view.self_test else 0
        self._self_test.tappable = bool(view.self_test)
        self._show_steps(view)
        self._show_keys(view)

    def _fill_bar(self) -> None:
        scale = self.scale
        back = Tap(
            scale=scale, test_id="back", on_tap=lambda: self.act(actions.GoBack()), fill=theme.BAR, border=theme.LINE,
            padding=(12, 12, 12, 12), size_hint=(None, None), size=(scale(56), scale(52)), pos_hint={"center_y": 0.5},
        )  # fmt: skip
        back.add_widget(Icon(scale=scale, name="back", size=28))
        self._heading = Text(scale=scale, type_size=theme.LARGE + 1, bold=True)
        self._user = Text(scale=scale, type_size=theme.SMALL + 1, align="right")
        self._language = self.bar_button("language", actions.SwitchLanguage(), text="")
        self._sign_out = self.bar_button("sign-out", actions.SignOut(), text="")
        for part in (back, self._heading, self._user, self._language, self._sign_out):
            self.bar.add_widget(part)

    def _side(self) -> Panel:
        scale = self.scale
        side = Panel(scale=scale, orientation="vertical", padding=24, gap=8, size_hint_x=None, width=scale(SIDE_WIDTH))
        self._installed_label = Text(scale=scale, type_size=theme.SMALL + 1, colour=theme.MUTED, size_hint_y=None, height=scale(26))
        self._installed = Text(scale=scale, type_size=theme.TITLE + 8, bold=True, size_hint_y=None, height=scale(52))
        line = BoxLayout(size_hint_y=None, height=scale(40), spacing=scale(10))
        self._lamp_place = AnchorLayout(size_hint_x=None, width=scale(14))
        self._stick = Text(scale=scale, type_size=theme.BODY)
        line.add_widget(self._lamp_place)
        line.add_widget(self._stick)
        self._self_test = TextTap(
            scale=scale, test_id="self-test", text="", type_size=theme.BODY, on_tap=lambda: self.act(actions.RunSelfTest()),
            fill=theme.PANEL, border=theme.LINE, size_hint_y=None, height=scale(60),
        )  # fmt: skip
        for part in (self._installed_label, self._installed, Gap(scale=scale, height=16), line, Gap(scale=scale), self._self_test):
            side.add_widget(part)
        self._lamp_good: bool | None = None
        return side

    def _main(self) -> Panel:
        scale = self.scale
        main = Panel(scale=scale, orientation="vertical", padding=(32, 26, 32, 26), gap=10)
        head = BoxLayout(size_hint_y=None, height=scale(44))
        self._title = Text(scale=scale, type_size=theme.TITLE, bold=True)
        self._version = Text(scale=scale, type_size=theme.LARGE, colour=theme.TEXT, align="right", size_hint_x=0.4)
        head.add_widget(self._title)
        head.add_widget(self._version)
        self._text = Text(scale=scale, type_size=theme.BODY, colour=theme.MUTED, lines=3, size_hint_y=None, height=scale(84))
        self._steps = BoxLayout(size_hint_y=None, height=scale(34), spacing=scale(28))
        line = BoxLayout(size_hint_y=None, height=scale(26), spacing=scale(14))
        self._bar = Bar(scale=scale, thickness=10, pos_hint={"center_y": 0.5})
        self._percent = Text(scale=scale, type_size=theme.SMALL + 1, align="right", size_hint_x=None, width=scale(64))
        line.add_widget(self._bar)
        line.add_widget(self._percent)
        self._notes_title = Text(scale=scale, type_size=theme.SMALL + 1, colour=theme.MUTED, size_hint_y=None, height=scale(30))
        scroll = Scroll(scale=scale)
        self._notes = Text(scale=scale, type_size=theme.BODY, lines=None, size_hint_y=None)
        scroll.list.add_widget(self._notes)
        self._keys = BoxLayout(size_hint_y=None, height=scale(KEY_HEIGHT), spacing=scale(theme.GAP))
        for part in (head, self._text, self._steps, line, self._notes_title, scroll, self._keys):
            main.add_widget(part)
        return main

    def _show_lamp(self, *, good: bool) -> None:
        if good != self._lamp_good:
            self._lamp_good = good
            self._lamp_place.clear_widgets()
            self._lamp_place.add_widget(Lamp(scale=self.scale, colour=theme.GOOD if good else theme.FAINT, diameter=12))

    def _show_steps(self, view: UpdateView) -> None:
        if view.steps == self._steps_shown:
            return
        self._steps_shown = view.steps
        self._steps.clear_widgets()
        for text, done in view.steps:
            step = BoxLayout(size_hint_x=None, spacing=self.scale(8))
            mark = AnchorLayout(size_hint_x=None, width=self.scale(22))
            if done:
                mark.add_widget(Icon(scale=self.scale, name="check", size=20, colour=theme.GOOD, weight=1.8))
            else:
                mark.add_widget(Lamp(scale=self.scale, colour=theme.LINE, diameter=12))
            label = Text(scale=self.scale, text=text, type_size=theme.SMALL + 1, colour=theme.TEXT if done else theme.FAINT)
            step.width = label.natural_width() + self.scale(34)
            step.add_widget(mark)
            step.add_widget(label)
            self._steps.add_widget(step)
        self._steps.add_widget(Gap(scale=self.scale))

    def _show_keys(self, view: UpdateView) -> None:
        if view.keys == self._keys_shown:
            return
        self._keys_shown = view.keys
        self._keys.clear_widgets()
        self._keys.add_widget(Gap(scale=self.scale))
        for key in reversed(view.keys):
            self._keys.add_widget(self._key(key.wish, key.text, first=key.first))

    def _key(self, wish: UpdateWish, text: str, *, first: bool) -> TextTap:
        more = {"fill": theme.ACCENT_DEEP, "pressed": theme.ACCENT_PRESSED} if first else {"fill": theme.PANEL, "border": theme.LINE}
        return TextTap(
            scale=self.scale, test_id=f"wish-{wish}", text=text, type_size=theme.LARGE - 1, bold=first, size_hint_x=None,
            width=self.scale(230), on_tap=lambda: self.act(actions.OrderUpdate(wish)), **more,
        )  # fmt: skip
