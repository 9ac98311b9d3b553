"""What is under way on the box, how large its slots are, and which boot this is: facts that the updater asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appliance.errors import CoronetError
from appliance.maintenance.database_view import DatabaseView
from appliance.maintenance.updater import Busy
from appliance.workflow.update_states import Slot

CLASSES = ("rootfs", "verity", "boot")
LABELS = {"rootfs": "root", "verity": "verity", "boot": "boot"}
SECTOR = 512
_COUNT = "SELECT (SELECT COUNT(*) FROM {}) + (SELECT COUNT(*) FROM {})"
_QUESTIONS: tuple[tuple[Busy, str], ...] = (
    ("receiving", _COUNT.format("associations WHERE closed_at IS NULL", "studies WHERE state = 'receiving'")),
    ("analysis", "SELECT COUNT(*) FROM studies WHERE state = 'analysing'"),
    # what waits for a peer that is down waits on; what is on its way, or about to go, is let go first
    ("delivery", _COUNT.format("outbox WHERE state IN ('pending', 'sending')", "studies WHERE state IN ('approving', 'approved')")),
)


def busy(data: Path) -> tuple[Busy, ...]:
    """What a restart would disturb; everything where the database cannot be asked just now."""
    view = DatabaseView(data)
    if not view.path.exists():
        return ()
    try:
        return tuple(name for name, question in _QUESTIONS if int(view.texts(question)[0]) > 0)
    except CoronetError:
        return tuple(name for name, _question in _QUESTIONS)


def slot_room(slot: Slot, *, labels: Path = Path("/dev/disk/by-partlabel"), blocks: Path = Path("/sys/class/block")) -> Mapping[str, int]:
    """Bytes of each part of a slot, by its RAUC class; a part that is not there is left out, and RAUC will say so."""
    room = {}
    for kind in CLASSES:
        link = labels / f"coronet-{LABELS[kind]}-{slot.lower()}"
        try:
            room[kind] = int((blocks / link.resolve(strict=True).name / "size").read_text()) * SECTOR
        except (OSError, ValueError):
            continue
    return room


def boot_identity(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """A text that is another one after each start of the machine."""
    return path.read_text("ascii").strip()
