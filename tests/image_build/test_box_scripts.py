"""The box's own scripts of the shell, with paths and programs that belong to the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance import settings

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "image-build/root/usr/lib/coronet"
CRYPTSETUP = """case "$*" in
status*) echo "  device:  /dev/vda9" ;;
*--test-passphrase*) exit {opens} ;;
esac"""


@pytest.mark.parametrize("script", ["open-data", "seal-data"])
def test_the_scripts_are_a_shells_and_can_be_run(script: str) -> None:
    assert (SCRIPTS / script).stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(SCRIPTS / script)], check=True)


def seal(folder: Path, *, opens: int, enrolls: int = 0) -> tuple[int, list[str], bool]:
    """Run seal-data; exit status, programs that were called in their order, and whether the key beside the loader is still there."""
    key, chip, calls = folder / "data.key", folder / "tpm", folder / "calls"
    key.write_bytes(b"k" * 64)
    chip.touch()
    calls.touch()
    text = (SCRIPTS / "seal-data").read_text("utf-8").replace("/efi/coronet/data.key", str(key)).replace("/dev/tpmrm0", str(chip))
    script = folder / "seal"
    script.write_text(text.replace("sync -f /efi", "sync"), "utf-8")
    programs = {
        "cryptsetup": CRYPTSETUP.format(opens=opens),
        "systemd-cryptenroll": f"exit {enrolls}",
        "shred": 'rm "$2"',
        "sync": "",
    }
    (folder / "bin").mkdir()
    for name, body in programs.items():
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n{body}\n', "utf-8")
        program.chmod(0o755)
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(["sh", str(script)], env={"PATH": path}, check=False, capture_output=True, timeout=30)
    return done.returncode, calls.read_text("utf-8").splitlines(), key.exists()


def test_the_key_beside_the_loader_goes_only_after_the_tpm_has_opened_the_partition(tmp_path: Path) -> None:
    status, calls, kept = seal(tmp_path, opens=0)
    assert (status, kept) == (0, False)
    order = ["tpm2-device", "test-pass", "recovery", "wipe", "shred"]
    place = {word: next(n for n, call in enumerate(calls) if word in call) for word in order}
    assert sorted(order, key=lambda word: place[word]) == order


def test_where_the_tpm_does_not_open_the_partition_the_key_stays(tmp_path: Path) -> None:
    status, calls, kept = seal(tmp_path, opens=1)
    assert (status, kept) == (1, True)
    assert not any("shred" in call or "wipe-slot=password" in call for call in calls)
    assert any("wipe-slot=tpm2" in call for call in calls), "what was enrolled in vain is taken back"


def test_where_nothing_can_be_enrolled_the_key_stays(tmp_path: Path) -> None:
    status, calls, kept = seal(tmp_path, opens=0, enrolls=1)
    assert (status, kept) == (1, True)
    assert not any("shred" in call or "test-pass" in call for call in calls)


def test_the_settings_of_a_new_box_let_every_scanner_in_and_are_good_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    defaults = REPO / "image-build/root" / str(settings.NEW_BOX).lstrip("/")
    monkeypatch.setattr(settings, "NEW_BOX", defaults)
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "coronet.toml")
    assert settings.load_settings_or_new(tmp_path / "coronet.toml").receiver.host == "0.0.0.0"
    (tmp_path / "coronet.toml").write_text('[receiver]\nhost = "127.0.0.1"\n', "utf-8")
    assert settings.load_settings_or_new(tmp_path / "coronet.toml").receiver.host == "127.0.0.1"
