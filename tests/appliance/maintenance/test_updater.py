"""An update from the stick to the proven slot, with a kill or a power cut before every system call that changes the disk."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from appliance.archive.files import write_durably
from appliance.errors import UpdateError
from appliance.maintenance.trial import Proof, prove
from appliance.maintenance.update_bundle import COMPATIBLE
from appliance.maintenance.updater import QUIET_S, Updater
from appliance.workflow.update_desk import ORDER, UpdateOrder, read_record
from appliance.workflow.update_states import Slot, UpdateRecord
from tests.appliance.maintenance.keys import Authority
from tests.appliance.maintenance.machine import PARTS, UPDATES, Machine, RestartedError, in_child, killed_at, load, unpack

pytestmark = pytest.mark.skipif(shutil.which("rauc") is None or shutil.which("mksquashfs") is None, reason="rauc or squashfs-tools missing")
AT_REST = ("good", "back", "failed", "refused")
Kind = Literal["kill", "power"]


class Release:
    """Keys, a signed update 0.2.0 on a stick, the images of 0.1.0."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ca", "coronet")
        self.signer = self.authority.signer("release")
        self.stick = folder / "stick"
        self.old = {name: os.urandom(20_000) for name in PARTS}
        self.new = {name: os.urandom(90_000) for name in PARTS}
        self.bundle = self.make("0.2.0", self.stick, self.new)
        self.unpacked = {self.bundle.name: unpack(self.bundle, folder / "unpacked")}

    def make(self, version: str, out: Path, images: dict[str, bytes], *, needs: str = "0.1.0", compatible: str = COMPATIBLE) -> Path:
        slot = out.parent / f"slot-{out.name}-{version}"
        slot.mkdir(parents=True)
        for name, source in zip(PARTS, ("root.squashfs", "root.verity", "boot.vfat"), strict=True):
            (slot / source).write_bytes(images[name])
        notes = {"zh": "修正狭窄程度\n更快", "en": "Better degrees\nQuicker", "needs": needs}
        made: Path = load(UPDATES / "bundle.py").make_bundle(
            slot, out, notes=notes, certificate=self.signer.certificate, key=self.signer.key, version=version, compatible=compatible
        )
        return made


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return Release(tmp_path_factory.mktemp("release"))


class Box:
    """The machine, its data, and a person who wants the update until it stands."""

    def __init__(self, folder: Path, release: Release, *, works: bool = True) -> None:
        self.data = folder / "data" / "update"
        self.machine = Machine(folder, stick=release.stick, unpacked=release.unpacked)
        self.machine.make(release.old)
        self._release = release
        self._works = works
        self._clock = itertools.count(0.0, QUIET_S + 1)
        self.busy: tuple[Literal["receiving", "analysis", "delivery"], ...] = ()

    def updater(self, *, monotonic: Callable[[], float] | None = None) -> Updater:
        return Updater(
            folder=self.data,
            slots=self.machine,
            keyring=self._release.authority.keyring,
            installed="0.1.0" if self.machine.status().booted == "A" else "0.2.0",
            room=dict,
            busy=lambda: self.busy,
            boot=self.machine.boot_identity,
            wall=lambda: 1.8e9,
            monotonic=monotonic or (lambda: next(self._clock)),
        )

    @property
    def record(self) -> UpdateRecord:
        return read_record(self.data)

    def order(self, wish: Literal["look", "install", "restart", "dismiss"], *, command: str | None = None) -> None:
        record = self.record
        order = UpdateOrder(command=command or f"{wish}-{record.number}", wish=wish, by="u-eng", digest=record.digest)
        self.data.mkdir(parents=True, exist_ok=True)
        write_durably(self.data / ORDER, msgspec.json.encode(order))

    def live(self) -> None:
        """One run of the processes: the trial, then the updater; ends with a restart (raised) or when the update rests."""
        updater = self.updater()
        updater.resume()
        prove(updater, self.machine, proofs=[Proof("all", self._proof)], monotonic=lambda: next(self._clock), sleep=lambda _s: None)
        for _ in range(60):
            state = self.record.state
            if state in AT_REST:
                return
            if state in {"idle", "offered"}:
                self.order("look" if state == "idle" else "install")
            updater.step()
        raise AssertionError(f"it does not come to rest: {self.record}")

    def _proof(self) -> None:
        if not self._works:
            raise UpdateError("UPD-013", zh="基准病例分析未通过", en="the golden case has not been analysed as expected")

    def until_rest(self, *, starts: Callable[[Slot], bool] = lambda _slot: True) -> None:
        """Runs and restarts until the update rests."""
        for _ in range(8):
            try:
                self.live()
            except RestartedError:
                self.machine.boot(starts)
            else:
                return
        raise AssertionError(f"it restarts for ever: {self.record}")

    def cut(self, call: int, kind: Kind, *, starts: Callable[[Slot], bool] = lambda _slot: True) -> bool:
        """Let it run, kill it before the n-th change of the disk; False if it came to rest first."""

        def work() -> int:
            with killed_at(call):
                self.until_rest(starts=starts)
            return 7

        ended = in_child(work)
        assert ended in {7, "killed"}, ended
        if ended == "killed" and kind == "power":
            self.machine.boot(starts)
        return ended == "killed"


