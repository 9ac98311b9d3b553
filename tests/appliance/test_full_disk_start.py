"""A disk that is full to the last byte: safe mode still comes up, answers, refuses with a DICOM status, and has lost nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.appliance.archive.test_full_disk import in_memory

SIZE = "48m"
PROGRAM = """
import hashlib, json, os, sys
from pathlib import Path
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.running import daemon
from tests.peers.dcmtk import echoscu, storescu

folder = Path(sys.argv[1])
MORE = "[retention]\\nseries_reserve_bytes = 0\\n"

def image(number):
    path = folder.parent / f"{number}.dcm"
    path.write_bytes(encode(make_dataset(number=number)))
    return path

def spool():
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "box/data/spool").glob("[0-9a-f][0-9a-f]/*"))

with daemon(folder / "box", more_settings=MORE, options=["--safe-mode"]) as running:
    stored = storescu(running.port, [image(1), image(2)]).returncode
kept = spool()
full = os.open(folder / "ballast", os.O_WRONLY | os.O_CREAT)
for block in (1 << 16, 1 << 12, 1):
    try:
        while True:
            os.write(full, bytes(block))
    except OSError:
        pass
left = os.statvfs(folder).f_bavail
# what the site says must stay free is more than what was set aside: the receiver refuses
with daemon(folder / "box", more_settings=MORE, options=["--safe-mode"], minimum_free_bytes=8 << 20, watchdog_s=1.0) as running:
    echo = echoscu(running.port).returncode
    refused = storescu(running.port, [image(3)])
    from tests.peers.waiting import wait_until
    wait_until(lambda: "WATCHDOG=1" in running.notify.heard)
# storescu ends with the high byte of the last status
print(json.dumps({"stored": stored, "kept": len(kept), "left": left, "echo": echo, "refused": refused.returncode,
                  "same": spool() == kept}))
"""


def test_safe_mode_starts_on_a_full_disk_answers_refuses_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    assert run(tmp_path) == {"stored": 0, "kept": 2, "left": 0, "echo": 0, "refused": 0xA7, "same": True}


def run(folder: Path) -> Any:
    (folder / "disk").mkdir()
    return in_memory(folder / "disk", PROGRAM, size=SIZE)


LAST_ROOM = """
import json, sys
from pathlib import Path
from appliance.archive.last_room import LastRoom
from appliance.archive.retention import room_of

data = Path(sys.argv[1])
room = LastRoom(data)
aside, size = room.set_aside(), (data / "last-room").stat().st_size
kept = room.give_back()
(data / "ballast").write_bytes(bytes(room_of(data).free))
full = room_of(data).free
back, free = room.give_back(), room_of(data).free
again = room.set_aside()
(data / "ballast").unlink()
then = room.set_aside()
print(json.dumps({"aside": aside, "kept": kept, "full": full, "back": back, "free": free == size, "again": again, "then": then}))
"""


def test_the_room_is_given_back_on_a_full_disk_only_and_set_aside_again_when_there_is_plenty(tmp_path: Path) -> None:
    found = in_memory(tmp_path, LAST_ROOM)
    assert found == {"aside": True, "kept": False, "full": 0, "back": True, "free": True, "again": False, "then": True}
