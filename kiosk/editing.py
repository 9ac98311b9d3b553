"""Correcting what hangs above the degrees: names of vessels, dominance, and the CAD-RADS modifiers that a physician enters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from appliance.anatomy import can_be_called
from appliance.api.messages import Branch, Entered
from kiosk import actions
from kiosk.exchange import Command
from kiosk.state import Edit, Review


class EditDesk:
    """Acts on ``review.edit``; a wish that no longer fits what is open changes nothing.

    Args:
        is_free: whether the draft may be changed now.
        send: hands a command over for the draft as the person sees it.
        may_enter: whether this person may enter modifiers.
    """

    def __init__(
        self, *, is_free: Callable[[Review], bool], send: Callable[[Review, Command], None], may_enter: Callable[[], bool]
    ) -> None:
        self._is_free = is_free
        self._send = send
        self._may_enter = may_enter
        self.doers: Mapping[type[actions.Action], Callable[[Review, Any], None]] = {
            actions.OpenEdit: self._open,
            actions.ChooseEditTab: self._choose_tab,
            actions.ChoosePlace: self._choose_place,
            actions.ChooseName: self._choose_name,
            actions.ChooseDominance: self._choose_dominance,
            actions.EnterModifiers: self._enter,
        }

    def _open(self, review: Review, _action: actions.OpenEdit) -> None:
        if self._is_free(review) and review.detail is not None and review.detail.findings is not None:
            review.edit = Edit()

    def _choose_tab(self, review: Review, action: actions.ChooseEditTab) -> None:
        if review.edit is not None:
            review.edit = Edit(tab=action.tab)

    def _choose_place(self, review: Review, action: actions.ChoosePlace) -> None:
        if review.edit is not None and branch_of(review, action.branch) is not None:
            review.edit = replace(review.edit, place=(action.branch, action.segment), refused=None)

    def _choose_name(self, review: Review, action: actions.ChooseName) -> None:
        edit = review.edit
        if edit is None or edit.place is None:
            return
        number, segment = edit.place
        branch = branch_of(review, number)
        if branch is None or not self._is_free(review):
            return
        if not can_be_called(branch.vessel, action.name, whole=segment is None):
            review.edit = replace(edit, refused=action.name)
            return
        review.edit = replace(edit, refused=None)
        if action.name not in names_at(branch, segment):
            self._give(review, Command(key=review.key, verb="names", command="", branch=number, segment=segment, name=action.name))

    def _choose_dominance(self, review: Review, action: actions.ChooseDominance) -> None:
        if review.edit is not None and self._is_free(review):
            self._give(review, Command(key=review.key, verb="dominance", command="", dominance=action.dominance))

    def _enter(self, review: Review, action: actions.EnterModifiers) -> None:
        if review.edit is not None and self._is_free(review) and self._may_enter():
            entered = Entered(ischaemia=action.ischaemia, grafts=action.grafts, exceptions=action.exceptions)
            self._give(review, Command(key=review.key, verb="modifiers", command="", entered=entered))

    def _give(self, review: Review, command: Command) -> None:
        review.pending = "edit"
        self._send(review, command)


def branch_of(review: Review, number: int) -> Branch | None:
    """The branch with that id, None if the findings (no longer) have it."""
    findings = review.detail.findings if review.detail else None
    return next((branch for branch in findings.branches if branch.id == number), None) if findings else None


def names_at(branch: Branch, segment: int | None) -> tuple[str, ...]:
    """What is called so now: the segment's name, or all names of the branch; none where the segment is gone."""
    if segment is None:
        return tuple(name for _, _, name in branch.segments)
    return (branch.segments[segment][2],) if segment < len(branch.segments) else ()
