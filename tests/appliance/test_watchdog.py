"""The watchdog of the real daemon: fed while it lives, starved while any one thing is frozen."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.appliance.running import Running, daemon
from tests.peers.waiting import wait_until

NOT_FED = "the watchdog is not fed: "


@contextmanager
def receiver(running: Running) -> Iterator[None]:
    """It runs, but answers nothing."""
    process = running.children()["receiver"]
    os.kill(process, signal.SIGSTOP)
    yield
    os.kill(process, signal.SIGCONT)


@contextmanager
def database(running: Running) -> Iterator[None]:
    """Nobody can commit."""
    with closing(sqlite3.connect(running.data / "coronet.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def workflow(running: Running) -> Iterator[None]:
    """Intake does not come back from its turn."""
    (running.data / "frozen").touch()
    yield
    (running.data / "frozen").unlink()


def test_each_thing_that_freezes_starves_the_watchdog(tmp_path: Path) -> None:
    program = ("-m", "tests.appliance.hurried")
    with daemon(tmp_path / "box", watchdog_s=1.0, program=program, options=["--apart", "analyst"]) as running:

        def fed() -> int:
            return running.notify.heard.count("WATCHDOG=1")

        def starved(why: str) -> int:
            return running.log.read_text().count(f"{NOT_FED}{why}")

        def ended() -> bool:
            return running.process.poll() is not None

        def check_starved(why: str) -> int:
            """Nothing is fed from one look that finds the fault to the third, or to the end of the process."""
            wait_until(lambda: starved(why), timeout_s=60, what=why)
            before, times = fed(), starved(why)
            wait_until(lambda: ended() or starved(why) >= times + 2, timeout_s=60, what=why)
            assert fed() == before, "systemd must not hear that it lives"
            return before

        wait_until(fed, timeout_s=60, what="the first feeding")
        for why, freeze in (("the receiver has not answered", receiver), ("intake has not turned", workflow)):
            with freeze(running):
                before = check_starved(why)
                assert not ended()
            wait_until(lambda before=before: fed() > before + 1, timeout_s=60, what=f"fed again after: {why}")  # type: ignore[misc]
        with database(running):
            # a worker that had something to write may have ended the daemon meanwhile, which systemd answers as it does the watchdog
            check_starved("the database does not commit")
