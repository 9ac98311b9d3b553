"""From slot A to slot B with a whole second version: ordered, written, started, proved by the box itself; a broken one goes back by itself.

The order comes as `appliance update`, which hands it to the updater as a tap on the kiosk does. Meanwhile the power is cut many times: each
cut is a frozen state of the disk (`tests.image.cuts`), of which the slot that the loader would start must be whole to the last byte; three
of them, in the middle of the writing and on either side of the switch, are really started.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.maintenance.machine import UPDATES, load
from tests.image.cuts import Cut, Cuts, of_slot
from tests.image.machine import SHELL, Machine
from tests.image.starting import PATIENCE_S, SHELL_S, gone_on, images_kept, wait_for_echo
from tests.image.test_boot import store_one

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
OUT = REPO / "build/image"
EVERY_MIB, EVERY_S = 24, 20.0
"""A cut after so much written, which makes 28 over an update, or after so long with anything written."""
IMAGES = 8
SERIES = "1.2.826.0.1.3680043.10.1999.71"
RECORD = "/var/lib/coronet/update/record.json"
ASK = "setpriv --reuid=coronet --regid=coronet --init-groups appliance update"
MakeStick = Callable[[str, str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def make_stick(image: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeStick:
    """Version and what is broken in it -> a stick with that update, and the certificate of its authority."""
    folder = tmp_path_factory.mktemp("trial")
    keys, bundles = load(UPDATES / "keys.py"), load(UPDATES / "bundle.py")
    keys.make_root(folder / "keys", "root", days=30, passphrase=False)
    keys.make_release(folder / "keys", "root", "release", days=30, passphrase=False)

    def make(version: str, broken: str) -> tuple[Path, Path]:
        out = OUT / f"variant-{version}"
        if not (out / "slot/slot.json").is_file() or (out / "slot/slot.json").stat().st_mtime < (OUT / "coronet.img").stat().st_mtime:
            words = ["--base", str(OUT), "--version", version, "--break", broken, "--until", "slot", "--out", str(out), "--extra", SHELL]
            subprocess.run([sys.executable, str(REPO / "image-build/build"), *words], check=True)
        signing = {"certificate": folder / "keys/release.crt", "key": folder / "keys/release.key"}
        notes = {"zh": "测试", "en": "test"}
        bundle = bundles.make_bundle(out / "slot", folder / version, notes=notes, version=version, **signing)
        stick: Path = folder / f"{version}.img"
        with stick.open("wb") as file:
            file.truncate(bundle.stat().st_size + (64 << 20))
        subprocess.run(["mkfs.vfat", "-F", "32", "-n", "UPDATE", str(stick)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mcopy", "-i", str(stick), str(bundle), "::/"], check=True)
        bundle.unlink()
        return stick, folder / "keys/root.pem"

    return make


def order_the_update(machine: Machine, keyring: Path) -> None:
    """Up to the moment at which the writing begins. The box trusts the tests' own authority from here on, until it restarts."""
    text = base64.b64encode(keyring.read_bytes()).decode()
    # the processor is the updater's: the analyst's start would take it for minutes, and each second is a new picture on the kiosk
    machine.shell("systemctl stop --no-block coronet-analyst coronet-kiosk", seconds=SHELL_S)
    machine.shell("cp -r /usr/lib/coronet /run/trusting", seconds=SHELL_S)
    machine.shell(f"echo {text} | base64 -d > /run/trusting/keyring.pem", seconds=SHELL_S)
    machine.shell("mount --bind /run/trusting /usr/lib/coronet; systemctl restart rauc", seconds=SHELL_S)
    machine.shell("systemctl restart coronet-updater", seconds=SHELL_S)
    assert "offered" in machine.shell(f"{ASK} look", seconds=PATIENCE_S)
    machine.shell(f"({ASK} install > /run/install.log 2>&1) &", seconds=SHELL_S)


def wait_for_state(machine: Machine, wanted: str) -> str:
    """What `appliance update status` says once the updater's record is in this state; to ask the program each time costs a start of it."""
    deadline = time.monotonic() + PATIENCE_S
    while f'"{wanted}"' not in (told := machine.shell(f"grep '\"state\"' {RECORD}", seconds=SHELL_S)):
        assert time.monotonic() < deadline, told + machine.shell(f"cat {RECORD}; systemctl list-jobs --no-pager", seconds=SHELL_S)
        time.sleep(5)
    return machine.shell(f"{ASK} status", seconds=SHELL_S)


