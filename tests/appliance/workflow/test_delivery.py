"""The outbox workers: against scripted channels with a turned clock, and against real DICOM peers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pydicom
import pytest
from PIL import Image

from appliance.archive.outbox import OutboxRow
from appliance.dicom.treatment import Treatment
from appliance.errors import DicomError, Reason
from appliance.settings import DestinationSettings, PrinterSettings
from appliance.study import StudyHeader
from appliance.workflow.channels import PrintChannel, StoreChannel
from appliance.workflow.delivery import (
    FAULT,
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    MISSING,
    NOT_CONFIGURED,
    Answer,
    BackOff,
    Channel,
    Delivered,
    Delivery,
    DestinationWorker,
    component,
)
from appliance.workflow.relay import make_treater
from appliance.workflow.states import Facts
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.workflow.world import World
from tests.peers.datasets import ct_slice, save
from tests.peers.dcmtk import dcmprscp, storescp
from tests.peers.waiting import free_port, wait_until

DOWN = DicomError("DCM-001", zh="无法连接", en="cannot connect")
REFUSAL = Reason(code="DCM-005", zh="拒收", en="refused")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


@dataclass
class ScriptedChannel:
    """Answers as the script says, one entry for each try: an error to raise, or the indices of the files to refuse."""

    name: str
    script: list[Exception | Sequence[int]] = field(default_factory=list)
    tries: list[tuple[int, list[str]]] = field(default_factory=list)
    commitment: bool = False

    def deliver(self, row: OutboxRow, files: Sequence[Path]) -> Delivered:
        self.tries.append((row.id, [path.name for path in files]))
        step = self.script.pop(0) if self.script else ()
        if isinstance(step, Exception):
            raise step
        return Delivered(
            tuple(
                Answer(path, accepted=index not in step, status=0xA700 if index in step else 0, reason=REFUSAL if index in step else None)
                for index, path in enumerate(files)
            )
        )


def worker(world: World, channel: Channel) -> DestinationWorker:
    return DestinationWorker(channel=channel, archive=world.archive, machine=world.machine, back_off=BackOff(random=lambda: 1.0))


def delivering(world: World, study_uid: str = "1.2.3") -> str:
    key = world.archive.studies.create(StudyHeader(study_uid=study_uid, series_uid=f"{study_uid}.1")).key
    for event in ("completed", "claimed", "analysed", "approved", "window_closed", "released"):
        world.machine.apply(key, event, facts=Facts(draft="d"))  # type: ignore[arg-type]
    return key


def enlist(world: World, key: str, *names: str, destination: str = "PACS", kind: str = "store", purpose: str = "results") -> int:
    for name in names:
        if not (world.data / name).exists():
            number = len(list(world.data.glob("*.dcm"))) + 1
            (world.data / name).write_bytes(encode(make_dataset(series="1.2.3.77", number=number)))
    return world.archive.outbox.add(
        study=key,
        generation=1,
        destination=destination,
        kind=kind,  # type: ignore[arg-type]
        purpose=purpose,  # type: ignore[arg-type]
        description="test",
        files=names,
    )


def state(world: World, number: int) -> str:
    return world.archive.outbox.get(number).state


def test_the_last_row_that_is_done_finishes_the_study(world: World) -> None:
    key = delivering(world)
    first, second = enlist(world, key, "a.dcm"), enlist(world, key, "b.dcm", destination="film")
    pacs, film = worker(world, ScriptedChannel("PACS")), worker(world, ScriptedChannel("film"))
    assert pacs.step() == 0.0
    assert (state(world, first), world.study().state) == ("done", "delivering")
    film.step()
    assert (state(world, second), world.study().state) == ("done", "delivered")
    assert pacs.step() > 0


def test_source_images_do_not_hold_the_results_up(world: World) -> None:
    key = delivering(world)
    enlist(world, key, "a.dcm", purpose="source", destination="slow")
    enlist(world, key, "b.dcm")
    worker(world, ScriptedChannel("PACS")).step()
    assert world.study().state == "delivered"


def test_only_what_was_not_accepted_is_sent_again(world: World) -> None:
    number = enlist(world, delivering(world), "a.dcm", "b.dcm", "c.dcm")
    channel = ScriptedChannel("PACS", [[1], []])
    sender = worker(world, channel)
    sender.step()
    row = world.archive.outbox.get(number)
    assert (row.state, row.last_error) == ("retrying", REFUSAL)
    assert [file.accepted for file in row.files] == [True, False, True]
    world.clock.pass_s(FIRST_WAIT_S)
    sender.step()
    assert channel.tries == [(number, ["a.dcm", "b.dcm", "c.dcm"]), (number, ["b.dcm"])]
    assert (state(world, number), world.study().state) == ("done", "delivered")


def test_the_wait_doubles_up_to_its_limit_and_never_ends(world: World) -> None:
    number = enlist(world, delivering(world), "a.dcm")
    channel = ScriptedChannel("PACS", [DOWN] * 30)
    sender = worker(world, channel)
    waits = []
    for _ in range(30):
        assert sender.step() == 0.0
        wait = sender.step()
        waits.append(wait)
        world.clock.pass_s(wait)
    assert waits[:5] == [FIRST_WAIT_S * 2**n for n in range(5)]
    assert waits[-1] == LONGEST_WAIT_S
    row = world.archive.outbox.get(number)
    assert (row.attempts, row.last_error) == (30, DOWN.reason)
    sender.step()
    assert state(world, number) == "done"


def test_jitter_spreads_the_waits() -> None:
    numbers = iter([0.0, 0.5, 1.0])
    back_off = BackOff(random=lambda: next(numbers))
    assert [back_off.wait_s(1) for _ in range(3)] == [FIRST_WAIT_S * 0.5, FIRST_WAIT_S * 0.75, FIRST_WAIT_S]


def test_a_destination_that_is_down_is_not_called_for_every_row(world: World) -> None:
    """The circuit: all rows wait for one trial; when it gets through the others follow at once."""
    key = delivering(world)
    rows = [enlist(world, key, f"{number}.dcm") for number in range(5)]
    channel = ScriptedChannel("PACS", [DOWN, DOWN])
    sender = worker(world, channel)
    sender.step()
    for _ in range(10):
        assert sender.step() > 0
    assert len(channel.tries) == 1
    world.clock.pass_s(FIRST_WAIT_S)
    sender.step()
    assert sender.step() == 2 * FIRST_WAIT_S
    world.clock.pass_s(2 * FIRST_WAIT_S)
    for _ in range(5):
        assert sender.step() == 0.0
    assert [state(world, row) for row in rows] == ["done"] * 5


def test_one_row_that_is_refused_does_not_hold_the_others(world: World) -> None:
    key = delivering(world)
    bad, good = enlist(world, key, "a.dcm"), enlist(world, key, "b.dcm")
    sender = worker(world, ScriptedChannel("PACS", [[0], []]))
    sender.step()
    assert sender.step() == 0.0
    assert (state(world, bad), state(world, good)) == ("retrying", "done")


def test_a_file_that_is_missing_is_named_and_not_called_done(world: World) -> None:
    number = enlist(world, delivering(world), "a.dcm")
    (world.data / "a.dcm").unlink()
    channel = ScriptedChannel("PACS")
    worker(world, channel).step()
    assert channel.tries == []
    assert (state(world, number), world.archive.outbox.get(number).last_error) == ("retrying", MISSING)


def test_a_fault_of_ours_is_recorded_and_tried_again(world: World) -> None:
    number = enlist(world, delivering(world), "a.dcm")
    sender = worker(world, ScriptedChannel("PACS", [ZeroDivisionError()]))
    sender.step()
    assert world.archive.outbox.get(number).last_error == FAULT
    world.clock.pass_s(FIRST_WAIT_S)
    sender.step()
    assert state(world, number) == "done"


def test_what_was_accepted_but_not_concluded_before_a_crash_is_concluded_without_sending(world: World) -> None:
    number = enlist(world, delivering(world), "a.dcm")
    world.archive.outbox.begin(number)
    world.archive.outbox.answered(number, answers={"a.dcm": (True, 0)})
    world.archive.outbox.resume()
    channel = ScriptedChannel("PACS")
    worker(world, channel).step()
    assert channel.tries == []
    assert (state(world, number), world.study().state) == ("done", "delivered")


def test_a_print_that_may_have_come_out_is_held_until_a_person_says_go(world: World) -> None:
    key = delivering(world)
    number = enlist(world, key, "1.png", "2.png", destination="film", kind="print")
    lost = DicomError("DCM-003", zh="连接中断", en="connection lost", maybe_done=True, pages_printed=1)
    channel = ScriptedChannel("film", [lost])
    printer = worker(world, channel)
    printer.step()
    world.clock.pass_s(3600)
    assert printer.step() > 0
    assert len(channel.tries) == 1
    row = world.archive.outbox.get(number)
    assert row.held
    assert row.last_error is not None
    assert row.last_error.code == "ARC-040"
    world.archive.outbox.resend(key)
    printer.step()
    assert channel.tries[1] == (number, ["2.png"]), "the page that the printer took is not printed twice"
    assert state(world, number) == "done"


def test_a_print_that_surely_did_not_come_out_goes_again_by_itself(world: World) -> None:
    number = enlist(world, delivering(world), "1.png", destination="film", kind="print")
    printer = worker(world, ScriptedChannel("film", [DOWN]))
    printer.step()
    world.clock.pass_s(FIRST_WAIT_S)
    printer.step()
    assert state(world, number) == "done"


def test_a_person_can_have_it_sent_at_once(world: World) -> None:
    key = delivering(world)
    other = enlist(world, key, "a.dcm")
    channel = ScriptedChannel("PACS", [DOWN, DOWN])
    sender = worker(world, channel)
    sender.step()
    assert sender.step() > 0
    assert world.archive.outbox.resend(key) == 1
    assert sender.step() == 0.0
    assert len(channel.tries) == 2
    assert sender.step() > FIRST_WAIT_S, "it failed again, so the longer wait applies"
    assert world.archive.outbox.resend(key) == 1
    sender.step()
    assert state(world, other) == "done"
    assert world.archive.outbox.resend(key) == 0


def test_an_older_generation_that_is_delivered_does_not_finish_the_newer_one(world: World) -> None:
    key = delivering(world)
    number = enlist(world, key, "a.dcm")
    world.machine.apply(key, "late_images", facts=Facts(images=1))
    worker(world, ScriptedChannel("PACS")).step()
    assert (state(world, number), world.study().state) == ("done", "receiving")


def test_at_start_rows_go_on_and_a_study_without_its_last_step_gets_it(world: World) -> None:
    finished, waiting = delivering(world, "1.2.3"), delivering(world, "1.2.4")
    done = enlist(world, finished, "a.dcm")
    world.archive.outbox.done(done)
    gone = enlist(world, waiting, "b.dcm", destination="removed")
    delivery = Delivery(archive=world.archive, machine=world.machine, channels=[ScriptedChannel("PACS")], random=lambda: 1.0)
    delivery.resume()
    assert world.study("1.2.3").state == "delivered"
    assert world.study("1.2.4").state == "delivering"
    assert world.archive.outbox.get(gone).last_error == NOT_CONFIGURED
    assert set(delivery.workers()) == {"PACS"}


def test_people_see_which_destination_is_down_and_that_it_is_back(world: World) -> None:
    enlist(world, delivering(world), "a.dcm")
    sender = worker(world, ScriptedChannel("PACS", [DOWN, DOWN]))
    sender.step()
    assert world.archive.components.get(component("PACS")).reason is None, "once is no news"
    world.clock.pass_s(FIRST_WAIT_S)
    sender.step()
    shown = world.archive.components.get(component("PACS"))
    assert (shown.ready, shown.reason) == (False, Reason("DCM-001", zh="目的地 PACS:无法连接", en="destination PACS: cannot connect"))
    world.clock.pass_s(LONGEST_WAIT_S)
    sender.step()
    assert world.archive.components.get(component("PACS")).ready


# -- real peers


def test_a_treated_row_sends_what_its_route_allows_and_says_what_it_left_out(world: World, tmp_path: Path) -> None:
    key = delivering(world)
    good, shown = ct_slice(index=1), ct_slice(index=2, BurnedInAnnotation="YES")
    for number, dataset in enumerate((good, shown)):
        save(dataset, world.data / f"{number}.dcm")
    number = world.archive.outbox.add(
        study=key, generation=1, destination="PACS", kind="store", purpose="source", description="", files=["0.dcm", "1.dcm"],
        route="research", treatment=msgspec.json.encode(Treatment(route="research", pseudonymise=True)),
    )  # fmt: skip
    with storescp(tmp_path / "peer") as peer:
        worker(world, StoreChannel(destination(peer.port))).step()
        assert peer.files() == [], "nothing goes out untreated where nobody can treat it"
        world.clock.pass_s(LONGEST_WAIT_S)
        worker(world, StoreChannel(destination(peer.port), treater=make_treater(world.archive))).step()
        (received,) = [pydicom.dcmread(path) for path in peer.files()]
    row = world.archive.outbox.get(number)
    shown_row = row.delivery()
    assert (row.state, shown_row.sent, shown_row.accepted, shown_row.left_out) == ("done", 1, 1, 1)
    assert received.PatientID == world.archive.pseudonyms.pseudonym("research", "TEST-1\0")
    assert world.archive.outbox.unsettled(key) == 0


@pytest.fixture
def running(world: World) -> Iterator[Callable[[Channel], None]]:
    """Runs workers in threads, with real time."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(channel: Channel) -> None:
        thread = threading.Thread(target=worker(world, channel).run, args=(stop,))
        threads.append(thread)
        thread.start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(30)


