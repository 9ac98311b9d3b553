"""The review screen: lesions left, key views in the centre, report and decision right."""

from __future__ import annotations

from kivy.uix.boxlayout import BoxLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.decision import DecisionPanel, UndoStrip
from kiosk.screens.editing import EditPanel
from kiosk.screens.frame import Act, Screen, Shade
from kiosk.screens.icons import Icon
from kiosk.screens.lesions import LesionPanel
from kiosk.screens.pictures import PicturePanel
from kiosk.screens.popups import grade_panel, report_panel
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Tap, Text
from kiosk.views.decision import GradePopup, ReportPopup
from kiosk.views.editing import EditPopup
from kiosk.views.review import ReviewView


class ReviewScreen(Screen):
    """See the module."""

    name = "review"

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(scale=scale, act=act)
        self._fill_bar()
        self.body.orientation = "vertical"
        self._lesions = LesionPanel(scale=scale, act=act)
        self._pictures = PicturePanel(scale=scale, act=act)
        self._decision = DecisionPanel(scale=scale, act=act)
        self._undo = UndoStrip(scale=scale, act=act)
        sides = BoxLayout(spacing=scale(theme.PAD))
        for part in (self._lesions, self._pictures, self._decision):
            sides.add_widget(part)
        self.body.add_widget(sides)
        self._popup_shown: GradePopup | ReportPopup | EditPopup | None = None
        self._editing: EditPanel | None = None

    def show(self, view: ReviewView) -> None:
        """Draw the view; only what changed is built anew."""
        self.show_frame(view.frame)
        self._name.words = view.name
        self._name.width = min(self._name.natural_width() + self.scale(6), self.scale(330))
        self._identity.words = view.identity
        self._study.words = view.study
        self._user.words = view.frame.user
        self._language.label.words = view.switch_language
        self._sign_out.label.words = view.sign_out
        self._lesions.show(view)
        self._pictures.show(view)
        self._decision.show(view)
        self._show_undo(view)
        self._show_popup(view.popup)

    def _fill_bar(self) -> None:
        scale = self.scale
        back = Tap(
            scale=scale,
            test_id="back",
            on_tap=lambda: self.act(actions.GoBack()),
            fill=theme.BAR,
            border=theme.LINE,
            padding=(12, 12, 12, 12),
            size_hint=(None, None),
            size=(scale(56), scale(52)),
            pos_hint={"center_y": 0.5},
        )
        back.add_widget(Icon(scale=scale, name="back", size=28))
        self._name = Text(scale=scale, type_size=theme.TITLE, bold=True, size_hint_x=None)
        lines = BoxLayout(orientation="vertical", padding=[0, scale(4)])
        self._identity = Text(scale=scale, type_size=theme.SMALL + 1)
        self._study = Text(scale=scale, type_size=theme.SMALL - 1, colour=theme.MUTED)
        lines.add_widget(self._identity)
        lines.add_widget(self._study)
        self._user = Text(scale=scale, type_size=theme.SMALL + 1, align="right", size_hint_x=None, width=scale(190))
        self._language = self.bar_button("language", actions.SwitchLanguage(), text="")
        self._sign_out = self.bar_button("sign-out", actions.SignOut(), text="")
        for part in (back, self._name, lines, self._user, self._language, self._sign_out):
            self.bar.add_widget(part)

    def _show_undo(self, view: ReviewView) -> None:
        if view.undo is not None:
            if self._undo.parent is None:
                self.body.add_widget(self._undo)
            self._undo.show(view.undo)
        elif self._undo.parent is not None:
            self.body.remove_widget(self._undo)

    def _show_popup(self, popup: GradePopup | ReportPopup | EditPopup | None) -> None:
        if popup == self._popup_shown:
            return
        self._popup_shown = popup
        if isinstance(popup, EditPopup) and self._editing is not None:
            self._editing.show(popup)  # a list that was scrolled stays where it is
            return
        self._editing = None
        self.close_popup()
        if popup is not None:
            if isinstance(popup, GradePopup):
                content = grade_panel(popup, scale=self.scale, act=self.act)
            elif isinstance(popup, EditPopup):
                content = self._editing = EditPanel(scale=self.scale, act=self.act)
                self._editing.show(popup)
            else:
                content = report_panel(popup, scale=self.scale, act=self.act)
            self.open_popup(Shade(on_outside=lambda: self.act(actions.Dismiss()), content=content))
