"""Left of the review: the CAD-RADS result, the vessels, and the lesions with their degrees."""

from __future__ import annotations

from typing import Any

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.gridlayout import GridLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Gap, Panel, Scroll, Tap, Text, TextTap
from kiosk.views.review import LesionCard, ReviewView, VesselTab

CARD_HEIGHT = 100
GRADE_WIDTH, GRADE_HEIGHT = 108, 76


class ResultCard(Panel):
    """The category, large, in the colour of its severity; the facts of the study beside it."""

    def __init__(self, *, scale: Scale) -> None:
        super().__init__(scale=scale, orientation="horizontal", size_hint_y=None, height=scale(130), padding=12, gap=14)
        self._shown: tuple[str | None, str, tuple[str, ...]] | None = None

    def show(self, view: ReviewView) -> None:
        """Draw the result."""
        content = (view.category, view.cad_rads, view.facts)
        if content == self._shown:
            return
        self._shown = content
        self.clear_widgets()
        scale = self.scale
        fill = theme.CATEGORY_COLOUR.get(view.category or "", theme.RAISED)
        ink = theme.CATEGORY_INK.get(view.category or "", theme.INK)
        badge = Panel(scale=scale, fill=fill, padding=0, size_hint_x=None, width=scale(104))
        badge.add_widget(Text(scale=scale, text=view.category or "–", type_size=theme.HUGE, bold=True, colour=ink, align="center"))
        self.add_widget(badge)
        words = BoxLayout(orientation="vertical", spacing=scale(3), size_hint_y=None, pos_hint={"center_y": 0.5})
        words.bind(minimum_height=words.setter("height"))
        words.add_widget(Text(scale=scale, text=view.cad_rads, type_size=theme.BODY, bold=True, lines=None, size_hint_y=None))
        for line in (view.facts[:2], view.facts[2:]):
            text = " · ".join(line)
            words.add_widget(Text(scale=scale, text=text, type_size=theme.TINY + 0.5, colour=theme.MUTED, lines=None, size_hint_y=None))
        self.add_widget(words)


