"""Factory reset: nothing of patients, people or the site stays.

The order makes a cut of the power harmless: first a mark is written, which names the site's files, then everything goes, the mark last. A
daemon that finds the mark at its start would begin on half of the data; `finish_reset` ends what was begun, the site's files included.
The image has its own way (image-build, erase-data): it throws the key of the data partition away, which is final on a flash disk as well.
Here the freed blocks are discarded (fstrim).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.archive.files import sync_folder, write_durably
from appliance.archive.instance_files import hold_lock
from appliance.errors import ArchiveError, MaintenanceError

CONFIRMATION = "ERASE"
MARK = ".erasing"


def reset(data: Path, *, site: Sequence[Path], confirmation: str) -> None:
    """Erase the data folder's content, and the site's settings with its profiles.

    Args:
        data: the data folder; one that is not ours (no database, no mark of a reset that was cut off) is not touched.
        site: files and folders of the site: settings, profiles.
        confirmation: what the person typed; must be `CONFIRMATION`.

    Raises:
        MaintenanceError: MNT-030 not confirmed, MNT-031 the daemon runs, MNT-032 this is no data folder.
    """
    if confirmation != CONFIRMATION:
        raise MaintenanceError("MNT-030", zh=f"未确认:请输入 {CONFIRMATION}", en=f"not confirmed: type {CONFIRMATION}")
    if not (data / "coronet.db").is_file() and not reset_pending(data):
        raise MaintenanceError("MNT-032", zh=f"{data} 不是本机的数据目录", en=f"{data} is not a data folder of ours")
    try:
        held = hold_lock(data / "daemon.lock", what="daemon")
    except ArchiveError as error:
        raise MaintenanceError("MNT-031", zh="请先停止服务", en="stop the service first") from error
    with contextlib.closing(held):
        write_durably(data / MARK, json.dumps([os.fspath(path.absolute()) for path in site]).encode(), part=data / f"{MARK}.part")
        _erase(data, keep={MARK, "daemon.lock"})
        for path in site:
            _remove(path)
            if path.parent.is_dir():
                sync_folder(path.parent)
        (data / "daemon.lock").unlink(missing_ok=True)
        (data / MARK).unlink()
        sync_folder(data)
    _discard(data)


def finish_reset(data: Path) -> bool:
    """End a reset that was begun and cut off, confirmed when it was begun; whether there was one. Before anything of the data is opened.

    Raises:
        MaintenanceError: MNT-031 the daemon runs, MNT-033 the site's files are not ours to erase: root must run it again.
    """
    if not reset_pending(data):
        return False
    try:
        reset(data, site=_named(data / MARK), confirmation=CONFIRMATION)
    except OSError as error:
        raise MaintenanceError(
            "MNT-033", zh="恢复出厂设置未完成,请以 root 重新运行", en="the factory reset is not finished: run it again as root"
        ) from error
    return True


def _named(mark: Path) -> list[Path]:
    """The site's files that the mark names; none of a mark that an older version made."""
    try:
        return [Path(str(each)) for each in json.loads(mark.read_bytes())]
    except (OSError, ValueError, TypeError):
        return []


def reset_pending(data: Path) -> bool:
    """Whether a reset was begun and cut off."""
    return (data / MARK).exists()


def _erase(folder: Path, *, keep: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            _remove(path)
    sync_folder(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _discard(folder: Path) -> None:
    """Tell the disk of the data partition that its blocks are free; where that fails the file system has let go of them all the same."""
    if not folder.is_mount():
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["fstrim", os.fspath(folder)], capture_output=True, timeout=300, check=False)
