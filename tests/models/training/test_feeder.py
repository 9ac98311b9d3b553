"""The rendering process beside a trainer ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.peers.waiting import wait_until

TRAINER = """
import itertools, os, sys
from models.training.feeder import Feeder
from tests.models.training.test_feeder import numbers
if __name__ == "__main__":
    with Feeder(numbers, seed=3) as feeder:
        print(feeder.take(timeout_s=60.0), flush=True)
        sys.stdin.read()
"""


def numbers(seed: int):
    """The process's own number, for ever."""
    while True:
        yield os.getpid() + 0 * seed


def test_the_rendering_process_of_a_killed_trainer_ends(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    trainer = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert trainer.stdout is not None
    renderer = int(trainer.stdout.readline())
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    try:
        wait_until(
            lambda: not Path(f"/proc/{renderer}").exists() or "zombie" in Path(f"/proc/{renderer}/status").read_text(), timeout_s=60.0
        )
    finally:
        if Path(f"/proc/{renderer}").exists():
            os.kill(renderer, signal.SIGKILL)
        trainer.stdin.close()
        trainer.stdout.close()
