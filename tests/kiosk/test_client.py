"""The network thread against a real server that stops, restarts, hangs and forgets."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from appliance.api.messages import ApplianceInfo, Session, StudyDetail
from appliance.api.server import ApiServer, make_app, serve
from appliance.errors import WorkflowError
from kiosk import client as client_module
from kiosk.client import Client
from kiosk.controller import Controller
from kiosk.exchange import (
    Answered,
    Ask,
    Command,
    EventsReceived,
    FetchPicture,
    FetchStudy,
    Lost,
    Offline,
    Online,
    Received,
    Refused,
    SessionEnded,
    SignIn,
    SignOut,
    SnapshotReceived,
)
from kiosk.state import Picture
from kiosk.views import SignInView
from kiosk.words import BOOT_FAULT, Language
from tests.appliance.api.memory_workflow import PHYSICIAN_PIN, MemoryWorkflow
from tests.kiosk.flow import Journey, ManualClock, on_worklist
from tests.peers.waiting import wait_until

Kind = TypeVar("Kind", bound=Received)


class Ear:
    """Everything that the client reported, and a way to wait for what comes next."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._heard: list[Received] = []

    def next(self, kind: type[Kind], where: Callable[[Kind], bool] = lambda _: True, *, within_s: float = 15.0) -> Kind:
        """The next report of that kind; what came before it is dropped."""
        end = time.monotonic() + within_s
        while True:
            self._heard += self.client.drain()
            while self._heard:
                received = self._heard.pop(0)
                if isinstance(received, kind) and where(received):
                    return received
            assert time.monotonic() < end, f"no {kind.__name__}"
            time.sleep(0.005)


@pytest.fixture
def ear(client: Client) -> Ear:
    return Ear(client)


@pytest.fixture
def signed_in(server: ApiServer, ear: Ear) -> Ear:
    ear.next(Online)
    ear.client.send(SignIn(PHYSICIAN_PIN))
    ear.next(SnapshotReceived)
    return ear


def test_what_stopped_the_start_of_the_box_is_shown_in_the_appliances_place(tmp_path: Path) -> None:
    (tmp_path / "coronet-boot").mkdir()
    (tmp_path / "coronet-boot/fault").write_text("BOX-003\n")
    client = Client(socket=tmp_path / "none.sock", run=tmp_path)
    controller = Controller(client=client, clock=time.monotonic, wall_clock=time.time, language="en")
    client.start()
    try:
        wait_until(lambda: controller.tick() or controller.state.boot_fault == "BOX-003", timeout_s=20)
    finally:
        client.stop()
    told: tuple[tuple[Language, str], ...] = (("zh", "数据分区内容未知"), ("en", "holds something unknown"))
    for language, words in told:
        controller.state.language = language
        shown = controller.view().frame.offline_text
        assert words in shown
        assert "BOX-003" in shown


def test_every_fault_of_the_start_has_words() -> None:
    script = (Path(__file__).parents[2] / "image-build/root/usr/lib/coronet/open-data").read_text("utf-8")
    assert set(re.findall(r"fail (BOX-\d{3})", script)) == set(BOOT_FAULT)


def test_connects_when_the_appliance_comes_up_later(ear: Ear, socket_path: Path, workflow: MemoryWorkflow) -> None:
    ear.next(Offline)
    ear.next(Offline)
    with serve(make_app(workflow), socket_path):
        ear.next(Online)


def test_sign_in_brings_the_worklist_and_its_changes(server: ApiServer, ear: Ear, workflow: MemoryWorkflow) -> None:
    number = ear.client.send(SignIn(PHYSICIAN_PIN))
    answer = ear.next(Answered)
    assert answer.id == number
    assert isinstance(answer.value, Session)
    snapshot = ear.next(SnapshotReceived).snapshot
    assert len(snapshot.rows) == 8
    workflow.progress("s-analysing", "lumen", 0.5)
    events = ear.next(EventsReceived, lambda received: bool(received.events)).events
    assert [event.number for event in events] == [snapshot.number + 1]


def test_gap_brings_a_new_snapshot(signed_in: Ear, workflow: MemoryWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "events_after", lambda _number, **_more: None)
    signed_in.next(SnapshotReceived)
    signed_in.next(SnapshotReceived)


