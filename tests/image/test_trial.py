"""From slot A to slot B with a whole second version: ordered, written, started, proved by the box itself; a broken one goes back by itself.

The order comes as `appliance update`, which hands it to the updater as a tap on the kiosk does.
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
from tests.image.machine import SHELL, Machine, overlay
from tests.image.test_boot import wait_for_echo

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
OUT = REPO / "build/image"
PATIENCE_S = 3600.0
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


def with_the_stick(image: Path, folder: Path, stick: Path) -> Machine:
    """A box that has the stick in a USB port."""
    drive = f"if=none,id=stick,format=raw,readonly=on,file={stick}"
    usb = ("-device", "qemu-xhci,id=xhci", "-drive", drive, "-device", "usb-storage,bus=xhci.0,drive=stick")
    folder.mkdir(parents=True, exist_ok=True)
    return Machine(disk=overlay(image, folder / "disk.qcow2"), folder=folder, more=usb)


def order_the_update(machine: Machine, keyring: Path, figures: dict[str, Any]) -> None:
    """Up to the moment at which the box restarts by itself. The box trusts the tests' own authority from here on, until that restart."""
    figures["first_boot_to_echo_s"] = round(wait_for_echo(machine), 1)
    machine.wait_for_shell(seconds=600)
    text = base64.b64encode(keyring.read_bytes()).decode()
    machine.shell("cp -r /usr/lib/coronet /run/trusting", seconds=600)
    machine.shell(f"echo {text} | base64 -d > /run/trusting/keyring.pem", seconds=600)
    machine.shell("mount --bind /run/trusting /usr/lib/coronet; systemctl restart rauc", seconds=600)
    wait_for_unit(machine, "coronet-trial.service")
    machine.shell("systemctl restart coronet-updater", seconds=600)
    assert re.search(r"offered", machine.shell(f"{ASK} look", seconds=PATIENCE_S))
    assert re.search(r"installed|restarting", machine.shell(f"{ASK} install", seconds=PATIENCE_S))
    machine.read_until("GRUB", seconds=PATIENCE_S)


def wait_for_unit(machine: Machine, unit: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while machine.shell(f"systemctl is-active {unit}", seconds=600) != "active":
        assert time.monotonic() < deadline, machine.shell(f"systemctl status {unit}", seconds=600)
        time.sleep(5)


def wait_for_state(machine: Machine, wanted: str) -> str:
    """What `appliance update status` says once it says this."""
    deadline = time.monotonic() + PATIENCE_S
    while not re.search(wanted, told := machine.shell(f"{ASK} status", seconds=600)):
        assert time.monotonic() < deadline, told
        time.sleep(10)
    return told


def loader_state(machine: Machine) -> dict[str, str]:
    """The variables of the loader's block."""
    return dict(re.findall(r"^(\w+)=(.*)$", machine.shell("cat /efi/coronet/grubenv | head -c 512", seconds=600), re.MULTILINE))


def test_a_good_version_is_written_started_proved_and_stays(
    image: Path, make_stick: MakeStick, tmp_path: Path, figures: dict[str, Any]
) -> None:
    stick, keyring = make_stick("0.2.0", "")
    with with_the_stick(image, tmp_path, stick) as machine:
        order_the_update(machine, keyring, figures)
        machine.wait_for_shell(seconds=PATIENCE_S)
        assert "rauc.slot=B" in machine.shell("cat /proc/cmdline", seconds=600)
        assert wait_for_state(machine, r"\bgood\b").startswith("0.2.0: good 0.2.0")
        state = loader_state(machine)
        assert (state["ORDER"].split()[0], state["B_OK"], state["B_TRY"]) == ("B", "1", "0")
        wait_for_echo(machine, seconds=PATIENCE_S)
    figures["update_proved_itself"] = True


def test_a_version_whose_daemon_does_not_start_goes_back_by_itself(
    image: Path, make_stick: MakeStick, tmp_path: Path, figures: dict[str, Any]
) -> None:
    stick, keyring = make_stick("0.3.0", "daemon")
    with with_the_stick(image, tmp_path, stick) as machine:
        order_the_update(machine, keyring, figures)
        machine.read_until("GRUB", seconds=PATIENCE_S)  # the trial has half an hour; then the machine restarts by itself
        machine.wait_for_shell(seconds=PATIENCE_S)
        assert "rauc.slot=A" in machine.shell("cat /proc/cmdline", seconds=600)
        told = wait_for_state(machine, r"\bback\b")
        assert "0.3.0" in told
        assert loader_state(machine)["B_OK"] == "0"
        wait_for_echo(machine, seconds=PATIENCE_S)
    figures["bad_version_went_back"] = True
