"""What the system needs of the settings: network, who may reach the box, how the screen stands, which UPS there is. Pure text."""

from __future__ import annotations

from pathlib import PurePosixPath

from appliance.settings import NetworkSettings, Settings, UpsSettings

NOTE = "# Written by `appliance apply-config` from coronet.toml; changes here are lost.\n"
NETWORK = PurePosixPath("etc/systemd/network/20-coronet.network")
TIME = PurePosixPath("etc/systemd/timesyncd.conf.d/coronet.conf")
PEERS = tuple(PurePosixPath(f"etc/systemd/system/{unit}.service.d/peers.conf") for unit in ("coronet", "coronet-safe"))
KIOSK = PurePosixPath("etc/coronet/kiosk.env")
HOSTNAME = PurePosixPath("etc/hostname")
NAME_NOW = PurePosixPath("etc/sysctl.d/60-coronet-hostname.conf")
"""systemd has read /etc/hostname before the data partition is open; systemd-sysctl sets the name then."""
NUT = tuple(PurePosixPath(f"etc/nut/{name}.conf") for name in ("nut", "upsd", "ups"))
SELDOM = ("mge-shut", "nutdrv_qx", "usbhid-ups")
"""Drivers of NUT that know ``pollfreq``; every other one does not start with a setting that it does not know."""
NUT_DRIVER = PurePosixPath("etc/systemd/system/nut-server.service.d/coronet.conf")


def system_files(settings: Settings) -> dict[PurePosixPath, str]:
    """Path below the root -> content. A file that the settings do not ask for is not there, and an older one of ours is removed."""
    network = settings.network
    files = {NETWORK: _network(network), KIOSK: _kiosk(settings)}
    if network.hostname:
        files[HOSTNAME] = f"{network.hostname}\n"
        files[NAME_NOW] = f"{NOTE}kernel.hostname = {network.hostname}\n"
    if network.ntp:
        files[TIME] = f"{NOTE}[Time]\nNTP={' '.join(network.ntp)}\n"
    if network.allowed:
        # systemd adds to a list; the empty assignment first takes the unit's own private networks away
        peers = f"{NOTE}[Service]\nIPAddressAllow=\nIPAddressAllow=localhost {' '.join(_allowed(network))}\n"
        files |= dict.fromkeys(PEERS, peers)
    if settings.ups.name is not None and settings.ups.driver:
        files |= _nut(settings.ups, settings.ups.name)
    return files


def all_paths() -> tuple[PurePosixPath, ...]:
    """Every file that `system_files` may write."""
    return (NETWORK, TIME, KIOSK, HOSTNAME, NAME_NOW, *PEERS, *NUT, NUT_DRIVER)


def _network(network: NetworkSettings) -> str:
    lines = [NOTE + "[Match]", f"Name={network.interface}", "", "[Network]", "LinkLocalAddressing=no", "LLMNR=no", "MulticastDNS=no"]
    if network.address:
        lines += ["DHCP=no", f"Address={network.address}", *([f"Gateway={network.gateway}"] if network.gateway else [])]
    else:
        lines += ["DHCP=yes"]
    return "\n".join([*lines, *(f"DNS={server}" for server in network.dns)]) + "\n"


def _allowed(network: NetworkSettings) -> list[str]:
    """Peers, and the time and name servers that are addresses: without them the clock would stand alone."""
    return list(dict.fromkeys([*network.allowed, *network.dns]))


def _nut(ups: UpsSettings, name: str) -> dict[PurePosixPath, str]:
    """NUT's own settings (nut.conf(5), upsd.conf(5), ups.conf(5)) for one UPS at this box; nobody but the box may ask it.

    ups.status is read every ``pollinterval``; some drivers read charge and voltages only every ``pollfreq`` seconds, so both are short.
    """
    seldom = {"pollfreq": "5"} if ups.driver in SELDOM else {}
    options = {**seldom, **ups.options, "driver": ups.driver, "port": ups.device}
    section = "".join(f'    {key} = "{value}"\n' for key, value in sorted(options.items()))
    contents = ("MODE=standalone\n", f"LISTEN 127.0.0.1 {ups.port}\n", f"pollinterval = 2\nmaxretry = 3\n\n[{name}]\n{section}")
    files = dict(zip(NUT, (NOTE + content for content in contents), strict=True))
    return files | {NUT_DRIVER: f"{NOTE}[Unit]\nWants=nut-driver@{name}.service\n"}


def _kiosk(settings: Settings) -> str:
    """Variables of coronet-kiosk.service. cage turns the screen by 90 degrees clockwise for each ``-r``."""
    width, height = settings.display.size
    turns = " ".join(["-r"] * (settings.display.rotation // 90))
    options = f"--language {settings.kiosk.language} --size {width}x{height}"
    return f'{NOTE}CAGE_OPTIONS="{turns}"\nKIOSK_OPTIONS="{options}"\n'
