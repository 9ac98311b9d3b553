"""The disk's arithmetic, the boot state and the command line: what can be known without booting."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from coronet_image import layout
from coronet_image.disk import FIRST_STATE, environment_block

VERITY = layout.Verity(data_blocks=1000, root_hash="ab" * 32, salt="cd" * 32)


def test_partitions_follow_each_other_without_gap_or_overlap() -> None:
    at = layout.FIRST_MIB
    for one in layout.partitions():
        assert layout.start_mib(one.label) == at
        at += one.mib
    assert layout.disk_mib() == at + 1
    with pytest.raises(KeyError):
        layout.start_mib("coronet-data")


def test_the_loader_finds_the_slots_at_the_numbers_it_counts_on() -> None:
    labels = [one.label for one in layout.partitions()]
    loader = (Path(__file__).parents[2] / "image-build/loader/grub.cfg").read_text("ascii")
    assert f"$disk,gpt{labels.index('coronet-boot-a') + 1}\n  chainloader /coronet-a.efi" in loader
    assert f"$disk,gpt{labels.index('coronet-boot-b') + 1}\n  chainloader /coronet-b.efi" in loader
    assert f"$disk,gpt{labels.index('coronet-esp') + 1})/coronet/grubenv" in loader


def test_both_slots_are_equally_large() -> None:
    size = {one.label: one.mib for one in layout.partitions()}
    for name in ("boot", "root", "verity"):
        assert size[f"coronet-{name}-a"] == size[f"coronet-{name}-b"]
    # a hash tree of SHA-256 over blocks of 4096 bytes takes 1/128 of the data, and a little more for its upper levels
    assert size["coronet-verity-a"] * 127 > size["coronet-root-a"]


def test_sfdisk_takes_the_table_and_gives_the_same_disk_twice(tmp_path: Path) -> None:
    if not shutil.which("sfdisk"):
        pytest.skip("sfdisk is not installed")
    tables = []
    for name in ("one", "two"):
        disk = tmp_path / name
        with disk.open("wb") as file:
            file.truncate(layout.disk_mib() * layout.MIB)
        subprocess.run(["sfdisk", "-q", str(disk)], input=layout.sfdisk_script().encode(), check=True, capture_output=True)
        tables.append(disk.read_bytes()[: layout.MIB])
    assert tables[0] == tables[1]
    told = subprocess.run(["sfdisk", "--dump", str(tmp_path / "one")], check=True, capture_output=True, text=True).stdout
    for one in layout.partitions():
        assert f'name="{one.label}"' in told
        assert one.uuid in told


def test_the_command_line_carries_slot_and_root_hash_and_no_way_in() -> None:
    for slot in "AB":
        words = layout.command_line(VERITY, slot=slot).split()
        assert f"rauc.slot={slot}" in words
        assert f"coronet.verity=1000:{'ab' * 32}:{'cd' * 32}" in words
        assert "ro" in words
        assert not [word for word in words if word.startswith(("init=", "systemd.debug", "rd.", "single", "systemd.unit"))]


def test_the_state_is_what_grub_reads(tmp_path: Path) -> None:
    block = environment_block(FIRST_STATE)
    assert len(block) == 1024
    if not shutil.which("grub-editenv"):
        pytest.skip("grub-editenv is not installed")
    file = tmp_path / "grubenv"
    file.write_bytes(block)
    told = subprocess.run(["grub-editenv", str(file), "list"], check=True, capture_output=True, text=True).stdout
    assert dict(line.split("=", 1) for line in told.splitlines()) == FIRST_STATE


def test_a_state_that_does_not_fit_into_one_sector_is_refused() -> None:
    with pytest.raises(ValueError, match="sector"):
        environment_block({"ORDER": "A" * 600})
