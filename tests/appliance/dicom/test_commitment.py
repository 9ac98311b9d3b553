"""Storage commitment both ways, against pynetdicom's own archive and CT, and Orthanc."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.archive.repair import mark_missing
from appliance.dicom.commitment_scu import PUSH_MODEL, PUSH_MODEL_INSTANCE, SYNTAXES
from appliance.dicom.commitment_service import CommitmentService
from appliance.dicom.receiver import Receiver
from appliance.settings import ArchiveSettings, CommitmentSettings, DestinationSettings, PeerSettings, ReceiverSettings
from appliance.workflow.channels import StoreChannel
from appliance.workflow.committing import LOCAL_ONLY, CommitmentAsker, CommitmentReporter
from appliance.workflow.delivery import BackOff, DestinationWorker
from tests.appliance.workflow.world import SLICES, World
from tests.peers.orthanc import orthanc
from tests.peers.parrot import CT_IMAGE
from tests.peers.scp import scp
from tests.peers.waiting import free_port, wait_until

BACK_OFF = BackOff(random=lambda: 1.0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


def reference(uid: str, *, sop_class: str = CT_IMAGE, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if reason is not None:
        item.FailureReason = reason
    return item


def report(transaction: str, committed: list[str], failed: dict[str, int]) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction
    if committed:
        information.ReferencedSOPSequence = [reference(uid) for uid in committed]
    if failed:
        information.FailedSOPSequence = [reference(uid, reason=reason) for uid, reason in failed.items()]
    return information


@dataclass
class TestArchive:
    """A storage SCP that answers commitment requests as told: which instances it fails, and on which association it reports."""

    __test__ = False
    report_to: int | None = None
    """Port for the report on an association of its own; None: on the same one."""
    silent: bool = False
    refuse: int = 0x0000
    fail_once: set[str] = field(default_factory=set)
    stored: list[str] = field(default_factory=list)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    reports: list[int] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def on_store(self, event: Any) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def on_action(self, event: Event) -> tuple[int, None]:
        information = event.action_information
        uids = [str(item.ReferencedSOPInstanceUID) for item in information.ReferencedSOPSequence]
        self.asked.append((str(information.TransactionUID), uids))
        if not self.silent and self.refuse == 0x0000:
            failed = {uid: 0x0110 for uid in uids if uid in self.fail_once}
            self.fail_once -= set(failed)
            content = report(str(information.TransactionUID), [uid for uid in uids if uid not in failed], failed)
            thread = threading.Thread(target=self._report, args=(event.assoc, content, 2 if failed else 1))
            self.threads.append(thread)
            thread.start()
        return self.refuse, None

    def _report(self, association: Any, content: Dataset, kind: int) -> None:
        if self.report_to is None:
            answer, _ = association.send_n_event_report(content, kind, PUSH_MODEL, PUSH_MODEL_INSTANCE)
            self.reports.append(int(answer.Status))
        else:
            self.reports.append(send_report(self.report_to, content, kind))

    @contextmanager
    def running(self) -> Iterator[DestinationSettings]:
        push = build_context(PUSH_MODEL, SYNTAXES)
        handlers = [(evt.EVT_C_STORE, self.on_store), (evt.EVT_N_ACTION, self.on_action)]
        with scp(AE("ARCHIVE"), contexts=[build_context(CT_IMAGE), push], handlers=handlers) as port:
            yield DestinationSettings(
                name="PACS", host="127.0.0.1", port=port, ae_title="ARCHIVE", send=("source",), commitment=True, timeout_s=10.0
            )
            for thread in self.threads:
                thread.join(20)


def send_report(port: int, content: Dataset, kind: int) -> int:
    """As an archive does: a new association, on which it is the SCP."""
    ae = AE("ARCHIVE")
    ae.add_requested_context(PUSH_MODEL, SYNTAXES)
    association = ae.associate("127.0.0.1", port, ae_title="CORONET", ext_neg=[build_role(PUSH_MODEL, scp_role=True)])
    assert association.is_established
    answer, _ = association.send_n_event_report(content, kind, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    association.release()
    return int(answer.Status)


@contextmanager
def door(world: World, *, requesters: tuple[str, ...] = ()) -> Iterator[int]:
    """The product's receiver with the commitment service: its port."""
    service = CommitmentService(commitments=world.archive.commitments, requesters=requesters)
    receiver = Receiver(ReceiverSettings(port=free_port(), minimum_free_bytes=0), store=world.spool, services=[service])
    receiver.start()
    try:
        yield receiver.port
    finally:
        receiver.stop(grace_s=5)


