"""The log: structured fields in the journal where systemd started us, else one JSON object a line on standard error.

Nothing that names a patient is ever passed to it.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

_EXTRAS = ("event", "association", "study", "peer")
_PRIORITY = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, and the extra fields that our own code sets."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class JournalHandler(logging.Handler):
    """Entries with fields of their own (systemd.journal-fields(7)): ``journalctl CORONET_STUDY=...`` finds all of one study.

    Args:
        send: as ``systemd.journal.send(message, **fields)``.
    """

    def __init__(self, send: Callable[..., object]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send one entry; what the journal does not take goes to standard error, as `logging` does with every fault of a handler."""
        try:
            self._send(record.getMessage(), **journal_fields(record))
        except Exception:  # noqa: BLE001 - logging must never end the work that it describes
            self.handleError(record)


def journal_fields(record: logging.LogRecord) -> dict[str, str | int]:
    """The fields of an entry besides its message."""
    fields: dict[str, str | int] = {
        "PRIORITY": str(next((number for level, number in _PRIORITY if record.levelno >= level), 7)),
        "SYSLOG_IDENTIFIER": "coronet",
        "CORONET_LOGGER": record.name,
        "CORONET_THREAD": record.threadName or "",
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName,
    }
    fields.update({f"CORONET_{name.upper()}": str(getattr(record, name)) for name in _EXTRAS if hasattr(record, name)})
    if record.exc_info and record.exc_info[0] is not None:
        fields["CORONET_EXCEPTION"] = logging.Formatter().formatException(record.exc_info)
    return fields


def configure_logging(*, level: int = logging.INFO, environment: Mapping[str, str] | None = None) -> None:
    """Send the log of this process to the journal, if standard error is connected to it (JOURNAL_STREAM), else to standard error.

    Libraries that read images would log or warn with the values they find in them; they are silenced.
    """
    root = logging.getLogger()
    root.handlers[:] = [_handler(os.environ if environment is None else environment)]
    root.setLevel(level)
    for name in ("pydicom", "pynetdicom", "PIL", "uvicorn"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore")


def _handler(environment: Mapping[str, str]) -> logging.Handler:
    if _is_journal(environment.get("JOURNAL_STREAM", "")):
        # not an import statement: for tools that look from the root of this repository, ``systemd`` is our folder of units
        return JournalHandler(importlib.import_module("systemd.journal").send)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    return handler


def _is_journal(stream: str) -> bool:
    """Whether standard error is the stream that systemd named ``device:inode`` (systemd.exec(5)); a redirected one is not."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"
