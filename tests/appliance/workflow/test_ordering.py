"""Orders of a real worklist (DCMTK's wlmscpfs) join studies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from appliance.dicom.worklist_client import MODALITY_WORKLIST, by_accession, scheduled
from appliance.errors import DicomError
from appliance.settings import WorklistSettings
from appliance.workflow.ordering import OrderJoiner
from tests.appliance.workflow.world import World
from tests.peers.scp import scp
from tests.peers.waiting import free_port
from tests.peers.worklist import order, worklist

TODAY = date(2026, 1, 5)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


def settings(port: int, **more: object) -> WorklistSettings:
    return WorklistSettings(host="127.0.0.1", port=port, timeout_s=10.0, **more)  # type: ignore[arg-type]


def joiner(world: World, port: int) -> OrderJoiner:
    return OrderJoiner(archive=world.archive, settings=settings(port), today=lambda: TODAY)


def arrive(world: World, **changes: object) -> None:
    world.push(1, **changes)
    world.intake().step()


def test_orders_of_today_with_their_text_in_any_character_set(tmp_path: Path) -> None:
    orders = [
        order(),
        order(SpecificCharacterSet="GB18030", AccessionNumber="A-2", StudyInstanceUID="1.2.4", RequestedProcedurePriority="STAT"),
        order(AccessionNumber="A-3", ScheduledProcedureStepStartDate="20260301"),
        order(AccessionNumber="A-4", Modality="MR"),
        order(AccessionNumber="A-5", ScheduledStationAETitle="CT2", ScheduledProcedureStepStartDate="20260106"),
    ]
    with worklist(tmp_path, orders) as port:
        found = {each.accession_number: each for each in scheduled(settings(port), today=TODAY)}
        of_station = scheduled(settings(port, station_ae_titles=("CT2",)), today=TODAY)
        later = by_accession(settings(port), "A-3")
        assert by_accession(settings(port), "A-9") == []
    assert set(found) == {"A-1", "A-2", "A-5"}
    for name in ("A-1", "A-2"):
        assert found[name].patient_name == "Wang^XiaoDong=王^小东"
        assert (found[name].requested_procedure, found[name].referring_physician) == ("冠状动脉CTA", "Li^Na=李^娜")
    assert (found["A-1"].urgent, found["A-2"].urgent) == (False, True)
    assert found["A-1"].scheduled_at == "20260105081500"
    assert [each.accession_number for each in of_station] == ["A-5"]
    assert [each.accession_number for each in later] == ["A-3"]


def test_an_order_joins_the_study_and_makes_it_urgent(world: World, tmp_path: Path) -> None:
    with worklist(tmp_path / "ris", [order(RequestedProcedurePriority="STAT")]) as port:
        arrive(world, StudyDescription="CTA HEART")
        joins = joiner(world, port)
        joins.step()
        study = world.study()
        assert (study.header.accession_number, study.header.requested_procedure, study.urgent) == ("A-1", "冠状动脉CTA", True)
        assert study.header.study_description == "CTA HEART", "what the images say stays"
        joins.step()
        assert world.study() == study, "joined once, it is left alone"


def test_a_worklist_whose_answers_make_no_sense_is_shown_and_ends_nothing(world: World) -> None:
    """A sequence sent as a text: what the library makes of it has no attributes."""
    odd = Dataset()
    odd.AccessionNumber = "A-1"
    odd.add_new(Tag("RequestedProcedureCodeSequence"), "LO", "CTA")

    def find(_event: object) -> Iterator[tuple[int, Dataset | None]]:
        yield 0xFF00, odd
        yield 0x0000, None

    context = build_context(MODALITY_WORKLIST, "1.2.840.10008.1.2.1")
    with scp(AE("RIS"), contexts=[context], handlers=[(evt.EVT_C_FIND, find)]) as port:
        joiner(world, port).step()
    shown = world.archive.components.get("worklist")
    assert (shown.ready, shown.reason and shown.reason.code) == (False, "DCM-009")


def test_a_new_study_asks_for_its_accession_number(world: World, tmp_path: Path) -> None:
    """Its order is scheduled for another day, and says nothing of the Study Instance UID."""
    with worklist(tmp_path / "ris", [order(StudyInstanceUID="9.9", ScheduledProcedureStepStartDate="20260301")]) as port:
        arrive(world, AccessionNumber="A-1")
        joiner(world, port).step()
    assert world.study().header.referring_physician == "Li^Na=李^娜"


def test_an_order_of_another_patient_never_joins(world: World, tmp_path: Path) -> None:
    with worklist(tmp_path / "ris", [order(PatientID="SOMEBODY")]) as port:
        arrive(world, AccessionNumber="A-1")
        joiner(world, port).step()
    assert (world.study().header.referring_physician, world.study().urgent) == ("", False)


def test_a_worklist_that_is_down_is_shown_and_asked_again(world: World, tmp_path: Path) -> None:
    arrive(world)
    joins = joiner(world, free_port())
    joins.step()
    shown = world.archive.components.get("worklist")
    assert (shown.ready, shown.reason and shown.reason.code) == (False, "DCM-001")
    with worklist(tmp_path / "ris", [order()]) as port:
        again = joiner(world, port)
        again.step()
    assert world.archive.components.get("worklist").ready
    assert world.study().header.accession_number == "A-1"


def test_a_failure_is_not_an_empty_worklist() -> None:
    context = build_context(MODALITY_WORKLIST)
    with (
        scp(AE("RIS"), contexts=[context], handlers=[(evt.EVT_C_FIND, lambda _: iter([(0xC000, None)]))]) as port,
        pytest.raises(DicomError, match="DCM-042"),
    ):
        by_accession(settings(port), "A-1")
