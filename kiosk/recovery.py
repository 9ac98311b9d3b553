"""The recovery key on the pad of the sign-in screen, while no key opens the box's data."""

from __future__ import annotations

from kiosk import box_words, words
from kiosk.exchange import ClientPort, KeyReply, SendRecoveryKey
from kiosk.state import KioskState, Recovery
from kiosk.words import Words

LOCKED = "BOX-005"
"""What ``open-data`` leaves where no key opens the data partition."""
GROUPS, GROUP_DIGITS, FACTOR, ABOVE = 8, 6, 11, 11 << 16
"""As the box draws it (`appliance.maintenance.data_key`): each group eleven times a number below 2^16."""


def groups_of(digits: str) -> list[str]:
    """The digits in groups, the last one as far as it was typed."""
    return [digits[at : at + GROUP_DIGITS] for at in range(0, len(digits), GROUP_DIGITS)]


class RecoveryDesk:
    """Acts on ``state.recovery``; every method may be called at any time."""

    def __init__(self, *, state: KioskState, client: ClientPort) -> None:
        self._state = state
        self._client = client

    @property
    def wanted(self) -> bool:
        """Whether the pad takes a recovery key, and no PIN."""
        return self._state.recovery is not None

    def fault(self, code: str) -> None:
        """What stopped the start of the box; nothing: it is there."""
        state = self._state
        if code != LOCKED or state.session is not None:
            state.recovery = None
        elif state.recovery is None:
            state.recovery = Recovery()

    def press(self, digit: str) -> None:
        """One more digit. A whole group that cannot be right goes at once."""
        recovery = self._open()
        if recovery is None or len(recovery.digits) >= GROUPS * GROUP_DIGITS:
            return
        recovery.digits += digit
        recovery.said, recovery.error = None, False
        if len(recovery.digits) % GROUP_DIGITS == 0:
            group = recovery.digits[-GROUP_DIGITS:]
            if int(group) % FACTOR or int(group) >= ABOVE:
                number = len(recovery.digits) // GROUP_DIGITS
                recovery.digits = recovery.digits[:-GROUP_DIGITS]
                wrong = box_words.RECOVERY_GROUP
                recovery.said, recovery.error = Words(wrong.zh.format(group=number), wrong.en.format(group=number)), True

    def erase(self) -> None:
        """Take the last digit away."""
        recovery = self._open()
        if recovery is not None:
            recovery.digits, recovery.said, recovery.error = recovery.digits[:-1], None, False

    def submit(self) -> None:
        """Try it."""
        recovery = self._open()
        if recovery is None:
            return
        if len(recovery.digits) < GROUPS * GROUP_DIGITS:
            recovery.said, recovery.error = box_words.RECOVERY_SHORT, True
            return
        recovery.sending, recovery.said = True, None
        self._client.send(SendRecoveryKey("-".join(groups_of(recovery.digits))))

    def take(self, reply: KeyReply) -> None:
        """It was right."""
        recovery = self._over()
        if recovery is not None:
            recovery.over, recovery.digits = True, ""
            recovery.said = box_words.RECOVERED if reply.tpm else box_words.RECOVERED_WITHOUT_TPM
            recovery.error = not reply.tpm

    def refused(self, why: Words) -> None:
        """It was not, or it does not help."""
        recovery = self._over()
        if recovery is not None:
            recovery.digits, recovery.said, recovery.error = "", why, True

    def lost(self) -> None:
        """No answer came."""
        recovery = self._over()
        if recovery is not None:
            recovery.said, recovery.error = words.COMMAND_LOST, True

    def _open(self) -> Recovery | None:
        recovery = self._state.recovery
        return None if recovery is None or recovery.sending or recovery.over else recovery

    def _over(self) -> Recovery | None:
        recovery = self._state.recovery
        if recovery is not None:
            recovery.sending = False
        return recovery
