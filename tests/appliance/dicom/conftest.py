"""A receiver on the product's own spool and database, in this process, on a free port."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.archive.clock import SystemClock
from appliance.archive.database import Database
from appliance.archive.instances import Spool
from appliance.dicom.receiver import Receiver
from appliance.settings import ReceiverSettings
from tests.peers.waiting import free_port, wait_until


@dataclass(frozen=True)
class Door:
    """A running receiver and what lies behind it."""

    receiver: Receiver
    spool: Spool
    database: Database

    @property
    def port(self) -> int:
        return self.receiver.port

    def instances(self) -> list[dict[str, Any]]:
        """Rows of the index."""
        self.spool.settle()
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute("SELECT * FROM instances ORDER BY received_at")]

    def associations(self) -> list[dict[str, Any]]:
        """Rows of associations that brought instances."""
        self.spool.settle()
        with self.database.reading() as connection:
            return [dict(row) for row in connection.execute("SELECT * FROM associations ORDER BY id")]

    def wait_idle(self) -> None:
        """All associations have ended and their memory has been given back."""
        wait_until(lambda: self.receiver.active_associations == 0, what="the end of all associations")


StartDoor = Callable[..., Door]


@pytest.fixture
def start_door() -> Iterator[StartDoor]:
    """Start receivers with changed settings; they are stopped after the test.

    The spool lies in memory where that is possible: its many fsyncs are for the archive's own tests.
    """
    started: list[Door] = []
    memory = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))

    def start(*, minimum_free_bytes: int = 0, spool_class: type[Spool] = Spool, **changes: Any) -> Door:
        settings = ReceiverSettings(port=free_port(), minimum_free_bytes=minimum_free_bytes, **changes)
        folder = root / f"door-{len(started)}"
        database = Database(folder / "coronet.db")
        spool = spool_class(
            database=database, root=folder / "spool", clock=SystemClock(), minimum_free_bytes=minimum_free_bytes, segment_bytes=4 << 20
        )
        receiver = Receiver(settings, store=spool)
        receiver.start()
        door = Door(receiver, spool, database)
        started.append(door)
        return door

    yield start
    for door in started:
        door.receiver.stop(grace_s=5)
        door.spool.close()
        door.database.close()
    shutil.rmtree(root)


@pytest.fixture
def door(start_door: StartDoor) -> Door:
    """A receiver with short deadlines."""
    return start_door(pdu_timeout_s=1.0, association_timeout_s=2.0, idle_timeout_s=5.0)
