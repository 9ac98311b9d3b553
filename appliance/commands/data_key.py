"""``appliance data-key``: one order to the key of the data partition, from standard input (coronet-key@.service)."""

from __future__ import annotations

import argparse
import fcntl
import os
import pwd
import socket
import struct
import sys

from appliance.errors import UpdateError
from appliance.maintenance.data_key import LONGEST_LINE, OPEN, DataKey, answer, data_partition


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""
    parser.set_defaults()


def run(_options: argparse.Namespace) -> int:
    """0; what went wrong stands in the answer. Orders wait for each other at the unit's own folder (systemd.exec(5), RuntimeDirectory=)."""
    turn = os.open(os.environ["RUNTIME_DIRECTORY"], os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    line = sys.stdin.readline(LONGEST_LINE)
    restart = ["systemctl", "--no-block", "reboot"]
    answer(line, sys.stdout, who=_who_asks(), data_key=lambda: DataKey(data_partition()), is_open=OPEN.exists(), restart=restart)
    return 0


def _who_asks() -> str:
    """The user at the other end of the socket, from the kernel (unix(7), SO_PEERCRED).

    Raises:
        UpdateError: UPD-030 standard input is no socket.
    """
    try:
        with socket.socket(fileno=sys.stdin.fileno()) as door:
            _pid, uid, _gid = struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
            door.detach()
        return pwd.getpwuid(uid).pw_name
    except (OSError, KeyError) as error:
        raise UpdateError("UPD-030", zh="只接受来自服务的指令", en="orders come from the services only") from error
