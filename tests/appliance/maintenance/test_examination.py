"""The doctor on a running box, and on one where everything is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.errors import DicomError, InferenceError
from appliance.hardware.panel_simulator import PanelSimulator
from appliance.maintenance.examination import Finding, _clock, _display, bad, examine, good
from appliance.settings import DestinationSettings, Settings, load_settings
from tests.appliance.archive.fakes import make_archive
from tests.appliance.running import daemon
from tests.peers.waiting import free_port


def parts(findings: list[Finding]) -> dict[str, tuple[str, str]]:
    return {each.part: (each.state, each.code) for each in findings}


def test_a_running_box_gets_good_marks_and_what_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel = PanelSimulator()
    peer = f'name = "PACS"\nhost = "127.0.0.1"\nport = {free_port()}\nae_title = "PACS"\ntimeout_s = 2.0\n'
    more = f'[panel]\ndevice = "{panel.device}"\n[[destination]]\n{peer}'
    with daemon(tmp_path / "box", more_settings=more):
        settings = load_settings(tmp_path / "box/coronet.toml")
        found = parts(examine(settings, models=lambda: good("models", "好", "good")))
        assert {name for name, (state, _) in found.items() if state == "good"} == {
            "disk",
            "database",
            "models",
            "receiver",
            "clock",
            "panel",
        }
        assert found["destination PACS"][0] == "bad"
        assert found["badge"] == found["ups"] == found["gpu"] == ("absent", "")
        # from the command line: the box of the tests has no models, which is named, and the status says that not all is well
        assert main(["doctor", "--settings", str(tmp_path / "box/coronet.toml"), "--json"]) == 1
        told = json.loads(capsys.readouterr().out)
        by_part = {part["part"]: part for part in told["parts"]}
        assert told["state"] == by_part["models"]["state"] == "bad"
        assert by_part["receiver"] == {"part": "receiver", "state": "good", "zh": "有应答(C-ECHO)", "en": "answers (C-ECHO)", "code": ""}
        assert main(["doctor", "--settings", str(tmp_path / "box/coronet.toml")]) == 1
        assert "✓ receiver: 有应答(C-ECHO) / answers (C-ECHO)" in capsys.readouterr().out
    panel.unplug()


def test_one_fault_never_hides_another(tmp_path: Path) -> None:
    """A database that is none, engines that fail, a receiver that is dead, a full disk: each is named by its own code."""
    (tmp_path / "coronet.db").write_bytes(b"not a database" * 100)
    devices = f'[panel]\ndevice = "/dev/coronet/none"\n[ups]\nname = "ups"\nport = {free_port()}\n'
    text = f'data = "{tmp_path}"\n[receiver]\nminimum_free_bytes = {1 << 60}\n{devices}'
    (tmp_path / "coronet.toml").write_text(text)

    def dead(_destination: DestinationSettings) -> None:
        raise DicomError("DCM-001", zh="无应答", en="no answer")

    def no_engine() -> Finding:
        raise InferenceError("INF-001", zh="坏", en="broken")

    found = parts(examine(load_settings(tmp_path / "coronet.toml"), models=no_engine, echo=dead))
    codes = {name: code for name, (state, code) in found.items() if state == "bad"}
    assert codes == {
        "disk": "MNT-042", "database": "ARC-001", "models": "INF-001", "receiver": "DCM-001", "panel": "HW-001", "ups": "HW-030",
    }  # fmt: skip


def test_a_new_box_has_no_database_and_that_is_no_fault(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    found = parts(examine(settings, models=lambda: good("models", "好", "good"), echo=lambda _destination: None))
    assert found["database"] == ("absent", "")
    assert not (tmp_path / "coronet.db").exists()


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    archive = make_archive(tmp_path)
    with archive.database.transaction() as connection:
        connection.execute("CREATE TABLE filler (text TEXT)")
        connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 1000,)] * 100)
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'filler'").fetchone()[0]
    with archive.database.reading() as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    archive.close()
    content = bytearray((tmp_path / "coronet.db").read_bytes())
    content[(root - 1) * size : root * size] = b"\xff" * size
    (tmp_path / "coronet.db").write_bytes(bytes(content))
    settings = Settings(data=tmp_path)
    found = parts(examine(settings, models=lambda: good("models", "好", "good"), echo=lambda _destination: None))
    assert found["database"][0] == "bad"
    assert found["database"][1] in {"MNT-044", "ARC-001"}


def test_a_clock_in_1970_and_a_screen_that_is_not_plugged_in(tmp_path: Path) -> None:
    assert _clock(86400.0).code == "MNT-045"
    assert _clock(1.8e9).state == "good"
    assert _display(tmp_path).state == "absent"
    (tmp_path / "card0-HDMI-A-1").mkdir()
    status = tmp_path / "card0-HDMI-A-1/status"
    status.write_text("disconnected\n")
    assert _display(tmp_path).code == "MNT-046"
    status.write_text("connected\n")
    assert "HDMI-A-1" in _display(tmp_path).en
    assert bad("x", InferenceError("INF-001", zh="坏", en="broken").reason).code == "INF-001"
