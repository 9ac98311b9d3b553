"""Settings of those who ask us: query/retrieve and DICOMweb; and of those whom we ask for earlier examinations."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.settings.base import AETitle, Count, Port, Positive, Section
from appliance.settings.receiver import TlsSettings

Network = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]


class QuerySettings(Section, frozen=True, kw_only=True):
    """``[query]``: the DICOM query/retrieve door (C-FIND, C-MOVE, C-GET)."""

    enabled: bool = True
    ae_title: AETitle = "CORONET"
    host: str = "127.0.0.1"
    port: Port = 11113
    calling_ae_titles: tuple[AETitle, ...] = ()
    """Calling AE titles that may associate; empty: any."""
    addresses: tuple[Network, ...] = ()
    """Addresses and networks that may associate; empty: any."""
    maximum_associations: Count = 16
    maximum_associations_per_peer: Count = 4
    maximum_matches: Count = 10_000
    """Answers to one query; with more, it ends with A700 after as many."""
    maximum_instances: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 20_000
    """Instances of one retrieval; one that names more is refused with A702."""
    character_set: Literal["ISO_IR 192", "GB18030"] = "ISO_IR 192"
    """Of answers to a peer that names none or one that cannot hold the answer."""
    pdu_timeout_s: Positive = 30.0
    association_timeout_s: Positive = 15.0
    idle_timeout_s: Positive = 60.0
    tls: TlsSettings | None = None
    """``[query.tls]``: a second port with TLS, as of the receiver."""


class WebSettings(Section, frozen=True, kw_only=True):
    """``[web]``: DICOMweb (QIDO-RS, WADO-RS, STOW-RS) over HTTPS, or over HTTP for this machine alone."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 11180
    certificate: Path | None = None
    """PEM file with our certificate and its chain; without one only a loopback address is served."""
    private_key: Path | None = None
    client_authorities: Path | None = None
    """PEM file of authorities; a client with a certificate of theirs needs no token."""
    maximum_connections: Count = 32
    maximum_matches: Count = 10_000
    maximum_upload_bytes: Count = 4 << 30
    """Of one STOW-RS request."""
    body_timeout_s: Positive = 60.0
    """Longest silence within a request."""


class PriorsSettings(Section, frozen=True, kw_only=True):
    """``[[priors]]``: an archive that is asked for earlier examinations of the patient of each new study."""

    name: str
    host: str
    port: Port
    ae_title: AETitle
    calling_ae_title: AETitle = "CORONET"
    retrieve: Literal["move", "get", "list"] = "move"
    """``move``: C-MOVE to our receiver, which the archive must know; ``get``: C-GET, for one that cannot reach us; ``list``: find them,
    fetch nothing."""
    modalities: tuple[Annotated[str, msgspec.Meta(max_length=16)], ...] = ("CT", "SR")
    years: Annotated[float, msgspec.Meta(gt=0, le=100)] = 5.0
    maximum_studies: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    description: str = "*"
    """Pattern (wild cards * and ?) on the study's description, without regard to case."""
    timeout_s: Positive = 60.0
    enabled: bool = True


def query_faults(*, query: QuerySettings, web: WebSettings) -> Iterator[tuple[str, str]]:
    """What does not fit together, as (zh, en)."""
    for text in query.addresses:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield f"[query] addresses:{text} 不是地址或网段", f"[query] addresses: {text} is no address and no network"
    if web.enabled and web.certificate is None and not is_loopback(web.host):
        yield "[web] 无证书时只能监听本机地址", "[web]: without a certificate only a loopback address is served"
    if web.certificate is None and web.client_authorities is not None:
        yield "[web] client_authorities 需要 certificate", "[web]: client_authorities needs a certificate"


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
