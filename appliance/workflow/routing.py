"""Routes: which instances go where, and what is done to them on the way, as the settings say.

Routes are tried in the order of the settings, then the plain ``send`` of each destination. An instance goes to a destination once, by the
first route that matches; so a narrow route with a coercion may stand before a wide one. What a route does to the files is written into
the outbox row when it is made: a change of the settings cannot later send in clear what was meant to go under a pseudonym.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time
from pathlib import Path

import msgspec
import pydicom

from appliance.archive.archive import Archive
from appliance.archive.index import Instance
from appliance.archive.studies import StudyRecord
from appliance.dicom.treatment import Coercion, Treatment
from appliance.settings import DestinationSettings, RouteSettings
from appliance.settings.relay import What

FACTS = ("Modality", "ProtocolName", "SeriesDescription", "BodyPartExamined")


@dataclass(frozen=True)
class RouteFacts:
    """What routes may ask of an instance; empty where nothing is known."""

    called_ae: str = ""
    calling_ae: str = ""
    modality: str = ""
    protocols: tuple[str, ...] = ()
    body_part: str = ""
    urgent: bool = False


@dataclass(frozen=True)
class Consignment:
    """What goes to one destination by one route: numbers of the instances that were offered, in their order."""

    destination: DestinationSettings
    route: str
    treatment: Treatment
    instances: tuple[int, ...]


class Router:
    """The routes of the settings.

    Args:
        destinations: all of them; those not enabled get nothing.
        routes: tried in this order.
        local_time: the time of day at the site.
    """

    def __init__(
        self, *, destinations: Sequence[DestinationSettings], routes: Sequence[RouteSettings], local_time: Callable[[], time]
    ) -> None:
        self._destinations = {each.name: each for each in destinations if each.enabled}
        plain = [RouteSettings(name=each.name, to=(each.name,), send=each.send) for each in destinations if each.enabled and each.send]
        self._routes = [*(each for each in routes if each.enabled), *plain]
        self._local_time = local_time

    @property
    def asks_facts(self) -> bool:
        """Whether any route asks something of the instances."""
        return any(_asks(route) for route in self._routes)

    def sends(self, what: What) -> bool:
        """Whether any route carries that."""
        return any(what in route.send and any(name in self._destinations for name in route.to) for route in self._routes)

    def consign(self, offered: Sequence[RouteFacts], *, what: What) -> list[Consignment]:
        """Who gets which of the instances offered."""
        now = self._local_time()
        taken: set[tuple[str, int]] = set()
        consignments = []
        for route in self._routes:
            if what not in route.send:
                continue
            matching = [number for number, facts in enumerate(offered) if matches(route, facts, now)]
            for name in route.to:
                chosen = tuple(number for number in matching if (name, number) not in taken)
                if name in self._destinations and chosen:
                    taken.update((name, number) for number in chosen)
                    consignments.append(Consignment(self._destinations[name], route.name, _treatment(route), chosen))
        return consignments


def matches(route: RouteSettings, facts: RouteFacts, now: time) -> bool:
    """Whether every condition of the route holds."""
    return (
        _any_of(route.called_ae, facts.called_ae)
        and _any_of(route.calling_ae, facts.calling_ae)
        and _any_of(route.modality, facts.modality)
        and _any_of(route.protocol, *facts.protocols)
        and _any_of(route.body_part, facts.body_part)
        and (route.between is None or _within(now, *map(time.fromisoformat, route.between)))
        and (route.urgency == "any" or (route.urgency == "urgent") == facts.urgent)
    )


def facts_of(archive: Archive, study: StudyRecord, images: Sequence[Instance]) -> list[RouteFacts]:
    """Facts of a study's images: the AE titles of the association that brought each, the header of the first image of each series."""
    headers: dict[str | None, RouteFacts] = {}
    titles: dict[int | None, tuple[str, str]] = {}
    facts = []
    for image in images:
        if image.series_uid not in headers:
            headers[image.series_uid] = _read_facts(image.path)
        if image.association not in titles:
            titles[image.association] = archive.index.titles_of(image.association)
        calling, called = titles[image.association]
        facts.append(
            RouteFacts(
                called_ae=called,
                calling_ae=calling,
                modality=headers[image.series_uid].modality,
                protocols=headers[image.series_uid].protocols,
                body_part=headers[image.series_uid].body_part,
                urgent=study.urgent,
            )
        )
    return facts


def enlist_files(
    consignment: Consignment, *, archive: Archive, study: StudyRecord, what: What, files: Sequence[Path], description: str
) -> None:
    """Put files of a study into the outbox as the consignment says."""
    plain = consignment.treatment.plain
    archive.outbox.add(
        study=study.key,
        generation=study.generation,
        destination=consignment.destination.name,
        kind="store",
        purpose=what,
        description=description,
        files=[archive.relative(path) for path in files],
        route=consignment.route,
        treatment=None if plain else msgspec.json.encode(consignment.treatment),
        urgent=study.urgent,
        commitment=consignment.destination.commitment,
    )


def _read_facts(path: Path) -> RouteFacts:
    """What the header says; nothing where the file cannot be read (routes with conditions leave it, plain ones take it)."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(FACTS))
        values = [str(dataset.get(keyword, "")) for keyword in FACTS]
    except Exception:  # noqa: BLE001 - whatever a hostile file raises, it is no reason not to relay it
        return RouteFacts()
    modality, protocol, series, body_part = values
    return RouteFacts(modality=modality, protocols=(protocol, series), body_part=body_part)


def _asks(route: RouteSettings) -> bool:
    return bool(route.called_ae or route.calling_ae or route.modality or route.protocol or route.body_part)


def _any_of(patterns: Sequence[str], *values: str) -> bool:
    return not patterns or any(
        fnmatch.fnmatchcase(value.strip().casefold(), pattern.casefold()) for pattern in patterns for value in values if value
    )


def _within(now: time, begin: time, end: time) -> bool:
    return begin <= now < end if begin <= end else now >= begin or now < end


def _treatment(route: RouteSettings) -> Treatment:
    coercions = tuple(Coercion(attribute=each.attribute, value=each.value, from_order=each.from_order) for each in route.coerce)
    return Treatment(route=route.name, pseudonymise=route.pseudonymise, coerce=coercions)
