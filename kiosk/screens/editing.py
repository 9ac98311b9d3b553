"""The pop-up of corrections: names of vessels, dominance, CAD-RADS modifiers."""

from __future__ import annotations

from kivy.uix.boxlayout import BoxLayout
from kivy.uix.gridlayout import GridLayout
from kivy.uix.widget import Widget

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Gap, Panel, Scroll, Tap, Text, TextTap
from kiosk.views.editing import DominanceKey, EditPopup, ModifierGroup, ModifierKey, NameKey, NameRow

WIDTH, HEIGHT = 1060, 660
LIST_WIDTH = 360
ROW_HEIGHT = 62
KEY_COLUMNS = 4


class EditPanel(Panel):
    """The whole pop-up; only what changed is built anew, so that the list stays where it was scrolled to."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(
            scale=scale,
            orientation="vertical",
            border=theme.LINE,
            padding=(24, 18, 24, 18),
            gap=12,
            size_hint=(None, None),
            size=(scale(WIDTH), scale(HEIGHT)),
        )
        self._act = act
        self._built: dict[str, object] = {}
        self._tab: str | None = None
        self._title = Text(scale=scale, type_size=theme.TITLE - 2, bold=True, size_hint_x=0.3)
        self._result = Text(scale=scale, type_size=theme.BODY, bold=True, colour=theme.ACCENT, align="right")
        head = BoxLayout(size_hint_y=None, height=scale(40))
        head.add_widget(self._title)
        head.add_widget(self._result)
        self._tabs = BoxLayout(size_hint_y=None, height=scale(theme.TOUCH), spacing=scale(8))
        self._hint = Text(scale=scale, type_size=theme.SMALL, colour=theme.MUTED, lines=2, size_hint_y=None, height=scale(58))
        self._body = BoxLayout(spacing=scale(theme.PAD))
        self._list = Scroll(scale=scale, gap=6, size_hint_x=None, width=scale(LIST_WIDTH))
        self._keys = GridLayout(cols=KEY_COLUMNS, spacing=scale(8))
        foot = BoxLayout(size_hint_y=None, height=scale(theme.TOUCH))
        foot.add_widget(Gap(scale=scale))
        self._close = TextTap(
            scale=scale,
            test_id="close-edit",
            text="",
            fill=theme.PANEL,
            border=theme.LINE,
            on_tap=lambda: act(actions.Dismiss()),
            size_hint_x=None,
            width=scale(150),
        )
        foot.add_widget(self._close)
        for part in (head, self._tabs, self._hint, self._body, foot):
            self.add_widget(part)

    def show(self, popup: EditPopup) -> None:
        """Draw the pop-up."""
        self._title.words = popup.title
        self._result.words = popup.result
        self._close.label.words = popup.close
        self._hint.words = popup.warning or popup.hint
        self._hint.color = theme.WARNING if popup.warning else theme.MUTED
        chosen = next(tab for tab, _, here in popup.tabs if here)
        if self._changed("tabs", popup.tabs):
            self._tabs.clear_widgets()
            for tab, text, here in popup.tabs:
                self._tabs.add_widget(self._tab_key(tab, text, here))
        if chosen != self._tab:
            self._tab = chosen
            self._built = {"tabs": popup.tabs}
            self._body.clear_widgets()
            if chosen == "names":
                self._body.add_widget(self._list)
                self._body.add_widget(self._keys)
        if chosen == "names":
            self._show_names(popup)
        elif self._changed("body", (popup.dominances, popup.modifiers, popup.may_enter)):
            self._body.clear_widgets()
            self._body.add_widget(self._dominances(popup) if chosen == "dominance" else self._modifiers(popup))

    def _changed(self, part: str, content: object) -> bool:
        if self._built.get(part) == content:
            return False
        self._built[part] = content
        return True

    def _tab_key(self, tab: str, text: str, here: bool) -> TextTap:
        return TextTap(
            scale=self.scale,
            test_id=f"edit-{tab}",
            text=text,
            bold=here,
            fill=theme.ACCENT_DEEP if here else theme.RAISED,
            on_tap=lambda: self._act(actions.ChooseEditTab(tab)),  # type: ignore[arg-type]
        )

    def _show_names(self, popup: EditPopup) -> None:
        if self._changed("rows", popup.rows):
            self._list.list.clear_widgets()
            for row in popup.rows:
                self._list.list.add_widget(self._row(row))
        if self._changed("names", popup.names):
            self._keys.clear_widgets()
            for key in popup.names:
                self._keys.add_widget(self._name_key(key))

    def _row(self, row: NameRow) -> Widget:
        scale = self.scale
        line = BoxLayout(size_hint_y=None, height=scale(ROW_HEIGHT))
        if row.indented:
            line.add_widget(Gap(scale=scale, width=22))
        tap = Tap(
            scale=scale,
            test_id=f"place-{row.branch}-{'all' if row.segment is None else row.segment}",
            on_tap=lambda: self._act(actions.ChoosePlace(row.branch, row.segment)),
            fill=theme.ACCENT_DEEP if row.chosen else theme.RAISED,
            border=theme.WARNING if row.unsure else theme.CLEAR,
            orientation="vertical",
            padding=(14, 6, 10, 6),
            gap=0,
        )
        tap.add_widget(Text(scale=scale, text=row.text, type_size=theme.BODY - 1, bold=not row.indented))
        colour = theme.TEXT if row.chosen else theme.WARNING if row.unsure else theme.ACCENT if row.corrected else theme.MUTED
        tap.add_widget(Text(scale=scale, text=row.detail, type_size=theme.TINY + 0.5, colour=colour))
        line.add_widget(tap)
        return line

    def _name_key(self, key: NameKey) -> Tap:
        scale = self.scale
        tap = Tap(
            scale=scale,
            test_id=f"name-{key.name}",
            on_tap=lambda: self._act(actions.ChooseName(key.name)),
            fill=theme.ACCENT_DEEP if key.chosen else theme.RAISED if key.allowed else theme.PANEL,
            border=theme.ACCENT if key.chosen else theme.LINE,
            orientation="vertical",
            padding=(8, 6, 8, 6),
            gap=0,
        )
        colour = theme.TEXT if key.allowed else theme.FAINT
        second = theme.TEXT if key.chosen else theme.MUTED if key.allowed else theme.FAINT
        text = f"{key.text} •" if key.used else key.text
        tap.add_widget(Text(scale=scale, text=text, type_size=theme.BODY, bold=True, colour=colour, align="center"))
        tap.add_widget(Text(scale=scale, text=key.meaning, type_size=theme.TINY, colour=second, align="center", lines=2, size_hint_y=1.3))
        return tap

    def _dominances(self, popup: EditPopup) -> Widget:
        grid = GridLayout(cols=2, spacing=self.scale(theme.GAP), size_hint_y=None, height=self.scale(240))
        for key in popup.dominances:
            grid.add_widget(self._dominance_key(key))
        return _at_top(grid)

    def _dominance_key(self, key: DominanceKey) -> Tap:
        return self._choice(
            f"dominance-{key.dominance or 'auto'}", key.text, key.meaning, key.chosen, actions.ChooseDominance(key.dominance)
        )

    def _modifiers(self, popup: EditPopup) -> Widget:
        column = BoxLayout(orientation="vertical", spacing=self.scale(10))
        for group in popup.modifiers:
            column.add_widget(self._group(group, popup.may_enter))
        return column

    def _group(self, group: ModifierGroup, may_enter: bool) -> Widget:
        scale = self.scale
        box = BoxLayout(orientation="vertical", spacing=scale(6))
        box.add_widget(Text(scale=scale, text=group.title, type_size=theme.BODY - 1, bold=True, size_hint_y=None, height=scale(30)))
        line = BoxLayout(spacing=scale(10))
        for key in group.keys:
            tap = self._modifier_key(key)
            tap.tappable = may_enter
            tap.opacity = 1.0 if may_enter else 0.45
            line.add_widget(tap)
        box.add_widget(line)
        return box

    def _modifier_key(self, key: ModifierKey) -> Tap:
        wish = actions.EnterModifiers(key.ischaemia, key.grafts, key.exceptions)
        return self._choice(key.id, key.text, key.meaning, key.chosen, wish)

    def _choice(self, test_id: str, text: str, meaning: str, chosen: bool, wish: actions.Action) -> Tap:
        scale = self.scale
        tap = Tap(
            scale=scale,
            test_id=test_id,
            on_tap=lambda: self._act(wish),
            fill=theme.ACCENT_DEEP if chosen else theme.RAISED,
            border=theme.ACCENT if chosen else theme.LINE,
            orientation="vertical",
            padding=(12, 8, 12, 8),
            gap=2,
        )
        tap.add_widget(Text(scale=scale, text=text, type_size=theme.LARGE - 1, bold=True, align="center"))
        second = theme.TEXT if chosen else theme.MUTED
        tap.add_widget(Text(scale=scale, text=meaning, type_size=theme.SMALL, colour=second, align="center"))
        return tap


def _at_top(part: Widget) -> BoxLayout:
    """A part of its own height at the top of what is free."""
    box = BoxLayout(orientation="vertical")
    box.add_widget(part)
    box.add_widget(Widget())
    return box
