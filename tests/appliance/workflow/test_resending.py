"""Sending once more what was delivered: to one destination or all, once for each wish, audited; against storescp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.errors import WorkflowError
from appliance.settings import DestinationSettings
from appliance.workflow.channels import StoreChannel
from appliance.workflow.delivery import BackOff, DestinationWorker
from tests.appliance.workflow.test_service import ENGINEER_PIN, Office
from tests.appliance.workflow.world import World
from tests.peers.dcmtk import StoreScp, storescp


@pytest.fixture
def office(memory: Path) -> Iterator[Office]:
    world = World(memory / "data")
    world.push(1, 2)
    world.intake().step()
    world.archive.studies.save(msgspec.structs.replace(world.study(), state="delivered"))
    yield Office(world)
    world.close()


def stored(office: Office, destination: str, *, done: bool = True, **changes: object) -> int:
    """A row of the outbox with the study's images."""
    archive = office.world.archive
    key = office.world.study().key
    files = [str(each.path.relative_to(archive.data)) for each in archive.index.of_study(key)]
    given = {"generation": 1, "kind": "store", "purpose": "source", "description": "", "files": files, **changes}
    number = archive.outbox.add(study=key, destination=destination, **given)  # type: ignore[arg-type]
    if done:
        archive.outbox.done(number)
    return number


def states(office: Office) -> dict[int, str]:
    return {row.id: row.state for row in office.world.archive.outbox.of_study(office.world.study().key)}


def test_one_wish_sends_once_to_the_destination_chosen_and_the_peer_gets_it(office: Office, tmp_path: Path) -> None:
    session, key = office.sign_in(ENGINEER_PIN), office.world.study().key
    pacs, lab = stored(office, "PACS"), stored(office, "LAB")
    with storescp(tmp_path / "peer") as peer:
        worker = _worker(office, peer)
        for _ in range(2):
            office.service.send_again(session=session, study=key, to="PACS", command="wish-0001")
        assert states(office) == {pacs: "pending", lab: "done"}
        assert office.world.archive.outbox.unsettled(key) == 1, "retention keeps the images meanwhile"
        worker.step()
        assert len(peer.files()) == 2
        office.service.send_again(session=session, study=key, to="PACS", command="wish-0001")
    assert states(office) == {pacs: "done", lab: "done"}
    assert office.world.study().state == "delivered"
    entries = [entry for entry in office.world.archive.audit.entries(study=key) if entry.action == "send again"]
    assert [(entry.actor, entry.details) for entry in entries] == [(session.user_id, {"rows": 1, "to": ["PACS"]})]
    with pytest.raises(WorkflowError, match="WF-057"):
        office.service.send_again(session=session, study=key, to="LAB", command="wish-0001")


def test_all_means_every_store_whose_release_stands_and_no_film(office: Office) -> None:
    key = office.world.study().key
    source, results = stored(office, "PACS"), stored(office, "LAB", purpose="results")
    older = stored(office, "LAB", purpose="results", generation=0)
    film = stored(office, "FILM", kind="print", purpose="results")
    waiting = stored(office, "FAR", done=False)
    office.service.send_again(session=office.sign_in(), study=key, to="", command="wish-0001")
    assert states(office) == {source: "pending", results: "pending", older: "done", film: "done", waiting: "pending"}
    office.world.archive.outbox.done(results)
    office.world.archive.studies.save(msgspec.structs.replace(office.world.study(), state="draft"))
    with pytest.raises(WorkflowError, match="WF-091"):
        office.service.send_again(session=office.sign_in(), study=key, to="LAB", command="wish-0002")


def test_what_cannot_be_sent_is_said_and_the_wish_can_be_said_again(office: Office) -> None:
    session, key = office.sign_in(), office.world.study().key
    with pytest.raises(WorkflowError, match="WF-091"):
        office.service.send_again(session=session, study=key, to="PACS", command="wish-0001")
    number = stored(office, "PACS")
    office.service.send_again(session=session, study=key, to="PACS", command="wish-0001")
    office.world.archive.outbox.done(number)
    for each in office.world.archive.index.of_study(key):
        each.path.unlink()
    with pytest.raises(WorkflowError, match="WF-092"):
        office.service.send_again(session=session, study=key, to="PACS", command="wish-0002")
    assert states(office) == {number: "done"}
    with pytest.raises(WorkflowError, match="WF-052"):
        office.service.send_again(session=session, study="0" * 16, to="", command="wish-0003")


def _worker(office: Office, peer: StoreScp) -> DestinationWorker:
    there = DestinationSettings(name="PACS", host="127.0.0.1", port=peer.port, ae_title="STORESCP", timeout_s=10.0)
    world = office.world
    return DestinationWorker(
        channel=StoreChannel(there), archive=world.archive, machine=world.machine, back_off=BackOff(random=lambda: 1.0)
    )
