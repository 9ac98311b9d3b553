"""From slot A to slot B with a whole second version: ordered, written, started, proved by the box itself; a broken one goes back by itself.

The order comes as `appliance update`, which hands it to the updater as a tap on the kiosk does. Meanwhile the power is cut many times: each
cut is a frozen state of the disk (`tests.image.cuts`), of which the slot that the loader would start must be whole to the last byte.
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
from tests.image.cuts import Cuts, of_slot
from tests.image.machine import SHELL, Machine
from tests.image.starting import PATIENCE_S, SHELL_S, gone_on, wait_for_echo, wait_for_unit

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
OUT = REPO / "build/image"
CUTS, UPDATE_S = 40, 300.0
"""Cuts are made evenly over the time that the update is thought to take, and as long as it takes."""
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
    machine.shell("systemctl stop --no-block coronet-analyst", seconds=SHELL_S)  # its start would take this emulated processor for minutes
    machine.shell("cp -r /usr/lib/coronet /run/trusting", seconds=SHELL_S)
    machine.shell(f"echo {text} | base64 -d > /run/trusting/keyring.pem", seconds=SHELL_S)
    machine.shell("mount --bind /run/trusting /usr/lib/coronet; systemctl restart rauc", seconds=SHELL_S)
    wait_for_unit(machine, "coronet-trial.service")
    machine.shell("systemctl restart coronet-updater", seconds=SHELL_S)
    assert "offered" in machine.shell(f"{ASK} look", seconds=PATIENCE_S)
    machine.shell(f"({ASK} install > /run/install.log 2>&1) &", seconds=SHELL_S)


def wait_for_state(machine: Machine, wanted: str) -> str:
    """What `appliance update status` says once it says this."""
    deadline = time.monotonic() + PATIENCE_S
    while not re.search(wanted, told := machine.shell(f"{ASK} status", seconds=SHELL_S)):
        assert time.monotonic() < deadline, told
        time.sleep(10)
    return told


def loader_state(machine: Machine) -> dict[str, str]:
    """The variables of the loader's block."""
    return dict(re.findall(r"^(\w+)=(.*)$", machine.shell("cat /efi/coronet/grubenv | head -c 512", seconds=SHELL_S), re.MULTILINE))


def test_a_good_version_is_written_started_proved_and_stays(
    booted: Path, make_stick: MakeStick, tmp_path: Path, figures: dict[str, Any]
) -> None:
    stick, keyring = make_stick("0.2.0", "")
    wanted = {"A": of_slot(OUT / "slot", boot=OUT / "test-boot.vfat"), "B": of_slot(OUT / "variant-0.2.0/slot")}
    with gone_on(booted) as machine:
        machine.plug_in(stick)
        order_the_update(machine, keyring)
        cuts = Cuts(machine, tmp_path / "layers", every_s=UPDATE_S / CUTS)
        cuts.start()
        machine.read_until("GRUB", seconds=PATIENCE_S)
        machine.wait_for_shell(seconds=PATIENCE_S)
        cuts.end()
        assert "rauc.slot=B" in machine.shell("cat /proc/cmdline", seconds=SHELL_S)
        assert wait_for_state(machine, r"\bgood\b").startswith("0.2.0: good 0.2.0")
        state = loader_state(machine)
        assert (state["ORDER"].split()[0], state["B_OK"], state["B_TRY"]) == ("B", "1", "0")
        wait_for_echo(machine)
    verdicts = cuts.verdicts(wanted, tmp_path)
    figures["update_proved_itself"] = True
    figures["power_cuts_update"] = len(verdicts)
    figures["power_cuts_update_lost"] = sum(not whole for _slot, whole in verdicts)
    assert figures["power_cuts_update_lost"] == 0, verdicts
    assert {slot for slot, _whole in verdicts} == {"A", "B"}


def test_a_version_whose_daemon_does_not_start_goes_back_by_itself(booted: Path, make_stick: MakeStick, figures: dict[str, Any]) -> None:
    stick, keyring = make_stick("0.3.0", "daemon")
    with gone_on(booted) as machine:
        machine.plug_in(stick)
        order_the_update(machine, keyring)
        machine.read_until("GRUB", seconds=PATIENCE_S)
        machine.read_until("GRUB", seconds=PATIENCE_S)  # the trial has half an hour; then the machine restarts by itself
        machine.wait_for_shell(seconds=PATIENCE_S)
        assert "rauc.slot=A" in machine.shell("cat /proc/cmdline", seconds=SHELL_S)
        told = wait_for_state(machine, r"\bback\b")
        assert "0.3.0" in told
        assert loader_state(machine)["B_OK"] == "0"
        wait_for_echo(machine)
    figures["bad_version_went_back"] = True
