"""Right and bottom of the review: what the report says, the one tap to approve, the undo bar, the deliveries."""

from __future__ import annotations

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act
from kiosk.screens.icons import Icon
from kiosk.screens.theme import Colour, Scale
from kiosk.screens.widgets import Bar, Gap, Panel, Scroll, Text, TextTap
from kiosk.views.decision import ApproveBox, DeliveryLine, UndoBar
from kiosk.views.review import ReviewView

DELIVERY_COLOUR: dict[str, Colour] = {
    "pending": theme.MUTED,
    "sending": theme.ACCENT,
    "done": theme.GOOD,
    "retrying": theme.WARNING,
}
UNDO_HEIGHT = 92


class ImpressionCard(Panel):
    """The sentences of the report's impression, and the way to the whole report."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, orientation="vertical", padding=(16, 12, 6, 12), gap=8)
        self._shown: tuple[str, ...] | None = None
        head = BoxLayout(size_hint_y=None, height=scale(44))
        self._title = Text(scale=scale, type_size=theme.BODY, bold=True, colour=theme.MUTED)
        self._full = TextTap(
            scale=scale,
            test_id="full-report",
            text="",
            type_size=theme.SMALL,
            colour=theme.ACCENT,
            fill=theme.PANEL,
            border=theme.LINE,
            on_tap=lambda: act(actions.ShowReport()),
            size_hint_x=None,
            width=scale(122),
        )
        head.add_widget(self._title)
        head.add_widget(self._full)
        self._scroll = Scroll(scale=scale, gap=7)
        self.add_widget(head)
        self.add_widget(self._scroll)

    def show(self, view: ReviewView) -> None:
        """Draw the sentences."""
        self._title.words = view.impression_title
        self._full.label.words = view.full_report
        if view.impression == self._shown:
            return
        self._shown = view.impression
        self._scroll.list.clear_widgets()
        for sentence in view.impression:
            self._scroll.list.add_widget(Text(scale=self.scale, text=sentence, type_size=theme.BODY - 1, lines=None, size_hint_y=None))


class DeliveryCard(Panel):
    """Who approved, and where films and objects are on their way to."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, orientation="vertical", padding=(16, 12, 16, 14), gap=8, size_hint_y=None)
        self._act = act
        self.bind(minimum_height=self.setter("height"))
        self._shown: tuple[object, ...] | None = None

    def show(self, view: ReviewView) -> None:
        """Draw approval and deliveries."""
        content = (view.approved_title, view.approved_by, view.deliveries, view.no_deliveries, view.send_again)
        if content == self._shown:
            return
        self._shown = content
        self.clear_widgets()
        scale = self.scale
        head = BoxLayout(size_hint_y=None, height=scale(30), spacing=scale(8))
        head.add_widget(Icon(scale=scale, name="check", size=22, colour=theme.GOOD, weight=1.8))
        head.add_widget(Text(scale=scale, text=view.approved_title, type_size=theme.BODY, bold=True, colour=theme.GOOD))
        self.add_widget(head)
        self.add_widget(self._line(view.approved_by))
        if not view.deliveries:
            self.add_widget(self._line(view.no_deliveries))
        for delivery in view.deliveries:
            self.add_widget(delivery_widget(delivery, scale=scale))
        if view.send_again:
            self.add_widget(self._again(view.key, view.send_again))

    def _again(self, key: str, text: str) -> TextTap:
        return TextTap(
            scale=self.scale,
            test_id="send-again",
            text=text,
            on_tap=lambda: self._act(actions.RetryStudy(key, waiting=True)),
            size_hint_y=None,
            height=self.scale(theme.TOUCH),
        )

    def _line(self, text: str) -> Text:
        return Text(scale=self.scale, text=text, type_size=theme.SMALL, colour=theme.MUTED, lines=None, size_hint_y=None)


