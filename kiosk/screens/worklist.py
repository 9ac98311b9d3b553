"""The worklist screen: groups, rows, health strip."""

from __future__ import annotations

from collections.abc import Callable

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act, Screen, Shade, Strip, brand
from kiosk.screens.icons import Icon, IconName
from kiosk.screens.popups import troubles_panel
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Bar, Chip, Gap, Lamp, Scroll, Tap, Text, TextTap
from kiosk.views.worklist import HealthItem, RowView, TabView, TroublesPopup, WorklistView

ROW_HEIGHT, TALL_ROW_HEIGHT = 84, 112
FILL = {"x": 0, "y": 0}
RESULT_WIDTH, RECEIVED_WIDTH, STATE_WIDTH, END_WIDTH = 150, 170, 390, 120


class StudyRowWidget(Tap):
    """One study: result, patient, time, state."""

    def __init__(self, *, scale: Scale, act: Act, view: RowView, opens: Callable[[str], actions.Action] = actions.OpenStudy) -> None:
        """``opens`` makes the wish of a tap."""
        super().__init__(
            scale=scale,
            test_id=f"study-{view.key}",
            on_tap=lambda: act(opens(self._view.key if self._view is not None else view.key)),
            fill=theme.PANEL,
            padding=(18, 8, 12, 8),
            gap=0,
            size_hint_y=None,
            height=scale(ROW_HEIGHT),
        )
        self._act = act
        self._view: RowView | None = None
        self._bar: Bar | None = None
        self.show(view)

    def show(self, view: RowView) -> None:
        """Draw the study as it is now; only the progress moves without drawing anew."""
        if view == self._view:
            return
        old, self._view = self._view, view
        self.test_id = f"study-{view.key}"
        self.tappable = view.can_open
        self.height = self.scale(TALL_ROW_HEIGHT if view.tone in ("caution", "trouble") else ROW_HEIGHT)
        self.clear_widgets()
        if old is None or (old.urgent, old.can_open) != (view.urgent, view.can_open):
            self.rest(theme.PANEL, theme.RAISED, border=theme.BAD if view.urgent else theme.CLEAR)
        for part in (self._result(view), self._patient(view), self._received(view), self._state(view), self._end(view)):
            self.add_widget(part)

    def _result(self, view: RowView) -> AnchorLayout:
        scale = self.scale
        box = AnchorLayout(anchor_x="left", size_hint_x=None, width=scale(RESULT_WIDTH))
        if view.category is not None:
            fill = theme.CATEGORY_COLOUR[view.category]
            ink = theme.CATEGORY_INK.get(view.category, theme.INK)
            chip = Chip(scale=scale, text=view.cad_rads, fill=fill, ink=ink, type_size=19, height=40, radius=10)
            chip.width = max(chip.width, scale(56))
            box.add_widget(chip)
        else:
            box.add_widget(Text(scale=scale, text="—", type_size=theme.LARGE, colour=theme.FAINT))
        return box

    def _patient(self, view: RowView) -> BoxLayout:
        scale = self.scale
        box = BoxLayout(orientation="vertical")
        line = BoxLayout(spacing=scale(10))
        name = Text(scale=scale, text=view.name, type_size=theme.LARGE + 1, bold=True)
        if view.urgent:
            line.add_widget(Chip(scale=scale, text=view.urgent, fill=theme.BAD, ink=theme.INK, height=26))
        line.add_widget(name)
        box.add_widget(line)
        box.add_widget(Text(scale=scale, text=view.identity, type_size=theme.SMALL, colour=theme.MUTED))
        return box

    def _received(self, view: RowView) -> BoxLayout:
        box = BoxLayout(orientation="vertical", size_hint_x=None, width=self.scale(RECEIVED_WIDTH))
        box.add_widget(Text(scale=self.scale, text=view.received, type_size=theme.BODY))
        box.add_widget(Text(scale=self.scale, text=view.images, type_size=theme.SMALL, colour=theme.MUTED))
        return box

    def _state(self, view: RowView) -> BoxLayout:
        scale = self.scale
        box = BoxLayout(orientation="vertical", size_hint_x=None, width=scale(STATE_WIDTH), padding=[0, 0, scale(16), 0])
        box.add_widget(Text(scale=scale, text=view.state, type_size=theme.BODY, bold=True, colour=theme.TONE_COLOUR[view.tone]))
        if view.detail:
            lines = 1 if view.progress is not None else 2
            box.add_widget(
                Text(
                    scale=scale,
                    text=view.detail,
                    type_size=theme.SMALL - 0.5,
                    colour=theme.MUTED,
                    lines=lines,
                    size_hint_y=0.85 * lines,
                )
            )
        if view.progress is not None:
            bar = Bar(scale=scale)
            bar.value = view.progress
            box.add_widget(bar)
        return box

    def _end(self, view: RowView) -> AnchorLayout:
        scale = self.scale
        box = AnchorLayout(anchor_x="right", size_hint_x=None, width=scale(END_WIDTH))
        if view.retry:
            retry = TextTap(
                scale=scale,
                test_id=f"retry-{view.key}",
                text=view.retry,
                on_tap=lambda: self._act(actions.RetryStudy(view.key)),
                size_hint=(None, None),
                size=(scale(108), scale(theme.TOUCH)),
            )
            retry.tappable = not view.retrying
            box.add_widget(retry)
        elif view.can_open:
            box.add_widget(Icon(scale=scale, name="next", size=26, colour=theme.MUTED))
        return box


