"""What is damaged outside the box's own programs: a data partition that cannot be opened, a stick whose file system is broken."""

from __future__ import annotations

import random
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kiosk.screens.theme import BAD_DEEP, TEXT, Colour
from tests.image.cuts import cut
from tests.image.machine import Machine
from tests.image.starting import PATIENCE_S, SHELL_S, echo, gone_on, wait_for_unit
from tests.image.test_trial import ASK

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
HEADERS_MIB = 16
"""LUKS2 keeps its header twice, within these."""
LOOK = "head -c 33554432 {} | sha256sum"


def test_a_damaged_header_of_the_data_partition_is_named_on_the_screen_and_nothing_is_formatted(
    booted: Path, tmp_path: Path, figures: dict[str, Any]
) -> None:
    disk = tmp_path / "layers/000.qcow2"
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.shell("systemctl stop coronet-kiosk coronet-analyst coronet", seconds=SHELL_S)
        partition = machine.shell("cryptsetup status coronet-data | awk '$1 == \"device:\" {print $2}'", seconds=SHELL_S)
        cut(machine, disk.parent)  # what is written from here on goes with this test
        machine.shell(f"dd if=/dev/urandom of={partition} bs=1M count={HEADERS_MIB} conv=notrunc,fsync", seconds=SHELL_S)
        damaged = machine.shell(LOOK.format(partition), seconds=SHELL_S)
    with Machine(disk=disk, folder=tmp_path) as machine:
        machine.wait_for_shell(seconds=PATIENCE_S)
        wait_for_unit(machine, "coronet-kiosk.service")
        assert machine.shell("cat /run/coronet-boot/fault", seconds=SHELL_S) == "BOX-003"
        assert machine.shell("systemctl is-active coronet.service", seconds=SHELL_S) != "active"
        wait_for_the_bar(machine, REPO / "build/image/kiosk-fault.png")
        assert machine.shell(LOOK.format(partition), seconds=SHELL_S) == damaged
    figures["damaged_header_is_named"] = True


def wait_for_the_bar(machine: Machine, picture: Path) -> None:
    """Until the kiosk's red bar says more than that it is connecting, which takes an eighth of its width. The picture stays."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with Image.open(machine.screenshot(picture)) as seen:
            screen = np.asarray(seen.convert("RGB"), np.int16)
        red = np.abs(screen - rgb(BAD_DEEP)).max(axis=2) < 3
        rows = red.mean(axis=1) > 0.5
        written = (np.abs(screen[rows] - rgb(TEXT)).max(axis=2) < 40).any(axis=0)
        if rows.any() and written.any() and np.flatnonzero(written)[-1] > 0.25 * screen.shape[1]:
            return
        assert time.monotonic() < deadline, "the kiosk shows no fault"
        time.sleep(5)


def rgb(colour: Colour) -> NDArray[np.int16]:
    """A colour of the kiosk as a picture has it, 0 to 255."""
    return np.array([round(part * 255) for part in colour[:3]], np.int16)


def test_a_stick_whose_folder_runs_in_a_circle_and_is_noise_is_named_and_harms_nothing(booted: Path, tmp_path: Path) -> None:
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.shell("systemctl stop coronet-kiosk coronet-analyst", seconds=SHELL_S)
        machine.plug_in(broken_stick(tmp_path / "stick.img"))
        told = machine.shell(f"{ASK} look", seconds=PATIENCE_S)
        assert re.search(r"\brefused\b", told), told
        assert re.search(r"no stick can be read|there is no update on the stick", told), told  # UPD-002, UPD-001
        assert machine.shell("findmnt -n /run/coronet-stick", seconds=SHELL_S) == ""
        assert machine.shell("systemctl is-active coronet coronet-updater", seconds=SHELL_S).split() == ["active", "active"]
        assert machine.shell("systemctl show -P NRestarts coronet", seconds=SHELL_S) == "0"
        assert echo(machine.dicom_port)


def broken_stick(target: Path) -> Path:
    """FAT32 (Microsoft's FAT specification, 3.3 and 4) whose root folder has two clusters that follow each other in turn, full of noise."""
    with target.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.vfat", "-F", "32", "-s", "1", "-n", "UPDATE", str(target)], check=True, stdout=subprocess.DEVNULL)
    chance = random.Random(3)
    with target.open("r+b") as file:
        boot = file.read(512)
        reserved, tables = int.from_bytes(boot[14:16], "little"), boot[16]
        sectors_of_a_table, root = int.from_bytes(boot[36:40], "little"), int.from_bytes(boot[44:48], "little")
        circle = (root + 1).to_bytes(4, "little") + root.to_bytes(4, "little")
        for table in range(tables):
            file.seek((reserved + table * sectors_of_a_table) * 512 + 4 * root)
            file.write(circle)
        file.seek((reserved + tables * sectors_of_a_table + root - 2) * 512)
        file.write(bytes(chance.randrange(1, 256) for _ in range(2 * 512)))  # no zero, which would end the folder
    return target