def loader_state(machine: Machine) -> dict[str, str]:
    """The variables of the loader's block."""
    return dict(re.findall(r"^(\w+)=(.*)$", machine.shell("cat /efi/coronet/grubenv | head -c 512", seconds=SHELL_S), re.MULTILINE))


def test_a_good_version_is_written_started_proved_and_stays(
    booted: Path, make_stick: MakeStick, tmp_path: Path, figures: dict[str, Any]
) -> None:
    stick, keyring = make_stick("0.2.0", "")
    wanted = {"A": of_slot(OUT / "slot", boot=OUT / "test-boot.vfat"), "B": of_slot(OUT / "variant-0.2.0/slot")}
    acknowledged: set[str] = set()
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.plug_in(stick)
        order_the_update(machine, keyring)
        cuts = Cuts(machine, tmp_path / "layers", every_s=EVERY_S, every_mib=EVERY_MIB, note=lambda: frozenset(acknowledged))
        cuts.start()
        for number in range(IMAGES):  # it receives while it writes
            cuts.wait_for_more(2)
            acknowledged.add(store_one(machine.dicom_port, series=SERIES, number=number))
        machine.read_until("GRUB", seconds=PATIENCE_S)
        machine.wait_for_shell(seconds=PATIENCE_S)
        cuts.end()
        assert "rauc.slot=B" in machine.shell("cat /proc/cmdline", seconds=SHELL_S)
        assert wait_for_state(machine, "good").startswith("0.2.0: good 0.2.0")
        state = loader_state(machine)
        assert (state["ORDER"].split()[0], state["B_OK"], state["B_TRY"]) == ("B", "1", "0")
        wait_for_echo(machine)
        assert acknowledged <= images_kept(machine)
    figures["update_proved_itself"] = True
    verdicts = cuts.verdicts(wanted, tmp_path)
    figures["power_cuts_update"] = len(verdicts)
    figures["power_cuts_update_lost"] = sum(not whole for _slot, whole in verdicts)
    assert figures["power_cuts_update_lost"] == 0, verdicts
    slots = [slot for slot, _whole in verdicts]
    switch = slots.index("B")
    assert set(slots[:switch]) == {"A"}
    chosen = {"writing": cuts.made[switch // 2], "before the switch": cuts.made[switch - 1], "after the switch": cuts.made[switch]}
    lost = {when: start_from(each, tmp_path / when, slot=slots[cuts.made.index(each)]) for when, each in chosen.items()}
    figures["power_cuts_update_started"] = len(lost)
    figures["power_cuts_update_started_lost"] = sum(bool(missing) for missing in lost.values())
    assert not any(lost.values()), lost


def start_from(state: Cut, folder: Path, *, slot: str) -> set[str]:
    """Start the box from a frozen state of its disk; which of the images that had been acknowledged by then it has not."""
    folder.mkdir()
    with Machine(disk=state.disk(folder / "disk.qcow2"), folder=folder) as machine:
        machine.wait_for_shell(seconds=PATIENCE_S)
        assert f"rauc.slot={slot}" in machine.shell("cat /proc/cmdline", seconds=SHELL_S)
        machine.shell("systemctl stop --no-block coronet-kiosk coronet-analyst", seconds=SHELL_S)  # the processor is the receiver's
        wait_for_echo(machine)
        return set(state.noted) - images_kept(machine)


def test_a_version_whose_daemon_does_not_start_goes_back_by_itself(
    booted: Path, make_stick: MakeStick, tmp_path: Path, figures: dict[str, Any]
) -> None:
    stick, keyring = make_stick("0.3.0", "daemon")
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.plug_in(stick)
        order_the_update(machine, keyring)
        machine.read_until("GRUB", seconds=PATIENCE_S)
        machine.read_until("coronet-b.efi", seconds=PATIENCE_S)
        machine.read_until("GRUB", seconds=PATIENCE_S)  # the trial has half an hour; then the machine restarts by itself
        machine.wait_for_shell(seconds=PATIENCE_S)
        assert "rauc.slot=A" in machine.shell("cat /proc/cmdline", seconds=SHELL_S)
        told = wait_for_state(machine, "back")
        assert "0.3.0" in told
        assert loader_state(machine)["B_OK"] == "0"
        wait_for_echo(machine)
    figures["bad_version_went_back"] = True