def enlisted(world: World, destination: DestinationSettings) -> str:
    """A study whose source images wait for the destination."""
    intake = world.intake(router=world.router(destination))
    world.push()
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    return world.study().key


def deliver(world: World, destination: DestinationSettings) -> None:
    worker = DestinationWorker(channel=StoreChannel(destination), archive=world.archive, machine=world.machine, back_off=BACK_OFF)
    worker.step()


def asker(world: World, destination: DestinationSettings, *, stay_s: float = 20.0) -> CommitmentAsker:
    new_uid: Callable[[], str] = lambda: str(generate_uid(prefix=None))  # noqa: E731
    return CommitmentAsker(destination=destination, archive=world.archive, back_off=BACK_OFF, new_uid=new_uid, stay_s=stay_s)


def counts(world: World) -> tuple[int, int, int | None]:
    (row,) = world.archive.outbox.of_study(world.study().key)
    shown = row.delivery()
    return shown.sent, shown.accepted, shown.committed


def test_nothing_is_settled_before_the_archive_has_committed_it(world: World) -> None:
    archive = TestArchive()
    with archive.running() as destination:
        key = enlisted(world, destination)
        assert (counts(world), world.archive.outbox.unsettled(key)) == ((0, 0, 0), 1)
        deliver(world, destination)
        assert (counts(world), world.archive.outbox.unsettled(key)) == ((SLICES, SLICES, 0), 1)
        asker(world, destination).step()
    assert (counts(world), world.archive.outbox.unsettled(key)) == ((SLICES, SLICES, SLICES), 0)
    assert archive.reports == [0x0000]
    assert sorted(archive.asked[0][1]) == sorted(archive.stored)


def test_the_report_may_come_on_an_association_of_its_own(world: World) -> None:
    with door(world) as port:
        archive = TestArchive(report_to=port)
        with archive.running() as destination:
            key = enlisted(world, destination)
            deliver(world, destination)
            asker(world, destination, stay_s=0).step()
            wait_until(lambda: world.archive.outbox.unsettled(key) == 0)
        stranger = send_report(port, report("2.25.4711", ["1.2.3.1.1"], {}), 1)
    assert archive.reports == [0x0000]
    assert stranger == 0x0110, "a report on a request that nobody made"


def test_what_could_not_be_committed_is_sent_and_asked_about_again(world: World) -> None:
    archive = TestArchive(fail_once={"1.2.3.1.2"})
    with archive.running() as destination:
        key = enlisted(world, destination)
        deliver(world, destination)
        asks = asker(world, destination)
        asks.step()
        (row,) = world.archive.outbox.of_study(key)
        assert (row.state, row.last_error and row.last_error.code, counts(world)) == ("retrying", "ARC-080", (SLICES, 3, 3))
        deliver(world, destination)
        asks.step()
    assert archive.stored[SLICES:] == ["1.2.3.1.2"]
    assert [uids for _, uids in archive.asked] == [[f"1.2.3.1.{number}" for number in (1, 2, 3, 4)], ["1.2.3.1.2"]]
    assert (counts(world), world.archive.outbox.unsettled(key)) == ((SLICES, SLICES, SLICES), 0)


def test_without_a_report_in_time_it_is_asked_again_and_a_late_report_counts(world: World) -> None:
    archive = TestArchive(silent=True)
    with archive.running() as destination:
        key = enlisted(world, destination)
        deliver(world, destination)
        asks = asker(world, destination, stay_s=0)
        asks.step()
        assert asks.step() > 0
        world.clock.pass_s(destination.commitment_timeout_s)
        asks.step()
    (first, uids), (second, same) = archive.asked
    assert (first != second, uids) == (True, same)
    assert world.archive.commitments.report(first, committed=uids, failed={})
    assert world.archive.outbox.unsettled(key) == 0


def test_an_archive_that_refuses_or_is_down_is_asked_again_later(world: World) -> None:
    archive = TestArchive(refuse=0x0213)
    with archive.running() as destination:
        key = enlisted(world, destination)
        deliver(world, destination)
        asks = asker(world, destination)
        asks.step()
        assert asks.step() > 0
        assert len(archive.asked) == 1
    world.clock.pass_s(600)
    asks.step()
    assert world.archive.outbox.unsettled(key) == 1
    archive.refuse = 0x0000
    with archive.running() as destination:
        again = asker(world, destination)
        again.step()
    assert world.archive.outbox.unsettled(key) == 0


