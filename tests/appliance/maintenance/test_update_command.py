"""``appliance update verify``: its failure restarts the machine, so it fails only while a version is on trial."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from appliance.commands import update
from appliance.settings import Settings
from appliance.workflow.update_desk import write_record
from appliance.workflow.update_states import UpdateRecord


def verify(settings: Path) -> int:
    """What the unit runs, on a box whose helper is not there."""
    parser = argparse.ArgumentParser()
    update.add_arguments(parser)
    return update.run(parser.parse_args(["verify", "--settings", str(settings), "--helper", str(settings.parent / "none")]))


@pytest.mark.parametrize(("state", "status"), [("good", 0), ("trying", 1)])
def test_settings_that_cannot_be_used_restart_a_version_on_trial_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, status: int
) -> None:
    data = tmp_path / "data"
    monkeypatch.setattr(update, "Settings", lambda: Settings(data=data))
    write_record(data / "update", UpdateRecord(state=state))  # type: ignore[arg-type]
    broken = tmp_path / "coronet.toml"
    broken.write_text("[receiver]\nprot = 11112\n")
    assert verify(broken) == status


def test_a_data_folder_that_cannot_be_written_restarts_no_proven_version(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    settings = tmp_path / "coronet.toml"
    settings.write_text(f'data = "{tmp_path / "data"}"\n')
    assert verify(settings) == 0
