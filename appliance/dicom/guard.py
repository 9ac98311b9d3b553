"""An exception in pynetdicom's protocol machine ends the association that caused it, properly.

The library catches what goes wrong while a PDU is read, but not while its content becomes a message: a command set without Command Field
(PS3.7 section E.1), or one that is no data set at all, ends the thread and leaves socket and association behind. Found by
``tests/faults/pdus.py``.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

from pynetdicom.fsm import InvalidEventError

ABORT_UNEXPECTED_PARAMETER = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x05"
"""A-ABORT, source service provider, reason 5 'unexpected PDU parameter' (PS3.8 section 9.3.8)."""

log = logging.getLogger(__name__)


def guard(association: Any) -> None:
    """Guard one association; call it when its connection has been opened."""
    machine = association.dul.state_machine
    act = machine.do_action

    def do_action(event: str) -> None:
        try:
            act(event)
        except InvalidEventError:
            _end(association, "an event that its state does not know")
        except Exception as error:  # noqa: BLE001 - whatever the library's parsers raise, its message may hold patient data
            _end(association, type(error).__name__)

    machine.do_action = do_action


def _end(association: Any, why: str) -> None:
    """Abort without the machine, which may be in any state, and let both threads of the association come to their end."""
    log.warning("association aborted: its messages cannot be understood (%s)", why, extra={"event": "dicom.guard"})
    held = association.dul.socket
    sock = None if held is None else held.socket
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.settimeout(0)
            sock.send(ABORT_UNEXPECTED_PARAMETER)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    association.is_aborted = True
    association.is_established = False
    association._kill = True  # noqa: SLF001 - as the library itself does it when reading fails
    association.dul._kill_thread = True  # noqa: SLF001
    association.dul.to_user_queue.put(None)  # whoever waits for an answer waits no longer
    association.dimse.msg_queue.put((None, None))