def test_after_a_restart_what_was_asked_is_asked_again(world: World) -> None:
    archive = TestArchive(silent=True)
    with archive.running() as destination:
        enlisted(world, destination)
        deliver(world, destination)
        asker(world, destination, stay_s=0).step()
        assert world.archive.commitments.to_ask("PACS", limit=10) == []
        world.archive.commitments.forget_all("PACS")
    assert len(world.archive.commitments.to_ask("PACS", limit=10)) == SLICES


def test_orthanc_commits_and_tells_what_it_lacks(world: World, tmp_path: Path) -> None:
    with door(world) as port, orthanc(tmp_path / "pacs", modalities={"coronet": ["CORONET", "127.0.0.1", port]}) as peer:
        destination = DestinationSettings(
            name="PACS", host="127.0.0.1", port=peer.port, ae_title="ORTHANC", send=("source",), commitment=True, timeout_s=20.0
        )
        key = enlisted(world, destination)
        deliver(world, destination)
        (row,) = world.archive.outbox.of_study(key)
        assert row.state == "done"
        peer.delete(f"/instances/{peer.lookup('1.2.3.1.3')}")  # the archive has lost one
        asks = asker(world, destination, stay_s=0)
        asks.step()
        wait_until(lambda: counts(world) == (SLICES, 3, 3), timeout_s=30, what="Orthanc's report")
        deliver(world, destination)
        asks.step()
        wait_until(lambda: world.archive.outbox.unsettled(key) == 0, timeout_s=30, what="Orthanc's second report")


# -- what the CT asks of us


