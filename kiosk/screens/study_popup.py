"""The details of a study in a pop-up: what it is, what became of it, what can be done with it."""

from __future__ import annotations

from kivy.uix.boxlayout import BoxLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.decision import delivery_widget
from kiosk.screens.frame import Act
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Chip, Gap, Panel, Scroll, Text, TextTap
from kiosk.views.search import Again, StudyPopup

LABEL_WIDTH = 150


def study_panel(popup: StudyPopup, *, scale: Scale, act: Act) -> tuple[Panel, Scroll]:
    """The panel, and what scrolls in it."""
    panel = Panel(
        scale=scale, orientation="vertical", border=theme.LINE, padding=28, gap=12, size_hint=(None, None), size=(scale(820), scale(620))
    )
    panel.add_widget(_head(popup, scale))
    panel.add_widget(Text(scale=scale, text=popup.identity, type_size=theme.BODY, colour=theme.MUTED, size_hint_y=None, height=scale(28)))
    scroll = Scroll(scale=scale, gap=6)
    if popup.loading:
        scroll.list.add_widget(_line(popup.loading, scale))
    for label, value in popup.facts:
        scroll.list.add_widget(_fact(label, value, scale))
    if popup.deliveries_title:
        scroll.list.add_widget(_title(popup.deliveries_title, scale))
        for delivery in popup.deliveries:
            scroll.list.add_widget(delivery_widget(delivery, scale=scale))
        for again in popup.again:
            scroll.list.add_widget(_again(again, popup.key, scale, act))
    if popup.priors_title:
        scroll.list.add_widget(_title(popup.priors_title, scale))
        for prior in popup.priors:
            scroll.list.add_widget(_line(prior, scale))
    panel.add_widget(scroll)
    panel.add_widget(_foot(popup, scale, act))
    return panel, scroll


def _head(popup: StudyPopup, scale: Scale) -> BoxLayout:
    head = BoxLayout(size_hint_y=None, height=scale(42), spacing=scale(12))
    head.add_widget(Text(scale=scale, text=popup.name, type_size=theme.TITLE - 2, bold=True))
    head.add_widget(Chip(scale=scale, text=popup.state, fill=theme.RAISED, ink=theme.TEXT, height=34))
    return head


def _fact(label: str, value: str, scale: Scale) -> BoxLayout:
    line = BoxLayout(size_hint_y=None, spacing=scale(12))
    line.bind(minimum_height=line.setter("height"))
    name = Text(
        scale=scale, text=label, type_size=theme.BODY - 1, colour=theme.MUTED, size_hint=(None, None), width=scale(LABEL_WIDTH), lines=None
    )
    name.pos_hint = {"top": 1}
    line.add_widget(name)
    line.add_widget(Text(scale=scale, text=value, type_size=theme.BODY - 1, lines=None, size_hint_y=None))
    return line


def _title(text: str, scale: Scale) -> Text:
    return Text(scale=scale, text=text, type_size=theme.SMALL + 1, bold=True, colour=theme.ACCENT, lines=None, size_hint_y=None)


def _line(text: str, scale: Scale) -> Text:
    return Text(scale=scale, text=text, type_size=theme.BODY - 1, lines=None, size_hint_y=None)


def _again(again: Again, key: str, scale: Scale, act: Act) -> BoxLayout:
    """A key at the right end of a line of its own: names of destinations may be long."""
    line = BoxLayout(size_hint_y=None, height=scale(theme.TOUCH))
    line.add_widget(Gap(scale=scale))
    line.add_widget(_key(f"once-more-{again.to or 'all'}", again.text, actions.SendAgain(key, again.to), main=False, scale=scale, act=act))
    return line


def _foot(popup: StudyPopup, scale: Scale, act: Act) -> BoxLayout:
    foot = BoxLayout(size_hint_y=None, height=scale(60), spacing=scale(12))
    keys = [
        ("protect", popup.protect, actions.Protect(popup.key, protected=not popup.protected), False),
        ("send-again", popup.resend, actions.RetryStudy(popup.key, waiting=True), False),
        ("open-study", popup.open, actions.OpenStudy(popup.key), True),
        ("close-details", popup.close, actions.Dismiss(), False),
    ]
    given = [key for key in keys if key[1]]
    for position, (test_id, text, action, main) in enumerate(given):
        if position == (1 if popup.protect else 0):
            foot.add_widget(Gap(scale=scale))
        foot.add_widget(_key(test_id, text, action, main=main, scale=scale, act=act))
    return foot


def _key(test_id: str, text: str, action: actions.Action, *, main: bool, scale: Scale, act: Act) -> TextTap:
    key = TextTap(
        scale=scale, test_id=test_id, text=text, fill=theme.ACCENT_DEEP if main else theme.PANEL, bold=main,
        border=theme.CLEAR if main else theme.LINE, on_tap=lambda: act(action), size_hint_x=None,
    )  # fmt: skip
    key.width = max(key.label.natural_width() + scale(44), scale(130))
    return key