class WorklistScreen(Screen):
    """See the module."""

    name = "worklist"

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, act=act)
        self._rows: dict[str, StudyRowWidget] = {}
        self._order: tuple[str, ...] = ()
        self._tabs_shown: tuple[object, ...] = ()
        self._lamps: tuple[HealthItem, ...] = ()
        self._columns: tuple[str, ...] = ()
        self._troubles_shown: TroublesPopup | None = None
        self.alert.opens(lambda: act(actions.ShowTroubles()))
        self._fill_bar()
        self.body.orientation = "vertical"
        self._tab_strip = BoxLayout(size_hint_y=None, height=scale(theme.TOUCH), spacing=scale(10))
        self._column_strip = Strip(scale=scale, fill=theme.BACKGROUND, height=24, padding=[scale(18), 0, scale(24), 0])
        self._list = Scroll(scale=scale, gap=10, pos_hint=FILL)
        self._empty = Text(scale=scale, type_size=theme.LARGE, colour=theme.MUTED, align="center", lines=3, pos_hint=FILL)
        area = FloatLayout()
        area.add_widget(self._list)
        area.add_widget(self._empty)
        for part in (self._tab_strip, self._column_strip, area):
            self.body.add_widget(part)

    def show(self, view: WorklistView) -> None:
        """Draw the view; only what changed is built anew."""
        self.show_frame(view.frame)
        self._site.words = view.frame.title
        self._user.words = view.frame.user
        self._sign_out.label.words = view.sign_out
        self._language.label.words = view.switch_language
        self.alert.show(view.warnings)
        self._show_health(view.health)
        self._show_tabs(view)
        self._show_columns(view.columns)
        self._show_rows(view.rows)
        self._empty.words = view.empty
        self._empty.opacity = 1 if view.empty else 0
        self._show_troubles(view.troubles)

    def _show_troubles(self, troubles: TroublesPopup | None) -> None:
        if troubles == self._troubles_shown:
            return
        self._troubles_shown = troubles
        self.close_popup()
        if troubles is not None:
            panel = troubles_panel(troubles, scale=self.scale, act=self.act)
            self.open_popup(Shade(on_outside=lambda: self.act(actions.Dismiss()), content=panel))

    def _fill_bar(self) -> None:
        scale = self.scale
        self.bar.add_widget(brand(scale))
        self._site = Text(scale=scale, type_size=theme.BODY, colour=theme.MUTED)
        self._health = BoxLayout(spacing=scale(16), size_hint_x=None)
        self._health.bind(minimum_width=self._health.setter("width"))
        self._user = Text(scale=scale, type_size=theme.SMALL + 1, align="right", size_hint_x=None, width=scale(200))
        self._language = self.bar_button("language", actions.SwitchLanguage(), text="")
        self._sign_out = self.bar_button("sign-out", actions.SignOut(), text="")
        for part in (self._site, self._health, self._user, self._language, self._sign_out):
            self.bar.add_widget(part)

    def _show_health(self, lamps: tuple[HealthItem, ...]) -> None:
        if lamps == self._lamps:
            return
        self._lamps = lamps
        scale = self.scale
        self._health.clear_widgets()
        for lamp in lamps:
            text = Text(
                scale=scale, text=lamp.text, type_size=theme.TINY + 1, colour=theme.MUTED if lamp.good else theme.BAD, size_hint_x=None
            )
            text.width = min(text.natural_width(), scale(220))
            item = BoxLayout(spacing=scale(7), size_hint_x=None, width=text.width + scale(19))
            item.add_widget(Lamp(scale=scale, colour=theme.GOOD if lamp.good else theme.BAD))
            item.add_widget(text)
            self._health.add_widget(item)

    def _show_tabs(self, view: WorklistView) -> None:
        shown = (view.tabs, view.search, view.update)
        if shown == self._tabs_shown:
            return
        self._tabs_shown = shown
        tabs = view.tabs
        self._tab_strip.clear_widgets()
        for tab in tabs:
            self._tab_strip.add_widget(self._tab(tab))
        self._tab_strip.add_widget(Gap(scale=self.scale))
        if view.update:
            self._tab_strip.add_widget(self._strip_key("update", view.update, "archive", actions.OpenUpdate()))
        self._tab_strip.add_widget(self._strip_key("search", view.search, "search", actions.OpenSearch()))

    def _strip_key(self, test_id: str, word: str, icon: IconName, action: actions.Action) -> Tap:
        scale = self.scale
        key = Tap(
            scale=scale,
            test_id=test_id,
            on_tap=lambda: self.act(action),
            fill=theme.PANEL,
            border=theme.LINE,
            radius=theme.TOUCH / 2,
            padding=(22, 4, 22, 4),
            gap=10,
            size_hint_x=None,
        )
        text = Text(scale=scale, text=word, type_size=theme.BODY)
        key.width = text.natural_width() + scale(86)
        key.add_widget(Icon(scale=scale, name=icon, size=24, colour=theme.ACCENT))
        key.add_widget(text)
        return key

    def _tab(self, tab: TabView) -> TextTap:
        button = TextTap(
            scale=self.scale,
            test_id=f"tab-{tab.tab}",
            text=f"{tab.text}  {tab.count}",
            type_size=theme.BODY,
            bold=tab.chosen,
            colour=theme.TEXT if tab.chosen else theme.MUTED,
            fill=theme.ACCENT_DEEP if tab.chosen else theme.BACKGROUND,
            border=theme.CLEAR if tab.chosen else theme.LINE,
            radius=theme.TOUCH / 2,
            on_tap=lambda: self.act(actions.ChooseTab(tab.tab)),
            size_hint_x=None,
        )
        button.width = button.label.natural_width() + self.scale(52)
        return button

    def _show_columns(self, columns: tuple[str, str, str, str]) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        self._column_strip.clear_widgets()
        for text, width in zip(columns, (RESULT_WIDTH, None, RECEIVED_WIDTH, STATE_WIDTH + END_WIDTH), strict=True):
            label = Text(scale=self.scale, text=text, type_size=theme.TINY + 1, colour=theme.FAINT)
            if width is not None:
                label.size_hint_x, label.width = None, self.scale(width)
            self._column_strip.add_widget(label)

    def _show_rows(self, rows: tuple[RowView, ...]) -> None:
        order = tuple(row.key for row in rows)
        for row in rows:
            widget = self._rows.get(row.key)
            if widget is None:
                self._rows[row.key] = StudyRowWidget(scale=self.scale, act=self.act, view=row)
            else:
                widget.show(row)
        for key in set(self._rows) - set(order):
            del self._rows[key]
        if order != self._order:
            self._order = order
            self._list.list.clear_widgets()
            for key in order:
                self._list.list.add_widget(self._rows[key])
