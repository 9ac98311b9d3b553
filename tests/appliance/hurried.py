"""The daemon with its patience in seconds instead of minutes, for tests that freeze a part of it (``python -m tests.appliance.hurried``).

Only times are changed, and one thing is added: while the file ``frozen`` lies in the data folder, intake does not come back from its turn.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from appliance.__main__ import main
from appliance.archive import database
from appliance.workflow import intake, liveness, probe

PATIENCE_S = 4.0


def hurry() -> None:
    """Shorten the times of liveness and probe."""
    liveness.RECEIVER_SILENT_S = PATIENCE_S
    liveness.WORKER_SILENT_S = PATIENCE_S
    probe.INTERVAL_S = 0.3
    probe.STARTING_S = 0.0
    # restarting the receiver is another remedy, tested elsewhere: here the watchdog alone is looked at
    probe.MAXIMUM_FAILURES = 10**9
    database.BUSY_TIMEOUT_S = PATIENCE_S
    step = intake.Intake.step

    def frozen_step(self: intake.Intake) -> bool:
        while (Path(self._archive.data) / "frozen").exists():
            time.sleep(0.05)
        return step(self)

    intake.Intake.step = frozen_step  # type: ignore[method-assign]


if __name__ == "__main__":
    hurry()
    sys.exit(main())
