"""Performed procedure steps: from a CT through the receiver's port to a RIS, unchanged and in order, and what intake makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from appliance.dicom.mpps import EXPLICIT, IMPLICIT, PROCEDURE_STEP, ProcedureStepService
from appliance.dicom.receiver import Receiver
from appliance.settings import MppsSettings, ReceiverSettings
from appliance.workflow.delivery import BackOff
from appliance.workflow.step_relay import StepRelay
from tests.appliance.workflow.world import World
from tests.peers.datasets import encode
from tests.peers.scp import scp
from tests.peers.waiting import free_port

STEP = "1.2.3.99"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


@pytest.fixture
def door(world: World) -> Iterator[int]:
    service = ProcedureStepService(steps=world.archive.procedure_steps)
    receiver = Receiver(ReceiverSettings(port=free_port(), minimum_free_bytes=0), store=world.spool, services=[service])
    receiver.start()
    yield receiver.port
    receiver.stop(grace_s=5)


def begun(status: str = "IN PROGRESS") -> Dataset:
    scheduled = Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = "1.2.3", "A-1"
    content = Dataset()
    content.SpecificCharacterSet = "GB18030"
    content.PatientName, content.PatientID = "Wang^XiaoDong=王^小东", "P-77"
    content.PerformedProcedureStepStatus, content.Modality = status, "CT"
    content.add_new(0x00E11010, "LO", "PRIVATE")
    content.ScheduledStepAttributesSequence = [scheduled]
    return content


def ended(status: str = "COMPLETED", *, series: str = "1.2.3.1", images: int = 4) -> Dataset:
    made = Dataset()
    made.SeriesInstanceUID = series
    made.ReferencedImageSequence = [Dataset() for _ in range(images)]
    for number, item in enumerate(made.ReferencedImageSequence, start=1):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"{series}.{number}"
    content = Dataset()
    content.PerformedProcedureStepStatus = status
    content.PerformedSeriesSequence = [made]
    return content


@contextmanager
def scanner(port: int, *, syntax: str = EXPLICIT) -> Iterator[Any]:
    ae = AE("CT1")
    ae.add_requested_context(PROCEDURE_STEP, [syntax])
    association = ae.associate("127.0.0.1", port, ae_title="CORONET")
    assert association.is_established
    yield association
    association.release()


def create(association: Any, content: Dataset, uid: str = STEP) -> int:
    return int(association.send_n_create(content, PROCEDURE_STEP, uid)[0].Status)


def change(association: Any, content: Dataset, uid: str = STEP) -> int:
    return int(association.send_n_set(content, PROCEDURE_STEP, uid)[0].Status)


@dataclass
class Ris:
    """Keeps what it gets, byte by byte, and answers as told."""

    answers: dict[str, int] = field(default_factory=dict)
    got: list[tuple[str, str, bytes]] = field(default_factory=list)

    def on_create(self, event: Any) -> tuple[int, None]:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.got.append(("create", uid, event.request.AttributeList.getvalue()))
        return self.answers.get(uid, 0x0000), None

    def on_set(self, event: Any) -> tuple[int, None]:
        uid = str(event.request.RequestedSOPInstanceUID)
        self.got.append(("set", uid, event.request.ModificationList.getvalue()))
        return self.answers.get(uid, 0x0000), None

    @contextmanager
    def running(self) -> Iterator[MppsSettings]:
        handlers = [(evt.EVT_N_CREATE, self.on_create), (evt.EVT_N_SET, self.on_set)]
        with scp(AE("RIS"), contexts=[build_context(PROCEDURE_STEP, [EXPLICIT, IMPLICIT])], handlers=handlers) as port:
            yield MppsSettings(accept=True, host="127.0.0.1", port=port, timeout_s=10.0)


def relay(world: World, settings: MppsSettings) -> StepRelay:
    return StepRelay(archive=world.archive, settings=settings, back_off=BackOff(random=lambda: 1.0))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_the_ris_gets_every_byte_in_order(world: World, door: int, syntax: str) -> None:
    with scanner(door, syntax=syntax) as ct:
        assert [create(ct, begun()), change(ct, ended())] == [0x0000, 0x0000]
    ris = Ris()
    with ris.running() as settings:
        relays = relay(world, settings)
        assert [relays.step(), relays.step()] == [0.0, 0.0]
        assert relays.step() > 0
    implicit = syntax == IMPLICIT
    assert ris.got == [
        ("create", STEP, encode(begun(), implicit=implicit)), ("set", STEP, encode(ended(), implicit=implicit)),
    ]  # fmt: skip


def test_what_the_standard_forbids_is_refused(world: World, door: int) -> None:
    with scanner(door) as ct:
        assert change(ct, ended()) == 0x0112, "no such step"
        assert create(ct, begun("COMPLETED"), "1.2.3.98") == 0x0106
        assert [create(ct, begun()), create(ct, begun())] == [0x0000, 0x0111]
        assert change(ct, ended("FINISHED")) == 0x0106
        assert [change(ct, ended("DISCONTINUED")), change(ct, ended())] == [0x0000, 0x0110], "it is over"
    assert world.archive.procedure_steps.status(STEP) == "DISCONTINUED"


def test_a_step_that_the_ris_refuses_holds_no_other_and_a_ris_that_is_down_loses_nothing(world: World, door: int) -> None:
    with scanner(door) as ct:
        for uid in ("1.2.3.97", STEP):
            create(ct, begun(), uid)
            change(ct, ended(), uid)
    down = relay(world, MppsSettings(accept=True, host="127.0.0.1", port=free_port(), timeout_s=3.0))
    down.step()
    assert down.step() > 0
    assert not world.archive.components.get("ris").ready
    ris = Ris(answers={"1.2.3.97": 0x0110})
    with ris.running() as settings:
        relays = relay(world, settings)
        while relays.step() == 0.0:
            pass
        assert [(kind, uid) for kind, uid, _ in ris.got] == [("create", "1.2.3.97"), ("create", STEP), ("set", STEP)]
        ris.answers = {"1.2.3.97": 0x0111}  # it has the step after all: the answer to an earlier try was lost
        world.clock.pass_s(600)
        relays.step()
        ris.answers = {}
        relays.step()
    assert [(kind, uid) for kind, uid, _ in ris.got[3:]] == [("create", "1.2.3.97"), ("set", "1.2.3.97")]
    assert world.archive.procedure_steps.waiting() == []
    assert world.archive.components.get("ris").ready


def test_a_completed_step_makes_intake_wait_for_what_it_names_and_starts_nothing(world: World) -> None:
    """Five images of the series were made; the four that have come would be enough by their geometry."""
    steps = world.archive.procedure_steps
    steps.create(STEP, study_uid="1.2.3", transfer_syntax_uid=EXPLICIT, content=b"")
    other = [("1.2.3.5", "1.2.3.5.1")]  # of a series that is not sent here
    steps.change(
        STEP,
        status="COMPLETED",
        images=[("1.2.3.1", f"1.2.3.1.{n}") for n in range(1, 6)] + other,
        transfer_syntax_uid=EXPLICIT,
        content=b"",
    )
    intake = world.intake()
    world.push()
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    assert (world.study().state, steps.awaited("1.2.3", study=world.study().key)) == ("receiving", 1)
    world.clock.pass_s(55)
    intake.step()
    assert world.study().state == "queued", "after the longer silence it is judged as it is"


def test_a_step_whose_images_have_all_come_changes_nothing(world: World) -> None:
    steps = world.archive.procedure_steps
    steps.create(STEP, study_uid="1.2.3", transfer_syntax_uid=EXPLICIT, content=b"")
    images = [("1.2.3.1", f"1.2.3.1.{number}") for number in range(1, 5)]
    steps.change(STEP, status="COMPLETED", images=images, transfer_syntax_uid=EXPLICIT, content=b"")
    intake = world.intake()
    world.push()
    intake.step()
    assert world.study().state == "receiving"
    world.clock.pass_s(5)
    intake.step()
    assert world.study().state == "queued"
