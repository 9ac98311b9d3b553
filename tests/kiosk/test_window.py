"""Journeys by real touches on a real window, and a picture of every screen in both languages in ``build/screens``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from appliance.api.messages import ApplianceInfo, Reason
from appliance.api.server import make_app, serve
from kiosk.fonts import find_fonts
from tests.appliance.api.memory_workflow import PHYSICIAN_PIN, RADIOGRAPHER_PIN, MemoryWorkflow
from tests.kiosk.flow import ManualClock
from tests.kiosk.window import KioskWindow

SCREENS = Path(__file__).resolve().parents[2] / "build" / "screens"


@pytest.fixture
def window(server: object, socket_path: Path, tmp_path: Path) -> Iterator[KioskWindow]:
    with KioskWindow(socket=socket_path, folder=tmp_path) as window:
        yield window


def test_touches_sign_in_correct_approve_and_undo(window: KioskWindow, workflow: MemoryWorkflow) -> None:
    window.tap("digit-9", "digit-9", "digit-9", "digit-9", "sign-in")
    window.wait(lambda seen: any("PIN 不正确" in text for text in seen["texts"]))
    window.sign_in(RADIOGRAPHER_PIN)
    window.tap("study-s-draft", "grade-0")
    seen = window.wait(lambda seen: "choose-severe" in seen["widgets"])
    assert "approve" not in seen["widgets"], "what lies below a pop-up cannot be tapped"
    window.tap("choose-severe")
    window.wait(lambda seen: seen["cad_rads"] == "CAD-RADS 4A/P2/HRP" and seen["revision"] == 2)
    window.tap("approve")
    seen = window.wait(lambda seen: seen["state"] == "approving" and "undo" in seen["widgets"])
    assert 1 <= seen["undo_seconds"] <= 8
    window.tap("undo")
    window.wait(lambda seen: seen["state"] == "draft" and "approve" in seen["widgets"])
    assert [kind for kind, _, _ in workflow.commands_done] == ["correct", "approve", "undo"]


def test_swipes_and_thumbnails_go_through_the_pictures(window: KioskWindow) -> None:
    def count(text: str) -> None:
        window.wait(lambda seen: text in seen["texts"], what=text)

    window.sign_in(PHYSICIAN_PIN)
    window.tap("study-s-draft")
    count("1 / 10")
    window.swipe("picture", -300)
    count("2 / 10")
    window.swipe("picture", 300)
    count("1 / 10")
    window.tap("next-picture")
    count("2 / 10")
    window.tap("picture-cpr-lad-000")
    count("3 / 10")
    window.tap("vessel-RCA")
    count("1 / 2")


def test_keys_type_the_pin_and_escape_does_not_end_the_kiosk(window: KioskWindow) -> None:
    window._finger("key", "2", "4", "6", "9", "BackSpace", "8", "Escape", "Return")
    window.wait(lambda seen: seen["screen"] == "worklist")
    window._finger("key", "Escape")
    window.tap("sign-out")
    window.wait(lambda seen: seen["screen"] == "sign_in")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_screen_fits_and_is_pictured(language: str, tmp_path: Path) -> None:
    _picture_tour(language, (1280, 800), tmp_path)


def test_large_screen_fits_and_is_pictured(server: object, socket_path: Path, tmp_path: Path) -> None:
    camera = Camera("zh", (1920, 1080), tmp_path)
    with KioskWindow(socket=socket_path, folder=tmp_path, size=(1920, 1080)) as window:
        camera.take(window, "01-sign-in")
        window.sign_in(PHYSICIAN_PIN)
        window.wait(lambda seen: "study-s-draft" in seen["widgets"])
        camera.take(window, "03-worklist")
        window.tap("study-s-draft")
        window.wait(lambda seen: "approve" in seen["widgets"] and "1 / 10" in seen["texts"])
        camera.take(window, "13-review-physician")


def _picture_tour(language: str, size: tuple[int, int], folder: Path) -> None:
    """Go through every screen and state; keep a picture of each; nothing may be cut, no letter missing."""
    wall = ManualClock()
    workflow = MemoryWorkflow(pictures=folder, clock=wall, undo_seconds=60)
    socket = folder / "tour.sock"
    server = serve(make_app(workflow, info=ApplianceInfo(institution="示范医院")), socket)
    server.start()
    camera = Camera(language, size, folder)
    with KioskWindow(socket=socket, folder=folder, language=language, size=size) as window:
        camera.take(window, "01-sign-in")
        window.tap("digit-9", "digit-9", "digit-9", "digit-9", "sign-in")
        window.wait(lambda seen: any("WF-001" in text for text in seen["texts"]))
        camera.take(window, "02-wrong-pin")
        window.sign_in(RADIOGRAPHER_PIN)
        window.wait(lambda seen: "study-s-urgent" in seen["widgets"])
        camera.take(window, "03-worklist")
        window.tap("tab-trouble")
        window.wait(lambda seen: "retry-s-failed" in seen["widgets"])
        camera.take(window, "04-worklist-attention")
        window.tap("tab-all", "study-s-draft")
        window.wait(lambda seen: "approve" in seen["widgets"] and "1 / 10" in seen["texts"])
        camera.take(window, "05-review-radiographer")
        window.tap("vessel-RCA")
        window.wait(lambda seen: "1 / 2" in seen["texts"])
        camera.take(window, "06-review-vessel")
        window.tap("vessel-all", "grade-0")
        window.wait(lambda seen: "choose-severe" in seen["widgets"])
        camera.take(window, "07-choose-degree")
        window.tap("choose-severe")
        window.wait(lambda seen: seen["revision"] == 2)
        camera.take(window, "08-corrected")
        window.tap("full-report")
        window.wait(lambda seen: "close-report" in seen["widgets"])
        camera.take(window, "09-full-report")
        window.tap("close-report", "approve")
        window.wait(lambda seen: "undo" in seen["widgets"])
        camera.take(window, "10-undo", moving=True)
        wall.advance(61)
        workflow.tick()
        window.wait(lambda seen: seen["state"] == "delivering")
        refused = Reason(code="DCM-009", zh="PACS 拒绝连接", en="the PACS refused the association")
        workflow.deliver("s-draft", refused=refused)
        window.wait(lambda seen: any("PACS 拒绝连接" in text or "refused" in text for text in seen["texts"]))
        camera.take(window, "11-delivery-retrying", moving=True)
        workflow.deliver("s-draft")
        window.wait(lambda seen: seen["state"] == "delivered")
        camera.take(window, "12-delivered")
        window.tap("sign-out")
        window.sign_in(PHYSICIAN_PIN)
        window.tap("study-s-urgent")
        window.wait(lambda seen: "approve" in seen["widgets"] and "1 / 10" in seen["texts"])
        camera.take(window, "13-review-physician")
        window.tap("back", "search", "key-c", "key-0")
        window.wait(lambda seen: "C0" in seen["texts"] and "study-s-urgent" in seen["widgets"])
        camera.take(window, "15-search")
        window.tap("filter-done", "keyboard-done", "study-s-draft")
        window.wait(lambda seen: "close-details" in seen["widgets"] and "protect" in seen["widgets"])
        camera.take(window, "16-study-details")
        window.tap("protect")
        window.wait(
            lambda seen: "protect" in seen["widgets"] and any("不会自动清除" in text or "never removed" in text for text in seen["texts"])
        )
        window.tap("close-details", "back", "study-s-urgent")
        window.wait(lambda seen: "approve" in seen["widgets"])
        server.stop()
        window.wait(lambda seen: not seen["online"])
        camera.take(window, "14-connection-lost", moving=True)
    camera.check_letters()


class Camera:
    """Takes pictures and remembers every text that it saw."""

    def __init__(self, language: str, size: tuple[int, int], folder: Path) -> None:
        self._place = SCREENS / f"{language}-{size[0]}x{size[1]}"
        self._place.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._texts: set[str] = set()

    def take(self, window: KioskWindow, name: str, *, moving: bool = False) -> None:
        """Keep a picture; a screen that never stands still is taken as it is."""
        seen = window.wait(lambda seen: not any(text.startswith(("正在读取", "Loading")) for text in seen["texts"]))
        picture = window.picture() if not moving else window.glance()
        picture.save(self._place / f"{name}.png")
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20, f"{name} is blank"
        assert seen["cut"] == [], f"{name}: text is cut: {seen['cut']}"
        assert seen["small"] == [], f"{name}: too small for a finger: {seen['small']}"
        self._texts.update(seen["texts"])

    def check_letters(self) -> None:
        """Every letter that was shown is in the font."""
        font = ImageFont.truetype(str(find_fonts(self._folder / "fonts").regular), 32)
        missing = bytes(font.getmask("\U0010fffd"))
        letters = {letter for text in self._texts for letter in text if not letter.isspace()}
        assert len(letters) > 50
        assert [letter for letter in sorted(letters) if bytes(font.getmask(letter)) == missing] == []
