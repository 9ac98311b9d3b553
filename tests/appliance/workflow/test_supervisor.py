"""Child processes: started again, stopped, and killed with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.archive.clock import SystemClock
from appliance.workflow.supervisor import FIRST_WAIT_S, LONGEST_WAIT_S, PROVEN_S, Child
from tests.peers.waiting import wait_until

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Run:
    """A supervised child in its thread."""

    def __init__(self, command: list[str]) -> None:
        self.ended = 0
        self.child = Child(name="test", command=command, clock=SystemClock(), ended=self._count)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.child.run, args=(self.stop,))
        self.thread.start()

    def _count(self) -> None:
        self.ended += 1

    def finish(self) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def sleeper() -> Iterator[Run]:
    run = Run(["sleep", "600"])
    yield run
    run.finish()


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_that_is_killed_is_started_again(sleeper: Run) -> None:
    wait_until(lambda: sleeper.child.pid is not None)
    first = sleeper.child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: sleeper.child.pid not in {None, first})
    assert sleeper.ended == 1


def test_stopping_ends_the_child(sleeper: Run) -> None:
    wait_until(lambda: sleeper.child.pid is not None)
    pid = sleeper.child.pid
    assert pid is not None
    sleeper.finish()
    assert not alive(pid)
    assert sleeper.ended == 1


def test_the_wait_grows_and_a_proven_child_starts_quickly_again() -> None:
    child = Child(name="test", command=["false"], clock=SystemClock(), ended=lambda: None)
    waits = [child._wait_s(ran_s=0.1, status=1) for _ in range(10)]
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S
    assert child._wait_s(ran_s=PROVEN_S, status=-9) == FIRST_WAIT_S


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
print(child.pid, flush=True)
time.sleep(600)
"""
CHILD = """
import sys, time
from appliance.workflow.child import die_with_parent
die_with_parent(int(sys.argv[1]))
print("bound", flush=True)
time.sleep(600)
"""


def test_kill_9_of_the_parent_takes_the_child_with_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == "bound\n"
    assert alive(pid)
    parent.kill()
    parent.wait(10)
    wait_until(lambda: not alive(pid))
    parent.stdout.close()


def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, "999999"], capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert "parent" in done.stderr