def test_old_snapshot_is_renewed(signed_in: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SNAPSHOT_EVERY_S", 0.2)
    monkeypatch.setattr(client_module, "POLL_S", 0.1)
    signed_in.client.send(SignOut())
    signed_in.client.send(SignIn(PHYSICIAN_PIN))
    for _ in range(3):
        signed_in.next(SnapshotReceived)


def test_refusal_carries_the_sentence(signed_in: Ear) -> None:
    ask = FetchStudy("nothing")
    number = signed_in.client.send(ask)
    refused = signed_in.next(Refused)
    assert (refused.id, refused.ask, refused.error.code) == (number, ask, "WF-002")


def test_picture_is_decoded_and_not_sent_twice(signed_in: Ear) -> None:
    signed_in.client.send(FetchPicture(key="s-draft", picture="cpr-lad-000"))
    picture = signed_in.next(Answered, lambda received: isinstance(received.ask, FetchPicture)).value
    assert isinstance(picture, Picture)
    assert picture.pixels is not None
    assert picture.thumbnail is not None
    assert (picture.pixels.width, picture.pixels.height) == (640, 640)
    assert picture.thumbnail.width == 200
    signed_in.client.send(FetchPicture(key="s-draft", picture="cpr-lad-000", tag=picture.tag))
    assert signed_in.next(Answered, lambda received: isinstance(received.ask, FetchPicture)).value is None


def test_damaged_picture_has_no_pixels(signed_in: Ear, workflow: MemoryWorkflow) -> None:
    workflow.picture("s-draft", "cpr-lad-000").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    signed_in.client.send(FetchPicture(key="s-draft", picture="cpr-lad-000"))
    picture = signed_in.next(Answered, lambda received: isinstance(received.ask, FetchPicture)).value
    assert isinstance(picture, Picture)
    assert (picture.pixels, picture.thumbnail) == (None, None)


def test_restart_of_the_appliance_is_survived(ear: Ear, socket_path: Path, workflow: MemoryWorkflow) -> None:
    with serve(make_app(workflow), socket_path):
        ear.next(Online)
        ear.client.send(SignIn(PHYSICIAN_PIN))
        ear.next(SnapshotReceived)
    ear.next(Offline)
    workflow.progress("s-analysing", "lumen", 0.99)
    with serve(make_app(workflow), socket_path):
        ear.next(Online)
        rows = {row.key: row for row in ear.next(SnapshotReceived).snapshot.rows}
    assert rows["s-analysing"].progress == 0.99


def test_session_that_is_gone_is_reported_once(signed_in: Ear, workflow: MemoryWorkflow) -> None:
    workflow.drop_sessions()
    workflow.progress("s-analysing", "lumen", 0.99)
    signed_in.next(SessionEnded)
    signed_in.next(Online)


def test_command_during_an_outage_is_done_once_when_it_ends(ear: Ear, socket_path: Path, workflow: MemoryWorkflow) -> None:
    with serve(make_app(workflow), socket_path):
        ear.next(Online)
        ear.client.send(SignIn(PHYSICIAN_PIN))
        ear.next(SnapshotReceived)
    ear.next(Offline)
    ear.client.send(Command(key="s-draft", verb="approve", command="made-once", revision=1))
    with serve(make_app(workflow), socket_path):
        answer = ear.next(Answered, lambda received: isinstance(received.ask, Command))
    assert isinstance(answer.value, StudyDetail)
    assert answer.value.row.state == "approving"
    assert workflow.commands_done == [("approve", "s-draft", "made-once")]


def test_command_whose_answer_was_lost_is_not_done_twice(ear: Ear, tmp_path: Path, socket_path: Path, workflow: MemoryWorkflow) -> None:
    real = tmp_path / "real.sock"
    with serve(make_app(workflow), real), Cable(socket_path, real) as cable:
        ear.next(Online)
        ear.client.send(SignIn(PHYSICIAN_PIN))
        ear.next(SnapshotReceived)
        cable.cut_before_answer_to(b"/approve")
        ear.client.send(Command(key="s-draft", verb="approve", command="made-once", revision=1))
        answer = ear.next(Answered, lambda received: isinstance(received.ask, Command))
    assert isinstance(answer.value, StudyDetail)
    assert cable.cuts == 1
    assert workflow.commands_done == [("approve", "s-draft", "made-once")]


def test_question_fails_at_once_when_the_connection_is_lost(
    ear: Ear, tmp_path: Path, socket_path: Path, workflow: MemoryWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(key: str) -> StudyDetail:
        asked.set()
        release.wait(20)
        raise WorkflowError("WF-002", zh="", en="nobody waits for this answer")

    monkeypatch.setattr(workflow, "study", hang)
    real = tmp_path / "real.sock"
    with serve(make_app(workflow), real), Cable(socket_path, real) as cable:
        ear.next(Online)
        ear.client.send(SignIn(PHYSICIAN_PIN))
        ear.next(SnapshotReceived)
        number = ear.client.send(FetchStudy("s-draft"))
        assert asked.wait(10)
        cable.break_all()
        assert ear.next(Lost).id == number
        release.set()


def test_question_has_a_deadline(signed_in: Ear, workflow: MemoryWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(Ask, "deadline_s", 0.2)

    def hang(key: str) -> StudyDetail:
        release.wait(20)
        raise WorkflowError("WF-002", zh="", en="nobody waits for this answer")

    monkeypatch.setattr(workflow, "study", hang)
    number = signed_in.client.send(FetchStudy("s-draft"))
    assert signed_in.next(Lost).id == number
    release.set()


def test_stop_ends_the_thread_in_the_middle_of_everything(server: ApiServer, socket_path: Path) -> None:
    client = Client(socket=socket_path)
    client.start()
    client.send(SignIn(PHYSICIAN_PIN))
    Ear(client).next(SnapshotReceived)
    client.stop()
    assert not any(thread.name == "client" and thread.is_alive() for thread in threading.enumerate())


class Cable:
    """A Unix socket that passes bytes on to another one, and can be cut between a request and its answer."""

    def __init__(self, path: Path, target: Path) -> None:
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._cut: bytes | None = None
        self.cuts = 0
        self._near: list[socket.socket] = []
        self._swallow: set[socket.socket] = set()

    def cut_before_answer_to(self, path: bytes) -> None:
        self._cut = path

    def break_all(self) -> None:
        """Every connection ends without a word."""
        for near in self._near:
            near.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Cable:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        for near in self._connections():
            self._near.append(near)
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._target))
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(far, near), daemon=True).start()

    def _connections(self) -> Iterator[socket.socket]:
        while True:
            try:
                yield self._listener.accept()[0]
            except OSError:
                return

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        """Requests; one that is to be cut reaches the appliance, its answer never comes back."""
        try:
            while data := near.recv(65536):
                if self._cut is not None and self._cut in data:
                    self._cut = None
                    self.cuts += 1
                    self._swallow.add(far)
                far.sendall(data)
        except OSError:
            pass
        far.close()

    def _pass_back(self, far: socket.socket, near: socket.socket) -> None:
        try:
            while (data := far.recv(65536)) and far not in self._swallow:
                near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


