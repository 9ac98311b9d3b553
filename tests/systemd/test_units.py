"""The units, judged by systemd's own tools: clean, hardened, and bound together as they should be."""

from __future__ import annotations

import argparse
import configparser
import importlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from appliance.__main__ import COMMANDS, main
from appliance.workflow.liveness import WORKER_SILENT_S
from appliance.workflow.safe_mode import SAFE_MODE_S
from kiosk.__main__ import _parser as kiosk_parser

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "systemd"
UNITS = FOLDER / "system"
IMAGE_UNITS = REPOSITORY / "image-build/root/usr/lib/systemd/system"
ALL = {path.name: path for folder in (UNITS, IMAGE_UNITS) for path in sorted(folder.iterdir()) if path.is_file()}
"""Every unit of ours: those that go anywhere, and those of the image alone."""
SERVICES = sorted(name for name in ALL if name.endswith(".service"))
MAXIMUM_EXPOSURE = 1.5
STANDARD_UNITS = Path("/usr/lib/systemd/system")
PROGRAMS = ("/opt/coronet/venv/bin/python", "/usr/bin/cage", "/usr/bin/systemctl", "/usr/bin/systemd-tmpfiles", "/bin/true")


def read(unit: str) -> configparser.RawConfigParser:
    """A unit file; of keys that stand several times the last one counts."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(ALL[unit], "utf-8")
    return parser


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # a time zone and a home of their own are not needed; verify writes to standard error only
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root folder with the targets of this system, our units, and programs where they name them."""
    folder = tmp_path / "usr/lib/systemd/system"
    folder.mkdir(parents=True)
    for kind in ("*.target", "*.slice"):
        for path in STANDARD_UNITS.glob(kind):
            shutil.copy2(path, folder, follow_symlinks=False)
    for path in ALL.values():
        shutil.copy2(path, folder)
    for dropin in IMAGE_UNITS.glob("*.d"):
        shutil.copytree(dropin, folder / dropin.name)
    (folder / "efi.mount").write_text("[Mount]\nWhat=/run/coronet-boot/esp\nWhere=/efi\n")
    shutil.copytree(REPOSITORY / "image-build/root/usr/lib/coronet", tmp_path / "usr/lib/coronet")
    (folder / "seatd.service").write_text("[Service]\nExecStart=/bin/true\n")
    for program in PROGRAMS:
        path = tmp_path / program[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def verify(root: Path) -> subprocess.CompletedProcess[str]:
    return run("systemd-analyze", "verify", "--man=no", f"--root={root}", *ALL)


def test_verify_has_nothing_to_say(root: Path) -> None:
    done = verify(root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verify_would_see_a_unit_edited_by_hand(root: Path) -> None:
    unit = root / "usr/lib/systemd/system/coronet.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSecs="))
    assert "Unknown key 'WatchDogSecs'" in verify(root).stderr


def exposure(unit: str) -> float:
    """What ``systemd-analyze security`` gives the unit, 0 (safe) to 10."""
    for line in run("systemd-analyze", "security", "--offline=true", "--no-pager", str(ALL[unit])).stdout.splitlines():
        if "Overall exposure level" in line:
            return float(line.split(":")[1].split()[0])
    raise AssertionError(f"no exposure for {unit}")


def test_no_unit_is_left_out() -> None:
    tracked = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files", "*.service"], capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no checkout")
    assert sorted(Path(line).name for line in tracked.stdout.splitlines()) == SERVICES


@pytest.mark.parametrize("unit", SERVICES)
def test_exposure_is_low(unit: str) -> None:
    assert exposure(unit) <= MAXIMUM_EXPOSURE


def test_the_tool_measures_what_is_taken_away(tmp_path: Path) -> None:
    weak = "\n".join(line for line in (UNITS / "coronet.service").read_text().splitlines() if not line.startswith("SystemCallFilter"))
    (tmp_path / "weak.service").write_text(weak)
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(tmp_path / "weak.service"))
    assert done.returncode != 0


