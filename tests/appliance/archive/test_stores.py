"""Users, commands, audit trail, studies with their events, outbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.archive.archive import Archive
from appliance.archive.outbox import FileAnswer
from appliance.archive.studies import EVENTS_KEPT, study_key
from appliance.errors import ArchiveError, Reason
from appliance.study import StudyHeader
from tests.appliance.archive.fakes import TurnedClock, make_archive

REASON = Reason(code="DCM-001", zh="不可达", en="unreachable")


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def archive(tmp_path: Path, clock: TurnedClock) -> Iterator[Archive]:
    archive = make_archive(tmp_path / "data", clock)
    yield archive
    archive.close()


# -- users


def test_a_pin_names_its_owner_and_is_kept_only_as_a_hash(archive: Archive) -> None:
    chen = archive.users.add(name="陈医师", role="physician", pin="2468")
    archive.users.add(name="周技师", role="radiographer", pin="1357")
    assert archive.users.check("2468") == chen
    assert archive.users.check("9999") is None
    with archive.database.reading() as connection:
        kept = [row["pin_hash"] for row in connection.execute("SELECT pin_hash FROM users")]
    assert all(text.startswith("$argon2id$") and "2468" not in text for text in kept)


@pytest.mark.parametrize("pin", ["", "123", "12345678901234", "abcd", "12 4", "1234\n"])
def test_a_pin_has_4_to_12_digits(archive: Archive, pin: str) -> None:
    with pytest.raises(ArchiveError, match="ARC-032"):
        archive.users.add(name="A", role="physician", pin=pin)


def test_a_pin_belongs_to_one_person(archive: Archive) -> None:
    archive.users.add(name="A", role="physician", pin="2468")
    with pytest.raises(ArchiveError, match="ARC-034"):
        archive.users.add(name="B", role="radiographer", pin="2468")


def test_a_disabled_user_cannot_sign_in_until_enabled_again(archive: Archive) -> None:
    user = archive.users.add(name="A", role="physician", pin="2468")
    archive.users.disable(user.id)
    assert archive.users.check("2468") is None
    archive.users.disable(user.id, disabled=False)
    assert archive.users.check("2468") == user


def test_a_changed_pin_replaces_the_old_one(archive: Archive) -> None:
    user = archive.users.add(name="A", role="physician", pin="2468")
    archive.users.change_pin(user.id, pin="8642")
    assert archive.users.check("2468") is None
    assert archive.users.check("8642") == user
    with pytest.raises(ArchiveError, match="ARC-035"):
        archive.users.change_pin("nobody", pin="1111")


def test_five_failures_in_a_minute_lock_everybody_out_for_the_rest_of_it(archive: Archive, clock: TurnedClock) -> None:
    user = archive.users.add(name="A", role="physician", pin="2468")
    for _ in range(5):
        assert archive.users.check("0000") is None
        clock.pass_s(2)
    with pytest.raises(ArchiveError, match="ARC-033") as raised:
        archive.users.check("2468")
    assert 0 < raised.value.details["seconds"] <= 60
    clock.pass_s(60)
    assert archive.users.check("2468") == user


def test_each_lock_without_a_sign_in_between_is_longer_up_to_a_bound(archive: Archive, clock: TurnedClock) -> None:
    user = archive.users.add(name="A", role="physician", pin="2468")
    locks = []
    for _ in range(7):
        for _ in range(5):
            assert archive.users.check("0000") is None
        locks.append(archive.users.locked_for())
        clock.pass_s(locks[-1] - 1)
        with pytest.raises(ArchiveError, match="ARC-033"):
            archive.users.check("2468")
        clock.pass_s(1)
    assert locks == [60, 120, 240, 480, 960, 960, 960]
    assert archive.users.check("2468") == user
    assert archive.users.locked_for() == 0


def test_the_lock_survives_a_restart(archive: Archive, clock: TurnedClock, tmp_path: Path) -> None:
    for _ in range(5):
        archive.users.check("0000")
    again = make_archive(tmp_path / "data", clock)
    with pytest.raises(ArchiveError, match="ARC-033"):
        again.users.check("0000")
    again.close()


def test_a_clock_set_back_locks_nobody_out_for_long(archive: Archive, clock: TurnedClock) -> None:
    user = archive.users.add(name="A", role="physician", pin="2468")
    for _ in range(5):
        archive.users.check("0000")
    clock.wall_time -= 86400
    assert archive.users.check("2468") == user


def test_a_success_forgets_the_failures(archive: Archive) -> None:
    archive.users.add(name="A", role="physician", pin="2468")
    for _ in range(4):
        archive.users.check("0000")
    archive.users.check("2468")
    for _ in range(4):
        assert archive.users.check("0000") is None


# -- commands


def test_a_command_is_new_once(archive: Archive) -> None:
    assert archive.commands.first_time("k1", "approve", "study", 3)
    assert not archive.commands.first_time("k1", "approve", "study", 3)
    assert archive.commands.known("k1", "approve", "study", 3)
    assert not archive.commands.known("k2", "approve", "study", 3)


def test_a_key_cannot_be_used_for_something_else(archive: Archive) -> None:
    archive.commands.first_time("k1", "approve", "study", 3)
    with pytest.raises(ArchiveError, match="ARC-012"):
        archive.commands.first_time("k1", "undo", "study")


def test_a_command_that_failed_may_come_again(archive: Archive) -> None:
    def fail() -> None:
        with archive.database.transaction():
            archive.commands.first_time("k1", "approve")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert archive.commands.first_time("k1", "approve")


# -- audit


def test_an_untouched_trail_is_whole(archive: Archive) -> None:
    assert archive.audit.verify() is None
    for number in range(5):
        archive.audit.record(actor="u1", action="look", details={"n": number})
    assert archive.audit.verify() is None
    assert [entry.details["n"] for entry in archive.audit.entries()] == list(range(5))


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE audit SET details = '{\"n\":9}' WHERE number = 3", 3),
        ("UPDATE audit SET actor = 'somebody else' WHERE number = 2", 2),
        ("UPDATE audit SET at = at + 1 WHERE number = 5", 5),
        ("DELETE FROM audit WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 5", 5),
        ("UPDATE audit SET number = 6 WHERE number = 5", 5),
    ],
)
def test_tampering_shows_where_it_begins(archive: Archive, tampering: str, broken: int) -> None:
    for number in range(5):
        archive.audit.record(actor="u1", action="look", details={"n": number})
    with archive.database.transaction() as connection:
        connection.execute(tampering)
    assert archive.audit.verify() == broken


def test_an_entry_goes_with_its_transaction(archive: Archive) -> None:
    def fail() -> None:
        with archive.database.transaction():
            archive.audit.record(actor="u1", action="approve")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    archive.audit.record(actor="u1", action="look")
    assert [entry.action for entry in archive.audit.entries()] == ["look"]
    assert archive.audit.verify() is None


# -- studies and events


def header(study_uid: str) -> StudyHeader:
    return StudyHeader(study_uid=study_uid, series_uid=f"{study_uid}.1", patient_name="Wang^XiaoDong=王^小东")


def test_a_study_is_read_as_it_was_written(archive: Archive) -> None:
    record = archive.studies.create(header("1.2"))
    assert archive.studies.get(record.key) == record
    assert archive.studies.find("1.2") == record
    assert archive.studies.find("1.3") is None
    with pytest.raises(ArchiveError, match="ARC-010"):
        archive.studies.get("nothing")
    with pytest.raises(ArchiveError, match="ARC-011"):
        archive.studies.create(header("1.2"))


def test_a_key_says_nothing_of_the_patient_or_the_study() -> None:
    assert study_key("1.2.3") == study_key("1.2.3")
    assert study_key("1.2.3") != study_key("1.2.4")
    assert "1.2.3" not in study_key("1.2.3")


def test_events_are_numbered_changes_joined_by_study(archive: Archive) -> None:
    first, second = archive.studies.create(header("1.1")), archive.studies.create(header("1.2"))
    assert archive.studies.last_event() == 2
    archive.studies.save(first)
    changes = archive.studies.events_after(1)
    assert changes is not None
    assert [(number, study.key) for number, study in changes] == [(2, second.key), (3, first.key)]
    assert archive.studies.events_after(3) == []


def test_a_gap_asks_for_a_snapshot(archive: Archive) -> None:
    record = archive.studies.create(header("1.1"))
    assert archive.studies.events_after(99) is None
    with archive.database.transaction() as connection:
        connection.executemany("INSERT INTO study_events (study) VALUES (?)", [(record.key,)] * (EVENTS_KEPT + 5))
    archive.studies.save(record)
    assert archive.studies.events_after(1) is None
    last = archive.studies.last_event()
    assert archive.studies.events_after(last - EVENTS_KEPT) is not None
    assert archive.studies.events_after(last - EVENTS_KEPT - 1) is None


# -- outbox


def enlist(archive: Archive, *, kind: str = "store", destination: str = "PACS") -> int:
    study = archive.studies.find("1.1") or archive.studies.create(header("1.1"))
    return archive.outbox.add(
        study=study.key,
        generation=1,
        destination=destination,
        kind=kind,  # type: ignore[arg-type]
        purpose="results",
        description="2",
        files=["a.dcm", "b.dcm"],
    )


def test_what_was_accepted_is_kept_for_each_file(archive: Archive) -> None:
    number = enlist(archive)
    archive.outbox.begin(number)
    archive.outbox.answered(number, answers={"a.dcm": (True, 0), "b.dcm": (False, 0xA700)})
    archive.outbox.failed(number, reason=REASON, wait_s=10)
    row = archive.outbox.get(number)
    assert [(file.path, file.accepted, file.status) for file in row.files] == [("a.dcm", True, 0), ("b.dcm", False, 0xA700)]
    assert (row.state, row.attempts, row.last_error) == ("retrying", 1, REASON)
    archive.outbox.answered(number, answers={"a.dcm": (False, 0xC000)})
    assert archive.outbox.get(number).files[0].accepted, "what was accepted once stays accepted"


def test_a_restart_sends_stores_again_and_holds_prints(archive: Archive) -> None:
    store, film, waiting = enlist(archive), enlist(archive, kind="print", destination="film"), enlist(archive)
    archive.outbox.begin(store)
    archive.outbox.begin(film)
    assert archive.outbox.resume() == 2
    assert [row.id for row in archive.outbox.waiting_for("PACS")] == [store, waiting]
    assert archive.outbox.waiting_for("film") == []
    held = archive.outbox.get(film)
    assert (held.state, held.held, held.next_attempt_at) == ("retrying", True, None)
    assert held.last_error is not None
    assert held.last_error.code == "ARC-040"
    assert archive.outbox.resume() == 0
    assert archive.outbox.resend(held.study) == 2, "the store that waits, and the film"
    assert [row.id for row in archive.outbox.waiting_for("film")] == [film]


def test_done_is_done(archive: Archive) -> None:
    number = enlist(archive)
    study = archive.outbox.get(number).study
    assert archive.outbox.undelivered(study, generation=1) == 1
    archive.outbox.done(number)
    assert archive.outbox.undelivered(study, generation=1) == 0
    assert archive.outbox.waiting_for("PACS") == []
    assert archive.outbox.get(number).delivery().state == "done"


def test_rows_for_a_destination_that_is_gone_say_so_and_stay(archive: Archive) -> None:
    number, other = enlist(archive, destination="old"), enlist(archive)
    assert archive.outbox.unreachable(["PACS"], reason=REASON) == 1
    assert archive.outbox.get(number).last_error == REASON
    assert archive.outbox.get(other).last_error is None
    assert [row.id for row in archive.outbox.waiting_for("old")] == [number]


def test_what_was_delivered_can_be_sent_again(archive: Archive) -> None:
    number, other, film = enlist(archive), enlist(archive, destination="LAB"), enlist(archive, kind="print", destination="film")
    study = archive.outbox.get(number).study
    for row in (number, other, film):
        archive.outbox.begin(row)
        archive.outbox.done(row)
    assert archive.outbox.unsettled(study) == 0
    archive.outbox.send_again([number])
    row = archive.outbox.get(number)
    assert (row.state, [file.accepted for file in row.files]) == ("pending", [False, False])
    assert (archive.outbox.unsettled(study), archive.outbox.get(other).state, archive.outbox.get(film).state) == (1, "done", "done")


def test_a_row_is_settled_only_when_what_is_offered_was_committed(archive: Archive) -> None:
    number = enlist(archive)
    study = archive.outbox.get(number).study
    archive.outbox.offer_commitment("PACS", offered=True)
    uids = {name: FileAnswer(accepted=True, status=0, sop_class_uid="1.2", sop_instance_uid=f"1.2.{name}") for name in ("a.dcm", "b.dcm")}
    archive.outbox.answered(number, answers=uids)
    archive.outbox.done(number)
    assert archive.outbox.unsettled(study) == 1
    archive.commitments.asked("2.25.1", destination="PACS", items=archive.commitments.to_ask("PACS", limit=9))
    archive.commitments.report("2.25.1", committed=["1.2.a.dcm"], failed={})
    assert (archive.outbox.unsettled(study), archive.outbox.get(number).delivery().committed) == (1, 1)
    assert [item.sop_instance_uid for item in archive.commitments.to_ask("PACS", limit=9)] == ["1.2.b.dcm"], "not spoken of: asked again"
    archive.outbox.offer_commitment("PACS", offered=False)
    assert archive.outbox.unsettled(study) == 0, "the site no longer asks for it"


def test_at_start_peers_that_may_have_left_the_settings_are_not_shown_as_down(archive: Archive) -> None:
    reason = Reason("DCM-001", zh="无法连接", en="cannot be reached")
    for name in ("destination PACS", "priors PACS", "worklist", "ris", "database", "analyst"):
        archive.components.report(name, ready=False, reason=reason)
    archive.components.forget_peers()
    assert [archive.components.get(name).reason for name in ("destination PACS", "priors PACS", "worklist", "ris")] == [None] * 4
    assert [archive.components.get(name).reason for name in ("database", "analyst")] == [reason] * 2
