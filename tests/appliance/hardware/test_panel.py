"""The panel over a real pseudo-terminal: noise, silence, other versions, pulled cables; the decoder against anything."""

from __future__ import annotations

import binascii
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import HardwareError, Reason
from appliance.hardware import panel_frames
from appliance.hardware.keeper import Keeper
from appliance.hardware.panel import BUTTON_MUTE, Light, Lights, Panel
from appliance.hardware.panel_frames import MAXIMUM_DATA, Decoder, Frame, crc, encode
from appliance.hardware.panel_simulator import PanelSimulator
from tests.peers.waiting import wait_until

DOCUMENT = Path(__file__).parents[3] / "firmware-config" / "panel" / "PROTOCOL.md"
FRAMES = st.builds(
    Frame, kind=st.integers(0, 255), data=st.binary(max_size=MAXIMUM_DATA), sequence=st.integers(0, 255), version=st.integers(0, 255)
)


class Box:
    """The box's side: what it shows, what it heard, what it said of the panel."""

    def __init__(self, device: Path) -> None:
        self.lights = Lights(ready=Light.ON)
        self.presses: list[tuple[int, int]] = []
        self.said: list[tuple[bool, str]] = []
        self.stop = threading.Event()
        self.device = device
        panel = Panel(device=device, baud=115200, lights=lambda: self.lights, pressed=lambda *press: self.presses.append(press))
        keeper = Keeper(name="panel", device=panel, report=self.report, first_wait_s=0.02)
        self.thread = threading.Thread(target=keeper.run, args=(self.stop,), daemon=True)
        self.thread.start()

    def report(self, name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        self.said.append((ready, reason.code if reason else detail))


@contextmanager
def box(device: Path) -> Iterator[Box]:
    running = Box(device)
    yield running
    running.stop.set()
    running.thread.join(20)
    assert not running.thread.is_alive()


@pytest.fixture
def panel() -> Iterator[PanelSimulator]:
    simulator = PanelSimulator()
    yield simulator
    simulator.unplug()


def test_lights_and_buzzer_follow_and_a_press_comes_once(panel: PanelSimulator) -> None:
    with box(panel.device) as running:
        wait_until(lambda: panel.lights == (1, 0, 0, 0))
        assert running.said == [(True, "firmware 1.0, 2 buttons")]
        running.lights = Lights(ready=Light.ON, busy=Light.SLOW, attention=Light.FAST, alarm=True)
        wait_until(lambda: panel.lights == (1, 2, 3, 0) and panel.buzzer)
        panel.press(2, 2)
        wait_until(lambda: running.presses == [(2, 2)])
        panel.press(BUTTON_MUTE)
        wait_until(lambda: (BUTTON_MUTE, 1) in running.presses)
        running.lights = Lights(ready=Light.ON)
        wait_until(lambda: not panel.buzzer)
        assert running.presses == [(2, 2), (1, 1)]


def test_mute_silences_at_once_and_a_new_alarm_sounds_again(panel: PanelSimulator) -> None:
    with box(panel.device) as running:
        running.lights = Lights(alarm=True)
        wait_until(lambda: panel.buzzer)
        panel.press(BUTTON_MUTE)
        wait_until(lambda: not panel.buzzer, what="silence while the alarm lasts")
        assert running.lights.alarm
        running.lights = Lights(ready=Light.ON)
        wait_until(lambda: panel.lights == (1, 0, 0, 0))
        running.lights = Lights(alarm=True)
        wait_until(lambda: panel.buzzer, what="the next alarm")


def test_a_panel_that_sounds_when_the_box_comes_back_is_silenced(panel: PanelSimulator) -> None:
    """The service was started anew, or the cable plugged in again, and the alarm is over: the panel kept its state meanwhile."""
    panel.buzzer = True
    with box(panel.device):
        wait_until(lambda: not panel.buzzer)


def test_noise_before_every_answer_and_half_frames_do_no_harm(panel: PanelSimulator) -> None:
    panel.noise = b"\xff\x00\x07garbage" + encode(Frame(kind=0x81, data=b"\x01"))[:-3] + b"\x00"
    with box(panel.device) as running:
        wait_until(lambda: panel.lights == (1, 0, 0, 0))
        panel.send_raw(b"\x05\x01\x02")
        running.lights = Lights(fault=Light.FAST)
        wait_until(lambda: panel.lights == (0, 0, 0, 3))
        assert running.said == [(True, "firmware 1.0, 2 buttons")]


def test_unplugged_it_is_named_and_plugged_in_again_it_goes_on(tmp_path: Path) -> None:
    device = tmp_path / "panel"  # as udev's link does
    with box(device) as running:
        wait_until(lambda: running.said == [(False, "HW-001")])
        first = PanelSimulator()
        device.symlink_to(first.device)
        wait_until(lambda: first.lights == (1, 0, 0, 0))
        device.unlink()
        first.unplug()
        wait_until(lambda: running.said[2:3] in ([(False, "HW-002")], [(False, "HW-010")]))
        second = PanelSimulator()
        device.symlink_to(second.device)
        wait_until(lambda: second.lights == (1, 0, 0, 0))
        wait_until(lambda: running.said[-1] == (True, "firmware 1.0, 2 buttons"))
    second.unplug()


@pytest.mark.parametrize(("version", "mute", "code"), [(7, False, "HW-011"), (1, True, "HW-010")])
def test_a_panel_of_another_version_or_without_a_voice_is_named(version: int, mute: bool, code: str) -> None:
    panel = PanelSimulator(version=version)
    panel.mute_to_the_box = mute
    driver = Panel(device=panel.device, baud=115200, lights=Lights, pressed=lambda *_: None)
    with pytest.raises(HardwareError) as caught:
        driver.serve(threading.Event(), ready=lambda _text: None)
    assert caught.value.code == code
    panel.unplug()


def test_the_simulator_refuses_what_the_document_does_not_name(panel: PanelSimulator) -> None:
    """An order of a later version is refused, not guessed at: the answer is 82 with 1."""
    sent: list[bytes] = []
    panel.send_raw = sent.append  # type: ignore[method-assign]
    panel._answer(Frame(kind=0x7F, sequence=9))
    [answer] = Decoder().feed(sent[0])
    assert (answer.kind, answer.data, answer.sequence) == (0x82, b"\1", 9)


# -- frames


def test_document_and_code_name_the_same_numbers() -> None:
    text = DOCUMENT.read_text("utf-8")
    named = {
        name.replace(" reply", "_REPLY"): int(kind, 16) for kind, name in re.findall(r"(?m)^\| ([0-9A-F]{2}) \| ([A-Za-z ]+?) \|", text)
    }
    assert named == {name: getattr(panel_frames, name) for name in named}
    assert set(named) == {"HELLO", "LIGHTS", "BUZZER", "PING", "HELLO_REPLY", "ACKNOWLEDGE", "BUTTON", "PONG"}
    assert crc(b"123456789") == 0x29B1 == binascii.crc_hqx(b"123456789", 0xFFFF)
    assert f"0 to {MAXIMUM_DATA}" in text


@given(st.lists(FRAMES, max_size=5), st.integers(1, 7))
def test_what_is_sent_is_what_comes_whatever_the_pieces(frames: list[Frame], piece: int) -> None:
    line = b"".join(encode(frame) for frame in frames)
    decoder = Decoder()
    assert [frame for at in range(0, len(line), piece) for frame in decoder.feed(line[at : at + piece])] == frames
    assert decoder.dropped == 0
    assert all(0 not in encode(frame)[:-1] for frame in frames)


@settings(max_examples=300)
@given(st.binary(max_size=400), FRAMES)
def test_after_any_noise_the_next_frame_is_found(noise: bytes, frame: Frame) -> None:
    decoder = Decoder()
    decoder.feed(noise + b"\0")
    assert decoder.feed(encode(frame)) == [frame]
    assert len(decoder._block) <= panel_frames.MAXIMUM_FRAME


@given(FRAMES, st.data())
def test_a_changed_byte_is_never_taken(frame: Frame, data: st.DataObject) -> None:
    line = bytearray(encode(frame))
    at = data.draw(st.integers(0, len(line) - 2))
    line[at] ^= data.draw(st.integers(1, 255))
    assert frame not in Decoder().feed(bytes(line))
    assert Decoder().feed(bytes(line)) == []
