"""The desk of the open study: choosing what is looked at, correcting, approving, undoing, and keeping it all current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from appliance.anatomy import SEGMENTS
from appliance.api.messages import Lesion, StudyDetail, StudyRow
from appliance.degrees import degree_unknown
from kiosk import actions, words
from kiosk.editing import EditDesk
from kiosk.exchange import ClientPort, Command, FetchPicture, FetchStudy
from kiosk.state import KioskState, Picture, Review
from kiosk.views.editing import may_enter
from kiosk.views.selection import lesion_of, picture_for_lesion, shown_pictures
from kiosk.words import Words

DETAIL_EVERY_S = 2.0
"""How often an open study is read again while its films and objects are on their way."""
PICTURES_AHEAD = 4
"""Pictures asked for at a time."""


class ReviewDesk:
    """Acts on ``state.review``; a wish or answer that no longer fits what is open changes nothing."""

    def __init__(
        self,
        *,
        state: KioskState,
        client: ClientPort,
        clock: Callable[[], float],
        new_key: Callable[[], str],
        say: Callable[[Words], None],
        may_command: Callable[[], bool],
    ) -> None:
        self._state = state
        self._client = client
        self._clock = clock
        self._new_key = new_key
        self._say = say
        self._may_command = may_command
        self.doers: Mapping[type[actions.Action], Callable[[Review, Any], None]] = {
            actions.ChooseVessel: self._choose_vessel,
            actions.ChooseLesion: self._choose_lesion,
            actions.ChoosePicture: self._choose_picture,
            actions.StepPicture: self._step_picture,
            actions.AskGrade: self._ask_grade,
            actions.ChooseGrade: self._choose_grade,
            actions.ShowReport: self._show_report,
            actions.Dismiss: self._dismiss,
            actions.Approve: self._approve,
            actions.Undo: self._undo,
        }
        editing = EditDesk(is_free=self._may_edit, send=self._command, may_enter=lambda: may_enter(state.session))
        self.doers = {**self.doers, **editing.doers}

    def act(self, action: actions.Action) -> None:
        """Carry out a wish on the open study, if one is open."""
        if self._state.review is not None:
            self.doers[type(action)](self._state.review, action)

    def open(self, key: str) -> None:
        """Put a study on the desk and read it."""
        self._state.review = Review(key=key)
        self._state.screen = "review"
        self.refresh()

    def close(self) -> None:
        """Back to the search if that is where the study was found, else to the worklist."""
        if self._state.review is not None:
            self._state.screen, self._state.review = "worklist" if self._state.finder is None else "search", None

    # looking

    def _choose_vessel(self, review: Review, action: actions.ChooseVessel) -> None:
        review.vessel, review.lesion = action.vessel, None
        self._show_a_picture(review)

    def _choose_lesion(self, review: Review, action: actions.ChooseLesion) -> None:
        if lesion_of(review, action.lesion) is not None:
            review.lesion = action.lesion
            review.picture = picture_for_lesion(review, action.lesion) or review.picture
            self._ask_for_pictures(review)

    def _choose_picture(self, review: Review, action: actions.ChoosePicture) -> None:
        review.picture = action.picture
        self._ask_for_pictures(review)

    def _step_picture(self, review: Review, action: actions.StepPicture) -> None:
        names = [picture.id for picture in shown_pictures(review)]
        if names:
            here = names.index(review.picture) if review.picture in names else 0
            review.picture = names[(here + action.step) % len(names)]
            self._ask_for_pictures(review)

    def _show_report(self, review: Review, _action: actions.ShowReport) -> None:
        review.report_open = review.detail is not None and review.detail.report is not None

    def _dismiss(self, review: Review, _action: actions.Dismiss) -> None:
        review.grading = None
        review.report_open = False
        review.edit = None

    # changing

    def _ask_grade(self, review: Review, action: actions.AskGrade) -> None:
        if self._is_free(review, "draft") and lesion_of(review, action.lesion) is not None and self._may_command():
            self._choose_lesion(review, actions.ChooseLesion(action.lesion))
            review.grading = action.lesion

    def _choose_grade(self, review: Review, action: actions.ChooseGrade) -> None:
        lesion = None if review.grading is None else lesion_of(review, review.grading)
        review.grading = None
        if lesion is None or (lesion.grade == action.grade and not degree_unknown(lesion)):
            return
        if self._is_free(review, "draft") and self._may_command():
            review.pending = "correct"
            self._command(review, Command(key=review.key, verb="corrections", command="", lesion=lesion.id, grade=action.grade))

    def _approve(self, review: Review, _action: actions.Approve) -> None:
        session = self._state.session
        if session is not None and session.may_approve and self._is_free(review, "draft") and self._may_command():
            review.grading, review.report_open, review.edit = None, False, None
            review.pending = "approve"
            self._command(review, Command(key=review.key, verb="approve", command=""))

    def _undo(self, review: Review, _action: actions.Undo) -> None:
        if self._is_free(review, "approving") and self._may_command():
            review.pending = "undo"
            self._command(review, Command(key=review.key, verb="undo", command=""))

    def _is_free(self, review: Review, state: str) -> bool:
        return review.detail is not None and review.detail.row.state == state and review.pending is None

    def _may_edit(self, review: Review) -> bool:
        return self._is_free(review, "draft") and self._may_command()

    def _command(self, review: Review, command: Command) -> None:
        """Send a command for the draft as the person sees it."""
        revision = review.detail.row.revision if review.detail is not None else 0
        self._client.send(replace(command, command=self._new_key(), revision=revision))

    # keeping current

    def refresh(self) -> None:
        """Read the open study again (once more, if a reading is under way that may be too old)."""
        review = self._state.review
        if review is None:
            return
        if review.fetching:
            review.stale = True
        else:
            review.fetching = True
            self._client.send(FetchStudy(review.key))

    def tick(self) -> None:
        """From time to time: ask again for pictures that were lost; read the study while something goes on that events may not tell."""
        review, now = self._state.review, self._clock()
        if review is None or not self._state.online:
            return
        if now - review.pictures_at >= DETAIL_EVERY_S:
            review.pictures_at = now
            self._ask_for_pictures(review)
        if review.fetching or now - review.asked_at < DETAIL_EVERY_S:
            return
        window_over = self._state.undo_ends.get(review.key, now + 1) <= now
        if review.detail is None or window_over or review.detail.row.state in ("approved", "delivering"):
            review.asked_at = now
            self.refresh()

    def row_changed(self, row: StudyRow) -> None:
        """Read the open study again if its row is not the one that is shown."""
        review = self._state.review
        if review is None or review.key != row.key or review.detail is None:
            return
        shown = review.detail.row
        if (shown.revision, shown.state, shown.updated_at) != (row.revision, row.state, row.updated_at):
            self.refresh()

    def reading_over(self, ask: FetchStudy) -> None:
        """A reading was answered, refused or lost."""
        review = self._state.review
        if review is not None and review.key == ask.key:
            review.fetching = False
            if review.stale:
                review.stale = False
                self.refresh()

    def take_detail(self, detail: StudyDetail) -> None:
        """Show a study that was read or changed."""
        review = self._state.review
        if review is None or review.key != detail.row.key:
            return
        review.detail = detail
        review.asked_at = self._clock()
        if review.grading is not None and (detail.row.state != "draft" or lesion_of(review, review.grading) is None):
            review.grading = None
        if detail.row.state != "draft":
            review.edit = None
        if review.picture not in {picture.id for picture in detail.pictures}:
            self._show_a_picture(review)
        self._ask_for_pictures(review)

    def command_over(self, command: Command) -> None:
        """A command was answered, refused or lost: the person may give the next one."""
        review = self._state.review
        if review is not None and review.key == command.key:
            review.pending = None

    def tell(self, command: Command, detail: StudyDetail) -> None:
        """Say what a command did."""
        if command.verb == "undo" and detail.row.state == "draft":
            self._say(words.UNDONE)
        if command.verb == "names":
            self._say(Words(words.RENAMED.say("zh", name=command.name), words.RENAMED.say("en", name=command.name)))
        lesion = _lesion(detail, command.lesion) if command.verb == "corrections" else None
        if lesion is not None:
            segment, grade = SEGMENTS[lesion.segment], words.GRADE[lesion.grade]
            self._say(
                Words(
                    words.GRADE_CHANGED.say("zh", segment=segment.zh, grade=grade.zh),
                    words.GRADE_CHANGED.say("en", segment=segment.name, grade=grade.en.lower()),
                )
            )

    # pictures

    def _show_a_picture(self, review: Review) -> None:
        """Keep the picture that is shown if it fits the vessel, else the first that does."""
        names = [picture.id for picture in shown_pictures(review)]
        if review.picture not in names:
            review.picture = names[0] if names else None
        self._ask_for_pictures(review)

    def _ask_for_pictures(self, review: Review) -> None:
        """Ask for the shown picture first, then for the others in their order, a few at a time.

        After a change of the draft every picture is asked for again with its tag: the appliance answers 'the same' without sending it.
        """
        if review.detail is None:
            return
        if review.pictures_revision != review.detail.row.revision:
            review.pictures_revision = review.detail.row.revision
            review.current.clear()
        names = [picture.id for picture in shown_pictures(review)]
        names += [picture.id for picture in review.detail.pictures if picture.id not in names]
        names.sort(key=lambda name: name != review.picture)
        for name in names:
            if len(review.asked) >= PICTURES_AHEAD:
                return
            held = self._state.pictures.get(review.key, name)
            if name not in review.asked and (held is None or name not in review.current):
                review.asked.add(name)
                self._client.send(FetchPicture(key=review.key, picture=name, tag=held.tag if held else None))

    def picture_came(self, ask: FetchPicture, picture: Picture | None) -> None:
        """A picture, or None if the one that is held is still right."""
        if picture is not None:
            self._state.pictures.put(ask.key, ask.picture, picture)
        self._picture_over(ask)

    def picture_failed(self, ask: FetchPicture) -> None:
        """The appliance has no such picture: its place says so."""
        if self._state.pictures.get(ask.key, ask.picture) is None:
            self._state.pictures.put(ask.key, ask.picture, Picture(tag="", pixels=None, thumbnail=None))
        self._picture_over(ask)

    def picture_lost(self, ask: FetchPicture) -> None:
        """No answer; it is asked for again by and by."""
        review = self._state.review
        if review is not None and review.key == ask.key:
            review.asked.discard(ask.picture)

    def _picture_over(self, ask: FetchPicture) -> None:
        review = self._state.review
        if review is not None and review.key == ask.key:
            review.asked.discard(ask.picture)
            review.current.add(ask.picture)
            self._ask_for_pictures(review)


def _lesion(detail: StudyDetail, lesion: int) -> Lesion | None:
    lesions = detail.findings.lesions if detail.findings else ()
    return next((each for each in lesions if each.id == lesion), None)
