"""Start of a child process: it dies with its parent, then becomes the command it was started for.

``python -m appliance.workflow.child PARENT COMMAND ARGUMENTS...`` runs ``python -m appliance COMMAND ARGUMENTS...``. The order to the
kernel is given here, in the child, since code between fork and exec of a process with threads may deadlock.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

from appliance.workflow.logs import configure_logging

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process as soon as the thread that started it ends (prctl(2)).

    Raises:
        SystemExit: the parent has died already, or the kernel refuses.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise SystemExit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        raise SystemExit("the parent process has ended")


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    del sys.argv[1]
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)  # the service manager listens to the parent
    configure_logging()
    runpy.run_module("appliance", run_name="__main__", alter_sys=True)
