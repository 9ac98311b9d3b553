"""An on-screen keyboard for names, IDs and accession numbers."""

from __future__ import annotations

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act
from kiosk.screens.icons import Icon
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Tap, TextTap
from kiosk.views.search import KEY_ROWS

KEY_HEIGHT = 58
GAP = 8
KEY_NAMES = {"-": "minus", ".": "dot", "/": "slash", ":": "colon", "_": "underscore"}


class Keyboard(BoxLayout):
    """Four rows of keys; letters are capitals, the search does not mind."""

    def __init__(self, *, scale: Scale, act: Act, rows: tuple[str, ...] = KEY_ROWS) -> None:
        super().__init__(orientation="vertical", spacing=scale(GAP), size_hint_y=None)
        self.height = scale(len(rows) * KEY_HEIGHT + (len(rows) - 1) * GAP)
        self._scale = scale
        self._act = act
        for keys in rows[:-1]:
            row = BoxLayout(spacing=scale(GAP))
            for key in keys:
                row.add_widget(self._key(key))
            self.add_widget(row)
        last = BoxLayout(spacing=scale(GAP))
        for key in rows[-1]:
            last.add_widget(self._key(key))
        self._space = self._wide("key-space", actions.TypeText(" "))
        self._done = self._wide("keyboard-done", actions.ShowKeyboard(shown=False), fill=theme.ACCENT_DEEP)
        for part in (self._space, self._erase(), self._done):
            last.add_widget(part)
        self.add_widget(last)

    def say(self, *, done: str, space: str) -> None:
        """Label the keys that bear a word."""
        self._done.label.words = done
        self._space.label.words = space

    def _key(self, key: str) -> TextTap:
        name = KEY_NAMES.get(key, key.lower())
        return TextTap(
            scale=self._scale, test_id=f"key-{name}", text=key, type_size=theme.LARGE, on_tap=lambda: self._act(actions.TypeText(key))
        )

    def _wide(self, test_id: str, action: actions.Action, fill: theme.Colour = theme.RAISED) -> TextTap:
        return TextTap(scale=self._scale, test_id=test_id, text="", type_size=theme.BODY, fill=fill, on_tap=lambda: self._act(action))

    def _erase(self) -> Tap:
        key = Tap(
            scale=self._scale, test_id="key-erase", on_tap=lambda: self._act(actions.EraseText()), fill=theme.PANEL, border=theme.LINE
        )
        centre = AnchorLayout()
        centre.add_widget(Icon(scale=self._scale, name="erase", size=28, colour=theme.MUTED))
        key.add_widget(centre)
        return key
