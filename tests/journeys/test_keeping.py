"""A patient's CD comes in, a stick goes out, the database breaks, the box is restored: no image is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyzipper
from pydicom.fileset import FileSet

from appliance.archive.archive import open_archive
from tests.appliance.running import daemon, open_archive_of
from tests.faults.pages import SOP_CLASS
from tests.peers.datasets import ct_slice, save
from tests.peers.waiting import wait_until

IMAGES = 8
PIN = "2468"


def appliance(*words: str, said: str = "", expect: int = 0) -> str:
    """One command of the command line; its output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *words], input=said, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == expect, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def burn(cd: Path) -> None:
    """A CD of another hospital: a file-set, a viewer, and a scratch."""
    files = FileSet()
    for index in range(IMAGES):
        files.add(save(ct_slice(index=index), cd.parent / f"{index}.dcm"))
    files.write(cd)
    (cd / "VIEWER.EXE").write_bytes(bytes(1000))
    broken = next(path for path in sorted(cd.rglob("IM*")) if path.is_file())
    broken.write_bytes(broken.read_bytes()[:-500])


def corrupt_indexes(database: Path) -> None:
    """Rubbish over an index of the instances."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'instances_by_study'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def lines_with(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def test_media_in_and_out_a_broken_database_and_a_restored_box(tmp_path: Path) -> None:
    box, cd, stick = tmp_path / "box", tmp_path / "cd", tmp_path / "stick"
    cd.mkdir()
    stick.mkdir()
    burn(cd)
    settings = str(box / "coronet.toml")

    with daemon(box) as running:
        appliance("user", "--settings", settings, "add", "--name", "Li", "--role", "radiographer", said=f"{PIN}\n")
        said = appliance("import", str(cd), "--settings", settings, expect=1)
        assert lines_with(said, [f"accepted {IMAGES - 1}", "refused 1", "WF-064"])
        with open_archive_of(running) as archive:
            wait_until(lambda: sum(study.images for study in archive.studies.latest(limit=5)) == IMAGES - 1, what="intake")
            key = archive.studies.latest(limit=1)[0].key

        said = appliance("export", key, "--to", str(stick), "--settings", settings)
        passphrase = said.strip().rsplit(" ", 1)[1]
        with pyzipper.AESZipFile(next(stick.glob("*.zip"))) as bundle:
            bundle.setpassword(passphrase.encode())
            assert sum(name.startswith("DICOM/") for name in bundle.namelist()) == IMAGES - 1
        plain = ["export", key, "--to", str(stick), "--plain", "--settings", settings]
        appliance(*plain, "--reason", "patient asked", said="9999\n", expect=1)
        assert len(list(stick.iterdir())) == 1
        appliance(*plain, "--reason", "patient asked", said=f"{PIN}\n")
        assert len(FileSet(next(path for path in stick.iterdir() if path.is_dir()) / "DICOMDIR")) == IMAGES - 1
        backup = appliance("backup", str(stick), "--settings", settings, said="a long passphrase\n").strip()
        with open_archive_of(running) as archive:
            actions = [entry.action for entry in archive.audit.entries()]
            assert {"import", "export-begun", "export", "backup"} <= set(actions)
            assert archive.audit.verify() is None

    corrupt_indexes(box / "data" / "coronet.db")
    with daemon(box) as running, open_archive_of(running) as archive:
        assert archive.components.get("database").reason.code == "ARC-053"  # type: ignore[union-attr]
        assert len(archive.index.of_study(key)) == IMAGES - 1
        appliance("check-database", "--acknowledge", "--settings", settings)
        assert archive.components.get("database").ready

    (box / "data" / "coronet.db").write_bytes(b"nothing of it is left")
    appliance("restore", backup, "--data", str(box / "data"), said="a wrong passphrase\n", expect=1)
    appliance("restore", backup, "--data", str(box / "data"), said="a long passphrase\n")
    with closing(open_archive(box / "data")) as archive:
        assert len(archive.index.of_study(key)) == IMAGES - 1
        assert archive.users.check(PIN) is not None
        assert archive.index.of_study(key)[0].sop_class_uid == SOP_CLASS
