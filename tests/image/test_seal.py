"""The data partition's key in an emulated TPM 2.0: by a signed stick, at every start from then on, and what helps where the TPM refuses."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.__main__ import main as appliance
from appliance.maintenance.data_key import PASSPHRASE
from appliance.workflow.service_stick import ORDER
from tests.appliance.maintenance.keys import Authority
from tests.image.chip import Chip, chip_is_here
from tests.image.machine import Machine, overlay
from tests.image.starting import PATIENCE_S, SHELL_S, images_kept, wait_for_echo, wait_for_unit
from tests.image.test_boot import store_one
from tests.image.test_erase import ERASE
from tests.image.test_faults import REPO, wait_for_the_bar

pytestmark = [pytest.mark.image, pytest.mark.timeout(14400), pytest.mark.skipif(not chip_is_here(), reason="swtpm is not installed")]

CODE = "48217730"
SERIES = "1.2.826.0.1.3680043.10.1999.73"
HEADER = "head -c 16777216 {} | sha256sum"
"""LUKS2 keeps its header and keys within these."""
PARTITION = "readlink -f /dev/disk/by-partlabel/coronet-data"
PYTHON = "/opt/coronet/venv/bin/python"
READ_STICK = """import httpx, secrets, time
command = secrets.token_urlsafe()
with httpx.Client(transport=httpx.HTTPTransport(uds="/run/coronet/api.sock"), base_url="http://coronet", timeout=60) as http:
    while True:
        reply = http.post("/v1/service", json={"command": command})
        if "API-012" not in reply.text:
            break
        time.sleep(1)
