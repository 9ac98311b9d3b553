"""The daemon of `tests.appliance.hurried`; its safe mode lasts until the file ``calm`` lies in the data folder."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from appliance.__main__ import main
from appliance.workflow.safe_mode import SafeMode
from tests.appliance.hurried import hurry


def last_until_calm() -> None:
    """Half an hour is over when the test says so."""
    ends = SafeMode.run

    def run(self: SafeMode, stop: threading.Event) -> None:
        while not (Path(self._archive.data) / "calm").exists():
            if stop.wait(0.05):
                return
        self._lasts_s = 0.0
        ends(self, stop)

    SafeMode.run = run  # type: ignore[method-assign]


if __name__ == "__main__":
    hurry()
    last_until_calm()
    sys.exit(main())
