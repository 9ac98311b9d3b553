"""Units that were edited, masked or added to by hand are named; those that were shipped are not."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.workflow.box import lights
from appliance.workflow.unit_watch import changed_units, our_units, shipped, watch_units
from tests.appliance.archive.fakes import make_archive
from tests.peers.waiting import wait_until

REPOSITORY = Path(__file__).parents[3]
UNITS = REPOSITORY / "systemd/system"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """What was laid over, and what was installed."""
    shutil.copytree(UNITS, tmp_path / "lib")
    for name in ("etc", "run", "local"):
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in ("etc", "run", "local", "lib")]


def test_the_digests_are_those_of_the_units(tmp_path: Path) -> None:
    """After a change of a unit: python -m appliance.workflow.unit_watch."""
    assert set(shipped()) == set(our_units(REPOSITORY))
    nothing = tmp_path / "etc"
    assert changed_units([nothing, nothing, UNITS, REPOSITORY / "image-build/root/usr/lib/systemd/system"]) == []


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace("NoNewPrivileges=yes", "NoNewPrivileges=no"))


def added(folder: Path, name: str) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_text("[Service]\nWatchdogSec=0\n")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda box: edit(box / "lib" / "coronet.service"), ["coronet.service"]),
        (lambda box: (box / "etc" / "coronet-safe.service").symlink_to("/dev/null"), ["coronet-safe.service"]),
        (lambda box: (box / "etc" / "coronet.service").write_text("[Service]\nExecStart=/bin/true\n"), ["coronet.service"]),
        (lambda box: added(box / "etc" / "coronet.service.d", "override.conf"), ["coronet.service.d/override.conf"]),
        (lambda box: added(box / "etc" / "coronet.service.d", "peers.conf"), []),
        (lambda box: added(box / "lib" / "coronet.service.d", "20-kernels.conf"), []),
        (lambda box: shutil.copy(box / "lib" / "coronet.service", box / "etc"), []),
    ],
)
def test_what_was_changed_is_named(folders: list[Path], change: Callable[[Path], object], named: list[str]) -> None:
    change(folders[0].parent)
    assert changed_units(folders) == named


def test_where_none_is_installed_nothing_is_said(tmp_path: Path) -> None:
    assert changed_units([tmp_path]) == []


def test_kiosk_and_panel_say_it_and_the_box_goes_on(tmp_path: Path, folders: list[Path]) -> None:
    archive = make_archive(tmp_path / "data")
    edit(folders[-1] / "coronet-analyst.service")
    stop = threading.Event()
    thread = threading.Thread(target=watch_units, args=(archive, stop), kwargs={"folders": folders})
    thread.start()
    wait_until(lambda: archive.components.troubles() != [])
    stop.set()
    thread.join(20)
    [reason] = archive.components.troubles()
    assert reason.code == "WF-084"
    assert "coronet-analyst.service" in reason.zh
    archive.components.report("receiver", ready=True)
    shown = lights(archive)
    assert (shown.ready.name, shown.attention.name, shown.fault.name) == ("ON", "ON", "OFF")
    archive.close()