print("REPLY" + reply.text)"""
UNLOCK = """import socket
door = socket.socket(socket.AF_UNIX)
door.connect("/run/coronet-key.sock")
door.sendall(b"unlock WORDS\\n")
print("ANSWER" + door.makefile().readline())"""


def test_sealed_by_a_stick_it_opens_by_the_tpm_and_by_the_recovery_key_where_that_refuses(
    image: Path, tmp_path: Path, figures: dict[str, Any]
) -> None:
    disk, chip = overlay(image, tmp_path / "disk.qcow2"), Chip(tmp_path / "tpm")
    with box(disk, chip, tmp_path) as machine:
        quiet(machine)
        wait_for_echo(machine)
        assert int(machine.shell("cat /sys/class/tpm/tpm0/pcr-sha256/7", seconds=SHELL_S), 16), "the firmware measures secure boot"
        sent = {store_one(machine.dicom_port, series=SERIES, number=number) for number in range(3)}
        words = sealed_by_a_stick(machine, tmp_path)
        assert "data.key" in files_beside_the_loader(machine), "until the TPM has opened the partition at a start"
        machine.shell("sync", seconds=SHELL_S)
    with box(disk, chip, tmp_path) as machine:
        quiet(machine)
        wait_for_echo(machine)
        assert images_kept(machine) >= sent
        assert "data.key" not in files_beside_the_loader(machine)
        partition = machine.shell(PARTITION, seconds=SHELL_S)
        kinds = machine.shell(f"systemd-cryptenroll {partition}", seconds=SHELL_S).split()
        assert [kind for kind in kinds if kind in {"password", "tpm2", "recovery"}] == ["tpm2", "recovery"]
        before = machine.shell(HEADER.format(partition), seconds=SHELL_S)
    chip.forget()
    with box(disk, chip, tmp_path) as machine:
        wait_for_unit(machine, "coronet-kiosk.service")
        assert machine.shell("cat /run/coronet-boot/fault", seconds=SHELL_S) == "BOX-005"
        assert machine.shell("systemctl is-active coronet.service", seconds=SHELL_S) != "active"
        wait_for_the_bar(machine, REPO / "build/image/kiosk-recovery-key.png")
        assert machine.shell(HEADER.format(partition), seconds=SHELL_S) == before, "nothing was formatted"
        wrong = words[:-1] + str((int(words[-1]) + 1) % 10)
        assert unlock(machine, wrong)["code"] == "UPD-047"
        assert unlock(machine, words) == {"done": {"tpm": True}}
        started_again(machine)
        assert images_kept(machine) >= sent
        assert "data.key" not in files_beside_the_loader(machine)
        machine.shell(ERASE, seconds=SHELL_S)  # a factory reset of a sealed box
        started_again(machine)
        assert images_kept(machine) == set()
        assert "data.key" in files_beside_the_loader(machine)
        assert "tpm2" not in machine.shell(f"systemd-cryptenroll {partition}", seconds=SHELL_S)
    figures["sealed_by_tpm"] = True


@contextmanager
def box(disk: Path, chip: Chip, folder: Path) -> Iterator[Machine]:
    """Power on, up to a shell that answers; leaving the block pulls the plug."""
    with chip, Machine(disk=disk, folder=folder, more=chip.words) as machine:
        machine.wait_for_shell(seconds=PATIENCE_S)
        yield machine


def quiet(machine: Machine) -> None:
    """What takes the processor for minutes and is not asked here."""
    machine.shell("systemctl stop --no-block coronet-kiosk coronet-analyst", seconds=SHELL_S)


def started_again(machine: Machine) -> None:
    """It restarts by itself, and receives."""
    machine.read_until("GRUB", seconds=PATIENCE_S)
    machine.wait_for_shell(seconds=PATIENCE_S)
    quiet(machine)
    wait_for_echo(machine)


def files_beside_the_loader(machine: Machine) -> list[str]:
    return machine.shell("ls /efi/coronet", seconds=SHELL_S).split()


def sealed_by_a_stick(machine: Machine, folder: Path) -> str:
    """The recovery key that the box shows. It trusts the tests' own authority from here on, until it restarts."""
    authority = Authority(folder / "ca", "root")
    signer = authority.signer("service")
    keyring = base64.b64encode(authority.keyring.read_bytes()).decode()
    machine.shell(f"date -s @{time.time():.0f}", seconds=SHELL_S)  # certificates begin at a time
    machine.shell("cp -r /usr/lib/coronet /run/trusting", seconds=SHELL_S)
    machine.shell(f"echo {keyring} | base64 -d > /run/trusting/keyring.pem", seconds=SHELL_S)
    machine.shell("mount --bind /run/trusting /usr/lib/coronet", seconds=SHELL_S)
    # a new box shows its set-up and no code; it has one all the same
    machine.shell(f"echo {CODE} > /var/lib/coronet/service-code; chown coronet: /var/lib/coronet/service-code", seconds=SHELL_S)
    stick = folder / "stick"
    stick.mkdir()
    arguments = ["service-order", "seal", "--code", CODE, "--to", str(stick)]
    assert appliance([*arguments, "--certificate", str(signer.certificate), "--key", str(signer.key)]) == 0
    machine.plug_in(as_a_stick(stick, folder / "stick.img"))
    told = machine.shell(run_inside(READ_STICK, user="coronet-kiosk"), seconds=PATIENCE_S)
    reply = json.loads(told.split("REPLY", 1)[1].splitlines()[0])
    found = PASSPHRASE.search(re.sub(r"\s", "", reply["en"]))
    assert found, reply
    return found.group()


def as_a_stick(folder: Path, target: Path) -> Path:
    """A FAT32 file system with an order and its signature."""
    with target.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.vfat", "-F", "32", "-n", "SERVICE", str(target)], check=True, stdout=subprocess.DEVNULL)
    for name in (ORDER, f"{ORDER}.p7s"):
        subprocess.run(["mcopy", "-i", str(target), str(folder / name), "::/"], check=True)
    return target


def unlock(machine: Machine, words: str) -> dict[str, Any]:
    """What the sign-in pad does with a recovery key."""
    told = machine.shell(run_inside(UNLOCK.replace("WORDS", words), user="coronet-kiosk"), seconds=PATIENCE_S)
    answer: dict[str, Any] = json.loads(told.split("ANSWER", 1)[1].splitlines()[0])
    return answer


def run_inside(program: str, *, user: str) -> str:
    """Python of the box, as a user of it."""
    text = base64.b64encode(program.encode()).decode()
    return f"echo {text} | base64 -d | setpriv --reuid={user} --regid={user} --init-groups {PYTHON} -"
