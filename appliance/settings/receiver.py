"""``[receiver]``: who may send, to which title, in the clear or by TLS."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.settings.base import AETitle, Count, Port, Positive, Section

Workflow = Literal["analyse", "relay", "archive-only"]
"""What happens to images: analysed and relayed; relayed by the routes but not analysed; kept here and nothing else."""


class TitleSettings(Section, frozen=True, kw_only=True):
    """``[[receiver.ae]]``: a further title of ours, and what happens to what is sent to it."""

    title: AETitle
    workflow: Workflow = "analyse"


class TlsSettings(Section, frozen=True, kw_only=True):
    """``[receiver.tls]``: a second port with TLS 1.2 or 1.3 (PS3.15 B.12 and B.13, BCP 195)."""

    port: Port = 2762
    certificate: Path
    """Ours, with its chain, PEM."""
    key: Path
    authorities: Path | None = None
    """Certificates of those who sign the peers', PEM."""
    client_certificate: bool = True
    """Whether a peer must show a certificate signed by one of the authorities."""


class ReceiverSettings(Section, frozen=True, kw_only=True):
    """``[receiver]``: the DICOM storage door."""

    ae_title: AETitle = "CORONET"
    workflow: Workflow = "analyse"
    """What happens to what is sent to ``ae_title``."""
    ae: tuple[TitleSettings, ...] = ()
    host: str = "127.0.0.1"
    port: Port = 11112
    calling_ae_titles: tuple[AETitle, ...] = ()
    """Calling AE titles that may associate; empty: any."""
    calling_addresses: tuple[str, ...] = ()
    """Addresses or networks (CIDR) that may connect, besides this machine itself; empty: any."""
    raw_data: Literal["keep", "refuse"] = "keep"
    """Raw Data Storage, which only the scanner's maker can read."""
    tls: TlsSettings | None = None
    maximum_associations: Count = 32
    maximum_associations_per_peer: Count = 8
    maximum_pdu_bytes: Annotated[int, msgspec.Meta(ge=4096, le=1048576)] = 131072
    maximum_instance_bytes: Count = 1 << 30
    pdu_timeout_s: Positive = 30.0
    """One PDU must have arrived whole within this time."""
    association_timeout_s: Positive = 15.0
    idle_timeout_s: Positive = 60.0
    minimum_free_bytes: Annotated[int, msgspec.Meta(ge=0)] = 5 << 30
    """Below this much free disk new images are refused (0xA700)."""

    def workflow_of(self, title: str) -> Workflow:
        """What happens to what is sent to one of our titles; ``analyse`` for a title that is none of them any more."""
        if title == self.ae_title:
            return self.workflow
        return next((each.workflow for each in self.ae if each.title == title), "analyse")


def receiver_faults(settings: ReceiverSettings) -> list[tuple[str, str]]:
    """What is wrong with the settings beyond the type of each value, as (Chinese, English)."""
    faults = []
    titles = [settings.ae_title, *(each.title for each in settings.ae)]
    doubled = sorted({title for title in titles if titles.count(title) > 1})
    if doubled:
        faults.append((f"receiver.ae:AE 标题重复 {', '.join(doubled)}", f"receiver.ae: the title {', '.join(doubled)} stands there twice"))
    for text in settings.calling_addresses:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            faults.append((f"receiver.calling_addresses:{error}", f"receiver.calling_addresses: {error}"))
    if settings.tls is not None and settings.tls.client_certificate and settings.tls.authorities is None:
        faults.append(
            (
                "receiver.tls:要求客户端证书时须给出 authorities",
                "receiver.tls: client certificates need authorities",
            )
        )
    return faults
