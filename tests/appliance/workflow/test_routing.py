"""Routes: what goes where, once, and written down with what shall be done to it on the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from pathlib import Path

import msgspec
import pytest

from appliance.dicom.treatment import Coercion, Treatment
from appliance.settings import CoercionSettings, DestinationSettings, RouteSettings, Settings
from appliance.workflow.release import Released, enlist
from appliance.workflow.routing import RouteFacts, Router, matches
from tests.appliance.workflow.world import World

NOON = time(12)


def place(name: str, *send: str, **more: object) -> DestinationSettings:
    return DestinationSettings(name=name, host="127.0.0.1", port=104, ae_title=name, send=send, **more)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({}, True),
        ({"modality": ("CT",)}, True),
        ({"modality": ("MR", "ct")}, True),
        ({"modality": ("MR",)}, False),
        ({"calling_ae": ("CT?",)}, True),
        ({"called_ae": ("URGENT",)}, False),
        ({"protocol": ("*corcta*",)}, True),
        ({"protocol": ("*corcta*",), "body_part": ("HEAD",)}, False),
        ({"body_part": ("HEART", "CHEST")}, True),
        ({"urgency": "routine"}, True),
        ({"urgency": "urgent"}, False),
        ({"between": ("08:00", "17:00")}, True),
        ({"between": ("12:00", "12:01")}, True),
        ({"between": ("11:00", "12:00")}, False),
        ({"between": ("22:00", "06:00")}, False),
        ({"between": ("06:00", "05:59")}, True),
    ],
)
def test_every_condition_must_hold(conditions: dict[str, object], holds: bool) -> None:
    facts = RouteFacts(called_ae="CORONET", calling_ae="CT1", modality="CT", protocols=("", "CorCTA 0.6 75%"), body_part="HEART")
    assert matches(RouteSettings(name="r", to=(), **conditions), facts, NOON) is holds  # type: ignore[arg-type]


def test_over_midnight() -> None:
    night = RouteSettings(name="r", to=(), between=("22:00", "06:00"))
    assert [matches(night, RouteFacts(), time(hour)) for hour in (21, 22, 0, 5, 6)] == [False, True, True, True, False]


def test_an_instance_that_says_nothing_matches_no_condition() -> None:
    assert not matches(RouteSettings(name="r", to=(), modality=("*",)), RouteFacts(), NOON)


def test_the_first_route_wins_and_nothing_goes_twice() -> None:
    routes = (
        RouteSettings(name="hearts", to=("PACS", "LAB"), modality=("CT",), body_part=("HEART",)),
        RouteSettings(name="rest", to=("PACS",)),
        RouteSettings(name="off", to=("LAB",), enabled=False),
        RouteSettings(name="to nobody", to=("GONE",)),
    )
    destinations = (place("PACS", "source"), place("LAB"), place("GONE", "source", enabled=False))
    router = Router(destinations=destinations, routes=routes, local_time=lambda: NOON)
    offered = [RouteFacts(modality="CT", body_part="HEART"), RouteFacts(modality="SR"), RouteFacts(modality="CT", body_part="HEART")]
    found = [(each.destination.name, each.route, each.instances) for each in router.consign(offered, what="source")]
    assert found == [("PACS", "hearts", (0, 2)), ("LAB", "hearts", (0, 2)), ("PACS", "rest", (1,))]
    assert router.consign(offered, what="results") == []
    assert (router.sends("source"), router.sends("results"), router.asks_facts) == (True, False, True)


def test_source_images_take_the_routes_of_their_series_and_association(world: World) -> None:
    routes = (
        RouteSettings(name="scouts", to=("LAB",), body_part=("SCOUT",)),
        RouteSettings(name="by scanner", to=("LAB",), calling_ae=("CT1",), protocol=("*COR*",)),
    )
    intake = world.intake(router=world.router(place("PACS", "source", commitment=True), place("LAB"), routes=routes))
    association = world.associate()
    world.push(association=association, SeriesDescription="CorCTA")
    world.push(1, series="1.2.3.9", association=association, BodyPartExamined="SCOUT")
    world.push(2, series="1.2.3.8")
    world.release(association)
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    rows = world.archive.outbox.of_study(world.study().key)
    assert {(row.destination, row.route): len(row.files) for row in rows} == {
        ("LAB", "scouts"): 1, ("LAB", "by scanner"): 4, ("PACS", "PACS"): 6,
    }  # fmt: skip
    assert [row.commitment for row in rows] == [False, False, True]
    assert {row.treatment for row in rows} == {None}


def test_what_a_route_does_to_files_is_fixed_in_the_row(world: World) -> None:
    coerce = (CoercionSettings(attribute="InstitutionName", value="General"),)
    routes = (
        RouteSettings(name="named", to=("PACS",), send=("results",), coerce=coerce),
        RouteSettings(name="teaching", to=("LAB",), send=("source", "results"), pseudonymise=True),
    )
    settings = Settings(destination=(place("PACS"), place("LAB")), route=routes)
    study = world.queued()
    full, clear = world.data / "full.dcm", world.data / "clear.dcm"
    rows = enlist(Released(objects=(full,), pages={}, clear=(clear,)), study=study, archive=world.archive, settings=settings)
    assert rows == 2
    named, teaching = world.archive.outbox.of_study(study.key)
    assert ([file.path for file in named.files], [file.path for file in teaching.files]) == (["full.dcm"], ["clear.dcm"])
    assert msgspec.json.decode(named.treatment or b"", type=Treatment) == Treatment(
        route="named", coerce=(Coercion(attribute="InstitutionName", value="General"),)
    )
    assert msgspec.json.decode(teaching.treatment or b"", type=Treatment) == Treatment(route="teaching", pseudonymise=True)


def test_urgent_studies_go_first(world: World) -> None:
    key = world.queued().key
    for name, urgent in (("a.dcm", False), ("b.dcm", True)):
        world.archive.outbox.add(
            study=key, generation=1, destination="PACS", kind="store", purpose="source", description="", files=[name], urgent=urgent
        )
    assert [row.urgent for row in world.archive.outbox.waiting_for("PACS")] == [True, False]