class VesselTabs(GridLayout):
    """One key per vessel, underlined in the colour of its worst degree."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(rows=1, spacing=scale(6), size_hint_y=None, height=scale(theme.TOUCH))
        self._scale = scale
        self._act = act
        self._shown: tuple[VesselTab, ...] = ()

    def show(self, tabs: tuple[VesselTab, ...]) -> None:
        """Draw the tabs."""
        if tabs == self._shown:
            return
        self._shown = tabs
        self.clear_widgets()
        for tab in tabs:
            self.add_widget(self._tab(tab))

    def _tab(self, tab: VesselTab) -> Tap:
        scale = self._scale
        key = Tap(
            scale=scale,
            test_id=f"vessel-{tab.vessel or 'all'}",
            on_tap=lambda: self._act(actions.ChooseVessel(tab.vessel)),
            fill=theme.ACCENT_DEEP if tab.chosen else theme.RAISED,
            orientation="vertical",
            padding=(4, 8, 4, 8),
            gap=4,
            radius=10,
        )
        key.add_widget(
            Text(
                scale=scale,
                text=tab.text,
                type_size=theme.SMALL + 1,
                bold=tab.chosen or tab.count > 0,
                colour=theme.TEXT if tab.chosen or tab.count else theme.MUTED,
                align="center",
            )
        )
        line = Panel(
            scale=scale,
            fill=theme.GRADE_COLOUR[tab.worst] if tab.worst else theme.CLEAR,
            radius=2,
            padding=0,
            size_hint=(None, None),
            size=(scale(26), scale(4)),
            pos_hint={"center_x": 0.5},
        )
        key.add_widget(line)
        return key


class LesionWidget(Tap):
    """One lesion; its degree is a key of its own."""

    def __init__(self, *, scale: Scale, act: Act, card: LesionCard) -> None:
        super().__init__(
            scale=scale,
            test_id=f"lesion-{card.lesion}",
            on_tap=lambda: act(actions.ChooseLesion(card.lesion)),
            fill=theme.RAISED if card.chosen else theme.PANEL,
            border=theme.ACCENT if card.chosen else theme.CLEAR,
            padding=(14, 10, 12, 10),
            gap=8,
            size_hint_y=None,
            height=scale(CARD_HEIGHT),
        )
        words = BoxLayout(orientation="vertical", spacing=scale(3), size_hint_y=None, pos_hint={"center_y": 0.5})
        words.bind(minimum_height=words.setter("height"))
        words.bind(height=self._grow)
        words.add_widget(self._line(card.place, type_size=theme.BODY, bold=True))
        words.add_widget(self._line(f"{card.segment} · {card.plaque}", colour=theme.MUTED))
        if card.high_risk:
            words.add_widget(self._line(card.high_risk, colour=theme.BAD))
        if card.corrected:
            words.add_widget(self._line(card.corrected, colour=theme.ACCENT))
        self.add_widget(words)
        self.add_widget(self._grade(act, card))

    def _line(self, text: str, *, type_size: float = theme.TINY + 1, **more: Any) -> Text:
        return Text(scale=self.scale, text=text, type_size=type_size, lines=None, size_hint_y=None, **more)

    def _grow(self, _words: BoxLayout, height: float) -> None:
        self.height = max(self.scale(CARD_HEIGHT), height + self.padding[1] + self.padding[3])

    def _grade(self, act: Act, card: LesionCard) -> AnchorLayout:
        scale = self.scale
        fill = theme.GRADE_COLOUR[card.grade]
        ink = theme.GRADE_INK.get(card.grade, theme.INK)
        chip = Tap(
            scale=scale,
            test_id=f"grade-{card.lesion}",
            on_tap=lambda: act(actions.AskGrade(card.lesion)),
            fill=fill,
            pressed=(*fill[:3], 0.7),
            orientation="vertical",
            padding=(4, 4, 4, 4),
            gap=0,
            size_hint=(None, None),
            size=(scale(GRADE_WIDTH), scale(GRADE_HEIGHT)),
        )
        chip.tappable = card.can_change
        chip.add_widget(
            Text(
                scale=scale,
                text=card.chip[0],
                type_size=theme.LARGE + (2 if not card.corrected else -3),
                bold=True,
                colour=ink,
                align="center",
                size_hint_y=1.5,
            )
        )
        chip.add_widget(Text(scale=scale, text=card.chip[1], type_size=theme.SMALL, bold=True, colour=ink, align="center"))
        box = AnchorLayout(size_hint_x=None, width=scale(GRADE_WIDTH))
        box.add_widget(chip)
        return box


class LesionPanel(BoxLayout):
    """The whole left side."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(orientation="vertical", spacing=scale(theme.GAP), size_hint_x=None, width=scale(372))
        self._scale = scale
        self._act = act
        self._shown: tuple[object, ...] | None = None
        self._result = ResultCard(scale=scale)
        self._vessels = VesselTabs(scale=scale, act=act)
        self._scroll = Scroll(scale=scale, gap=8)
        self._edit = TextTap(
            scale=scale,
            test_id="edit",
            text="",
            type_size=theme.SMALL,
            fill=theme.PANEL,
            border=theme.LINE,
            on_tap=lambda: act(actions.OpenEdit()),
            size_hint_y=None,
            height=scale(theme.TOUCH),
        )
        for part in (self._result, self._vessels, self._scroll):
            self.add_widget(part)

    def show(self, view: ReviewView) -> None:
        """Draw what changed."""
        self._result.show(view)
        self._vessels.show(view.vessels)
        self._edit.label.words = view.edit
        if view.edit and self._edit.parent is None:
            self.add_widget(self._edit)
        elif not view.edit and self._edit.parent is not None:
            self.remove_widget(self._edit)
        content = (view.lesions, view.no_lesions, view.warnings, view.loading, view.compared)
        if content == self._shown:
            return
        self._shown = content
        rows = self._scroll.list
        rows.clear_widgets()
        if view.compared:
            rows.add_widget(self._note(view.compared, theme.ACCENT))
        for card in view.lesions:
            rows.add_widget(LesionWidget(scale=self._scale, act=self._act, card=card))
        for text, colour in ((view.loading or view.no_lesions, theme.MUTED), ("\n".join(view.warnings), theme.WARNING)):
            if text:
                rows.add_widget(Gap(scale=self._scale, height=6))
                rows.add_widget(self._note(text, colour))

    def _note(self, text: str, colour: theme.Colour) -> Text:
        return Text(scale=self._scale, text=text, lines=None, colour=colour, type_size=theme.SMALL, size_hint_y=None)
