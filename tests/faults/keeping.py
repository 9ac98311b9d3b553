"""kill -9 at every step of what keeps and removes: retention, repair, snapshot, restore, export.

Steps are the operations on files (told by the interpreter's audit events) and the statements of writing transactions. After each kill the
box is started as the coordinator and the receiver do it, and what it holds must be as before or as it should be after.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyzipper

from appliance.archive import database as database_module
from appliance.archive.archive import Archive, open_archive
from appliance.archive.backup import snapshots, take_snapshot, whole_snapshot
from appliance.archive.carried import read_backup, write_backup
from appliance.archive.clock import SystemClock
from appliance.archive.instance_files import instance_name
from appliance.archive.removals import Removals, Sweeper
from appliance.archive.repair import mark_missing, open_repaired
from appliance.archive.studies import study_key
from appliance.settings import RetentionSettings, Settings
from appliance.workflow.exporting import export_studies
from appliance.workflow.headers import read_identity
from tests.appliance.archive.fakes import encode, make_dataset
from tests.faults.pages import SOP_CLASS, SYNTAX, spool_of
from tests.faults.tally import Tally

PASSPHRASE = "correct horse battery"  # noqa: S105 - of the test
IMAGES = 3
GOES, STAYS = "1.2.1", "1.2.2"
FILE_EVENTS = frozenset({"open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "shutil.copyfile", "shutil.rmtree"})
STATEMENTS = ("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE", "COMMIT", "REINDEX")


@dataclass(frozen=True)
class Scenario:
    """A piece of work on a data folder: how to prepare it, the work itself, and what is wrong after it was broken off."""

    prepare: Callable[[Path], None]
    work: Callable[[Path], None]
    check: Callable[[Path], list[str]]


def kills_of_keeping(*, every: int = 1, names: Sequence[str] = ()) -> Tally:
    """Kill each piece of work at each step, or at every n-th."""
    tally = Tally()
    memory = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    for name, scenario in SCENARIOS.items():
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
            template = Path(place) / "template"
            _fill(template / "data")
            scenario.prepare(template)
            step = 1
            while True:
                box = Path(place) / "box"
                shutil.copytree(template, box)
                through = _run(scenario.work, box, step)
                tally.losses += [f"{name} killed at step {step}: {text}" for text in scenario.check(box)]
                shutil.rmtree(box)
                if through:
                    break
                tally.count(f"kills of {name}")
                step += every
    return tally


def _run(work: Callable[[Path], None], box: Path, step: int) -> bool:
    """Do the work in a child that kills itself at a step; whether it got through."""
    child = os.fork()
    if child == 0:
        try:
            _die_at(step)
            work(box)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the child ended with {code}")
    return code == 0


def _die_at(step: int) -> None:
    count = 0

    def reached() -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and (event != "open" or arguments[1] not in ("r", "rb", None) or (arguments[2] or 0) & 3):
            reached()

    class Watched(database_module._Connection):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.set_trace_callback(lambda statement: reached() if statement.startswith(STATEMENTS) else None)

    database_module._Connection = Watched  # type: ignore[misc] - in the child process only
    sys.addaudithook(heard)


# -- what is on the box


def _fill(data: Path) -> None:
    """Two studies, delivered; one of them with a draft."""
    archive = open_archive(data)
    spool = spool_of(archive)
    for study in (GOES, STAYS):
        for number in range(1, IMAGES + 1):
            dataset = make_dataset(study=study, series=f"{study}.1", number=number)
            spool.store(
                sop_class_uid=SOP_CLASS, sop_instance_uid=f"{study}.1.{number}", transfer_syntax_uid=SYNTAX, part10=encode(dataset),
                association=None,
            )  # fmt: skip
    spool.close()
    for image in archive.index.unsorted(limit=100):
        header = read_identity(image.path)
        study = archive.studies.find(header.study_uid) or archive.studies.create(header)
        archive.index.sort(image.id, study=study.key, series_uid=header.series_uid)
        draft = archive.drafts / study.key / "g1-r1"
        draft.mkdir(parents=True, exist_ok=True)
        (draft / "findings.json").write_text("{}")
        archive.studies.save(msgspec.structs.replace(study, images=study.images + 1, state="delivered", draft=f"{study.key}/g1-r1"))
    with archive.database.transaction() as connection:
        connection.execute("UPDATE instances SET relayed = 1")
    archive.close()
    _merge(data)


def _merge(data: Path) -> None:
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _start(data: Path) -> Archive:
    """As coordinator and receiver do it."""
    archive = open_repaired(Settings(data=data), clock=SystemClock())
    spool = spool_of(archive)
    Sweeper(database=archive.database, spool=spool).finish()
    found = spool.recover()
    mark_missing(archive, found.missing)
    Removals(database=archive.database).remove_drafts(archive.drafts)
    spool.close()
    return archive


def _images(archive: Archive, study: str) -> int:
    """How many images of a study the box has, rows and files alike."""
    with archive.database.reading() as connection:
        rows = connection.execute("SELECT sop_instance_uid FROM instances WHERE problem IS NULL").fetchall()
    uids = {row["sop_instance_uid"] for row in rows if row["sop_instance_uid"].startswith(study + ".")}
    spool = archive.data / "spool"
    files = sum(1 for uid in uids if (spool / instance_name(uid)).exists())
    return files if files == len(uids) else -1


# -- the pieces of work


def _remove(box: Path) -> None:
    archive = open_archive(box / "data")
    retention = archive.retention(RetentionSettings(images_must_be_archived=False))
    retention.remove(study_key(GOES), actor="coronet", why="room")
    retention._remove_results_of(study_key(GOES), age_s=-1.0)
    spool = spool_of(archive)
    Sweeper(database=archive.database, spool=spool).finish()
    Removals(database=archive.database).remove_drafts(archive.drafts)
    spool.close()
    archive.close()


def _check_removed(box: Path) -> list[str]:
    archive = _start(box / "data")
    wrong = [] if _images(archive, STAYS) == IMAGES else ["the other study lost images"]
    images, study = _images(archive, GOES), archive.studies.get(study_key(GOES))
    if images not in (0, IMAGES) or study.images != images:
        wrong.append(f"{images} images where the study has {study.images}")
    files = sum(1 for _ in (box / "data" / "spool").glob("[0-9a-f][0-9a-f]/*"))
    if files != IMAGES + images:
        wrong.append(f"{files} files for {IMAGES + images} images")
    folder = archive.drafts / study.key / "g1-r1"
    if (study.draft is not None) != folder.exists():
        wrong.append("draft and row differ")
    recorded = [entry.action for entry in archive.audit.entries(study=study.key)]
    if ("images-removed" in recorded) != (images == 0):
        wrong.append("the audit trail does not say what happened")
    if archive.audit.verify() is not None:
        wrong.append("the audit trail is broken")
    archive.close()
    return wrong


def _damage(box: Path) -> None:
    data = box / "data"
    take_snapshot(data / "coronet.db", data / "snapshots", now=1.0, keep=2)
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'instances'").fetchone()[0]
    with (data / "coronet.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def _damage_index(box: Path) -> None:
    with closing(sqlite3.connect(box / "data" / "coronet.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'instances_by_study'").fetchone()[0]
    with (box / "data" / "coronet.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def _repair(box: Path) -> None:
    open_repaired(Settings(data=box / "data"), clock=SystemClock()).close()


def _check_whole(box: Path) -> list[str]:
    archive = _start(box / "data")
    wrong = [f"images of {study} are lost" for study in (GOES, STAYS) if _images(archive, study) != IMAGES]
    if archive.audit.verify() is not None:
        wrong.append("the audit trail is broken")
    archive.close()
    return wrong


def _snapshot(box: Path) -> None:
    take_snapshot(box / "data" / "coronet.db", box / "data" / "snapshots", now=2.0, keep=1)


def _check_snapshot(box: Path) -> list[str]:
    kept = snapshots(box / "data" / "snapshots")
    whole = [each for each in kept if whole_snapshot(each)]
    return _check_whole(box) + ([] if whole and whole == kept else [f"{len(whole)} of {len(kept)} snapshots are whole"])


def _back_up(box: Path) -> None:
    (box / "coronet.toml").write_text("")
    write_backup(box / "data", box / "coronet.toml", box / "stick", passphrase=PASSPHRASE, software="test", now=1.0, memory_kib=64)


def _restore(box: Path) -> None:
    read_backup(next((box / "stick").glob("*.sealed")), box / "data", passphrase=PASSPHRASE)


def _export(box: Path) -> None:
    (box / "stick").mkdir(exist_ok=True)
    with closing(open_archive(box / "data")) as archive:
        export_studies(archive, [study_key(GOES)], box / "stick", what=("source",), passphrase=PASSPHRASE, actor="service")


def _check_export(box: Path) -> list[str]:
    wrong = _check_whole(box)
    for path in (box / "stick").glob("CORONET-*") if (box / "stick").exists() else ():
        try:
            with pyzipper.AESZipFile(path) as bundle:
                bundle.setpassword(PASSPHRASE.encode())
                if sum(len(bundle.read(name)) > 0 for name in bundle.namelist()) != IMAGES + 2:
                    wrong.append("a file-set is not whole")
        except (pyzipper.BadZipFile, RuntimeError) as error:
            wrong.append(f"a file shows that cannot be read: {error}")
    return wrong


def _nothing(box: Path) -> None:
    """The box is as it should be."""


SCENARIOS: dict[str, Scenario] = {
    "retention": Scenario(_nothing, _remove, _check_removed),
    "repair": Scenario(_damage, _repair, _check_whole),
    "reindex": Scenario(_damage_index, _repair, _check_whole),
    "snapshot": Scenario(_snapshot, _snapshot, _check_snapshot),
    "restore": Scenario(_back_up, _restore, _check_whole),
    "export": Scenario(_nothing, _export, _check_export),
}
