"""Keys and bundles as the maker of the box makes them, taken or refused as the box does: rotation, revocation, the real ``rauc``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import CoronetError
from appliance.maintenance.update_bundle import COMPATIBLE, Update, inspect_update
from tests.appliance.maintenance.machine import UPDATES, load

SEALING_WORDS = "correct horse"
pytestmark = pytest.mark.skipif(shutil.which("rauc") is None or shutil.which("mksquashfs") is None, reason="rauc or squashfs-tools missing")


def script(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(UPDATES / name), *words]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, a release certificate each."""
    folder = tmp_path_factory.mktemp("keys")
    for number in ("1", "2"):
        assert script("keys.py", "root", str(folder), "--name", f"root-{number}", "--no-passphrase").returncode == 0
        done = script("keys.py", "release", str(folder), "--root", f"root-{number}", "--name", f"release-{number}", "--no-passphrase")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an image build leaves."""
    folder = tmp_path_factory.mktemp("slot")
    for name in ("root.squashfs", "root.verity", "boot.vfat"):
        (folder / name).write_bytes(os.urandom(10_000))
    (folder / "slot.json").write_text(json.dumps({"version": "1.4.0"}))
    (folder / "notes.toml").write_text('zh = "更快\\n第二行 \\\\ \\"引号\\""\nen = "Quicker\\nsecond line"\nneeds = "1.2"\n', "utf-8")
    return folder


def bundle(keys: Path, slot: Path, out: Path, number: str) -> Path:
    signing = ("--certificate", str(keys / f"release-{number}.crt"), "--key", str(keys / f"release-{number}.key"))
    done = script("bundle.py", "--slot", str(slot), "--notes", str(slot / "notes.toml"), *signing, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def inspect(path: Path, keyring: Path, *, minimum: str = "1.3") -> Update:
    return inspect_update(path, keyring=keyring, compatible=COMPATIBLE, minimum=minimum)


def refusal(path: Path, keyring: Path, *, minimum: str = "1.3") -> str:
    with pytest.raises(CoronetError) as caught:
        inspect(path, keyring, minimum=minimum)
    return caught.value.code


def test_a_bundle_says_what_it_is_and_rauc_agrees(tmp_path: Path, keys: Path, slot: Path) -> None:
    path = bundle(keys, slot, tmp_path, "1")
    assert path.name == "coronet-1.4.0.raucb"
    update = inspect(path, keys / "root-1.pem")
    assert (update.notes.zh, update.notes.en, update.needs) == ('更快\n第二行 \\ "引号"', "Quicker\nsecond line", "1.2")
    assert update.images == {"rootfs": 10_000, "verity": 10_000, "boot": 10_000}
    command = ["rauc", f"--keyring={keys / 'root-1.pem'}", "info", "--output-format=json", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(told.stdout)["hooks"] == ["install-check"]
    assert refusal(path, keys / "root-1.pem", minimum="1.4.1") == "MNT-021"
    assert refusal(path, keys / "root-1.pem", minimum="1.1") == "UPD-005"


def test_keys_are_changed_and_taken_back_by_updates(tmp_path: Path, keys: Path, slot: Path) -> None:
    old, new = bundle(keys, slot, tmp_path / "old", "1"), bundle(keys, slot, tmp_path / "new", "2")
    both, after = tmp_path / "both.pem", tmp_path / "after.pem"
    assert script("keys.py", "keyring", str(both), str(keys / "root-1.pem"), str(keys / "root-2.pem")).returncode == 0
    assert script("keys.py", "keyring", str(after), str(keys / "root-2.pem")).returncode == 0
    assert refusal(new, keys / "root-1.pem") == "MNT-003", "a box that has not been told of the new authority"
    assert [inspect(each, both).version for each in (old, new)] == ["1.4.0", "1.4.0"]
    assert inspect(new, after).version == "1.4.0"
    assert refusal(old, after) == "MNT-003", "the old authority was taken back"


def test_keys_are_sealed_unless_one_says_otherwise_and_never_replaced(tmp_path: Path) -> None:
    assert script("keys.py", "root", str(tmp_path), "--name", "x").returncode != 0
    assert script("keys.py", "root", str(tmp_path), "--name", "x", CORONET_KEY_PASSPHRASE=SEALING_WORDS).returncode == 0
    assert "ENCRYPTED" in (tmp_path / "x.key").read_text()
    assert (tmp_path / "x.key").stat().st_mode & 0o077 == 0
    done = script("keys.py", "root", str(tmp_path), "--name", "x", CORONET_KEY_PASSPHRASE=SEALING_WORDS)
    assert "is there already" in done.stderr
    done = script("keys.py", "release", str(tmp_path), "--root", "x", "--name", "y", CORONET_KEY_PASSPHRASE=SEALING_WORDS)
    assert done.returncode == 0, done.stderr


def test_a_certificate_that_has_ended_signs_nothing_that_a_box_takes(tmp_path: Path, keys: Path, slot: Path) -> None:
    folder = tmp_path / "ended"
    shutil.copytree(keys, folder)
    (folder / "release-1.key").unlink()
    load(UPDATES / "keys.py").make_release(folder, "root-1", "release-1", days=-1, passphrase=False)
    assert refusal(bundle(folder, slot, tmp_path, "1"), keys / "root-1.pem") == "MNT-003"


def test_rauc_understands_the_system_file_and_the_date_of_a_signature_is_no_excuse(tmp_path: Path, keys: Path, slot: Path) -> None:
    """`use-bundle-signing-time` would let a stolen certificate that has ended sign for ever."""
    text = (UPDATES / "root/etc/rauc/system.conf").read_text().replace("/usr/lib/coronet/keyring.pem", str(keys / "root-1.pem"))
    (tmp_path / "system.conf").write_text(text)
    assert "use-bundle-signing-time=false" in text
    command = ["rauc", f"--conf={tmp_path / 'system.conf'}", "info", str(bundle(keys, slot, tmp_path, "1"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "system.conf").write_text(text.replace("bundle-formats=verity", "bundle-formats=plain"))
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0
    (tmp_path / "system.conf").write_text(text.replace("use-bundle-signing-time", "use-bundle-signing-tame"))
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0
