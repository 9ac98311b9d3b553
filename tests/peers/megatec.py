"""A UPS that speaks Megatec Q1 on a pseudo-terminal, and NUT (nutdrv_qx, upsd) in front of it: the way that the box hears of a real one."""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import subprocess
import threading
import tomllib
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.maintenance.system_files import NUT, system_files
from appliance.settings import parse_settings
from tests.peers.waiting import answers, free_port, wait_until

DRIVER, SERVER = Path("/lib/nut/nutdrv_qx"), Path("/lib/nut/upsd")
AVAILABLE = DRIVER.exists() and SERVER.exists()
FULL_V = 13.6
PROFILE = Path(__file__).parents[2] / "firmware-config/profiles/ups-megatec.toml"


class MegatecUps:
    """Answers Q1 (state), F (ratings) and I (name).

    Attributes:
        mains: whether there is any.
        volts: of the battery.
        low: whether the UPS itself says "battery low".
        garbled: a bad line: answers are halves of answers and noise, among it what would say "on battery, low" if the rest were there.
    """

    def __init__(self) -> None:
        self.mains = True
        self.volts = FULL_V
        self.low = False
        self.garbled = False
        self._noise = random.Random(7)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.device = os.ttyname(self._slave)
        Path(self.device).chmod(0o666)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pull the cable."""
        self._stop.set()
        self._thread.join(5)
        for descriptor in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _run(self) -> None:
        line = b""
        while not self._stop.is_set():
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            line += os.read(self._master, 64)
            while b"\r" in line:
                command, line = line.split(b"\r", 1)
                answer = self._answer(command)
                os.write(self._master, self._garble(answer) if self.garbled else answer)

    def _garble(self, answer: bytes) -> bytes:
        return self._noise.choice((answer[: len(answer) // 2], answer[5:], self._noise.randbytes(40), b"(000.0 11000000\r"))

    def _answer(self, command: bytes) -> bytes:
        volts = 230.1 if self.mains else 0.0
        bits = f"{int(not self.mains)}{int(self.low)}001000"
        known = {
            b"Q1": f"({volts:05.1f} 230.0 230.1 023 50.0 {self.volts:04.1f} 25.0 {bits}\r",
            b"F": "#230.0 004 12.00 50.0\r",
            b"I": f"#{'CORONETUPS':<15} {'SIM1000':<10} {'V1.00':<10}\r",
        }
        return known.get(command, f"{command.decode('latin-1')}\r").encode()


@contextmanager
def nut(ups: MegatecUps, folder: Path) -> Iterator[int]:
    """NUT's driver and server for the UPS; yields the port of upsd. The UPS is called ``ups``."""
    port = free_port()
    config = folder / "nut"
    config.mkdir()
    # as `appliance apply-config` writes them for the profile of such a UPS, at the test's own places
    profile = tomllib.loads(PROFILE.read_text("utf-8"))["settings"]
    settings = parse_settings({"ups": {**profile, "device": ups.device, "port": port}}, source=PROFILE.name)
    for path, text in system_files(settings).items():
        if path in NUT:
            # asked more often than on the box, so that the test is sooner done
            hurried = text.replace("pollinterval = 2", "pollinterval = 1").replace('pollfreq = "5"', 'pollfreq = "1"')
            (config / path.name).write_text(hurried, "utf-8")
    (config / "upsd.users").write_text("")
    for path in (config, *config.iterdir()):
        path.chmod(0o770 if path.is_dir() else 0o640)
        shutil.chown(path, "nut", "nut")
    # the user nut must reach the folder: pytest's own folders are closed to others
    for parent in config.parents:
        if parent.owner() == "root" and parent.is_relative_to(folder.parents[2]):
            parent.chmod(parent.stat().st_mode | 0o011)
    environment = {**os.environ, "NUT_CONFPATH": str(config), "NUT_STATEPATH": str(config), "NUT_ALTPIDPATH": str(config)}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=(config / f"{name}.log").open("w"))
        for name, command in (
            ("driver", [str(DRIVER), "-a", "ups", "-u", "nut", "-D"]),
            ("server", [str(SERVER), "-u", "nut", "-D"]),
        )
    ]
    try:
        wait_until(lambda: answers(port), timeout_s=60, what=f"upsd: {(config / 'server.log').read_text()}")
        yield port
    finally:
        for process in processes:
            process.kill()
            process.wait(20)