@dataclass
class Scanner:
    """The CT: asks, and listens for reports."""

    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    answer: int = 0x0000

    def ask(
        self, port: int, uids: list[str], *, transaction: str = "2.25.1", calling: str = "CT1", action: int = 1, sop_class: str = CT_IMAGE
    ) -> int:
        ae = AE(calling)
        ae.add_requested_context(PUSH_MODEL, SYNTAXES)
        association = ae.associate("127.0.0.1", port, ae_title="CORONET")
        assert association.is_established
        information: Any = Dataset()
        information.TransactionUID = transaction
        information.ReferencedSOPSequence = [reference(uid, sop_class=sop_class) for uid in uids]
        answer, _ = association.send_n_action(information, action, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        association.release()
        return int(answer.Status)

    def on_report(self, event: Any) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return self.answer, None

    @contextmanager
    def listening(self) -> Iterator[PeerSettings]:
        context = build_context(PUSH_MODEL, SYNTAXES)
        context.scu_role, context.scp_role = False, True
        with scp(AE("CT1"), contexts=[context], handlers=[(evt.EVT_N_EVENT_REPORT, self.on_report)]) as port:
            yield PeerSettings(ae_title="CT1", host="127.0.0.1", port=port)

    def outcome(self) -> tuple[int, list[str], dict[str, int]]:
        """Of the last report."""
        kind, content = self.reports[-1]
        committed = [str(item.ReferencedSOPInstanceUID) for item in content.get("ReferencedSOPSequence", [])]
        failed = {str(item.ReferencedSOPInstanceUID): item.FailureReason for item in content.get("FailedSOPSequence", [])}
        return kind, committed, failed


def reporter(world: World, *peers: PeerSettings, local: bool = False) -> CommitmentReporter:
    return CommitmentReporter(
        archive=world.archive,
        long_term=ArchiveSettings(destination="PACS"),
        commitment=CommitmentSettings(local_storage=local),
        peers=peers,
        back_off=BACK_OFF,
    )


UIDS = [f"1.2.3.1.{number}" for number in range(1, SLICES + 1)]


def test_the_ct_hears_of_success_only_when_the_archive_has_committed(world: World) -> None:
    scanner, archive = Scanner(), TestArchive()
    with door(world, requesters=("CT1",)) as port, scanner.listening() as ct, archive.running() as destination:
        enlisted(world, destination)
        assert scanner.ask(port, UIDS) == 0x0000
        tells = reporter(world, ct)
        tells.step()
        deliver(world, destination)
        tells.step()
        assert scanner.reports == [], "sent and accepted is not committed"
        asker(world, destination).step()
        tells.step()
        assert scanner.outcome() == (1, UIDS, {})
        tells.step()
        assert len(scanner.reports) == 1
        assert scanner.ask(port, UIDS) == 0x0000, "the same request again is known"
        assert scanner.ask(port, UIDS[:1]) == 0x0131


def test_what_the_archive_cannot_commit_is_passed_on(world: World) -> None:
    scanner, archive = Scanner(), TestArchive()
    with door(world, requesters=("CT1",)) as port, scanner.listening() as ct, archive.running() as destination:
        enlisted(world, destination)
        scanner.ask(port, UIDS)
        tells, asks = reporter(world, ct), asker(world, destination)
        for _ in range(2):
            archive.fail_once = {UIDS[1]}
            deliver(world, destination)
            assert scanner.reports == []
            asks.step()
            tells.step()
            world.clock.pass_s(600)
    assert scanner.outcome() == (2, [UIDS[0], *UIDS[2:]], {UIDS[1]: 0x0110})


def test_an_instance_that_never_came_is_reported_as_such(world: World) -> None:
    scanner = Scanner()
    with door(world, requesters=("CT1",)) as port, scanner.listening() as ct:
        world.push(1)
        scanner.ask(port, ["1.2.3.1.99"])
        scanner.ask(port, ["1.2.3.1.1"], transaction="2.25.2", sop_class="1.2.840.10008.5.1.4.1.1.7")
        tells = reporter(world, ct)
        tells.step()
        assert scanner.outcome() == (2, [], {"1.2.3.1.1": 0x0119})
        world.clock.pass_s(30)
        tells.step()
    assert scanner.outcome() == (2, [], {"1.2.3.1.99": 0x0112})


def test_this_box_alone_commits_only_where_the_site_says_so_and_people_see_it(world: World) -> None:
    scanner = Scanner()
    with door(world, requesters=("CT1",)) as port, scanner.listening() as ct:
        world.push()
        scanner.ask(port, UIDS)
        reporter(world, ct).step()
        assert scanner.reports == []
        local = reporter(world, ct, local=True)
        local.step()
        stop = threading.Event()
        stop.set()
        local.run(stop)
    assert scanner.outcome() == (1, UIDS, {})
    shown = world.archive.components.get("commitment")
    assert (shown.ready, shown.reason) == (False, LOCAL_ONLY)


def test_an_image_whose_file_is_lost_is_not_committed_by_this_box(world: World) -> None:
    scanner = Scanner()
    with door(world, requesters=("CT1",)) as port, scanner.listening() as ct:
        world.push()
        mark_missing(world.archive, [UIDS[0]])
        scanner.ask(port, UIDS)
        local = reporter(world, ct, local=True)
        local.step()
        world.clock.pass_s(30)
        local.step()
    assert scanner.outcome() == (2, UIDS[1:], {UIDS[0]: 0x0112})


def test_what_the_archive_has_committed_counts_though_its_images_were_removed_here(world: World) -> None:
    scanner, archive = Scanner(), TestArchive()
    with door(world, requesters=("CT1",)) as port, scanner.listening() as ct, archive.running() as destination:
        enlisted(world, destination)
        deliver(world, destination)
        asker(world, destination).step()
        with world.archive.database.transaction() as connection:
            connection.execute("DELETE FROM instances")
        scanner.ask(port, UIDS)
        reporter(world, ct).step()
    assert scanner.outcome() == (1, UIDS, {})


def test_a_report_that_the_ct_does_not_take_is_tried_again(world: World) -> None:
    scanner = Scanner(answer=0x0110)
    world.push()
    with door(world, requesters=("CT1",)) as port:
        scanner.ask(port, UIDS)
    with scanner.listening() as ct:
        tells = reporter(world, ct, local=True)
        tells.step()
        tells.step()
        assert len(scanner.reports) == 1
        scanner.answer = 0x0000
        world.clock.pass_s(10)
        tells.step()
        assert len(scanner.reports) == 2
    assert world.archive.commitments.open_requests() == []


def test_requests_that_are_not_taken(world: World) -> None:
    scanner = Scanner()
    with door(world, requesters=("CT1",)) as port:
        assert scanner.ask(port, UIDS, calling="STRANGER") == 0x0124
        assert scanner.ask(port, UIDS, action=2) == 0x0123
        assert scanner.ask(port, []) == 0x0115
    assert world.archive.commitments.open_requests() == []
