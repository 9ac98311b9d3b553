"""The log: one JSON object a line on standard error, for the journal. Nothing that names a patient is ever passed to it."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import Any

_EXTRAS = ("event", "association", "study", "peer")


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


def configure_logging(*, level: int = logging.INFO) -> None:
    """Send the log of this process to standard error.

    Libraries that read images would log or warn with the values they find in them; they are silenced.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("pydicom", "pynetdicom", "PIL", "uvicorn"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore")
