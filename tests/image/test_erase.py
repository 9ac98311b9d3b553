"""A factory reset inside the image: key and head of the data partition go before it is opened, and nothing of it can be read again."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.image.cuts import cut
from tests.image.encrypted import header, volume_key, written_pieces
from tests.image.starting import PATIENCE_S, SHELL_S, gone_on, images_kept, wait_for_echo
from tests.image.test_boot import store_one

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

BLOCK = 4096
SERIES = "1.2.826.0.1.3680043.10.1999.72"
ERASE = """setpriv --reuid=coronet --regid=coronet --init-groups /opt/coronet/venv/bin/python -c '
from appliance.workflow.slots_door import ask_slots
ask_slots("erase")'"""


def test_a_factory_reset_keeps_nothing(booted: Path, tmp_path: Path, figures: dict[str, Any]) -> None:
    layers = tmp_path / "layers"
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.shell("systemctl stop coronet-kiosk coronet-analyst", seconds=SHELL_S)
        sent = {store_one(machine.dicom_port, series=SERIES, number=number) for number in range(3)}
        assert images_kept(machine) >= sent
        machine.shell("echo site > /etc/coronet/of-the-site; sync", seconds=SHELL_S)
        before = cut(machine, layers)
        machine.shell(ERASE, seconds=SHELL_S)
        machine.read_until("GRUB", seconds=PATIENCE_S)
        machine.wait_for_shell(seconds=PATIENCE_S)
        machine.shell("systemctl stop --no-block coronet-kiosk coronet-analyst", seconds=SHELL_S)
        wait_for_echo(machine)
        assert images_kept(machine) == set()
        assert machine.shell("ls /etc/coronet /efi/coronet", seconds=SHELL_S).split() == [
            "/efi/coronet:",
            "data.key",
            "grubenv",
            "/etc/coronet:",
        ]
        machine.shell("sync", seconds=SHELL_S)
        after = cut(machine, layers)
    old, new = before.data_partition(tmp_path / "old.luks"), after.data_partition(tmp_path / "new.luks")
    assert volume_key(old, header(old), before.data_key(tmp_path))
    assert salt(old) != salt(new)
    with pytest.raises(AssertionError, match="does not open"):
        volume_key(new, header(new), before.data_key(tmp_path))
    assert before.data_key(tmp_path) not in after.partition(tmp_path, "coronet-esp").read_bytes()
    assert left_over(old, new) == 0
    figures["erased"] = True


def salt(partition: Path) -> bytes:
    """Of the digest that a key is tried against."""
    digest = next(iter(header(partition)["digests"].values()))
    return base64.b64decode(digest["salt"])


def left_over(old: Path, new: Path) -> int:
    """How many of the blocks that held something are as they were."""
    count = 0
    with old.open("rb") as before, new.open("rb") as after:
        for at, size in written_pieces(before.fileno(), 0):
            before.seek(at)
            after.seek(at)
            was, is_now = before.read(size), after.read(size)
            for begin in range(0, size, BLOCK):
                block = was[begin : begin + BLOCK]
                count += block == is_now[begin : begin + BLOCK] and any(block)
    return count
