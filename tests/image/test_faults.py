"""A box whose data partition cannot be opened: it says so on its own screen, and formats nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kiosk.screens.theme import BAD_DEEP
from tests.image.cuts import cut
from tests.image.machine import Machine
from tests.image.starting import PATIENCE_S, SHELL_S, gone_on, wait_for_unit

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
HEADERS_MIB = 16
"""LUKS2 keeps its header twice, within these."""
BAR_PIXELS = 10_000
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
    """Until the kiosk's bar of faults stands on the screen (nothing else there is red); the picture stays, to be looked at."""
    red = tuple(round(part * 255) for part in BAD_DEEP[:3])
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with Image.open(machine.screenshot(picture)) as seen:
            colours = seen.convert("RGB").getcolors(1 << 24)
        if colours and sum(count for count, colour in colours if colour == red) > BAR_PIXELS:
            return
        assert time.monotonic() < deadline, "the kiosk shows no fault"
        time.sleep(5)
