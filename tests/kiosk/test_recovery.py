"""The recovery key of a box whose TPM does not open its data, typed on the pad: the real client and a helper behind a real socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.maintenance.data_key import new_recovery_key
from kiosk.actions import ErasePin, PressDigit, SubmitPin
from kiosk.client import Client
from kiosk.controller import Controller
from kiosk.recovery import LOCKED
from kiosk.views.sign_in import SignInView
from tests.kiosk.test_window import Camera
from tests.kiosk.window import KioskWindow
from tests.peers.waiting import wait_until

WRONG = {"code": "UPD-047", "zh": "恢复密钥不正确", "en": "that is not this box's recovery key"}


class Box:
    """A box that waits for its recovery key; ``answers`` are given one after another, ``heard`` are the lines that came."""

    def __init__(self, run: Path) -> None:
        self.run = run
        (run / "coronet-boot").mkdir()
        self.fault(LOCKED)
        self.heard: list[str] = []
        self.answers: list[object] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(run / "coronet-key.sock"))
        self._listener.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def fault(self, code: str) -> None:
        (self.run / "coronet-boot/fault").write_text(f"{code}\n")

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rw", encoding="utf-8") as lines:
                self.heard.append(lines.readline().strip())
                answer = self.answers.pop(0)
                if answer is not None:  # else it goes away without a word
                    lines.write(f"{json.dumps(answer)}\n")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()


class Pad:
    """A controller with its client; what stands on the sign-in screen."""

    def __init__(self, box: Box) -> None:
        self.client = Client(socket=box.run / "none.sock", run=box.run)
        self.controller = Controller(client=self.client, clock=lambda: 0.0, wall_clock=lambda: 0.0, language="en")
        self.client.start()

    @property
    def view(self) -> SignInView:
        self.controller.tick()
        view = self.controller.view()
        assert isinstance(view, SignInView)
        return view

    def type(self, words: str) -> None:
        for digit in words.replace("-", ""):
            self.controller.act(PressDigit(digit))

    def until(self, said: str) -> None:
        wait_until(lambda: said in self.view.prompt, what=said)


@pytest.fixture
def pad(box: Box) -> Iterator[Pad]:
    pad = Pad(box)
    wait_until(lambda: pad.view.typed is not None)
    yield pad
    pad.client.stop()


def test_the_pad_takes_the_recovery_key_and_the_box_restarts(box: Box, pad: Pad) -> None:
    words = new_recovery_key()
    pad.type(words[:10])
    assert pad.view.typed == words[:10].replace("-", " ")
    pad.type(words[10:])
    assert "".join((pad.view.typed or "").split()) == words.replace("-", "")
    box.answers = [{"done": {"tpm": True}}]
    pad.controller.act(SubmitPin())
    pad.until("restarts")
    assert box.heard == [f"unlock {words}"]
    assert (pad.view.error, pad.view.busy, pad.view.typed) == (False, True, "")
    pad.controller.act(SubmitPin())
    pad.type("1")
    assert pad.view.typed == "", "there is nothing more to do"


def test_that_the_tpm_took_no_key_is_told(box: Box, pad: Pad) -> None:
    box.answers = [{"done": {"tpm": False}}]
    pad.type(new_recovery_key())
    pad.controller.act(SubmitPin())
    pad.until("The TPM took no key")


def test_a_digit_that_was_misread_is_told_at_its_group(pad: Pad) -> None:
    words = new_recovery_key()
    wrong = words[:12] + str((int(words[12]) + 1) % 10)
    pad.type(wrong)
    assert "Group 2" in pad.view.prompt
    assert pad.view.error
    assert pad.view.typed == words[:6]
    pad.type("720896")  # eleven times 2^16
    assert pad.view.typed == words[:6]
    pad.type("99")
    pad.controller.act(ErasePin())
    assert (pad.view.typed, pad.view.error) == (f"{words[:6]} 9", False)


def test_too_few_digits_are_not_sent(box: Box, pad: Pad) -> None:
    pad.type(new_recovery_key()[:-1])
    pad.controller.act(SubmitPin())
    assert "48" in pad.view.prompt
    assert pad.view.error
    assert box.heard == []


@pytest.mark.parametrize(("answer", "said"), [(WRONG, "UPD-047"), (None, "not confirmed"), ({"done": 3}, "not confirmed")])
def test_a_refusal_and_a_lost_answer_are_told_and_it_can_be_tried_again(box: Box, pad: Pad, answer: object, said: str) -> None:
    box.answers = [answer, {"done": {"tpm": True}}]
    words = new_recovery_key()
    pad.type(words)
    pad.controller.act(SubmitPin())
    pad.until(said)
    assert pad.view.error
    pad.type(words if answer is WRONG else "")
    pad.controller.act(SubmitPin())
    pad.until("restarts")


def test_another_fault_wants_no_recovery_key(box: Box, pad: Pad) -> None:
    box.fault("BOX-003")
    wait_until(lambda: pad.view.typed is None)
    pad.type("12")
    assert pad.view.digits == 2


@pytest.mark.parametrize("language", ["zh", pytest.param("en", marks=pytest.mark.image)])
def test_on_a_real_window(language: str, box: Box, tmp_path: Path) -> None:
    words = new_recovery_key()
    box.answers = [WRONG, {"done": {"tpm": False}}]
    with KioskWindow(socket=tmp_path / "none.sock", folder=tmp_path, language=language, run=box.run) as window:
        camera = Camera(language, (1280, 800), tmp_path)
        window.wait(lambda seen: any("BOX-005" in text for text in seen["texts"]))
        camera.take(window, "44-recovery-key")
        window.tap(*(f"digit-{digit}" for digit in words.replace("-", "")))
        window.wait(lambda seen: any(words[-6:] in text for text in seen["texts"]))
        camera.take(window, "45-recovery-key-typed")
        window.tap("sign-in")
        window.wait(lambda seen: any("UPD-047" in text for text in seen["texts"]))
        camera.take(window, "46-recovery-key-wrong")
        window.tap(*(f"digit-{digit}" for digit in words.replace("-", "")))
        window.wait(lambda seen: any(words[-6:] in text for text in seen["texts"]))
        window.tap("sign-in")
        window.wait(lambda seen: any("TPM" in text and "…" in text for text in seen["texts"]))
        camera.take(window, "47-unlocked-without-tpm")
    assert len(box.heard) == 2
