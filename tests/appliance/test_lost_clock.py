"""A box that wakes up in 1970: it names that, goes on receiving, and takes nothing that depends on a date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.archive.archive import Archive
from appliance.errors import MaintenanceError
from appliance.maintenance.signature import read_signed, sign
from appliance.workflow.box import OLDEST_CLOCK
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.maintenance.keys import Authority
from tests.appliance.running import daemon, open_archive_of
from tests.peers.dcmtk import echoscu, storescu
from tests.peers.lost_clock import AVAILABLE, lost_clock
from tests.peers.waiting import wait_until

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="gcc is not installed")


def rows(archive: Archive, question: str) -> list[sqlite3.Row]:
    with archive.database.reading() as connection:
        return connection.execute(question).fetchall()


def test_what_is_signed_is_refused_and_the_message_names_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ca", "coronet")
    signer = authority.signer("release")
    (tmp_path / "order").write_text("x")
    sign(tmp_path / "order", certificate=signer.certificate, key=signer.key)
    assert read_signed(tmp_path / "order", keyring=authority.keyring, maximum_bytes=100) == b"x"
    monkeypatch.setenv("LD_PRELOAD", str(lost_clock(tmp_path)))
    with pytest.raises(MaintenanceError, match=r"MNT-003.*is the clock right") as caught:
        read_signed(tmp_path / "order", keyring=authority.keyring, maximum_bytes=100)
    assert "not yet valid" in str(caught.value.details["cause"])


def test_the_daemon_names_it_receives_and_keeps_its_watchdog_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "1.dcm"
    image.write_bytes(encode(make_dataset(number=1)))
    library = lost_clock(tmp_path)
    with monkeypatch.context() as lost:
        lost.setenv("LD_PRELOAD", str(library))
        with daemon(tmp_path / "box", watchdog_s=1.0, options=["--apart", "analyst"]) as running, open_archive_of(running) as archive:
            assert echoscu(running.port).returncode == 0
            assert storescu(running.port, [image]).returncode == 0
            wait_until(lambda: archive.components.get("clock").reason is not None)
            assert "WF-083" in {reason.code for reason in archive.components.troubles()}
            wait_until(lambda: archive.studies.find("1.2.3") is not None)
            study = archive.studies.find("1.2.3")
            assert study is not None
            assert study.received_at < 3600, "the test is worth something: the box does believe that it is 1970"
            wait_until(lambda: running.notify.heard.count("WATCHDOG=1") >= 2)
    # set right meanwhile: the same box goes on, and says nothing any more
    with daemon(tmp_path / "box", options=["--apart", "analyst"]) as running, open_archive_of(running) as archive:
        wait_until(lambda: archive.components.get("clock").ready)
        study = archive.studies.find("1.2.3")
        assert study is not None
        assert study.images == 1
        assert study.received_at > OLDEST_CLOCK, "or retention would take it for the oldest of all"
        assert [row["received_at"] > OLDEST_CLOCK for row in rows(archive, "SELECT received_at FROM instances")] == [True]
        assert [row["received_at"] > OLDEST_CLOCK for row in rows(archive, "SELECT received_at FROM found_studies")] == [True]
        assert storescu(running.port, [image]).returncode == 0
