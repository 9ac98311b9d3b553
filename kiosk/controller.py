"""Carries out what the person wants and takes in what the appliance says. Knows neither pixels nor sockets.

act(action)     the person's wish: changes the state, hands requests to the client
tick()          once per frame: takes in what was received, lets time pass
view()          what the screen is to show now, in words and numbers
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from appliance.api.messages import Session, StudyDetail, StudyPage, StudyRow
from kiosk import actions, words
from kiosk.box import BoxDesk
from kiosk.desk import ReviewDesk
from kiosk.exchange import (
    Answered,
    Ask,
    BoxAsk,
    ClientPort,
    Command,
    EventsReceived,
    FetchPicture,
    FetchStudy,
    FindStudies,
    KeyReply,
    Lost,
    Offline,
    Online,
    Received,
    Refused,
    SendRecoveryKey,
    SessionEnded,
    SignIn,
    SignOut,
    SnapshotReceived,
)
from kiosk.finder import SearchDesk
from kiosk.recovery import RecoveryDesk
from kiosk.state import KioskState, Picture
from kiosk.views import View, make_view
from kiosk.words import Language, Words, words_of

MINIMUM_PIN = 4
MAXIMUM_PIN = 12
MESSAGE_S = 5.0


class Controller:
    """The kiosk's one decision maker; all calls come from the frame loop."""

    def __init__(
        self,
        *,
        client: ClientPort,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        language: Language = "zh",
        new_key: Callable[[], str] = secrets.token_urlsafe,
        idle_lock_s: float | None = None,
    ) -> None:
        """Start at the sign-in screen.

        Args:
            client: the network.
            clock: monotonic seconds.
            wall_clock: seconds since the epoch, for ages and times of day.
            language: spoken first.
            new_key: makes the key of a command.
            idle_lock_s: lock after so long without a touch; None: as the appliance says.
        """
        self.state = KioskState(language=language)
        self._client = client
        self._clock = clock
        self._wall_clock = wall_clock
        self._new_key = new_key
        self._idle_lock_s = idle_lock_s
        self._touched_at = clock()
        self._desk = ReviewDesk(state=self.state, client=client, clock=clock, new_key=new_key, say=self._say, may_command=self._may_command)
        self._search = SearchDesk(
            state=self.state, client=client, clock=clock, wall_clock=wall_clock, new_key=new_key, may_command=self._may_command
        )
        self._box = BoxDesk(state=self.state, client=client, clock=clock, new_key=new_key, say=self._say, may_command=self._may_command)
        self._recovery = RecoveryDesk(state=self.state, client=client)
        self._takers: Mapping[type[Received], Callable[[Any], None]] = {
            Online: self._take_online,
            Offline: self._take_offline,
            SnapshotReceived: self._take_snapshot,
            EventsReceived: self._take_events,
            SessionEnded: self._take_session_end,
            Answered: self._take_answer,
            Refused: self._take_refusal,
            Lost: self._take_loss,
        }
        self._doers: Mapping[type[actions.Action], Callable[[Any], None]] = {
            **dict.fromkeys(self._desk.doers, self._desk.act),
            **dict.fromkeys(self._search.doers, self._search.act),
            **dict.fromkeys(self._box.doers, self._box.act),
            **dict.fromkeys(self._box.typing, self._typed),
            actions.OpenSearch: self._open_search,
            actions.ShowTroubles: self._show_troubles,
            actions.Dismiss: self._dismiss,
            actions.PressDigit: self._press_digit,
            actions.ErasePin: self._erase_pin,
            actions.SubmitPin: self._submit_pin,
            actions.SwitchLanguage: self._switch_language,
            actions.SignOut: self._sign_out,
            actions.ChooseTab: self._choose_tab,
            actions.OpenStudy: self._open_study,
            actions.RetryStudy: self._retry_study,
            actions.GoBack: self._go_back,
        }

    def act(self, action: actions.Action) -> None:
        """Carry out a wish; one that does not fit the moment (a late tap) changes nothing."""
        self.touch()
        self.state.message = None
        self._doers[type(action)](action)

    def touch(self) -> None:
        """The person is there."""
        self._touched_at = self._clock()

    def tick(self) -> None:
        """Take in what was received and let time pass."""
        for received in self._client.drain():
            self._takers[type(received)](received)
        now = self._clock()
        if self.state.message is not None and now >= self.state.message_until:
            self.state.message = None
        limit = self._idle_lock_s if self._idle_lock_s is not None else self.state.info.idle_lock_seconds
        if self.state.session is not None and now - self._touched_at >= limit:
            self._lock()
        self._desk.tick()
        self._search.tick()
        self._box.tick()

    def view(self) -> View:
        """What is to be shown now."""
        return make_view(self.state, now=self._clock(), wall=self._wall_clock())

    def _typed(self, action: actions.Action) -> None:
        """A key of the on-screen keyboard: for the set-up while it is open, else for the search."""
        (self._search if self.state.setting_up is None else self._box).act(action)

    # sign-in

    def _press_digit(self, action: actions.PressDigit) -> None:
        state = self.state
        if self._recovery.wanted:
            self._recovery.press(action.digit)
        elif state.screen == "sign_in" and not state.signing_in and len(state.pin) < MAXIMUM_PIN:
            state.pin += action.digit
            state.pin_message = None

    def _erase_pin(self, _action: actions.ErasePin) -> None:
        self._recovery.erase()
        self.state.pin = self.state.pin[:-1]
        self.state.pin_message = None

    def _submit_pin(self, _action: actions.SubmitPin) -> None:
        state = self.state
        if self._recovery.wanted:
            self._recovery.submit()
            return
        if state.screen != "sign_in" or state.signing_in:
            return
        if len(state.pin) < MINIMUM_PIN:
            state.pin_message = words.PIN_TOO_SHORT
            return
        state.signing_in = True
        state.pin_message = None
        self._client.send(SignIn(state.pin))
        state.pin = ""

    def _signed_in(self, session: Session) -> None:
        state = self.state
        state.session = session
        state.signing_in = False
        state.screen = "worklist"
        place, state.locked_study = state.locked_study, None
        if place is not None and place[0] == session.user_id:
            self._desk.open(place[1])

    def _switch_language(self, _action: actions.SwitchLanguage) -> None:
        self.state.language = "en" if self.state.language == "zh" else "zh"

    def _sign_out(self, _action: actions.SignOut) -> None:
        if self.state.session is not None:
            self._client.send(SignOut())
            self._leave(None)

    def _lock(self) -> None:
        state = self.state
        place = (state.session.user_id, state.review.key) if state.session and state.review else None
        self._client.send(SignOut())
        self._leave(words.LOCKED)
        state.locked_study = place

    def _leave(self, why: Words | None) -> None:
        """Back to the sign-in screen; nothing of any patient stays in memory."""
        state = self.state
        state.screen, state.session, state.review, state.finder, state.troubles_open = "sign_in", None, None, None, False
        state.updating = None
        state.pin, state.pin_message, state.signing_in = "", why, False
        state.rows, state.health, state.message, state.tab = {}, None, None, "all"
        state.undo_ends, state.undo_lengths, state.retrying, state.locked_study = {}, {}, set(), None
        state.pictures.clear()

    # worklist

    def _choose_tab(self, action: actions.ChooseTab) -> None:
        self.state.tab = action.tab

    def _open_study(self, action: actions.OpenStudy) -> None:
        if self.state.session is not None:
            self._search.dismiss()
            self._desk.open(action.key)

    def _retry_study(self, action: actions.RetryStudy) -> None:
        if action.key not in self.state.retrying and self._may_command():
            self.state.retrying.add(action.key)
            self._client.send(Command(key=action.key, verb="retry", command=self._new_key(), waiting=action.waiting))

    def _go_back(self, _action: actions.GoBack) -> None:
        if self.state.screen in ("search", "update"):
            self.state.screen, self.state.finder, self.state.updating = "worklist", None, None
        self._desk.close()

    def _open_search(self, _action: actions.OpenSearch) -> None:
        if self.state.session is not None and self.state.screen == "worklist":
            self._search.open()

    def _show_troubles(self, _action: actions.ShowTroubles) -> None:
        self.state.troubles_open = self.state.health is not None and bool(self.state.health.warnings)

    def _dismiss(self, action: actions.Dismiss) -> None:
        self.state.troubles_open = False
        self._search.dismiss()
        self._desk.act(action)

    def _may_command(self) -> bool:
        if not self.state.online:
            self._say(words.OFFLINE_TAP, error=True)
        return self.state.online

    def _say(self, message: Words, *, error: bool = False) -> None:
        self.state.message = message
        self.state.message_is_error = error
        self.state.message_until = self._clock() + MESSAGE_S

    # what the appliance says

    def _take_online(self, received: Online) -> None:
        self._heard()
        self._recovery.fault("")
        self.state.info = received.info

    def _take_offline(self, received: Offline) -> None:
        self.state.online = False
        self.state.boot_fault = received.fault
        self._recovery.fault(received.fault)

    def _take_snapshot(self, received: SnapshotReceived) -> None:
        state = self.state
        if state.session is None:
            return
        self._heard()
        state.rows = {row.key: row for row in received.snapshot.rows}
        state.health = received.snapshot.health
        for row in received.snapshot.rows:
            self._row_came(row)

    def _take_events(self, received: EventsReceived) -> None:
        if self.state.session is None:
            return
        self._heard()
        for event in received.events:
            if event.row is not None:
                self._row_came(event.row)
            else:
                self.state.rows.pop(event.key, None)
                if self.state.review is not None and self.state.review.key == event.key:
                    self._desk.close()

    def _row_came(self, row: StudyRow) -> None:
        self.state.rows[row.key] = row
        self._search.row_changed(row)
        self._note_undo(row)
        if row.state != "failed":
            self.state.retrying.discard(row.key)
        self._desk.row_changed(row)

    def _note_undo(self, row: StudyRow) -> None:
        """Remember when the undo window of a study ends, on the kiosk's own clock."""
        ends, lengths = self.state.undo_ends, self.state.undo_lengths
        if row.state == "approving" and row.undo_seconds is not None:
            ends[row.key] = self._clock() + row.undo_seconds
            lengths[row.key] = max(lengths.get(row.key, 0.0), row.undo_seconds)
        else:
            ends.pop(row.key, None)
            lengths.pop(row.key, None)

    def _take_session_end(self, _received: SessionEnded) -> None:
        if self.state.session is not None:
            self._leave(words.SESSION_ENDED)

    def _take_answer(self, received: Answered) -> None:
        ask, value = received.ask, received.value
        if isinstance(ask, SignIn) and isinstance(value, Session):
            self._heard()
            self._signed_in(value)
        if isinstance(ask, BoxAsk):
            self._box.take(ask, value)
        if isinstance(value, KeyReply):
            self._recovery.take(value)
        if self.state.session is not None:
            self._take_study(ask, value)

    def _take_study(self, ask: Ask, value: object) -> None:
        if isinstance(value, StudyPage):
            self._search.asking_over(value)
        elif isinstance(ask, FetchPicture):
            self._desk.picture_came(ask, value if isinstance(value, Picture) else None)
        elif isinstance(value, StudyDetail):
            if isinstance(ask, FetchStudy):
                self._desk.reading_over(ask)
            elif isinstance(ask, Command):
                self._command_over(ask)
                self._desk.tell(ask, value)
            if value.row.key in self.state.rows or self.state.finder is None:
                self.state.rows[value.row.key] = value.row
            self._note_undo(value.row)
            self._desk.take_detail(value)
            self._search.take_detail(value)

    def _take_refusal(self, received: Refused) -> None:
        ask = received.ask
        if isinstance(ask, SignIn):
            self.state.signing_in = False
            self.state.pin_message = words_of(received.error)
        elif isinstance(ask, BoxAsk):
            self._box.refused(ask, words_of(received.error))
        elif isinstance(ask, SendRecoveryKey):
            self._recovery.refused(words_of(received.error))
        elif isinstance(ask, FetchPicture):
            self._desk.picture_failed(ask)
        elif isinstance(ask, FindStudies):
            self._search.asking_over(None)
            self._say(words_of(received.error), error=True)
        elif isinstance(ask, FetchStudy):
            self._desk.close()
            self._search.dismiss()
            self._say(words_of(received.error), error=True)
        elif isinstance(ask, Command):
            self._command_over(ask)
            self._say(words_of(received.error), error=True)
            self._desk.refresh()

    def _take_loss(self, received: Lost) -> None:
        ask = received.ask
        if isinstance(ask, SignIn):
            self.state.signing_in = False
            self.state.pin_message = words.CONNECTING
        elif isinstance(ask, BoxAsk):
            self._box.lost(ask)
        elif isinstance(ask, SendRecoveryKey):
            self._recovery.lost()
        elif isinstance(ask, FetchPicture):
            self._desk.picture_lost(ask)
        elif isinstance(ask, FindStudies):
            self._search.asking_over(None)
        elif isinstance(ask, FetchStudy):
            self._desk.reading_over(ask)
        elif isinstance(ask, Command):
            self._command_over(ask)
            self._say(words.COMMAND_LOST, error=True)
            self._desk.refresh()

    def _command_over(self, command: Command) -> None:
        self.state.retrying.discard(command.key)
        self._desk.command_over(command)
        self._search.command_over(command)

    def _heard(self) -> None:
        self.state.online = True
        self.state.heard_at = self._clock()
