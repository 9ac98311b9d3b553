"""The image under test, a disk of its own for each test, and the figures that are kept."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.image.machine import SHELL, Machine, emulator_is_here, overlay
from tests.image.starting import SHELL_S, wait_for_echo, wait_for_unit

REPO = Path(__file__).resolve().parents[2]
OUT = REPO / "build/image"
FIGURES = REPO / "build/image.json"


@pytest.fixture(scope="session")
def image() -> Path:
    """The product's image with a root shell on the serial line: its boot partition has one more word, all else is the product's.

    Built first if it is not there (`make image`).
    """
    if not emulator_is_here():
        pytest.skip("QEMU with its firmware is needed, and root to build")
    if not (OUT / "coronet.img").is_file():
        subprocess.run([sys.executable, str(REPO / "image-build/build")], check=True)
    target = OUT / "test.img"
    with one_at_a_time():
        if not target.is_file() or target.stat().st_mtime < (OUT / "coronet.img").stat().st_mtime:
            _with_a_shell(target)
    return target


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """`make test-image` runs two lanes: what both need is made by the one that comes first."""
    with (OUT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _with_a_shell(target: Path) -> None:
    sys.path.insert(0, str(REPO / "image-build"))
    from coronet_image.layout import start_mib
    from coronet_image.run import places
    from coronet_image.slot import with_more_words

    where = places(repo=REPO, out=OUT, cache=OUT / "cache")
    boot = with_more_words(where, SHELL, OUT / "test-boot.vfat")
    subprocess.run(["cp", "--sparse=always", str(OUT / "coronet.img"), str(target)], check=True)
    at = start_mib("coronet-boot-a")
    subprocess.run(["dd", f"if={boot}", f"of={target}", "bs=1M", f"seek={at}", "conv=notrunc", "status=none"], check=True)


@pytest.fixture(scope="session")
def booted(image: Path, figures: dict[str, Any]) -> Path:
    """The folder of a box that has had its first start: receiver and kiosk are up, a shell answers. Tests go on from its state ``ready``.

    A start costs minutes in emulation, to go on from there seconds; so the state is kept, beside the image, for as long as the image.
    """
    folder = OUT / "booted"
    done = folder / "figures.json"
    with one_at_a_time():
        if not done.is_file() or done.stat().st_mtime < image.stat().st_mtime:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            told = _first_start(overlay(image, folder / "disk.qcow2"), folder)
            done.write_text(json.dumps(told) + "\n", "ascii")
    figures |= json.loads(done.read_text("ascii"))
    return folder


def _first_start(disk: Path, folder: Path) -> dict[str, float]:
    with Machine(disk=disk, folder=folder) as machine:
        told = {"first_boot_to_echo_s": round(wait_for_echo(machine), 1)}
        machine.wait_for_shell(seconds=SHELL_S)
        told["first_boot_to_echo_emulated_s"] = float(machine.shell("cut -d' ' -f1 /proc/uptime", seconds=SHELL_S))
        for unit in ("coronet-kiosk.service", "coronet-trial.service"):
            wait_for_unit(machine, unit)
        machine.shell("sync", seconds=SHELL_S)
        machine.save("ready")
    return told


@pytest.fixture
def disk(image: Path, tmp_path: Path) -> Path:
    """A fresh disk of 24 GiB with the image on it; what the test writes goes with it."""
    return overlay(image, tmp_path / "disk.qcow2")


@pytest.fixture(scope="session")
def figures() -> Iterator[dict[str, Any]]:
    """What is measured; written beside what earlier runs and other files have left there."""
    told: dict[str, Any] = {}
    yield told
    with one_at_a_time():
        _keep(told)


def _keep(told: dict[str, Any]) -> None:
    known = json.loads(FIGURES.read_text("ascii")) if FIGURES.is_file() else {}
    known |= told
    for name in ("power_cuts", "power_cuts_lost"):  # read from outside: over receiving, over updates; and one that was only started
        places = [name.replace("cuts", f"cuts_{place}") for place in ("receiving", "small_update", "update", "started")]
        known[name] = sum(known[place] for place in places if place in known) if any(place in known for place in places) else None
    if known["power_cuts_lost"] is not None:  # whole from outside, and yet an image was not there after the start
        known["power_cuts_lost"] += known.get("power_cuts_update_started_lost", 0)
    known["power_cuts_followed_by_a_start"] = known.get("power_cuts_started", 0) + known.get("power_cuts_update_started", 0)
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "ascii")
