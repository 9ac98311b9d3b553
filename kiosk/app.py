"""The Kivy application: one window, one frame loop, and the screen that fits the view.

Every frame interval the controller takes in what was received, and the screen draws what changed. The watchdog is fed from this loop, so a
screen that hangs is restarted by systemd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kivy.app import App
from kivy.clock import Clock
from kivy.core.text import DEFAULT_FONT, LabelBase
from kivy.core.window import Window
from kivy.uix.floatlayout import FloatLayout

from kiosk import actions
from kiosk.announce import Announcer
from kiosk.controller import Controller
from kiosk.fonts import Fonts
from kiosk.screens import theme
from kiosk.screens.frame import Screen
from kiosk.screens.review import ReviewScreen
from kiosk.screens.search import SearchScreen
from kiosk.screens.set_up import SetUpScreen
from kiosk.screens.sign_in import SignInScreen
from kiosk.screens.theme import Scale
from kiosk.screens.update import UpdateScreen
from kiosk.screens.worklist import WorklistScreen
from kiosk.views import ReviewView, SearchView, SetUpView, SignInView, UpdateView, View
from kiosk.watchdog import Watchdog

FRAME_S = 1 / 20
# SDL key codes: return, enter of the number pad, backspace, escape
KEYS: dict[int, actions.Action] = {
    13: actions.SubmitPin(),
    271: actions.SubmitPin(),
    8: actions.ErasePin(),
    27: actions.Dismiss(),
}
NUMBER_PAD_ZERO = 256
SEARCH_KEYS: dict[int, actions.Action] = {
    13: actions.ShowKeyboard(shown=False),
    271: actions.ShowKeyboard(shown=False),
    8: actions.EraseText(),
    27: actions.Dismiss(),
}


class KioskApp(App):
    """Built with its collaborators; ``run()`` shows the window until it is closed."""

    title = "Coronet"

    def __init__(
        self, *, controller: Controller, fonts: Fonts, watchdog: Watchdog, announcer: Announcer | None, on_end: Callable[[], None]
    ) -> None:
        super().__init__()
        self._controller = controller
        self._fonts = fonts
        self._watchdog = watchdog
        self._announcer = announcer
        self._on_end = on_end
        self._screen: Screen | None = None
        self._view: View | None = None
        self._scale: Scale | None = None
        self._touching = False

    def build(self) -> FloatLayout:
        """The root: holds one screen at a time."""
        regular, bold = str(self._fonts.regular), str(self._fonts.bold)
        LabelBase.register(DEFAULT_FONT, fn_regular=regular, fn_italic=regular, fn_bold=bold, fn_bolditalic=bold)
        Window.clearcolor = theme.BACKGROUND
        Window.bind(on_key_down=self._key, on_touch_down=self._touched, on_touch_up=self._let_go)
        self._root = FloatLayout()
        return self._root

    def on_start(self) -> None:
        """The window is there: start the frame loop."""
        self._frame(0.0)
        Clock.schedule_interval(self._frame, FRAME_S)

    def on_stop(self) -> None:
        """The window is closed."""
        self._on_end()

    def _frame(self, _elapsed: float) -> None:
        self._controller.tick()
        self._draw(self._controller.view())
        if self._announcer is not None and self._screen is not None and self._view is not None:
            self._announcer.announce(self._screen, self._view, Window.size, touched=self._touching)
        self._watchdog.frame()

    def _act(self, action: actions.Action) -> None:
        """Carry a wish out and show at once what it did."""
        self._controller.act(action)
        self._draw(self._controller.view())

    def _draw(self, view: View) -> None:
        scale = Scale.for_window(*Window.size)
        kind = _screen_for(view)
        if not isinstance(self._screen, kind) or scale != self._scale:
            self._scale = scale
            self._view = None
            self._screen = kind(scale=scale, act=self._act)
            self._root.clear_widgets()
            self._root.add_widget(self._screen)
        if view != self._view:
            self._view = view
            self._screen.show(view)

    def _touched(self, *_touch: object) -> bool:
        self._touching = True
        self._controller.touch()
        return False

    def _let_go(self, *_touch: object) -> bool:
        self._touching = False
        return False

    def _key(self, _window: object, code: int, _scancode: int, text: str | None, _modifiers: Any) -> bool:
        """A keyboard or number pad types the PIN; Escape closes a pop-up (and never the kiosk)."""
        if isinstance(self._view, SearchView | SetUpView) and ((text and text.isprintable()) or code in SEARCH_KEYS):
            self._act(SEARCH_KEYS.get(code) or actions.TypeText(text or ""))
            return True
        digit = text if text and text.isdecimal() and text.isascii() else str(code - NUMBER_PAD_ZERO)
        if len(digit) == 1 and digit.isdecimal() and isinstance(self._view, SignInView):
            self._act(actions.PressDigit(digit))
        elif code in KEYS:
            self._act(KEYS[code])
        return True


def _screen_for(view: View) -> type[Screen]:
    if isinstance(view, SignInView):
        return SignInScreen
    if isinstance(view, SearchView):
        return SearchScreen
    if isinstance(view, UpdateView):
        return UpdateScreen
    if isinstance(view, SetUpView):
        return SetUpScreen
    return ReviewScreen if isinstance(view, ReviewView) else WorklistScreen