def test_the_analyst_has_no_network_and_the_kiosk_no_data() -> None:
    analyst, kiosk = read("coronet-analyst.service")["Service"], read("coronet-kiosk.service")["Service"]
    assert (analyst["PrivateNetwork"], analyst["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")
    assert "/var/lib/coronet" in kiosk["InaccessiblePaths"]
    assert "INET" not in kiosk["RestrictAddressFamilies"]
    assert kiosk["User"] != analyst["User"]


def test_receiving_and_screen_come_before_the_analysis() -> None:
    weights = {name: read(f"coronet-{name}.slice")["Slice"] for name in ("reception", "screen", "analysis")}
    for resource in ("CPUWeight", "IOWeight"):
        assert int(weights["reception"][resource]) >= 4 * int(weights["analysis"][resource])
        assert int(weights["screen"][resource]) >= 4 * int(weights["analysis"][resource])
    # while the box starts, receiving comes before the screen too; the analysis begins after it
    assert int(weights["reception"]["CPUWeight"]) >= 8 * int(weights["screen"]["StartupCPUWeight"])
    assert int(weights["screen"]["StartupCPUWeight"]) > int(weights["analysis"]["StartupCPUWeight"])
    of_the_system = 100  # systemd.resource-control(5): system.slice's, where names are resolved and hardware is found
    assert int(read("coronet.slice")["Slice"]["StartupCPUWeight"]) >= 8 * of_the_system
    assert "coronet.service" in read("coronet-analyst.service")["Unit"]["After"].split()
    assert read("coronet-analyst.service")["Service"]["Slice"] == "coronet-analysis.slice"
    assert read("coronet.service")["Service"]["Slice"] == "coronet-reception.slice"
    scores = {
        unit: int(read(unit)["Service"]["OOMScoreAdjust"])
        for unit in ("coronet.service", "coronet-kiosk.service", "coronet-analyst.service")
    }
    assert scores["coronet.service"] < scores["coronet-kiosk.service"] < scores["coronet-analyst.service"]


def test_too_many_failures_end_in_safe_mode_and_safe_mode_ends_in_another_try() -> None:
    normal, safe = read("coronet.service"), read("coronet-safe.service")
    assert normal["Unit"]["OnFailure"] == "coronet-safe.service"
    # the last feeding is at most so long after a freeze; the watchdog's time counts from there
    turn_s = WORKER_SILENT_S + int(normal["Service"]["WatchdogSec"]) + int(normal["Service"]["RestartSec"])
    interval_s = int(normal["Unit"]["StartLimitIntervalSec"])
    # a worker that freezes again and again, not only a start that fails at once, uses the starts up within the interval
    assert int(normal["Unit"]["StartLimitBurst"]) * turn_s < interval_s
    # and the interval is over when safe mode ends, or systemd would refuse to start the normal service, and nothing would run at all
    assert interval_s < SAFE_MODE_S
    assert "coronet.service" in safe["Unit"]["Conflicts"]
    assert "coronet.service" in safe["Unit"]["OnSuccess"]
    assert safe["Service"]["ExecStart"].endswith("--safe-mode")


@pytest.mark.parametrize("unit", ["coronet.service", "coronet-safe.service", "coronet-analyst.service", "coronet-kiosk.service"])
def test_every_long_running_service_has_a_watchdog_and_comes_back(unit: str) -> None:
    service = read(unit)["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert service["Restart"] in {"always", "on-failure"}


def test_the_commands_of_the_units_are_ours() -> None:
    """Each ExecStart is one that our own parsers take."""
    for unit in SERVICES:
        words = read(unit)["Service"]["ExecStart"].split()
        if "appliance" in words:
            command = words[words.index("appliance") + 1]
            assert command in COMMANDS
            module = importlib.import_module(f"appliance.commands.{command.replace('-', '_')}")
            parser = argparse.ArgumentParser()
            module.add_arguments(parser)
            parser.parse_args(words[words.index("appliance") + 2 :])
        elif "kiosk" in words:
            options = [word for word in words[words.index("kiosk") + 1 :] if word != "$KIOSK_OPTIONS"]
            kiosk_parser().parse_args([*options, "--language", "zh", "--size", "1920x1080"])


def test_a_port_that_is_plugged_in_later_may_be_opened() -> None:
    """A class of devices is looked up when the unit starts, and is known only once its driver is there (systemd.resource-control(5))."""
    drivers = {"char-ttyUSB": "usbserial", "char-ttyACM": "cdc_acm"}
    unit = (UNITS / "coronet.service").read_text()
    loaded = [line for line in (FOLDER / "modules-load.d/coronet.conf").read_text().splitlines() if not line.startswith("#")]
    assert sorted(loaded) == sorted(driver for kind, driver in drivers.items() if f"DeviceAllow={kind} rw" in unit)


def test_a_stick_is_mounted_harmless_and_never_by_itself() -> None:
    for name, access in (("run-coronet\\x2dstick.mount", "ro"), ("run-coronet\\x2dstick\\x2dout.mount", "rw")):
        unit = read(name)
        assert {access, "nosuid", "nodev", "noexec", "nosymfollow"} <= set(unit["Mount"]["Options"].split(","))
        assert unit["Mount"]["Type"] == "vfat,exfat"
        assert not unit.has_section("Install")


def test_users_and_folders_are_what_systemd_takes(tmp_path: Path) -> None:
    users = run("systemd-sysusers", "--dry-run", str(FOLDER / "sysusers.d/coronet.conf"))
    assert users.returncode == 0, users.stderr
    lines = [line.split() for line in (FOLDER / "tmpfiles.d/coronet.conf").read_text().splitlines() if line and line[0] != "#"]
    modes = {line[1]: line[2:5] for line in lines}
    assert modes["/run/coronet"] == ["2750", "coronet", "coronet-kiosk"]
    # the real tool, with users that exist here
    conf = tmp_path / "coronet.conf"
    conf.write_text("\n".join(" ".join([*line[:3], "root", "root", *line[5:]]) for line in lines) + "\n")
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(conf))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/coronet").stat().st_mode & 0o7777 == 0o2750


def applied(tmp_path: Path, settings: str) -> Path:
    (tmp_path / "coronet.toml").write_text(settings)
    assert main(["apply-config", "--settings", str(tmp_path / "coronet.toml"), "--root", str(tmp_path / "root")]) == 0
    return tmp_path / "root/etc"


def test_the_settings_become_what_systemd_reads(tmp_path: Path, root: Path) -> None:
    text = """
[kiosk]
language = "en"
[display]
size = [1080, 1920]
rotation = 270
[network]
interface = "enp1s0"
address = "192.0.2.5/24"
gateway = "192.0.2.1"
hostname = "coronet-ct2"
time_zone = "Asia/Shanghai"
dns = ["192.0.2.2"]
ntp = ["192.0.2.3", "ntp.hospital.example"]
allowed = ["192.0.2.0/28", "198.51.100.7"]
[ups]
name = "ups"
driver = "usbhid-ups"
options = { "vendorid" = "051d" }
"""
    etc = applied(tmp_path, text)
    network = configparser.RawConfigParser(strict=False)
    network.read(etc / "systemd/network/20-coronet.network")
    assert dict(network["Network"])["address"] == "192.0.2.5/24"
    assert "NTP=192.0.2.3 ntp.hospital.example" in (etc / "systemd/timesyncd.conf.d/coronet.conf").read_text()
    assert (etc / "hostname").read_text() == "coronet-ct2\n"
    assert "kernel.hostname = coronet-ct2" in (etc / "sysctl.d/60-coronet-hostname.conf").read_text().splitlines()
    assert "Wants=nut-driver@ups.service" in (etc / "systemd/system/nut-server.service.d/coronet.conf").read_text()
    assert {'driver = "usbhid-ups"', 'port = "auto"', 'vendorid = "051d"'} <= {
        line.strip() for line in (etc / "nut/ups.conf").read_text().splitlines()
    }
    assert (etc / "localtime").readlink() == Path("/usr/share/zoneinfo/Asia/Shanghai")
    assert stat.S_IMODE((etc / "systemd/network/20-coronet.network").stat().st_mode) == 0o644, "networkd is not root"
    assert 'CAGE_OPTIONS="-r -r -r"' in (etc / "coronet/kiosk.env").read_text()
    assert '--language en --size 1080x1920"' in (etc / "coronet/kiosk.env").read_text()
    # the drop-in is one that systemd takes, beside the unit
    shutil.copytree(etc / "systemd/system", root / "etc/systemd/system")
    done = verify(root)
    assert (done.returncode, done.stderr) == (0, "")
    dropin = (root / "etc/systemd/system/coronet.service.d/peers.conf").read_text()
    assert dropin.splitlines()[-2:] == ["IPAddressAllow=", "IPAddressAllow=localhost 192.0.2.0/28 198.51.100.7 192.0.2.2"]
    # settings that cannot be used change nothing
    before = {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()}
    (tmp_path / "coronet.toml").write_text('[network]\nhostname = "not a name"\n')
    assert main(["apply-config", "--settings", str(tmp_path / "coronet.toml"), "--root", str(tmp_path / "root")]) == 1
    assert {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()} == before
    # settings that no longer ask for it take it away again
    etc = applied(tmp_path, "")
    assert not (etc / "hostname").exists()
    assert not (etc / "systemd/system/coronet.service.d/peers.conf").exists()
    assert not list((etc / "nut").iterdir())
    assert "DHCP=yes" in (etc / "systemd/network/20-coronet.network").read_text()
