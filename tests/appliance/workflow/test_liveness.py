"""The watchdog is fed while everything lives, and starved by each thing that does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.archive.archive import Archive
from appliance.errors import ArchiveError
from appliance.workflow.liveness import RECEIVER_SILENT_S, WORKER_SILENT_S, Liveness
from appliance.workflow.safe_mode import SafeMode
from appliance.workflow.workers import Workers
from tests.appliance.archive.fakes import TurnedClock, make_archive
from tests.peers.waiting import wait_until


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    archive = make_archive(tmp_path, TurnedClock())
    yield archive
    archive.close()


def liveness(archive: Archive, *, receiver_s: float = 1.0, **workers: float) -> Liveness:
    return Liveness(archive=archive, receiver_silent_s=lambda: receiver_s, worker_silent_s=workers.get)


def test_everything_lives(archive: Archive) -> None:
    assert liveness(archive, receiver_s=RECEIVER_SILENT_S - 1, intake=WORKER_SILENT_S - 1).fault() is None
    assert archive.components.get("watchdog").ready


def test_a_receiver_that_does_not_answer_starves_it(archive: Archive) -> None:
    assert "receiver" in str(liveness(archive, receiver_s=RECEIVER_SILENT_S + 1).fault())


def test_a_workflow_that_does_not_turn_starves_it(archive: Archive) -> None:
    assert "intake" in str(liveness(archive, intake=WORKER_SILENT_S + 1).fault())
    assert liveness(archive, **{"delivery film": WORKER_SILENT_S + 1}).fault() is None


def test_a_database_that_does_not_commit_starves_it(archive: Archive) -> None:
    with archive.database.transaction() as connection:
        connection.execute("DROP TABLE components")
    assert "database" in str(liveness(archive).fault())


def test_a_full_disk_is_no_reason_to_restart(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite's own limit of pages gives the same answer as a full disk."""
    with archive.database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(ArchiveError, match="ARC-020"):
        fill(archive)
    assert liveness(archive).fault() is None
    assert "the disk is full" in caplog.text


def fill(archive: Archive) -> None:
    for number in range(100_000):
        archive.components.report(f"{number:08}", ready=True)


def test_a_worker_is_silent_from_its_last_look_at_the_order_to_stop() -> None:
    workers = Workers()
    stuck, turned = threading.Event(), threading.Event()

    def turning(stop: threading.Event) -> None:
        while not stop.wait(0.01):
            turned.set()

    workers.start("turning", turning)
    workers.start("stuck", lambda _stop: stuck.wait() and None)
    assert turned.wait(20)
    wait_until(lambda: (workers.silent_s("stuck") or 0.0) > 0.3)
    assert (workers.silent_s("turning") or 0.0) < (workers.silent_s("stuck") or 0.0)
    assert workers.silent_s("nobody") is None
    stuck.set()
    workers.finish()


def test_safe_mode_ends_by_itself_but_not_while_somebody_sends(archive: Archive) -> None:
    with archive.database.transaction() as connection:
        connection.execute("INSERT INTO associations (calling_ae_title, called_ae_title, peer, opened_at) VALUES ('CT', 'C', '::1', 0)")
    stop = threading.Event()
    thread = threading.Thread(target=SafeMode(archive=archive, lasts_s=0.0).run, args=(stop,))
    thread.start()
    thread.join(1.5)
    assert thread.is_alive()
    with archive.database.transaction() as connection:
        connection.execute("UPDATE associations SET closed_at = 1")
    thread.join(20)
    assert not thread.is_alive()
