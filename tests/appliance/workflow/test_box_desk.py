"""Update and set-up behind the API, and the door to root's helper: the real socket and answers; programs are named, not run."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from appliance.archive.archive import Archive
from appliance.errors import UpdateError, WorkflowError
from appliance.maintenance.slots import SlotsClient, answer, run_program
from appliance.settings import PolicySettings, load_settings
from appliance.workflow.box import lights
from appliance.workflow.box_desk import update_roles
from appliance.workflow.set_up import SetUpDesk
from appliance.workflow.slots_door import adopt_settings, ask_slots
from appliance.workflow.update_desk import UpdateDesk, read_order, write_record
from appliance.workflow.update_states import DID_NOT_START, UpdateRecord
from appliance.worklist import Session, SetUpPeer, SetUpRequest
from tests.appliance.archive.fakes import make_archive

STATUS = json.dumps(
    {
        "booted": "A",
        "boot_primary": "rootfs.1",
        "slots": [{"rootfs.0": {"bootname": "A"}}, {"boot.0": {"bootname": None}}, {"rootfs.1": {"bootname": "B"}}],
    }
)
ENGINEER = Session(token="", user_id="u-eng", user_name="Sun", role="engineer", may_approve=False, may_finalise=False)
NEW = SetUpRequest(
    language="zh", institution='示范"医院"', ae_title="CORONET", port=11112, address="192.0.2.5/24", gateway="192.0.2.1", dns="192.0.2.2",
    ntp="ntp.example", clock="2026-11-23 08:30", archive=SetUpPeer(host="192.0.2.9", port=104, ae_title="PACS"), user="LI WEI",
    role="engineer", pin="8642",
)  # fmt: skip


class Helper:
    """`answer` behind a real socket, with a list of the programs that it would have run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "slots.sock"
        self.settings = folder / "etc/coronet.toml"
        self.settings.parent.mkdir()
        self.erase = folder / "efi/erase"
        self.erase.parent.mkdir()
        self.ran: list[list[str]] = []
        self.fail: str | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(4)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("r", encoding="utf-8") as reading, connection.makefile("w", encoding="utf-8") as writing:
                answer(reading, writing, run=self._run, settings=self.settings, erase=self.erase)

    def _run(self, command: Sequence[str], _timeout_s: float) -> Iterator[str]:
        self.ran.append(list(command))
        if command[:2] == ["rauc", "status"] and "--output-format=json" in command:
            yield f"rauc-Message: hello\n{STATUS}\n"
        if command[:2] == ["rauc", "install"]:
            yield from ("installing\n", "  0% Installing\n", " 40% Copying image\n", "100% Installing done.\n")
        if self.fail is not None:
            yield f"LastError: {self.fail}\n"
            raise subprocess.CalledProcessError(1, list(command))


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    helper = Helper(tmp_path)
    yield helper
    helper.close()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return make_archive(tmp_path / "data")


def test_the_verbs_of_the_helper(helper: Helper) -> None:
    slots = SlotsClient(path=helper.path)
    assert (slots.status().booted, slots.status().primary, slots.status().other) == ("A", "B", "B")
    told: list[float] = []
    slots.install("coronet-0.2.0.raucb", progress=told.append)
    assert told == [0.0, 0.4, 1.0]
    slots.mount(), slots.unmount(), slots.mark_good(), slots.mark_bad(), slots.restart()
    assert helper.ran[3:] == [
        ["rauc", "install", "/run/coronet-stick/coronet-0.2.0.raucb"],
        ["systemctl", "start", "run-coronet\\x2dstick.mount"],
        ["systemctl", "stop", "run-coronet\\x2dstick.mount"],
        ["rauc", "status", "mark-good", "booted"],
        ["rauc", "status", "mark-bad", "booted"],
        ["systemctl", "--no-block", "reboot"],
    ]


