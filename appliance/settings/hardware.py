"""Settings of what is screwed to the box: front panel, badge reader, UPS, GPU. Each is off until it is named."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.settings.base import Port, Positive, Section

Baud = Annotated[int, msgspec.Meta(ge=300, le=4000000)]
NutOption = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._]{1,64}\Z")]
NutValue = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9 ._:/,-]{0,100}\Z")]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class PanelSettings(Section, frozen=True, kw_only=True):
    """``[panel]``: lights, buzzer, buttons."""

    device: Path | None = None
    baud: Baud = 115200


class BadgeSettings(Section, frozen=True, kw_only=True):
    """``[badge]``: the badge reader."""

    device: Path | None = None
    baud: Baud = 9600
    format: Literal["em4100", "wiegand", "line"] = "em4100"


class UpsSettings(Section, frozen=True, kw_only=True):
    """``[ups]``: the UPS, through NUT's upsd."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")] | None = None
    """As upsd knows it."""
    driver: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9][a-z0-9_-]{0,63})?\Z")] = ""
    """NUT's driver for a UPS at this very box (networkupstools.org, "Hardware compatibility list"); empty: upsd is set up elsewhere."""
    device: Annotated[str, msgspec.Meta(pattern=r"^(auto|/dev/[A-Za-z0-9/_.-]{1,100})\Z")] = "auto"
    """Where it is plugged in; ``auto`` for USB."""
    options: dict[NutOption, NutValue] = msgspec.field(default_factory=dict)
    """Further options of the driver, as ups.conf(5) knows them."""
    host: str = "127.0.0.1"
    port: Port = 3493
    low_charge: Percent = 50.0
    """Percent; below it no new analysis is begun on battery."""
    end_charge: Percent = 20.0
    """Percent; at it the box switches off."""
    end_runtime_s: Positive = 180.0
    """Seconds that the UPS must still last; with less the box switches off."""
    switch: Path = Path("/run/coronet-power.sock")


class GpuSettings(Section, frozen=True, kw_only=True):
    """``[gpu]``: its health."""

    watch: bool = False
    maximum_celsius: Positive = 88.0


class DisplaySettings(Section, frozen=True, kw_only=True):
    """``[display]``: the screen of the kiosk."""

    size: tuple[Annotated[int, msgspec.Meta(ge=640, le=7680)], Annotated[int, msgspec.Meta(ge=400, le=4320)]] = (1920, 1080)
    rotation: Literal[0, 90, 180, 270] = 0
    """Degrees clockwise."""


class NetworkSettings(Section, frozen=True, kw_only=True):
    """``[network]``: the box's address in the hospital's network. Nothing given: DHCP on every wired port."""

    interface: str = "en*"
    """Name or pattern, as systemd.network(5) matches it."""
    address: str = ""
    """With the length of the prefix, e.g. ``192.0.2.5/24``; empty: DHCP."""
    gateway: str = ""
    hostname: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$")] = ""
    """Name of the box (RFC 1123, one label), told to the DHCP server and standing in the log; empty: as the image has it."""
    dns: tuple[str, ...] = ()
    ntp: tuple[str, ...] = ()
    time_zone: Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2})?$")] = ""
    """Of the IANA data base, e.g. ``Asia/Shanghai``; empty: as the image has it (UTC)."""
    allowed: tuple[str, ...] = ()
    """Networks or addresses of scanners, printers, archives: nobody else reaches the box, nor it them. Empty: the private networks."""


def network_faults(network: NetworkSettings) -> list[tuple[str, str]]:
    """Addresses that are none, or that do not fit together, in Chinese and English."""
    faults = []
    kinds = (("address", ipaddress.ip_interface, [network.address]), ("gateway", ipaddress.ip_address, [network.gateway]))
    lists = (("dns", ipaddress.ip_address, network.dns), ("allowed", ipaddress.ip_network, network.allowed))
    for name, parse, values in (*kinds, *lists):
        for value in values:
            try:
                parse(value) if value else None
            except ValueError:
                faults.append((f"[network] {name} 不是有效地址:{value}", f"[network] {name}: {value} is no address"))
    routed = not faults and network.address and network.gateway
    if routed and ipaddress.ip_address(network.gateway) not in ipaddress.ip_interface(network.address).network:
        faults.append(("[network] gateway 不在本网段内", "[network] gateway is not in the network of address"))
    if not re.fullmatch(r"[A-Za-z0-9*?_.-]{1,64}", network.interface) or any(
        not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", ntp) for ntp in network.ntp
    ):
        faults.append(("[network] interface 或 ntp 含不允许的字符", "[network] interface or ntp holds what is not allowed"))
    return faults


def hardware_faults(ups: UpsSettings) -> list[tuple[str, str]]:
    """What does not fit together, in Chinese and English."""
    if ups.end_charge >= ups.low_charge:
        return [("[ups] end_charge 必须小于 low_charge", "[ups] end_charge must be less than low_charge")]
    return []
