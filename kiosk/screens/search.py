"""The search screen: a field with an on-screen keyboard, filters, one page of studies, details in a pop-up."""

from __future__ import annotations

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act, Screen, Shade
from kiosk.screens.icons import Icon
from kiosk.screens.keyboard import Keyboard
from kiosk.screens.study_popup import study_panel
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Gap, Scroll, Tap, Text, TextTap
from kiosk.screens.worklist import StudyRowWidget
from kiosk.views.search import SearchView, StudyPopup
from kiosk.views.worklist import RowView

FILL = {"x": 0, "y": 0}
FIELD_WIDTH = 520


class SearchScreen(Screen):
    """See the module."""

    name = "search"

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, act=act)
        self._rows: list[StudyRowWidget] = []
        self._filters_shown: tuple[object, ...] = ()
        self._popup_shown: StudyPopup | None = None
        self._popup_scroll: Scroll | None = None
        self._fill_bar()
        self.body.orientation = "vertical"
        self._filters = BoxLayout(size_hint_y=None, height=scale(theme.TOUCH), spacing=scale(10))
        self._list = Scroll(scale=scale, gap=8, pos_hint=FILL)
        self._empty = Text(scale=scale, type_size=theme.LARGE, colour=theme.MUTED, align="center", lines=2, pos_hint=FILL)
        area = FloatLayout()
        area.add_widget(self._list)
        area.add_widget(self._empty)
        self._keyboard = Keyboard(scale=scale, act=act)
        for part in (self._filters, area, self._pager()):
            self.body.add_widget(part)

    def show(self, view: SearchView) -> None:
        """Draw the view; only what changed is built anew."""
        self.show_frame(view.frame)
        self._heading.words = view.heading
        self._field_text.words = view.text or view.hint
        self._field_text.color = theme.TEXT if view.text else theme.FAINT
        self._clear.opacity = 1 if view.text else 0
        self._clear.tappable = bool(view.text)
        self._field.rest(theme.RAISED, border=theme.ACCENT if view.keyboard else theme.LINE)
        self._user.words = view.frame.user
        self._language.label.words = view.switch_language
        self._sign_out.label.words = view.sign_out
        self._show_filters(view)
        self._show_rows(view.rows)
        self._empty.words = view.empty
        self._empty.opacity = 1 if view.empty else 0
        self._position.words = view.position
        for key, usable in ((self._previous, view.previous), (self._next, view.next)):
            key.tappable = usable
            key.opacity = 1 if usable else 0.35
        self._show_keyboard(view)
        self._show_popup(view.popup)

    def _fill_bar(self) -> None:
        scale = self.scale
        back = Tap(
            scale=scale, test_id="back", on_tap=lambda: self.act(actions.GoBack()), fill=theme.BAR, border=theme.LINE,
            padding=(12, 12, 12, 12), size_hint=(None, None), size=(scale(56), scale(52)), pos_hint={"center_y": 0.5},
        )  # fmt: skip
        back.add_widget(Icon(scale=scale, name="back", size=28))
        self._heading = Text(scale=scale, type_size=theme.LARGE + 1, bold=True, size_hint_x=None, width=scale(110))
        self._field = Tap(
            scale=scale, test_id="search-field", on_tap=lambda: self.act(actions.ShowKeyboard(shown=True)), border=theme.LINE,
            padding=(14, 4, 4, 4), gap=10, size_hint=(None, None), size=(scale(FIELD_WIDTH), scale(52)), pos_hint={"center_y": 0.5},
        )  # fmt: skip
        self._field.add_widget(Icon(scale=scale, name="search", size=24, colour=theme.MUTED))
        self._field_text = Text(scale=scale, type_size=theme.BODY)
        self._field.add_widget(self._field_text)
        self._clear = Tap(
            scale=scale, test_id="search-clear", on_tap=lambda: self.act(actions.ClearText()), fill=theme.RAISED, padding=10,
            size_hint=(None, 1), width=scale(48),
        )  # fmt: skip
        self._clear.add_widget(Icon(scale=scale, name="close", size=20, colour=theme.MUTED))
        self._field.add_widget(self._clear)
        self._user = Text(scale=scale, type_size=theme.SMALL + 1, align="right")
        self._language = self.bar_button("language", actions.SwitchLanguage(), text="")
        self._sign_out = self.bar_button("sign-out", actions.SignOut(), text="")
        for part in (back, self._heading, self._field, self._user, self._language, self._sign_out):
            self.bar.add_widget(part)

    def _pager(self) -> BoxLayout:
        scale = self.scale
        strip = BoxLayout(size_hint_y=None, height=scale(theme.TOUCH), spacing=scale(12))
        self._position = Text(scale=scale, type_size=theme.BODY, colour=theme.MUTED)
        self._previous, self._next = self._turn_key("previous-page", "back", -1), self._turn_key("next-page", "next", 1)
        for part in (self._position, self._previous, self._next):
            strip.add_widget(part)
        return strip

    def _turn_key(self, test_id: str, icon: str, step: int) -> Tap:
        scale = self.scale
        key = Tap(
            scale=scale, test_id=test_id, on_tap=lambda: self.act(actions.TurnPage(step)), border=theme.LINE, fill=theme.PANEL, padding=8,
            size_hint_x=None, width=scale(120),
        )  # fmt: skip
        middle = AnchorLayout()
        middle.add_widget(Icon(scale=scale, name="back" if icon == "back" else "next", size=26))
        key.add_widget(middle)
        return key

    def _show_filters(self, view: SearchView) -> None:
        shown = (view.tabs, view.days, view.urgent, view.urgent_chosen)
        if shown == self._filters_shown:
            return
        self._filters_shown = shown
        self._filters.clear_widgets()
        for tab in view.tabs:
            self._filters.add_widget(self._chip(f"filter-{tab.tab}", tab.text, actions.FilterTab(tab.tab), chosen=tab.chosen))
        self._filters.add_widget(Gap(scale=self.scale))
        for each in view.days:
            self._filters.add_widget(self._chip(f"days-{each.days or 'any'}", each.text, actions.FilterDays(each.days), chosen=each.chosen))
        self._filters.add_widget(Gap(scale=self.scale, width=6))
        self._filters.add_widget(self._chip("only-urgent", view.urgent, actions.FilterUrgent(), chosen=view.urgent_chosen))

    def _chip(self, test_id: str, text: str, action: actions.Action, *, chosen: bool) -> TextTap:
        button = TextTap(
            scale=self.scale, test_id=test_id, text=text, type_size=theme.SMALL + 1, bold=chosen,
            colour=theme.TEXT if chosen else theme.MUTED, fill=theme.ACCENT_DEEP if chosen else theme.BACKGROUND,
            border=theme.CLEAR if chosen else theme.LINE, radius=theme.TOUCH / 2, on_tap=lambda: self.act(action), size_hint_x=None,
        )  # fmt: skip
        button.width = button.label.natural_width() + self.scale(36)
        return button

    def _show_rows(self, rows: tuple[RowView, ...]) -> None:
        """Rows are drawn into the widgets that are there, so that a page turns without a pause."""
        for widget, row in zip(self._rows, rows, strict=False):
            widget.show(row)
        for row in rows[len(self._rows) :]:
            widget = StudyRowWidget(scale=self.scale, act=self.act, view=row, opens=actions.ShowDetails)
            self._rows.append(widget)
            self._list.list.add_widget(widget)
        for widget in self._rows[len(rows) :]:
            self._list.list.remove_widget(widget)
        del self._rows[len(rows) :]

    def _show_keyboard(self, view: SearchView) -> None:
        if view.keyboard and self._keyboard.parent is None:
            self.body.add_widget(self._keyboard)
        elif not view.keyboard and self._keyboard.parent is not None:
            self.body.remove_widget(self._keyboard)
        self._keyboard.say(done=view.done, space=view.space)

    def _show_popup(self, popup: StudyPopup | None) -> None:
        if popup == self._popup_shown:
            return
        before, self._popup_shown = self._popup_shown, popup
        self.close_popup()
        if popup is not None:
            panel, scroll = study_panel(popup, scale=self.scale, act=self.act)
            if before is not None and before.key == popup.key and self._popup_scroll is not None:
                scroll.scroll_y = self._popup_scroll.scroll_y  # a countdown in it must not move what is being read
            self._popup_scroll = scroll
            self.open_popup(Shade(on_outside=lambda: self.act(actions.Dismiss()), content=panel))
