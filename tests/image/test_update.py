"""Updates on the real thing: RAUC, dm-verity, the loader's state, a stick on USB, and the plug pulled in the middle.

The images of the update are small ones that boot nothing: what is written, where, and what the loader would start then is what counts here.
Each cut is the disk as it is at that moment, looked at from outside: the slot that the loader's rule chooses must be whole.
The updater's own state table is cut at every system call in ``tests/appliance/maintenance/test_updater.py``.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.maintenance.machine import UPDATES, load
from tests.image.cuts import FILES, Cuts, of_slot
from tests.image.machine import Machine
from tests.image.starting import SHELL_S, gone_on

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

OUT = Path(__file__).resolve().parents[2] / "build/image"
MIB = 1 << 20
CUTS = 15
SLICE_S = 0.3


@dataclass(frozen=True)
class Release:
    """A stick with a good update and, in a folder of its own, five that must be refused."""

    stick: Path
    keyring: Path
    slot: Path
    bad: tuple[str, ...]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("release")
    keys, bundles = load(UPDATES / "keys.py"), load(UPDATES / "bundle.py")
    for root, signer in (("root", "release"), ("other", "stranger")):
        keys.make_root(folder / "keys", root, days=30, passphrase=False)
        keys.make_release(folder / "keys", root, signer, days=30, passphrase=False)

    def make(name: str, *, version: str, kib: int, signer: str = "release", compatible: str = bundles.COMPATIBLE) -> Path:
        slot = folder / f"slot-{name}"
        slot.mkdir()
        for file, share in (("root.squashfs", 40), ("boot.vfat", 8), ("root.verity", 1)):
            (slot / file).write_bytes(os.urandom(share * kib * 1024))
        signing = {"certificate": folder / f"keys/{signer}.crt", "key": folder / f"keys/{signer}.key"}
        made: Path = bundles.make_bundle(slot, folder / name, notes={}, version=version, compatible=compatible, **signing)
        return made

    good = make("good", version="9.0.0", kib=4096)
    bad = {
        "older": make("older", version="0.0.1", kib=8).read_bytes(),
        "machine": make("machine", version="9.0.1", kib=8, compatible="coronet-aarch64-v1").read_bytes(),
        "stranger": make("stranger", version="9.0.1", kib=8, signer="stranger").read_bytes(),
    }
    whole = make("whole", version="9.0.1", kib=8).read_bytes()
    bad["cut"] = whole[:-9000]
    bad["changed"] = whole[: len(whole) // 3] + bytes([whole[len(whole) // 3] ^ 0x40]) + whole[len(whole) // 3 + 1 :]
    stick = folder / "stick.img"
    with stick.open("wb") as file:
        file.truncate(512 * MIB)
    for name, content in bad.items():
        (folder / f"{name}.raucb").write_bytes(content)
    subprocess.run(["mkfs.vfat", "-n", "UPDATE", str(stick)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mcopy", "-i", str(stick), str(good), "::/"], check=True)
    subprocess.run(["mmd", "-i", str(stick), "::/bad"], check=True)
    subprocess.run(["mcopy", "-i", str(stick), *(str(folder / f"{name}.raucb") for name in bad), "::/bad/"], check=True)
    return Release(stick=stick, keyring=folder / "keys/root.pem", slot=folder / "slot-good", bad=tuple(bad))


@pytest.fixture(scope="module")
def box(booted: Path, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A box with the stick plugged in, which trusts the tests' own keys; the services stand still, so that the processor is RAUC's."""
    with gone_on(booted, tmp_path_factory.mktemp("box")) as machine:
        machine.plug_in(release.stick)
        machine.shell("systemctl stop coronet-kiosk coronet-analyst coronet-updater coronet-trial coronet", seconds=SHELL_S)
        keyring = base64.b64encode(release.keyring.read_bytes()).decode()
        machine.shell("cp -r /usr/lib/coronet /run/trusting", seconds=SHELL_S)
        machine.shell(f"echo {keyring} | base64 -d > /run/trusting/keyring.pem", seconds=SHELL_S)
        machine.shell("mount --bind /run/trusting /usr/lib/coronet; systemctl restart rauc; rauc status mark-good", seconds=SHELL_S)
        assert "MOUNTED" in machine.shell("systemctl start 'run-coronet\\x2dstick.mount' && echo MOUN''TED", seconds=SHELL_S)
        yield machine


def test_a_stick_is_mounted_so_that_nothing_on_it_can_do_harm(box: Machine) -> None:
    options = box.shell("findmnt -n -o OPTIONS /run/coronet-stick", seconds=SHELL_S).split(",")
    assert {"ro", "nosuid", "nodev", "noexec", "nosymfollow"} <= set(options)


def test_rauc_itself_refuses_what_must_not_be_installed(box: Machine, release: Release, figures: dict[str, Any]) -> None:
    before = box.shell("md5sum < /efi/coronet/grubenv", seconds=SHELL_S)
    refused = [
        name
        for name in release.bad
        if box.shell(f"rauc install /run/coronet-stick/bad/{name}.raucb >/dev/null 2>&1; echo $?", seconds=SHELL_S) == "1"
    ]
    assert sorted(refused) == sorted(release.bad)
    assert box.shell("md5sum < /efi/coronet/grubenv", seconds=SHELL_S) == before
    figures["bundles_refused"] = len(refused)


def test_wherever_the_plug_is_pulled_a_whole_slot_is_started(
    box: Machine, release: Release, figures: dict[str, Any], tmp_path: Path
) -> None:
    new = {name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in _files(release.slot)}
    # the tests' image has a boot partition with one more word
    wanted = {"A": of_slot(OUT / "slot", boot=OUT / "test-boot.vfat"), "B": new}
    cuts = Cuts(box, tmp_path / "layers", every_s=SLICE_S)
    cuts.start()
    told = box.shell("rauc install /run/coronet-stick/coronet-9.0.0.raucb 2>&1; echo ended $?", seconds=SHELL_S)
    cuts.end()
    verdicts = cuts.verdicts(wanted, tmp_path)
    assert told.endswith("ended 0"), told
    figures["power_cuts_small_update"] = len(verdicts)
    figures["power_cuts_small_update_lost"] = sum(not whole for _slot, whole in verdicts)
    assert figures["power_cuts_small_update_lost"] == 0, verdicts
    assert len(verdicts) >= CUTS, f"only {len(verdicts)} cuts fitted in: make SLICE_S shorter"
    assert {slot for slot, _whole in verdicts} == {"A", "B"}


def _files(slot: Path) -> list[tuple[str, Path]]:
    return [(name, slot / name) for name in FILES.values()]