class ApproveCard(BoxLayout):
    """The one tap."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(orientation="vertical", spacing=scale(8), size_hint_y=None, height=scale(152))
        self._means = Text(scale=scale, type_size=theme.SMALL - 0.5, colour=theme.MUTED, lines=2, align="center", size_hint_y=None)
        self._means.height = scale(54)
        self._button = TextTap(
            scale=scale,
            test_id="approve",
            text="",
            type_size=theme.LARGE,
            bold=True,
            fill=theme.ACCENT_DEEP,
            pressed=theme.ACCENT_PRESSED,
            on_tap=lambda: act(actions.Approve()),
        )
        self.add_widget(self._means)
        self.add_widget(self._button)

    def show(self, box: ApproveBox) -> None:
        """Draw the button."""
        self._means.words = box.means
        self._button.label.words = box.text
        self._button.tappable = box.enabled
        self._button.opacity = 1.0 if box.enabled else 0.45


class DecisionPanel(BoxLayout):
    """The whole right side."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(orientation="vertical", spacing=scale(theme.GAP), size_hint_x=None, width=scale(324))
        self._impression = ImpressionCard(scale=scale, act=act)
        self._approve = ApproveCard(scale=scale, act=act)
        self._deliveries = DeliveryCard(scale=scale, act=act)
        self.add_widget(self._impression)

    def show(self, view: ReviewView) -> None:
        """Draw what changed: the button while there is a draft, the deliveries after."""
        self._impression.show(view)
        self._swap(self._approve, wanted=view.approve is not None)
        self._swap(self._deliveries, wanted=bool(view.approved_title) and view.undo is None)
        if view.approve is not None:
            self._approve.show(view.approve)
        if view.approved_title:
            self._deliveries.show(view)

    def _swap(self, part: BoxLayout, *, wanted: bool) -> None:
        if wanted and part.parent is None:
            self.add_widget(part)
        elif not wanted and part.parent is not None:
            self.remove_widget(part)


class UndoStrip(Panel):
    """The open undo window: seconds left, and Undo well away from where the finger has just tapped Approve."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, fill=theme.RAISED, border=theme.ACCENT, size_hint_y=None, height=scale(UNDO_HEIGHT), gap=22)
        self._undo = TextTap(
            scale=scale,
            test_id="undo",
            text="",
            type_size=theme.LARGE,
            bold=True,
            fill=theme.WARNING,
            pressed=(*theme.WARNING[:3], 0.7),
            colour=theme.INK,
            on_tap=lambda: act(actions.Undo()),
            size_hint_x=None,
            width=scale(220),
        )
        icon = AnchorLayout(size_hint_x=None, width=scale(40))
        icon.add_widget(Icon(scale=scale, name="check", size=34, colour=theme.GOOD, weight=2.2))
        words = BoxLayout(orientation="vertical", spacing=scale(6), padding=[0, scale(2), scale(8), scale(6)])
        self._text = Text(scale=scale, type_size=theme.LARGE, bold=True)
        self._bar = Bar(scale=scale, thickness=8)
        words.add_widget(self._text)
        words.add_widget(self._bar)
        for part in (self._undo, icon, words, Gap(scale=scale, width=4)):
            self.add_widget(part)

    def show(self, bar: UndoBar) -> None:
        """Draw the time left."""
        self._text.words = bar.text
        self._undo.label.words = bar.undo
        self._undo.tappable = bar.enabled
        self._undo.opacity = 1.0 if bar.enabled else 0.45
        self._bar.value = bar.fraction


def delivery_widget(line: DeliveryLine, *, scale: Scale) -> BoxLayout:
    """One outbox row: where to, how far, and why not."""
    colour = DELIVERY_COLOUR[line.state]
    row = BoxLayout(size_hint_y=None, spacing=scale(12), padding=[0, scale(4)])
    row.bind(minimum_height=row.setter("height"))
    row.add_widget(Icon(scale=scale, name=line.icon, size=28, colour=colour))
    words = BoxLayout(orientation="vertical", size_hint_y=None)
    words.bind(minimum_height=words.setter("height"))
    top = BoxLayout(size_hint_y=None, height=scale(28))
    top.add_widget(Text(scale=scale, text=line.destination, type_size=theme.BODY - 1, bold=True))
    state = Text(scale=scale, text=line.state_text, type_size=theme.SMALL, bold=True, colour=colour, align="right", size_hint_x=None)
    state.width = state.natural_width() + scale(4)
    top.add_widget(state)
    words.add_widget(top)
    words.add_widget(Text(scale=scale, text=line.detail, type_size=theme.SMALL, colour=theme.MUTED, lines=None, size_hint_y=None))
    row.add_widget(words)
    return row
