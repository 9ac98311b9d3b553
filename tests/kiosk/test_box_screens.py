"""Update and first set-up by real touches on a real window, with a picture of every state in both languages in ``build/screens``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.api.messages import Reason, SelfTestInfo, SelfTestRow, SetUpPeer
from appliance.api.server import make_app, serve
from appliance.workflow.service_stick import exported, sealed
from tests.appliance.api.memory_workflow import ENGINEER_PIN, PHYSICIAN_PIN, MemoryWorkflow
from tests.kiosk.flow import ManualClock
from tests.kiosk.memory_box import MemoryBox
from tests.kiosk.test_window import Camera
from tests.kiosk.window import KioskWindow, Seen

BACK = Reason(
    code="UPD-013",
    zh="版本 0.2.0 未通过检验(基准病例分析未通过),系统已自动恢复 0.1.0",
    en="version 0.2.0 did not prove itself (the golden case has not been analysed as expected); the box went back to 0.1.0 by itself",
)
REFUSED = Reason(code="MNT-003", zh="更新包的签名无效或不受信任", en="the update is not signed by one of our keys")


@contextmanager
def open_kiosk(box: MemoryBox, language: str, folder: Path, *, first: str = "sign_in") -> Iterator[tuple[MemoryBox, KioskWindow, Camera]]:
    workflow = MemoryWorkflow(pictures=folder, clock=ManualClock())
    socket = folder / "box.sock"
    with (
        serve(make_app(workflow, info=box.info, box=box), socket),
        KioskWindow(socket=socket, folder=folder, language=language, first=first) as window,
    ):
        yield box, window, Camera(language, (1280, 800), folder)


@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.image)])
def test_an_update_from_stick_to_proof_and_what_may_go_wrong(language: str, tmp_path: Path) -> None:
    with open_kiosk(MemoryBox(), language, tmp_path) as (box, window, camera):

        def shown(name: str, *widgets: str, moving: bool = False) -> Seen:
            seen = window.wait(lambda seen: all(each in seen["widgets"] for each in widgets), what=name)
            camera.take(window, name, moving=moving)
            return seen

        window.sign_in(PHYSICIAN_PIN)
        seen = window.wait(lambda seen: "search" in seen["widgets"])
        assert "update" not in seen["widgets"], "only who may sees the key"
        window.tap("sign-out")
        window.sign_in(ENGINEER_PIN)
        window.tap("update")
        seen = window.wait(lambda seen: seen["screen"] == "update" and "0.1.0" in seen["texts"])
        assert "wish-look" not in seen["widgets"], "there is no stick"
        camera.take(window, "20-update-no-stick")
        box.move(stick=True)
        shown("21-update-stick", "wish-look")
        window.tap("wish-look")
        window.wait(lambda _seen: [wish for _command, wish in box.wishes] == ["look"])
        box.found()
        seen = shown("22-update-offered", "wish-install", "wish-dismiss")
        assert any("0.2.0" in text for text in seen["texts"])
        assert any(("斑块" if language == "zh" else "plaque") in text for text in seen["texts"])
        window.tap("wish-install")
        window.wait(lambda _seen: [wish for _command, wish in box.wishes] == ["look", "install"])
        box.move(state="installing", progress=0.43)
        window.wait(lambda seen: "43%" in seen["texts"])
        camera.take(window, "23-update-writing")
        box.move(state="installed", progress=1.0, waiting=("receiving", "analysis"))
        shown("24-update-waiting", "wish-restart")
        box.move(state="trying", waiting=())
        window.wait(lambda seen: "wish-restart" not in seen["widgets"])
        camera.take(window, "25-update-trying")
        box.move(state="good", installed="0.2.0")
        shown("26-update-good", "wish-dismiss")
        box.move(state="back", installed="0.1.0", reason=BACK)
        window.wait(lambda seen: any("UPD-013" in text for text in seen["texts"]))
        camera.take(window, "27-update-back")
        box.move(state="refused", reason=REFUSED, version="")
        window.wait(lambda seen: any("MNT-003" in text for text in seen["texts"]))
        camera.take(window, "28-update-refused")
        window.tap("wish-dismiss")
        window.wait(lambda _seen: box.now.state == "idle")
        window.tap("back")
        window.wait(lambda seen: seen["screen"] == "worklist")
    camera.check_letters()


def type_text(window: KioskWindow, field: str, text: str) -> None:
    """By the on-screen keyboard what is short, by a plugged-in one what is long."""
    names = {"-": "minus", ".": "dot", "/": "slash", ":": "colon", " ": "space"}
    window.tap(f"field-{field}")
    window.wait(lambda seen: "|" in "".join(each[-1:] for each in seen["texts"]))
    if len(text) > 6:
        window._finger("type", "--delay", "40", text)
    else:
        for letter in text:
            window.tap(f"key-{names.get(letter, letter.lower())}")
    window.wait(lambda seen: any(each.rstrip("|") in {text, "●" * len(text)} for each in seen["texts"]), what=text)


def hide_keyboard(window: KioskWindow) -> None:
    window.tap("keyboard-done")
    window.wait(lambda seen: "keyboard-done" not in seen["widgets"])


@pytest.mark.parametrize("language", ["zh", pytest.param("en", marks=pytest.mark.image)])
def test_a_new_box_is_set_up_by_touch(language: str, tmp_path: Path) -> None:
    with open_kiosk(MemoryBox(new=True), language, tmp_path, first="set_up") as (box, window, camera):
        window.tap(f"choose-language-{language}")
        type_text(window, "institution", "CITY HOSPITAL 1")
        camera.take(window, "30-set-up-site")
        hide_keyboard(window)
        window.tap("set-up-next")
        window.wait(lambda seen: "field-archive_host" in seen["widgets"])
        type_text(window, "archive_host", "192.0.2.10")
        window.tap("set-up-next")
        window.wait(lambda seen: any("AE" in text and ("对方" in text or "peer" in text) for text in seen["texts"]), what="the fault")
        camera.take(window, "31-set-up-fault")
        type_text(window, "archive_title", "PACS")
        hide_keyboard(window)
        camera.take(window, "32-set-up-dicom")
        window.tap("set-up-next")
        type_text(window, "address", "192.0.2.5/24")
        type_text(window, "gateway", "192.0.2.1")
        hide_keyboard(window)
        camera.take(window, "33-set-up-network")
        window.tap("set-up-next")
        type_text(window, "user", "LI WEI")
        type_text(window, "pin", "8642")
        type_text(window, "pin_again", "8642")
        window.tap("choose-role-engineer")
        hide_keyboard(window)
        camera.take(window, "34-set-up-person")
        window.tap("set-up-next")
        window.wait(lambda seen: any("192.0.2.5/24" in text for text in seen["texts"]))
        camera.take(window, "35-set-up-check")
        box.refuse = Reason(code="WF-111", zh="设置文件有误", en="the settings cannot be used")
        window.tap("set-up-next")
        window.wait(lambda seen: any("WF-111" in text for text in seen["texts"]))
        box.refuse = None
        window.tap("set-up-next")
        window.wait(lambda _seen: bool(box.set_ups))
        window.wait(lambda seen: any(text in {"设置已保存，正在重启…", "Saved. The box restarts…"} for text in seen["texts"]))
        camera.take(window, "36-set-up-saved")
        wanted = box.set_ups[0]
        box.new = False
        window.wait(lambda seen: seen["screen"] == "sign_in")
    assert (wanted.institution, wanted.ae_title, wanted.port, wanted.address) == ("CITY HOSPITAL 1", "CORONET", 11112, "192.0.2.5/24")
    assert wanted.archive == SetUpPeer(host="192.0.2.10", port=104, ae_title="PACS")
    assert (wanted.printer.host, wanted.user, wanted.role, wanted.pin, wanted.language) == ("", "LI WEI", "engineer", "8642", language)
    camera.check_letters()


@pytest.mark.parametrize("language", ["zh", pytest.param("en", marks=pytest.mark.image)])
def test_a_service_engineers_stick_on_the_sign_in_screen(language: str, tmp_path: Path) -> None:
    with open_kiosk(MemoryBox(), language, tmp_path) as (box, window, camera):
        assert "service-stick" not in window.wait(lambda seen: "sign-in" in seen["widgets"])["widgets"]
        box.code = "48217730"
        window.wait(lambda seen: "service-stick" in seen["widgets"] and any("4821 7730" in text for text in seen["texts"]))
        camera.take(window, "40-service-code")
        box.refuse = Reason(code="WF-113", zh="此维修指令不适用于本机,或已使用过", en="this order is for another box, or was used already")
        window.tap("service-stick")
        window.wait(lambda seen: any("WF-113" in text for text in seen["texts"]))
        camera.take(window, "41-service-refused")
        box.refuse, box.code = None, "00112233"
        window.tap("service-stick")
        window.wait(lambda seen: any("048213" in text for text in seen["texts"]))
        camera.take(window, "42-service-pin")
        box.reply = exported("ABCDE-FGHJK-LMNPQ-RSTUV")
        window.tap("service-stick")
        window.wait(lambda seen: any("ABCDE-FGHJK-\nLMNPQ-RSTUV" in text for text in seen["texts"]))
        camera.take(window, "42-service-passphrase")
        box.reply = sealed("seal", "-".join(["720885"] * 8))  # the longest answer
        window.tap("service-stick")
        window.wait(lambda seen: any("720885-720885-\n720885" in text for text in seen["texts"]))
        camera.take(window, "42-service-recovery-key")
        box.reply = MemoryBox().reply
        window.tap("service-stick")
        window.wait(lambda seen: any("048213" in text for text in seen["texts"]))
        box.code = ""
        window.wait(lambda seen: "service-stick" not in seen["widgets"] and any("048213" in text for text in seen["texts"]))
        camera.take(window, "43-service-pin-stays")
        window.sign_in(ENGINEER_PIN)
        window.wait(lambda seen: seen["screen"] == "worklist")
        window.tap("sign-out")
        seen = window.wait(lambda seen: "sign-in" in seen["widgets"])
        assert not any("048213" in text for text in seen["texts"]), "a PIN does not stand there for ever"
    camera.check_letters()


@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.image)])
def test_the_self_test_names_what_does_not_work_first(language: str, tmp_path: Path) -> None:
    with open_kiosk(MemoryBox(), language, tmp_path) as (box, window, camera):
        window.sign_in(ENGINEER_PIN)
        window.tap("update")
        window.wait(lambda seen: seen["screen"] == "update" and "self-test" in seen["widgets"])
        window.tap("self-test")
        window.wait(lambda _seen: box.test.running)
        rows = [
            SelfTestRow(part="disk", state="good", zh="剩余 1200 GB,写入 310 MB/s", en="1200 GB free, writes 310 MB/s"),
            SelfTestRow(part="destination PACS", state="bad", code="DCM-002", zh="无应答", en="does not answer"),
            SelfTestRow(part="gpu", state="absent", zh="未配置", en="not in the settings"),
            SelfTestRow(part="units", state="bad", code="WF-084", zh="系统服务文件被改动", en="units were changed"),
            *(SelfTestRow(part=part, state="good", zh="正常", en="works") for part in ("database", "receiver", "clock", "display", "ups")),
        ]  # fmt: skip
        box.test = SelfTestInfo(rows=tuple(rows))
        seen = window.wait(lambda seen: any("WF-084" in text for text in seen["texts"]))
        camera.take(window, "44-self-test")
        [lines] = [text.splitlines() for text in seen["texts"] if "WF-084" in text]
        assert [line[0] for line in lines] == ["×"] * 2 + ["✓"] * 6 + ["–"]
    camera.check_letters()