@pytest.mark.parametrize(
    "line",
    [
        "", "poweroff", "install", "install ../../etc/passwd", "install x.raucb;reboot", "install -rf.raucb", "install a b.raucb", "good x",
        "status --help", "erase x",
        "settings 99999999", "settings -1", "clock now", "clock 2026-11-23T08:30;reboot", "x" * 5000, "install \0.raucb",
    ],
)  # fmt: skip
def test_what_is_no_verb_runs_nothing(helper: Helper, line: str) -> None:
    with pytest.raises(UpdateError, match="UPD-030"):
        ask_slots(line, path=helper.path)
    assert helper.ran == []


def test_settings_that_arrive_in_part_change_nothing(helper: Helper) -> None:
    """Half of a file can be a good file: whoever sent it was killed in the middle."""
    text = '[receiver]\nhost = "0.0.0.0"\n[policy]\ninstitution = "x"\n'
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(helper.path))
        door.sendall(f"settings {len(text)}\n{text[:28]}".encode())
        door.shutdown(socket.SHUT_WR)
        assert "UPD-031" in door.makefile().readline()
    assert not helper.settings.exists()


def test_a_program_that_hangs_is_killed_and_one_that_fails_says_why() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        list(run_program(["sh", "-c", "echo on the way; exec sleep 600"], 0.3))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        list(run_program(["sh", "-c", "echo LastError: no; exit 3"], 20))
    assert caught.value.output == "LastError: no\n"
    assert list(run_program(["printf", "a\\377\\nb"], 20)) == ["a\N{REPLACEMENT CHARACTER}\n", "b"]


def test_what_rauc_says_of_a_failure_reaches_the_person(helper: Helper) -> None:
    helper.fail = "Signature verification failed"
    with pytest.raises(UpdateError, match="UPD-004: the installation failed: Signature verification failed"):
        SlotsClient(path=helper.path).install("coronet-0.2.0.raucb", progress=lambda _fraction: None)


def test_without_the_helper_there_is_a_named_fault(tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match="UPD-003"):
        SlotsClient(path=tmp_path / "none").status()


def test_a_new_box_is_set_up_once(helper: Helper, archive: Archive) -> None:
    restarts: list[bool] = []
    desk = SetUpDesk(
        archive=archive,
        settings_path=helper.settings,
        adopt=partial(adopt_settings, ask=partial(ask_slots, path=helper.path)),
        restart=lambda: restarts.append(True),
    )
    assert desk.wanted()
    assert desk.set_up(NEW)
    settings = load_settings(helper.settings)
    assert (settings.policy.institution, settings.receiver.host, settings.network.address) == ('示范"医院"', "0.0.0.0", "192.0.2.5/24")
    assert (settings.destination[0].host, settings.network.time_zone) == ("192.0.2.9", "Asia/Shanghai")
    assert settings.printer == ()
    assert ["timedatectl", "set-time", "2026-11-23 08:30"] in helper.ran
    person = archive.users.check("8642")
    assert person is not None
    assert (person.name, person.role) == ("LI WEI", "engineer")
    assert restarts == [True]
    assert not desk.wanted()
    with pytest.raises(WorkflowError, match="WF-110"):
        desk.set_up(NEW)


@pytest.mark.parametrize(
    "changes",
    [{"ae_title": "TOO LONG A TITLE FOR DICOM"}, {"port": 0}, {"address": "192.0.2.5/99"}, {"gateway": "203.0.113.1"}, {"user": " "}],
)
def test_answers_that_cannot_be_used_leave_the_box_new(helper: Helper, archive: Archive, changes: dict[str, object]) -> None:

    desk = SetUpDesk(archive=archive, settings_path=helper.settings)
    with pytest.raises(WorkflowError, match="WF-111"):
        desk.set_up(msgspec.structs.replace(NEW, **changes))
    assert desk.wanted()
    assert archive.users.all() == []


def test_a_box_with_settings_of_its_own_or_with_people_is_not_new(helper: Helper, archive: Archive) -> None:
    desk = SetUpDesk(archive=archive, settings_path=helper.settings)
    helper.settings.write_text("[policy]\n")
    assert not desk.wanted()
    helper.settings.unlink()
    archive.users.add(name="Li", role="physician", pin="2468")
    assert not desk.wanted()


