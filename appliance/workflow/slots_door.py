"""One order to root's helper behind ``/run/coronet-slots.sock``. The other side is `appliance.maintenance.slots`."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.errors import UpdateError

HELPER = Path("/run/coronet-slots.sock")
KEY_HELPER = Path("/run/coronet-key.sock")
"""Root's helper for the data partition's key (`appliance.maintenance.data_key`), in the image."""
KEY_TIMEOUT_S = 600.0
"""A TPM takes seconds for what it does; there is no hurry, and an answer that comes late is lost."""
TIMEOUT_S = 60.0
LARGEST_SETTINGS = 64 * 1024
"""Characters."""


def ask_slots(
    line: str, *, path: Path = HELPER, content: str = "", progress: Callable[[float], None] | None = None, timeout_s: float = TIMEOUT_S
) -> Any:
    """Give one order; what the helper answers.

    Args:
        line: the order.
        path: the helper's socket.
        content: what follows the line.
        progress: told the fraction done.
        timeout_s: the longest silence.

    Raises:
        UpdateError: the helper says what; UPD-003 it does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(timeout_s)
            door.connect(str(path))
            door.sendall(f"{line}\n{content}".encode())
            with door.makefile("r", encoding="utf-8", errors="replace") as answers:
                for text in answers:
                    answer = json.loads(text)
                    if "progress" in answer and progress is not None:
                        progress(float(answer["progress"]) / 100)
                    elif "done" in answer:
                        return answer["done"]
                    elif "code" in answer:
                        raise UpdateError(answer["code"], zh=answer["zh"], en=answer["en"])
    except (OSError, ValueError) as error:
        raise no_answer() from error
    raise no_answer()


def no_answer() -> UpdateError:
    """The helper is not there, or says what nobody understands."""
    return UpdateError("UPD-003", zh="系统分区服务无应答", en="the service that writes the slots does not answer")


def adopt_settings(text: str, clock: str = "", *, ask: Callable[..., object] = ask_slots) -> None:
    """Have settings put in their place, and the clock set where a time (``YYYY-MM-DD HH:MM``) is given. Raises as `ask_slots`."""
    ask(f"settings {len(text)}", content=text)
    if clock:
        ask(f"clock {clock.replace(' ', 'T')}")