def destination(port: int) -> DestinationSettings:
    return DestinationSettings(name="PACS", host="127.0.0.1", port=port, ae_title="STORESCP", timeout_s=10.0)


def test_storescp_gets_what_the_outbox_holds(world: World, tmp_path: Path, running: Callable[[Channel], None]) -> None:
    number = enlist(world, delivering(world), "a.dcm", "b.dcm")
    with storescp(tmp_path / "peer") as peer:
        running(StoreChannel(destination(peer.port)))
        wait_until(lambda: world.study().state == "delivered")
        received = {str(pydicom.dcmread(path).SOPInstanceUID) for path in peer.files()}
    assert received == {"1.2.3.77.1", "1.2.3.77.2"}
    assert [(file.accepted, file.status) for file in world.archive.outbox.get(number).files] == [(True, 0), (True, 0)]


def test_a_peer_that_is_down_delays_only_itself_and_gets_everything_when_it_is_back(
    world: World, tmp_path: Path, running: Callable[[Channel], None]
) -> None:
    key, port = delivering(world), free_port()
    down = enlist(world, key, "a.dcm", destination="DOWN")
    up = enlist(world, key, "b.dcm")
    late = DestinationSettings(name="DOWN", host="127.0.0.1", port=port, ae_title="STORESCP", timeout_s=5.0)
    with storescp(tmp_path / "peer") as peer:
        dead = StoreChannel(late)
        sender = worker(world, dead)
        sender.step()
        running(StoreChannel(destination(peer.port)))
        wait_until(lambda: state(world, up) == "done")
    row = world.archive.outbox.get(down)
    assert (row.state, row.attempts) == ("retrying", 1)
    assert row.last_error is not None
    assert row.last_error.code.startswith("DCM-")
    world.clock.pass_s(FIRST_WAIT_S)
    with storescp(tmp_path / "late") as peer:
        sender._channel = StoreChannel(DestinationSettings(name="DOWN", host="127.0.0.1", port=peer.port, ae_title="STORESCP"))
        sender.step()
        assert len(peer.files()) == 1
    assert world.study().state == "delivered"


def test_dcmprscp_prints_the_pages_of_the_outbox(world: World, tmp_path: Path, running: Callable[[Channel], None]) -> None:
    key = delivering(world)
    pages = ("page-1.png", "page-2.png")
    for name in pages:
        Image.linear_gradient("L").resize((400, 500)).save(world.data / name)
    with dcmprscp(tmp_path / "printer") as peer:
        printer = PrinterSettings(name="film", host="127.0.0.1", port=peer.port, ae_title="IHEFULL", page_pixels=(400, 500), timeout_s=20.0)
        number = enlist(world, key, *pages, destination="film", kind="print")
        running(PrintChannel(printer))
        wait_until(lambda: state(world, number) == "done", timeout_s=60)
        assert len(peer.pages()) == 2
    assert world.study().state == "delivered"
