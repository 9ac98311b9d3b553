"""Pop-ups of the review: the choice of degrees and the whole report."""

from __future__ import annotations

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.gridlayout import GridLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act
from kiosk.screens.icons import Icon
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Gap, Panel, Scroll, Tap, Text, TextTap
from kiosk.views.decision import GradeChoice, GradePopup, ReportPopup
from kiosk.views.worklist import TroublesPopup


def grade_panel(popup: GradePopup, *, scale: Scale, act: Act) -> Panel:
    """Six large keys, one per degree, the present one marked."""
    panel = Panel(
        scale=scale,
        orientation="vertical",
        border=theme.LINE,
        padding=28,
        gap=14,
        size_hint=(None, None),
        size=(scale(680), scale(470)),
    )
    panel.add_widget(Text(scale=scale, text=popup.title, type_size=theme.BODY, colour=theme.MUTED, size_hint_y=None, height=scale(28)))
    head = BoxLayout(size_hint_y=None, height=scale(40))
    head.add_widget(Text(scale=scale, text=popup.place, type_size=theme.TITLE - 2, bold=True))
    measured = Text(scale=scale, text=popup.measured, type_size=theme.BODY, colour=theme.MUTED, align="right", size_hint_x=None)
    measured.width = measured.natural_width() + scale(8)
    head.add_widget(measured)
    panel.add_widget(head)
    keys = GridLayout(cols=3, spacing=scale(theme.GAP))
    for choice in popup.choices:
        keys.add_widget(_grade_key(choice, scale=scale, act=act))
    panel.add_widget(keys)
    foot = BoxLayout(size_hint_y=None, height=scale(60))
    foot.add_widget(Gap(scale=scale))
    foot.add_widget(_close_key("cancel", popup.cancel, scale=scale, act=act))
    panel.add_widget(foot)
    return panel


def report_panel(popup: ReportPopup, *, scale: Scale, act: Act) -> Panel:
    """The sections of the report, to scroll."""
    panel = Panel(
        scale=scale, orientation="vertical", border=theme.LINE, padding=28, gap=14, size_hint=(None, None), size=(scale(860), scale(660))
    )
    panel.add_widget(Text(scale=scale, text=popup.title, type_size=theme.TITLE - 2, bold=True, size_hint_y=None, height=scale(42)))
    scroll = Scroll(scale=scale, gap=8)
    for heading, sentences in popup.sections:
        scroll.list.add_widget(
            Text(scale=scale, text=heading, type_size=theme.SMALL + 1, bold=True, colour=theme.ACCENT, lines=None, size_hint_y=None)
        )
        scroll.list.add_widget(Text(scale=scale, text=sentences, type_size=theme.BODY, lines=None, size_hint_y=None))
        scroll.list.add_widget(Gap(scale=scale, height=6))
    panel.add_widget(scroll)
    foot = BoxLayout(size_hint_y=None, height=scale(60))
    foot.add_widget(Gap(scale=scale))
    foot.add_widget(_close_key("close-report", popup.close, scale=scale, act=act))
    panel.add_widget(foot)
    return panel


def troubles_panel(popup: TroublesPopup, *, scale: Scale, act: Act) -> Panel:
    """Everything that is wrong with the appliance, one under the other."""
    panel = Panel(
        scale=scale, orientation="vertical", border=theme.BAD, padding=28, gap=14, size_hint=(None, None), size=(scale(860), scale(480))
    )
    panel.add_widget(Text(scale=scale, text=popup.title, type_size=theme.TITLE - 2, bold=True, size_hint_y=None, height=scale(42)))
    scroll = Scroll(scale=scale, gap=14)
    for trouble in popup.troubles:
        line = BoxLayout(size_hint_y=None, spacing=scale(14))
        line.bind(minimum_height=line.setter("height"))
        line.add_widget(Icon(scale=scale, name="warning", size=26, colour=theme.BAD))
        line.add_widget(Text(scale=scale, text=trouble, type_size=theme.BODY, lines=None, size_hint_y=None))
        scroll.list.add_widget(line)
    panel.add_widget(scroll)
    foot = BoxLayout(size_hint_y=None, height=scale(60))
    foot.add_widget(Gap(scale=scale))
    foot.add_widget(_close_key("close-troubles", popup.close, scale=scale, act=act))
    panel.add_widget(foot)
    return panel


def _grade_key(choice: GradeChoice, *, scale: Scale, act: Act) -> Tap:
    fill = theme.GRADE_COLOUR[choice.grade]
    key = Tap(
        scale=scale,
        test_id=f"choose-{choice.grade}",
        on_tap=lambda: act(actions.ChooseGrade(choice.grade)),
        fill=theme.RAISED,
        border=fill if choice.chosen else theme.LINE,
        padding=(14, 10, 10, 10),
        gap=10,
    )
    dot = Panel(scale=scale, fill=fill, radius=5, padding=0, size_hint=(None, 0.8), width=scale(10), pos_hint={"center_y": 0.5})
    words = BoxLayout(orientation="vertical")
    words.add_widget(Text(scale=scale, text=choice.text, type_size=theme.LARGE - 1, bold=True))
    words.add_widget(Text(scale=scale, text=choice.band, type_size=theme.SMALL + 1, colour=theme.MUTED))
    key.add_widget(dot)
    key.add_widget(words)
    if choice.chosen:
        mark = AnchorLayout(size_hint_x=None, width=scale(26))
        mark.add_widget(Icon(scale=scale, name="check", size=24, colour=fill, weight=1.8))
        key.add_widget(mark)
    return key


def _close_key(test_id: str, text: str, *, scale: Scale, act: Act) -> TextTap:
    return TextTap(
        scale=scale,
        test_id=test_id,
        text=text,
        fill=theme.PANEL,
        border=theme.LINE,
        on_tap=lambda: act(actions.Dismiss()),
        size_hint_x=None,
        width=scale(150),
    )
