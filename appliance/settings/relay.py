"""Settings of the relay: destinations, routes, storage commitment, worklist, performed procedure steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from appliance.settings.base import AETitle, Count, Port, Positive, Section, TimeOfDay

What = Literal["results", "source"]


class DestinationSettings(Section, frozen=True, kw_only=True):
    """``[[destination]]``: where results and source images go."""

    name: str
    host: str
    port: Port
    ae_title: AETitle
    calling_ae_title: AETitle = "CORONET"
    send: tuple[What, ...] = ("results",)
    """The simplest route: everything of these kinds."""
    timeout_s: Positive = 60.0
    megabits_s: Positive | None = None
    """Bandwidth limit; None: as fast as it goes."""
    commitment: bool = False
    """Whether it offers storage commitment: then nothing counts as settled before it has committed."""
    commitment_timeout_s: Positive = 600.0
    """It is asked again when no report has come after this time."""
    enabled: bool = True


class CoercionSettings(Section, frozen=True, kw_only=True):
    """``[[route.coerce]]``: one attribute that is set on the way."""

    attribute: str
    """Keyword of PS3.6, e.g. ``InstitutionName``."""
    value: str | None = None
    from_order: Literal["accession_number", "patient_id", "requested_procedure", "referring_physician", "study_description"] | None = None
    """Taken from the order of the worklist; images without an order stay as they are."""


class RouteSettings(Section, frozen=True, kw_only=True):
    """``[[route]]``: what goes to whom. Every condition given must hold; patterns are those of a shell, without regard to case."""

    name: str
    to: tuple[str, ...]
    """Names of destinations."""
    send: tuple[What, ...] = ("source",)
    called_ae: tuple[str, ...] = ()
    calling_ae: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    """Against ProtocolName and SeriesDescription."""
    body_part: tuple[str, ...] = ()
    between: tuple[TimeOfDay, TimeOfDay] | None = None
    """Local time at which the images are offered; over midnight where the second is earlier."""
    urgency: Literal["any", "urgent", "routine"] = "any"
    pseudonymise: bool = False
    coerce: tuple[CoercionSettings, ...] = ()
    enabled: bool = True


class ArchiveSettings(Section, frozen=True, kw_only=True):
    """``[archive]``: the long-term archive whose commitment counts for the CT."""

    destination: str = ""
    """Name of a destination that gets the source and commits; empty: there is none."""


class PeerSettings(Section, frozen=True, kw_only=True):
    """``[[peer]]``: the address of an AE that calls us and wants answers on an association of its own."""

    ae_title: AETitle
    host: str
    port: Port
    timeout_s: Positive = 30.0


class CommitmentSettings(Section, frozen=True, kw_only=True):
    """``[commitment]``: storage commitment that we answer to the CT."""

    local_storage: bool = False
    """Commit as soon as the box itself has the instance. The CT may delete then, and the box is one disk."""


class WorklistSettings(Section, frozen=True, kw_only=True):
    """``[worklist]``: the modality worklist of the RIS, for the order data of a study."""

    host: str = ""
    """Empty: no worklist is asked."""
    port: Port = 104
    ae_title: AETitle = "RIS"
    calling_ae_title: AETitle = "CORONET"
    station_ae_titles: tuple[AETitle, ...] = ()
    """Scheduled stations to ask for; empty: all."""
    poll_s: Positive = 60.0
    days: Count = 1
    """Scheduled today, and so many days before and after."""
    maximum_orders: Count = 1000
    timeout_s: Positive = 30.0


class MppsSettings(Section, frozen=True, kw_only=True):
    """``[mpps]``: performed procedure steps of the CT, passed on to the RIS unchanged."""

    accept: bool = False
    host: str = ""
    """Empty: kept, not passed on."""
    port: Port = 104
    ae_title: AETitle = "RIS"
    calling_ae_title: AETitle = "CORONET"
    timeout_s: Positive = 30.0


def relay_faults(
    *, destinations: tuple[DestinationSettings, ...], routes: tuple[RouteSettings, ...], archive: ArchiveSettings
) -> Iterator[tuple[str, str]]:
    """What cannot be meant, as (zh, en): unknown names, pseudonymised and identified data to one place, an archive that cannot commit."""
    known = {each.name: each for each in destinations}
    named = [("route", route.name, name) for route in routes for name in route.to]
    if archive.destination:
        named.append(("archive", "", archive.destination))
    for kind, owner, name in named:
        if name not in known:
            yield f"[{kind}] {owner} 指向未知目的地 {name}", f"[{kind}] {owner} names the destination {name}, which is not there"
    for name in sorted({name for route in routes if route.pseudonymise for name in route.to if name in known}):
        clear = bool(known[name].send) or any(name in route.to and not route.pseudonymise for route in routes)
        if clear:
            yield (
                f"目的地 {name} 接收去标识数据,不能同时接收原始身份数据(请设 send = [])",
                f"the destination {name} gets pseudonymised data and must not get others (set send = [])",
            )
    if archive.destination in known and not known[archive.destination].commitment:
        yield f"归档 {archive.destination} 须设 commitment = true", f"the archive {archive.destination} needs commitment = true"
    for route in routes:
        yield from _coercion_faults(route)


def _coercion_faults(route: RouteSettings) -> Iterator[tuple[str, str]]:
    from pydicom.datadict import tag_for_keyword  # here: settings are read before anything that takes long to read in

    for coercion in route.coerce:
        if tag_for_keyword(coercion.attribute) is None:
            yield (
                f"路由 {route.name}: DICOM 标准中没有属性 {coercion.attribute}",
                f"route {route.name}: PS3.6 has no attribute {coercion.attribute}",
            )
        if (coercion.value is None) == (coercion.from_order is None):
            yield (
                f"路由 {route.name}: {coercion.attribute} 须给出 value 或 from_order 之一",
                f"route {route.name}: {coercion.attribute} needs either value or from_order",
            )
