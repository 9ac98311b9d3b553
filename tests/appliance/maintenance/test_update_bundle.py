"""Updates: bundles made by the real ``rauc``, good and spoilt, and sticks that are hostile."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.errors import MaintenanceError, UpdateError
from appliance.maintenance.signature import read_signed
from appliance.maintenance.update_bundle import MAXIMUM_ENTRIES, MAXIMUM_FOUND, Update, find_updates, inspect_update
from tests.appliance.maintenance.keys import Authority, Signer

pytestmark = pytest.mark.skipif(shutil.which("rauc") is None or shutil.which("mksquashfs") is None, reason="rauc or squashfs-tools missing")
MACHINE = "coronet-x86_64"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "coronet")


@pytest.fixture(scope="module")
def signer(authority: Authority) -> Signer:
    return authority.signer("release-1")


def make(folder: Path, signer: Signer, *, version: str = "2.1.0", compatible: str = MACHINE, payload: int = 3 << 20) -> Path:
    """A bundle of the verity format, by rauc itself."""
    content = folder / "content"
    content.mkdir(parents=True)
    (content / "rootfs.img").write_bytes(os.urandom(payload))
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible={compatible}\nversion={version}\ndescription=Finds more\\nand is quicker\n"
        "[bundle]\nformat=verity\n[image.rootfs]\nfilename=rootfs.img\n"
    )
    bundle = folder / f"coronet-{version}.raucb"
    command = ["rauc", f"--cert={signer.certificate}", f"--key={signer.key}", "bundle", str(content), str(bundle)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    return make(tmp_path_factory.mktemp("bundle"), signer)


def inspect(path: Path, authority: Authority, *, minimum: str = "2.0", compatible: str = MACHINE) -> Update:
    return inspect_update(path, keyring=authority.keyring, compatible=compatible, minimum=minimum)


def test_a_good_update_is_described(bundle: Path, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    update = inspect(bundle, authority)
    assert (update.version, update.compatible, update.notes.en) == ("2.1.0", MACHINE, "Finds more\nand is quicker")
    assert update.images == {"rootfs": 3 << 20}
    assert 3 << 20 < update.payload_bytes < bundle.stat().st_size
    assert main(["update", "inspect", str(bundle), "--keyring", str(authority.keyring), "--compatible", MACHINE, "--minimum", "2"]) == 0
    assert "may be installed" in capsys.readouterr().out


@pytest.mark.parametrize("payload", [4096 * 20, 4096 * 127, 4096 * 128, 4096 * 129])
def test_hash_trees_of_every_height(tmp_path: Path, authority: Authority, signer: Signer, payload: int) -> None:
    assert inspect(make(tmp_path, signer, payload=payload), authority).version == "2.1.0"


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.37, 0.5, 0.83, 0.97])
def test_a_changed_byte_of_payload_or_tree_is_seen_although_rauc_info_does_not(
    tmp_path: Path, bundle: Path, authority: Authority, fraction: float
) -> None:
    path = tmp_path / bundle.name
    content = bytearray(bundle.read_bytes())
    signed_from = len(content) - 8 - int.from_bytes(content[-8:], "big")
    at = int(fraction * (signed_from - 1))
    content[at] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(MaintenanceError, match="MNT-022"):
        inspect(path, authority)
    told = subprocess.run(["rauc", f"--keyring={authority.keyring}", "info", str(path)], capture_output=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr


def test_a_changed_signature_another_key_and_a_cut_file_are_refused(tmp_path: Path, bundle: Path, authority: Authority) -> None:
    content = bundle.read_bytes()
    length = int.from_bytes(content[-8:], "big")
    spoilt = bytearray(content)
    spoilt[-8 - length // 2] ^= 1
    stranger = Authority(tmp_path / "x", "stranger")
    cases = [
        (bytes(spoilt), "MNT-003"), (content[:-1], "MNT-022"), (content[: len(content) // 2], "MNT-022"), (content[:100], "MNT-022"),
        (b"", "MNT-022"), (content + b"\0" * 4096, "MNT-022"), (content[:-8] + b"\xff" * 8, "MNT-022"),
    ]  # fmt: skip
    for number, (data, code) in enumerate(cases):
        path = tmp_path / f"{number}.raucb"
        path.write_bytes(data)
        with pytest.raises(MaintenanceError) as caught:
            inspect(path, authority)
        assert caught.value.code == code, number
    with pytest.raises(MaintenanceError, match="MNT-003"):
        inspect(bundle, stranger)


@pytest.mark.parametrize(
    ("version", "minimum", "code"),
    [("2.1.0", "2.1.1", "MNT-021"), ("2.9", "2.10", "MNT-021"), ("2.10", "2.9", None), ("2.1", "2.1.0.0", None), ("new", "2.0", "MNT-023")],
)
def test_a_downgrade_is_refused(tmp_path: Path, authority: Authority, signer: Signer, version: str, minimum: str, code: str | None) -> None:
    path = make(tmp_path, signer, version=version, payload=1 << 16)
    if code is None:
        assert inspect(path, authority, minimum=minimum).version == version
        return
    with pytest.raises(MaintenanceError, match=code):
        inspect(path, authority, minimum=minimum)


def test_an_update_for_another_machine_is_refused(bundle: Path, authority: Authority) -> None:
    with pytest.raises(MaintenanceError, match="MNT-020"):
        inspect(bundle, authority, compatible="coronet-aarch64")


def test_an_update_that_does_not_fit_the_slot_is_refused(bundle: Path, authority: Authority) -> None:
    def fits(room: int) -> Update:
        return inspect_update(bundle, keyring=authority.keyring, compatible=MACHINE, minimum="2.0", room={"rootfs": room, "boot": 1})

    assert fits(3 << 20).version == "2.1.0"
    with pytest.raises(UpdateError, match="UPD-020"):
        fits((3 << 20) - 512)


def test_what_is_no_plain_file_is_never_opened_for_good(tmp_path: Path, authority: Authority) -> None:
    """The stick that was checked may be another one when the update is written: the name alone is no promise."""
    os.mkfifo(tmp_path / "pipe.raucb")
    (tmp_path / "loop.raucb").symlink_to(tmp_path / "loop.raucb")
    (tmp_path / "link.raucb").symlink_to("/etc/hostname")
    (tmp_path / "folder.raucb").mkdir()
    # reading it is an error of the kernel's, as a broken file system gives
    for path in (*tmp_path.iterdir(), Path("/proc/self/mem")):
        with pytest.raises(MaintenanceError, match="MNT-001"):
            inspect_update(path, keyring=authority.keyring, compatible=MACHINE, minimum="0.1.0")
        with pytest.raises(MaintenanceError, match="MNT-001"):
            read_signed(path, keyring=authority.keyring, maximum_bytes=1 << 20)


def test_a_directory_without_end_is_looked_at_so_far(tmp_path: Path) -> None:
    for number in range(MAXIMUM_ENTRIES + 50):
        (tmp_path / f"coronet-{number}.raucb").touch()
    assert len(find_updates(tmp_path)) == MAXIMUM_FOUND


def test_a_hostile_stick_is_only_looked_at(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.raucb").symlink_to("/etc/passwd")
    (tmp_path / "folder.raucb").mkdir()
    os.mkfifo(tmp_path / "pipe.raucb")
    for name in ("$(reboot).raucb", "a b.raucb", "\x1b[2J.raucb", "-rf.raucb", "更新.raucb", "x.exe", f"{'x' * 150}.raucb"):
        (tmp_path / name).touch()
    assert find_updates(tmp_path) == []
    for number in range(40):
        (tmp_path / f"coronet-{number:02}.raucb").touch()
    found = find_updates(tmp_path)
    assert len(found) == MAXIMUM_FOUND
    assert found[0].name == "coronet-39.raucb"
    with pytest.raises(MaintenanceError, match="MNT-001"):
        find_updates(tmp_path / "gone")
