"""Views: what each screen shows, in words and numbers. They know no pixels; the screens draw them."""

from __future__ import annotations

from kiosk.state import KioskState
from kiosk.views.review import ReviewView, make_review_view
from kiosk.views.search import SearchView, make_search_view
from kiosk.views.set_up import SetUpView, make_set_up_view
from kiosk.views.sign_in import SignInView, make_sign_in_view
from kiosk.views.update import UpdateView, make_update_view
from kiosk.views.worklist import WorklistView, make_worklist_view

View = SignInView | WorklistView | SearchView | ReviewView | UpdateView | SetUpView

__all__ = ["ReviewView", "SearchView", "SetUpView", "SignInView", "UpdateView", "View", "WorklistView", "make_view"]


def make_view(state: KioskState, *, now: float, wall: float) -> View:
    """The view of the screen that the state is on.

    Args:
        state: what the kiosk knows.
        now: monotonic seconds.
        wall: seconds since the epoch.
    """
    if state.setting_up is not None and state.session is None:
        return make_set_up_view(state, state.setting_up, now=now, wall=wall)
    if state.session is None or state.screen == "sign_in":
        return make_sign_in_view(state, now=now, wall=wall)
    if state.screen == "review" and state.review is not None:
        return make_review_view(state, state.review, now=now, wall=wall)
    if state.screen == "search" and state.finder is not None:
        return make_search_view(state, state.finder, now=now, wall=wall)
    if state.screen == "update" and state.updating is not None:
        return make_update_view(state, state.updating, now=now, wall=wall)
    return make_worklist_view(state, now=now, wall=wall)
