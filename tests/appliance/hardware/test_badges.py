"""Badge formats with published examples, noise, and a reader on a pseudo-terminal."""

from __future__ import annotations

import os
import threading
import tty
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import HardwareError, Reason
from appliance.hardware.badges import GARBAGE, MAXIMUM_LINE, BadgeDecoder, BadgeFormat, BadgeReader
from appliance.hardware.keeper import Keeper
from tests.peers.waiting import wait_until

GOOD = b"\x0262E3086CED08\x03"
"""RDM6300 data sheet: 62 E3 08 6C ED, XOR 08."""


@pytest.mark.parametrize(
    ("kind", "line", "badges"),
    [
        ("em4100", GOOD, ["62E3086CED"]),
        ("em4100", b"\x0262E3086CED08\r\n\x03", ["62E3086CED"]),
        ("em4100", b"\x0262E3086CED09\x03", []),
        ("em4100", b"\x0262E308" + GOOD, ["62E3086CED"]),
        ("em4100", b"noise" + GOOD + b"\xff" + GOOD, ["62E3086CED"] * 2),
        # 26 bits: facility 1, number 1; 12 bits of each half and their parity
        ("wiegand", b"1" + b"000000010000000000000001" + b"0" + b"\r\n", ["26:10001"]),
        ("wiegand", b"0" + b"000000010000000000000001" + b"0" + b"\r\n", []),
        ("wiegand", b"0101\r\n", []),
        ("line", b"A1B2C3D4\r", ["A1B2C3D4"]),
        ("line", b"ab\r\x00\x01zzzz\r", []),
        ("line", b"x" * (MAXIMUM_LINE + 1) + b"\rGOOD1\r", ["GOOD1"]),
    ],
)  # fmt: skip
def test_numbers_are_read_and_faults_are_dropped(kind: BadgeFormat, line: bytes, badges: list[str]) -> None:
    decoder = BadgeDecoder(kind)
    assert decoder.feed(line) == badges
    assert decoder.dropped > 0 or badges


@given(st.sampled_from(["em4100", "wiegand", "line"]), st.binary(max_size=500))
def test_no_input_breaks_the_decoder_or_grows_it(kind: BadgeFormat, noise: bytes) -> None:
    decoder = BadgeDecoder(kind)
    decoder.feed(noise)
    assert len(decoder._text) <= MAXIMUM_LINE
    assert decoder.feed(b"\r" + {"em4100": GOOD, "wiegand": b"1" + b"0" * 7 + b"1" + b"0" * 15 + b"10\r", "line": b"GOOD1\r"}[kind])


@pytest.mark.parametrize("kind", ["em4100", "wiegand", "line"])
def test_noise_that_never_ends_a_line_is_named_as_well(kind: BadgeFormat) -> None:
    decoder = BadgeDecoder(kind)
    assert decoder.feed(b"\xf0" * (MAXIMUM_LINE * (GARBAGE + 1))) == []
    assert decoder.dropped >= GARBAGE


def test_a_badge_that_lies_on_the_reader_counts_once(tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    now = [0.0]
    read: list[str] = []
    stop, ready = threading.Event(), threading.Event()
    reader = BadgeReader(device=Path(os.ttyname(slave)), baud=9600, kind="em4100", read=read.append, clock=lambda: now[0])
    thread = threading.Thread(target=reader.serve, args=(stop,), kwargs={"ready": lambda _text: ready.set()}, daemon=True)
    thread.start()
    assert ready.wait(20)
    os.write(master, GOOD * 3)
    wait_until(lambda: read == ["62E3086CED"])
    now[0] += 60
    os.write(master, GOOD)
    wait_until(lambda: len(read) == 2)
    stop.set()
    thread.join(20)
    os.close(master)
    os.close(slave)


def test_unplugged_it_is_named_and_plugged_in_again_it_reads_on(tmp_path: Path) -> None:
    device = tmp_path / "badge"  # as udev's link does
    said: list[tuple[bool, str]] = []
    read: list[str] = []

    def report(_name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        said.append((ready, reason.code if reason else ""))

    now = [0.0]
    reader = BadgeReader(device=device, baud=9600, kind="em4100", read=read.append, clock=lambda: now[0])
    stop = threading.Event()
    keeper = Keeper(name="badge", device=reader, report=report, first_wait_s=0.05)
    thread = threading.Thread(target=keeper.run, args=(stop,), daemon=True)
    thread.start()
    wait_until(lambda: said == [(False, "HW-001")])
    for times in (1, 2):
        now[0] += 60
        master, slave = os.openpty()
        tty.setraw(slave)
        device.symlink_to(os.ttyname(slave))
        wait_until(lambda: said[-1] == (True, ""))
        os.write(master, GOOD)
        wait_until(lambda times=times: len(read) == times)  # type: ignore[misc]
        device.unlink()
        os.close(slave)
        os.close(master)
        wait_until(lambda: not said[-1][0])
    stop.set()
    thread.join(20)
    assert {code for ready, code in said if not ready} <= {"HW-001", "HW-002"}


def test_a_reader_of_another_format_is_named() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    reader = BadgeReader(device=Path(os.ttyname(slave)), baud=9600, kind="wiegand", read=lambda _badge: None)
    ready = threading.Event()
    faults: list[str] = []

    def serve() -> None:
        try:
            reader.serve(threading.Event(), ready=lambda _text: ready.set())
        except HardwareError as error:
            faults.append(error.code)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(20)
    os.write(master, b"hello\r\n" * GARBAGE)
    thread.join(20)
    assert faults == ["HW-020"]
    os.close(master)
    os.close(slave)