def test_a_clock_that_cannot_be_set_leaves_the_time_servers_asked(helper: Helper) -> None:
    helper.fail = "no such clock"
    with pytest.raises(UpdateError, match="UPD-003"):
        ask_slots("clock 2026-11-23T08:30", path=helper.path)
    assert [words[1:] for words in helper.ran] == [["set-ntp", "false"], ["set-time", "2026-11-23 08:30"], ["set-ntp", "true"]]


def test_a_set_up_is_done_also_where_the_box_does_not_restart_by_itself(helper: Helper, archive: Archive) -> None:
    desk = SetUpDesk(archive=archive, settings_path=helper.settings, restart=lambda: ask_slots("restart", path=helper.path.parent / "none"))
    assert not desk.set_up(NEW)
    assert archive.users.check("8642") is not None


def test_a_box_that_lost_its_people_with_its_database_is_not_open_to_whoever_stands_before_it(helper: Helper, archive: Archive) -> None:
    desk = SetUpDesk(archive=archive, settings_path=helper.settings)
    desk.set_up(NEW)
    assert not desk.wanted()
    with archive.database.transaction() as connection:
        connection.execute("DELETE FROM users")
    again = SetUpDesk(archive=archive, settings_path=helper.settings)
    assert not again.wanted()
    with pytest.raises(WorkflowError, match="WF-110"):
        again.set_up(NEW)


def test_updates_are_ordered_by_who_may_and_each_order_counts_once(helper: Helper, archive: Archive) -> None:
    roles = update_roles(PolicySettings())
    assert roles == ("engineer",)
    desk = UpdateDesk(archive=archive, installed="0.1.0", roles=roles, stick=helper.path, helper=helper.path)
    assert desk.update(ENGINEER).may
    desk.order_update(session=ENGINEER, wish="look", command="command-1")
    order = read_order(archive.data / "update")
    assert order is not None
    assert (order.wish, order.by) == ("look", "u-eng")
    write_record(archive.data / "update", UpdateRecord(state="offered", version="0.2.0", digest="ab", order="command-1"))
    desk.order_update(session=ENGINEER, wish="look", command="command-1")
    assert read_order(archive.data / "update") == order, "the same tap again"
    desk.order_update(session=ENGINEER, wish="install", command="command-2")
    order = read_order(archive.data / "update")
    assert order is not None
    assert order.digest == "ab", "what was seen is what is ordered"
    nobody = Session(token="", user_id="u", user_name="x", role="radiographer", may_approve=True, may_finalise=False)
    with pytest.raises(WorkflowError, match="WF-104"):
        desk.order_update(session=nobody, wish="install", command="command-3")
    with pytest.raises(WorkflowError, match="WF-105"):
        UpdateDesk(archive=archive, installed="0.1.0", roles=roles, helper=Path("/none")).order_update(
            session=ENGINEER, wish="look", command="command-4"
        )


def test_a_box_that_went_back_says_so_on_kiosk_and_panel_until_it_is_read(helper: Helper, archive: Archive) -> None:
    desk = UpdateDesk(archive=archive, installed="0.1.0", roles=("engineer",), helper=helper.path)
    write_record(archive.data / "update", UpdateRecord(state="back", number=7, reason=DID_NOT_START))
    desk.step()
    assert DID_NOT_START in archive.components.troubles()
    assert lights(archive).attention.name == "ON"
    write_record(archive.data / "update", UpdateRecord(state="idle", number=8))
    desk.step()
    assert archive.components.troubles() == []
    assert lights(archive).attention.name == "OFF"


def test_what_cannot_be_told_of_an_update_now_is_told_once_and_later(helper: Helper, archive: Archive) -> None:
    desk = UpdateDesk(archive=archive, installed="0.1.0", roles=("engineer",), helper=helper.path)
    write_record(archive.data / "update", UpdateRecord(state="back", number=7, reason=DID_NOT_START))
    with archive.database.transaction() as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON components BEGIN SELECT RAISE(ABORT, 'no room'); END")
    with pytest.raises(sqlite3.IntegrityError):
        desk.step()
    assert archive.audit.entries() == []
    with archive.database.transaction() as connection:
        connection.execute("DROP TRIGGER full")
    desk.step()
    assert [entry.details["state"] for entry in archive.audit.entries()] == ["back"]