def whole(box: Box, release: Release, slot: Slot) -> str:
    held = box.machine.holds(slot)
    return "old" if held == release.old else "new" if held == release.new else "broken"


def test_a_good_update_goes_through_and_the_notes_are_shown(tmp_path: Path, release: Release) -> None:
    box = Box(tmp_path, release)
    box.until_rest()
    record = box.record
    assert (record.state, record.version, record.proven, record.target) == ("good", "0.2.0", "B", "B")
    assert (record.notes_zh, record.notes_en) == ("修正狭窄程度\n更快", "Better degrees\nQuicker")
    assert (whole(box, release, "A"), whole(box, release, "B")) == ("old", "new")
    assert box.machine.status().booted == "B"


def test_a_version_that_does_not_prove_itself_goes_back_by_itself_and_says_why(tmp_path: Path, release: Release) -> None:
    box = Box(tmp_path, release, works=False)
    box.until_rest()
    assert box.record.state == "back"
    assert box.record.reason is not None
    assert box.record.reason.code == "UPD-013"
    assert "0.1.0" in box.record.reason.en
    assert box.machine.status().booted == "A"
    assert box.machine.status().primary == "A"


def test_a_version_that_never_comes_up_is_given_up_by_the_loader(tmp_path: Path, release: Release) -> None:
    box = Box(tmp_path, release)
    box.until_rest(starts=lambda slot: slot == "A")
    assert box.record.state == "back"
    assert box.record.reason is not None
    assert box.record.reason.code == "WF-101"
    assert box.machine.status().booted == "A"


def _cuts(tmp_path: Path, release: Release, *, kind: Kind, works: bool, starts: Callable[[Slot], bool], every: int) -> int:
    """A cut before each change of the disk in turn; how many there were."""
    for call in itertools.count(1, every):
        box = Box(tmp_path / f"{call}", release, works=works)
        cut = box.cut(call, kind, starts=starts)
        booted = box.machine.status().booted
        assert whole(box, release, booted) == ("old" if booted == "A" else "new"), f"call {call}: the running slot is not whole"
        box.until_rest(starts=starts)
        booted, record = box.machine.status().booted, box.record
        assert whole(box, release, booted) == ("old" if booted == "A" else "new"), call
        if works and starts("B"):
            assert (record.state, booted, record.proven) == ("good", "B", "B"), (call, record)
        else:
            assert (record.state, booted) == ("back", "A"), (call, record)
            assert record.reason is not None, call
        shutil.rmtree(tmp_path / f"{call}")
        if not cut:
            return call - 1
    raise AssertionError


def _on_a_alone(slot: Slot) -> bool:
    return slot == "A"


def _on_both(_slot: Slot) -> bool:
    return True


CUTS = [
    ("kill", True, _on_both),
    ("kill", False, _on_both),
    ("power", True, _on_both),
    ("power", False, _on_both),
    ("power", True, _on_a_alone),
]


@pytest.mark.image
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "works", "starts"), CUTS)
def test_cuts_at_every_change_of_the_disk_end_in_a_whole_slot(
    tmp_path: Path, release: Release, kind: Kind, works: bool, starts: Callable[[Slot], bool]
) -> None:
    """Proved or not, coming up or not: what runs is whole, and the update comes to its right end."""
    assert _cuts(tmp_path, release, kind=kind, works=works, starts=starts, every=1) >= 50


@pytest.mark.parametrize(("kind", "works", "starts"), [CUTS[0], CUTS[3]])
def test_some_cuts_end_in_a_whole_slot(tmp_path: Path, release: Release, kind: Kind, works: bool, starts: Callable[[Slot], bool]) -> None:
    """The same with every eleventh."""
    _cuts(tmp_path, release, kind=kind, works=works, starts=starts, every=11)


