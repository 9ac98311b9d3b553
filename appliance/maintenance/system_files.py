"""What systemd needs of the settings: the network's address, who may reach the box, how the screen stands. Pure text; nothing is run."""

from __future__ import annotations

from pathlib import PurePosixPath

from appliance.settings import NetworkSettings, Settings

NOTE = "# Written by `appliance apply-config` from coronet.toml; changes here are lost.\n"
NETWORK = PurePosixPath("etc/systemd/network/20-coronet.network")
TIME = PurePosixPath("etc/systemd/timesyncd.conf.d/coronet.conf")
PEERS = tuple(PurePosixPath(f"etc/systemd/system/{unit}.service.d/peers.conf") for unit in ("coronet", "coronet-safe"))
KIOSK = PurePosixPath("etc/coronet/kiosk.env")
HOSTNAME = PurePosixPath("etc/hostname")


def system_files(settings: Settings) -> dict[PurePosixPath, str]:
    """Path below the root -> content. A file that the settings do not ask for is not there, and an older one of ours is removed."""
    network = settings.network
    files = {NETWORK: _network(network), KIOSK: _kiosk(settings)}
    if network.hostname:
        files[HOSTNAME] = f"{network.hostname}\n"
    if network.ntp:
        files[TIME] = f"{NOTE}[Time]\nNTP={' '.join(network.ntp)}\n"
    if network.allowed:
        # systemd adds to a list; the empty assignment first takes the unit's own private networks away
        peers = f"{NOTE}[Service]\nIPAddressAllow=\nIPAddressAllow=localhost {' '.join(_allowed(network))}\n"
        files |= dict.fromkeys(PEERS, peers)
    return files


def all_paths() -> tuple[PurePosixPath, ...]:
    """Every file that `system_files` may write."""
    return (NETWORK, TIME, KIOSK, HOSTNAME, *PEERS)


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


def _kiosk(settings: Settings) -> str:
    """Variables of coronet-kiosk.service. cage turns the screen by 90 degrees clockwise for each ``-r``."""
    width, height = settings.display.size
    turns = " ".join(["-r"] * (settings.display.rotation // 90))
    options = f"--language {settings.kiosk.language} --size {width}x{height}"
    return f'{NOTE}CAGE_OPTIONS="{turns}"\nKIOSK_OPTIONS="{options}"\n'
