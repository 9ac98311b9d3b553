"""The desk of the search: what is typed and chosen becomes a question, the latest one counts; and what one study's details can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from appliance.api.messages import StudyDetail, StudyPage, StudyRow
from kiosk import actions
from kiosk.exchange import ClientPort, Command, FetchStudy, FindStudies
from kiosk.state import Finder, KioskState
from kiosk.views.worklist import STATES_OF_TAB

LONGEST_TEXT = 40
REFRESH_S = 5.0


class SearchDesk:
    """Acts on ``state.finder``; one question is under way at a time, and what was changed meanwhile is asked afterwards."""

    def __init__(
        self,
        *,
        state: KioskState,
        client: ClientPort,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        new_key: Callable[[], str],
        may_command: Callable[[], bool],
    ) -> None:
        self._state = state
        self._client = client
        self._clock = clock
        self._wall_clock = wall_clock
        self._new_key = new_key
        self._may_command = may_command
        self.doers: Mapping[type[actions.Action], Callable[[Finder, Any], None]] = {
            actions.TypeText: self._type,
            actions.EraseText: self._erase,
            actions.ClearText: self._clear,
            actions.ShowKeyboard: self._keyboard,
            actions.FilterTab: self._filter_tab,
            actions.FilterDays: self._filter_days,
            actions.FilterUrgent: self._filter_urgent,
            actions.TurnPage: self._turn,
            actions.ShowDetails: self._show_details,
            actions.Protect: self._protect,
            actions.SendAgain: self._send_again,
        }

    def act(self, action: actions.Action) -> None:
        """Carry out a wish on the search, if it is open."""
        if self._state.finder is not None and self._state.screen == "search":
            self.doers[type(action)](self._state.finder, action)

    def open(self) -> None:
        """Begin a search: everything, the newest first."""
        self._state.finder = Finder()
        self._state.screen = "search"
        self._ask(self._state.finder)

    def dismiss(self) -> None:
        """Close the details."""
        if self._state.finder is not None:
            self._state.finder.details, self._state.finder.detail = None, None

    # wishes

    def _type(self, finder: Finder, action: actions.TypeText) -> None:
        if len(finder.text) < LONGEST_TEXT and (action.text != " " or finder.text[-1:] not in ("", " ")):
            finder.text += action.text
            self._begin_again(finder)

    def _erase(self, finder: Finder, _action: actions.EraseText) -> None:
        if finder.text:
            finder.text = finder.text[:-1]
            self._begin_again(finder)

    def _clear(self, finder: Finder, _action: actions.ClearText) -> None:
        finder.text = ""
        self._begin_again(finder)

    def _keyboard(self, finder: Finder, action: actions.ShowKeyboard) -> None:
        finder.typing = action.shown

    def _filter_tab(self, finder: Finder, action: actions.FilterTab) -> None:
        finder.tab = action.tab
        self._begin_again(finder)

    def _filter_days(self, finder: Finder, action: actions.FilterDays) -> None:
        finder.days = action.days
        self._begin_again(finder)

    def _filter_urgent(self, finder: Finder, _action: actions.FilterUrgent) -> None:
        finder.urgent = not finder.urgent
        self._begin_again(finder)

    def _turn(self, finder: Finder, action: actions.TurnPage) -> None:
        offset = finder.offset + action.step * finder.PAGE
        if 0 <= offset < max(finder.total, 1):
            finder.offset = offset
            finder.typing = False
            self._ask(finder)

    def _show_details(self, finder: Finder, action: actions.ShowDetails) -> None:
        finder.details, finder.detail = action.key, None
        self._client.send(FetchStudy(action.key))

    def _protect(self, finder: Finder, action: actions.Protect) -> None:
        if finder.details == action.key and finder.pending is None and self._may_command():
            finder.pending = action.key
            self._client.send(Command(key=action.key, verb="protect", command=self._new_key(), protected=action.protected))

    def _send_again(self, finder: Finder, action: actions.SendAgain) -> None:
        if finder.details == action.key and finder.pending is None and self._may_command():
            finder.pending = action.key
            self._client.send(Command(key=action.key, verb="send-again", command=self._new_key(), to=action.to))

    # asking

    def _begin_again(self, finder: Finder) -> None:
        finder.offset = 0
        self._ask(finder)

    def _ask(self, finder: Finder) -> None:
        if finder.asking:
            finder.stale = True
            return
        finder.asking, finder.stale, finder.asked_at = True, False, self._clock()
        since = ""
        if finder.days is not None:
            day = datetime.fromtimestamp(self._wall_clock()).astimezone() - timedelta(days=finder.days - 1)
            since = day.strftime("%Y%m%d")
        self._client.send(
            FindStudies(
                text=finder.text.strip(), states=STATES_OF_TAB[finder.tab], since=since, urgent=finder.urgent, offset=finder.offset,
                limit=finder.PAGE,
            )
        )  # fmt: skip

    def tick(self) -> None:
        """Ask again from time to time, so that what arrives shows."""
        finder = self._state.finder
        if finder is None or self._state.screen != "search" or not self._state.online or finder.asking:
            return
        if self._clock() - finder.asked_at >= REFRESH_S:
            self._ask(finder)

    def asking_over(self, page: StudyPage | None) -> None:
        """A question was answered, refused or lost (None)."""
        finder = self._state.finder
        if finder is None:
            return
        finder.asking = False
        if page is not None and not finder.stale:
            finder.rows, finder.total = page.rows, page.total
            if page.offset >= page.total > 0:  # what was on this page has gone
                finder.offset, finder.stale = 0, True
        if finder.stale:
            self._ask(finder)

    def take_detail(self, detail: StudyDetail) -> None:
        """Show a study that was read or changed."""
        finder = self._state.finder
        if finder is None:
            return
        if finder.details == detail.row.key:
            finder.detail = detail
        self.row_changed(detail.row)

    def row_changed(self, row: StudyRow) -> None:
        """A study on this page has changed."""
        finder = self._state.finder
        if finder is not None and finder.rows is not None:
            finder.rows = tuple(row if each.key == row.key else each for each in finder.rows)
            if finder.details == row.key and finder.detail is not None and finder.detail.row.updated_at != row.updated_at:
                self._client.send(FetchStudy(row.key))

    def command_over(self, command: Command) -> None:
        """A command was answered, refused or lost."""
        if self._state.finder is not None and self._state.finder.pending == command.key:
            self._state.finder.pending = None