# -- badges


def test_a_badge_signs_in_and_an_unknown_one_is_refused(workflow: MemoryWorkflow, socket_path: Path) -> None:
    workflow.badge_reader = []
    client = Client(socket=socket_path)
    with serve(make_app(workflow, info=ApplianceInfo(badge_reader=True)), socket_path):
        client.start()
        ear = Ear(client)
        assert ear.next(Online).info.badge_reader
        workflow.badge_reader.append("9999")
        assert isinstance(ear.next(Refused).ask, SignIn)
        workflow.badge_reader.append(PHYSICIAN_PIN)
        session = ear.next(Answered).value
        assert isinstance(session, Session)
        assert session.user_name == "林医师"
        ear.next(SnapshotReceived)
        client.send(SignOut())
        ear.next(Online)
    client.stop()


def test_a_badge_opens_the_worklist(workflow: MemoryWorkflow, socket_path: Path) -> None:
    """The whole kiosk, without a touch: the screen that waits for a PIN opens for a badge."""
    workflow.badge_reader = ["9999"]
    client, clock = Client(socket=socket_path), ManualClock()
    controller = Controller(client=client, clock=clock, wall_clock=clock, language="en")
    with serve(make_app(workflow, info=ApplianceInfo(badge_reader=True)), socket_path):
        client.start()
        journey = Journey(controller=controller, clock=clock)
        journey.wait(lambda view: isinstance(view, SignInView) and "Wrong PIN" in str(view), what="the refusal")
        workflow.badge_reader.append(PHYSICIAN_PIN)
        journey.wait(on_worklist, what="the worklist")
    client.stop()
