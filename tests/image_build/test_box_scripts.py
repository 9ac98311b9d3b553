"""The box's own scripts of the shell, with paths and programs that belong to the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance import settings

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "image-build/root/usr/lib/coronet"


@pytest.mark.parametrize("script", ["open-data", "erase-data", "apply-site", "lay-kernels"])
def test_the_scripts_are_a_shells_and_can_be_run(script: str) -> None:
    assert (SCRIPTS / script).stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(SCRIPTS / script)], check=True)


def test_the_settings_of_a_new_box_let_every_scanner_in_and_are_good_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = REPO / "image-build/root" / str(settings.NEW_BOX).lstrip("/")
    monkeypatch.setattr(settings, "NEW_BOX", defaults)
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "coronet.toml")
    assert settings.load_settings_or_new(tmp_path / "coronet.toml").receiver.host == "0.0.0.0"
    (tmp_path / "coronet.toml").write_text('[receiver]\nhost = "127.0.0.1"\n', "utf-8")
    assert settings.load_settings_or_new(tmp_path / "coronet.toml").receiver.host == "127.0.0.1"
