"""Centre of the review: one key view, large on black, and the strip of all of them. Swipe or tap to step; tap twice to look closer."""

from __future__ import annotations

from typing import Any

from kivy.uix.anchorlayout import AnchorLayout
from kivy.uix.boxlayout import BoxLayout
from kivy.uix.floatlayout import FloatLayout
from kivy.uix.scrollview import ScrollView

from kiosk import actions
from kiosk.screens import theme
from kiosk.screens.frame import Act
from kiosk.screens.icons import Icon, IconName
from kiosk.screens.theme import Scale
from kiosk.screens.widgets import Panel, PictureBox, Tap, Text
from kiosk.views.review import PictureView, ReviewView

THUMBNAIL = 92
SWIPE = 60
ZOOM = 2.2


class LargePicture(FloatLayout):
    """The key view with its caption; a swipe steps, two taps look closer and back, a drag moves the closer look."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__()
        self.test_id = "picture"
        self._scale = scale
        self._act = act
        self._box = PictureBox(size_hint=(None, None))
        self._title = Text(scale=scale, type_size=theme.BODY, bold=True, size_hint=(None, None), height=scale(30))
        self._count = Text(
            scale=scale, type_size=theme.SMALL, colour=theme.MUTED, align="right", size_hint=(None, None), size=(scale(80), scale(30))
        )
        self._note = Text(scale=scale, type_size=theme.BODY, colour=theme.MUTED, align="center", lines=2, pos_hint={"x": 0, "y": 0})
        for part in (self._box, self._note, self._title, self._count):
            self.add_widget(part)
        self._keys = [self._step_key("previous-picture", "back", -1), self._step_key("next-picture", "next", 1)]
        self.bind(pos=self._place, size=self._place)

    def show(self, view: ReviewView) -> None:
        """Draw the chosen picture."""
        picture = view.picture
        held = picture.picture if picture else None
        self._box.show(held.pixels if held else None)
        self._title.words = picture.title if picture else ""
        self._count.words = view.picture_count
        self._note.words = picture.note if picture else view.loading or view.no_pictures
        for key in self._keys:
            key.tappable = len(view.pictures) >= 2
            key.opacity = 1.0 if key.tappable else 0.0

    def on_touch_down(self, touch: Any) -> bool:
        """Remember where a swipe began."""
        if super().on_touch_down(touch):
            return True
        if not self.collide_point(*touch.pos):
            return False
        if touch.is_double_tap:
            self._box.zoom = 1.0 if self._box.zoom > 1 else ZOOM
        touch.grab(self)
        return True

    def on_touch_move(self, touch: Any) -> bool:
        """Move the closer look."""
        if touch.grab_current is not self:
            return bool(super().on_touch_move(touch))
        if self._box.zoom > 1:
            self._box.drag(touch.dx, touch.dy)
        return True

    def on_touch_up(self, touch: Any) -> bool:
        """A swipe to the left is the next picture."""
        if touch.grab_current is not self:
            return bool(super().on_touch_up(touch))
        touch.ungrab(self)
        across, along = touch.x - touch.ox, touch.y - touch.oy
        if self._box.zoom == 1 and abs(across) > self._scale(SWIPE) and abs(across) > 1.5 * abs(along):
            self._act(actions.StepPicture(-1 if across > 0 else 1))
        return True

    def _step_key(self, test_id: str, icon: IconName, step: int) -> Tap:
        scale = self._scale
        key = Tap(
            scale=scale,
            test_id=test_id,
            on_tap=lambda: self._act(actions.StepPicture(step)),
            fill=(*theme.RAISED[:3], 0.55),
            radius=30,
            padding=0,
            size_hint=(None, None),
            size=(scale(60), scale(60)),
        )
        centre = AnchorLayout()
        centre.add_widget(Icon(scale=scale, name=icon, size=26))
        key.add_widget(centre)
        self.add_widget(key)
        return key

    def _place(self, *_change: object) -> None:
        margin = self._scale(14)
        # the caption has a line of its own: a key view carries annotations up to its edges
        self._box.pos, self._box.size = self.pos, (self.width, max(self.height - self._title.height - margin, 1))
        self._title.pos = (self.x + margin, self.y + self.height - self._title.height - margin / 2)
        self._title.width = max(self.width - self._count.width - 3 * margin, 1)
        self._count.pos = (self.x + self.width - self._count.width - margin, self.y + self.height - self._count.height - margin / 2)
        left, right = self._keys
        left.pos = (self.x + margin, self.y + (self.height - left.height) / 2)
        right.pos = (self.x + self.width - right.width - margin, self.y + (self.height - right.height) / 2)


class Thumbnail(Tap):
    """A small picture of the strip."""

    def __init__(self, *, scale: Scale, act: Act, view: PictureView) -> None:
        super().__init__(
            scale=scale,
            test_id=f"picture-{view.id}",
            on_tap=lambda: act(actions.ChoosePicture(view.id)),
            fill=theme.BLACK,
            radius=8,
            padding=3,
            size_hint_x=None,
            width=scale(THUMBNAIL),
        )
        self._box = PictureBox()
        self.add_widget(self._box)
        self.show(view)

    def show(self, view: PictureView) -> None:
        """Draw the picture if it has come, and whether it is the chosen one."""
        self._box.show(view.picture.thumbnail if view.picture else None)
        self.rest(theme.BLACK, theme.RAISED, border=theme.ACCENT if view.chosen else theme.LINE)


class PicturePanel(BoxLayout):
    """The whole centre."""

    def __init__(self, *, scale: Scale, act: Act) -> None:
        super().__init__(orientation="vertical", spacing=scale(theme.GAP))
        self._scale = scale
        self._act = act
        frame = Panel(scale=scale, fill=theme.BLACK, border=theme.LINE, padding=2)
        self._large = LargePicture(scale=scale, act=act)
        frame.add_widget(self._large)
        self._strip = BoxLayout(size_hint_x=None, spacing=scale(8))
        self._strip.bind(minimum_width=self._strip.setter("width"))
        self._scroll = ScrollView(
            do_scroll_y=False,
            size_hint_y=None,
            height=scale(THUMBNAIL),
            bar_width=0,
            scroll_distance=scale(14),
            scroll_timeout=250,
            effect_cls="ScrollEffect",
        )
        self._scroll.add_widget(self._strip)
        self._thumbnails: dict[str, Thumbnail] = {}
        self._order: tuple[str, ...] = ()
        self._chosen: str | None = None
        for part in (frame, self._scroll):
            self.add_widget(part)

    def show(self, view: ReviewView) -> None:
        """Draw what changed."""
        self._large.show(view)
        order = tuple(picture.id for picture in view.pictures)
        if order != self._order:
            self._order = order
            self._strip.clear_widgets()
            self._thumbnails = {each.id: Thumbnail(scale=self._scale, act=self._act, view=each) for each in view.pictures}
            for thumbnail in self._thumbnails.values():
                self._strip.add_widget(thumbnail)
            self._chosen = None
        for picture in view.pictures:
            self._thumbnails[picture.id].show(picture)
        chosen = view.picture.id if view.picture else None
        if chosen != self._chosen and chosen in self._thumbnails and self._strip.width > self._scroll.width > 100:
            self._scroll.scroll_to(self._thumbnails[chosen], padding=self._scale(THUMBNAIL), animate=False)
        self._chosen = chosen