def test_an_order_is_carried_out_once_and_only_for_the_update_that_was_seen(tmp_path: Path, release: Release) -> None:
    box = Box(tmp_path, release)
    updater = box.updater()
    updater.resume()
    box.order("install")
    updater.step()
    assert box.record.state == "idle", "nothing was offered"
    box.order("look", command="look-1")
    updater.step()
    assert box.record.state == "offered"
    number = box.record.number
    updater.step()
    assert box.record.number == number, "the same order again does nothing"
    stale = UpdateOrder(command="install-x", wish="install", by="u-eng", digest="00" * 32)
    write_durably(box.data / ORDER, msgspec.json.encode(stale))
    updater.step()
    assert box.record.state == "offered"


def test_a_stick_that_changes_after_it_was_checked_is_refused(tmp_path: Path, release: Release) -> None:
    box = Box(tmp_path, release)
    updater = box.updater()
    updater.resume()
    box.order("look")
    updater.step()
    box.order("install")
    updater.step()
    other = release.make("0.2.0", tmp_path / "other", release.old)
    kept = release.bundle.read_bytes()
    try:
        shutil.copyfile(other, release.bundle)
        updater.step()
    finally:
        release.bundle.write_bytes(kept)
    assert (box.record.state, box.record.reason.code if box.record.reason else "") == ("refused", "UPD-006")
    assert box.machine.holds("B") == dict.fromkeys(PARTS, b"")


@pytest.mark.parametrize("insists", [False, True])
def test_the_restart_waits_until_nothing_is_under_way_or_a_person_insists(tmp_path: Path, release: Release, insists: bool) -> None:
    box = Box(tmp_path, release)
    box.busy = ("receiving", "analysis")
    updater = box.updater()
    updater.resume()
    for wish in ("look", "install"):
        box.order(wish)  # type: ignore[arg-type]
        updater.step()
    for _ in range(5):
        updater.step()
    assert (box.record.state, box.record.waiting) == ("installed", ("receiving", "analysis"))
    if insists:
        box.order("restart")
    else:
        box.busy = ()
    with pytest.raises(RestartedError):
        updater.step()
    assert box.record.waiting == ()
    assert (box.record.state, box.record.by) == ("restarting", "u-eng")


def test_after_an_installation_nothing_may_be_under_way_for_a_while_before_the_restart(tmp_path: Path, release: Release) -> None:
    box = Box(tmp_path, release)
    now = [1000.0]
    updater = box.updater(monotonic=lambda: now[0])
    updater.resume()
    now[0] += 3600.0
    for wish in ("look", "install"):
        box.order(wish)  # type: ignore[arg-type]
        updater.step()
    updater.step()
    updater.step()
    assert box.record.state == "installed", "an association may begin in the next second"
    now[0] += QUIET_S
    with pytest.raises(RestartedError):
        updater.step()


@pytest.mark.parametrize("fault", ["nothing", "older", "machine", "needs", "cut", "no stick"])
def test_what_is_wrong_with_a_stick_is_said_and_nothing_is_written(tmp_path: Path, release: Release, fault: str) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    code = {"nothing": "UPD-001", "older": "MNT-021", "machine": "MNT-020", "needs": "UPD-005", "cut": "MNT-022", "no stick": "UPD-002"}[
        fault
    ]
    if fault == "older":
        release.make("0.0.9", stick, release.new)
    elif fault == "machine":
        release.make("0.3.0", stick, release.new, compatible="coronet-aarch64-v1")
    elif fault == "needs":
        release.make("0.3.0", stick, release.new, needs="0.2.5")
    elif fault == "cut":
        (stick / "coronet-0.3.0.raucb").write_bytes(release.bundle.read_bytes()[:-5000])
    elif fault == "no stick":
        stick.rmdir()
    box = Box(tmp_path / "box", release)
    box.machine._stick = stick
    updater = box.updater()
    updater.resume()
    box.order("look")
    updater.step()
    assert (box.record.state, box.record.reason.code if box.record.reason else "") == ("refused", code)
    box.order("dismiss")
    updater.step()
    assert box.record.state == "idle"
    assert box.machine.holds("B") == dict.fromkeys(PARTS, b"")


def test_a_proven_slot_that_no_longer_starts_is_told_of(tmp_path: Path, release: Release) -> None:
    box = Box(tmp_path, release)
    box.until_rest()
    assert box.record.proven == "B"
    box.machine.boot(_on_a_alone)
    updater = box.updater()
    updater.resume()
    assert (box.record.state, box.record.reason.code if box.record.reason else "") == ("back", "WF-102")
