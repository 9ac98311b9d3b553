"""Sealed backups: nobody reads or changes one unnoticed, and what comes back is what went in."""

from __future__ import annotations

import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from appliance.archive.carried import Manifest, read_backup, write_backup
from appliance.archive.instance_files import hold_lock
from appliance.archive.sealed import PIECE, seal, unseal
from appliance.errors import ArchiveError
from tests.appliance.archive.fakes import CHEAP_HASHER, make_archive

PASSPHRASE = "correct horse battery"  # noqa: S105 - of the test
CHEAP = 64
NOW = 1_800_000_000.0


@pytest.fixture
def box(memory: Path) -> Path:
    """A folder with ``data`` (a user, a trail) and ``coronet.toml``."""
    archive = make_archive(memory / "data")
    archive.users.add(name="Li", role="physician", pin="2468")
    archive.audit.record(actor="coronet", action="test")
    archive.close()
    (memory / "coronet.toml").write_text('[policy]\ninstitution = "医院"\n', "utf-8")
    return memory


def backup(box: Path) -> Path:
    return write_backup(
        box / "data", box / "coronet.toml", box / "stick", passphrase=PASSPHRASE, software="0.1.0", now=NOW, memory_kib=CHEAP
    )


def code(raised: pytest.ExceptionInfo[ArchiveError]) -> str:
    return raised.value.code


# -- sealed files


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_what_was_sealed_comes_back(memory: Path, size: int) -> None:
    content = bytes(index * 7 % 256 for index in range(min(size, 1000))) * (size // 1000 + 1)
    (memory / "plain").write_bytes(content[:size])
    seal(memory / "plain", memory / "sealed", passphrase=PASSPHRASE, memory_kib=CHEAP)
    unseal(memory / "sealed", memory / "again", passphrase=PASSPHRASE)
    assert (memory / "again").read_bytes() == content[:size]


def test_nothing_of_the_content_can_be_read_and_two_seals_differ(memory: Path) -> None:
    (memory / "plain").write_bytes(b"Wang^XiaoDong" * 100)
    for name in ("one", "two"):
        seal(memory / "plain", memory / name, passphrase=PASSPHRASE, memory_kib=CHEAP)
    assert b"Wang" not in (memory / "one").read_bytes()
    assert (memory / "one").read_bytes()[200:] != (memory / "two").read_bytes()[200:]


def swap_pieces(raw: bytearray, head: int) -> bytearray:
    size = 5 + PIECE + 16
    return raw[:head] + raw[head + size : head + 2 * size] + raw[head : head + size] + raw[head + 2 * size :]


@pytest.mark.parametrize("fault", ["passphrase", "bit", "head", "cut", "cut at a piece", "more", "pieces swapped"])
def test_a_changed_cut_or_reordered_file_is_refused_and_leaves_nothing(memory: Path, fault: str) -> None:
    (memory / "plain").write_bytes(bytes(2 * PIECE + 100))
    seal(memory / "plain", memory / "sealed", passphrase=PASSPHRASE, memory_kib=CHEAP)
    raw = bytearray((memory / "sealed").read_bytes())
    head = 12 + int.from_bytes(raw[8:12], "little")
    if fault == "bit":
        raw[-20] ^= 1
    elif fault == "head":
        raw[raw.index(b'"time_cost":3') + 12] = ord("4")
    elif fault == "cut":
        raw = raw[:-1]
    elif fault == "cut at a piece":
        raw = raw[: head + 5 + PIECE + 16]
    elif fault == "more":
        raw += b"x"
    elif fault == "pieces swapped":
        raw = swap_pieces(raw, head)
    (memory / "sealed").write_bytes(raw)
    with pytest.raises(ArchiveError) as raised:
        unseal(memory / "sealed", memory / "again", passphrase="wrong horse battery" if fault == "passphrase" else PASSPHRASE)
    assert code(raised) == "ARC-062"
    assert not (memory / "again").exists()


@pytest.mark.parametrize(
    "raw", [b"", b"PK\3\4 something else", b"CORONETS\xff\xff\xff\xff", b"CORONETS\x02\0\0\0{}", b"CORONETS\x0e\0\0\0" + b'{"version": 1}']
)
def test_other_files_are_told_apart(memory: Path, raw: bytes) -> None:
    (memory / "other").write_bytes(raw)
    with pytest.raises(ArchiveError) as raised:
        unseal(memory / "other", memory / "again", passphrase=PASSPHRASE)
    assert code(raised) == "ARC-061"


def test_a_file_cannot_make_us_take_all_memory(memory: Path) -> None:
    (memory / "plain").write_bytes(b"x")
    seal(memory / "plain", memory / "sealed", passphrase=PASSPHRASE, memory_kib=CHEAP)
    raw = (memory / "sealed").read_bytes()
    head = raw[12 : 12 + int.from_bytes(raw[8:12], "little")].replace(b":64", b":4294967295")
    (memory / "sealed").write_bytes(b"CORONETS" + len(head).to_bytes(4, "little") + head)
    with pytest.raises(ArchiveError) as raised:
        unseal(memory / "sealed", memory / "again", passphrase=PASSPHRASE)
    assert code(raised) == "ARC-061"


# -- backups


def test_index_users_trail_and_settings_come_back(box: Path) -> None:
    file = backup(box)
    assert sorted(path.name for path in (box / "stick").iterdir()) == [file.name]
    raw = file.read_bytes()
    assert b"argon2" not in raw
    assert b"SQLite" not in raw
    other = box / "other"
    restored = read_backup(file, other, passphrase=PASSPHRASE, settings=box / "restored.toml")
    assert restored.manifest.created_at == NOW
    assert restored.replaced is None
    assert (box / "restored.toml").read_text("utf-8") == (box / "coronet.toml").read_text("utf-8")
    archive = make_archive(other)
    assert archive.users._hasher is CHEAP_HASHER
    user = archive.users.check("2468")
    assert user is not None
    assert user.name == "Li"
    assert [entry.action for entry in archive.audit.entries()] == ["test", "restored"]
    assert archive.audit.verify() is None
    archive.close()


def test_what_is_replaced_is_kept(box: Path) -> None:
    file = backup(box)
    archive = make_archive(box / "data")
    archive.users.add(name="Zhao", role="radiographer", pin="1357")
    archive.close()
    restored = read_backup(file, box / "data", passphrase=PASSPHRASE, settings=box / "coronet.toml")
    archive = make_archive(box / "data")
    assert [user.name for user in archive.users.all()] == ["Li"]
    archive.close()
    assert restored.replaced is not None
    with closing(sqlite3.connect(restored.replaced / "coronet.db")) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone()[0] == 2
    assert (box / "coronet.toml.before").exists()


def test_nothing_is_restored_under_a_running_appliance(box: Path) -> None:
    file = backup(box)
    with closing(hold_lock(box / "data" / "daemon.lock", what="daemon")), pytest.raises(ArchiveError) as raised:
        read_backup(file, box / "data", passphrase=PASSPHRASE)
    assert code(raised) == "ARC-003"


def test_a_wrong_passphrase_changes_nothing(box: Path) -> None:
    file = backup(box)
    before = (box / "data" / "coronet.db").read_bytes()
    with pytest.raises(ArchiveError) as raised:
        read_backup(file, box / "data", passphrase="another passphrase")  # noqa: S106
    assert code(raised) == "ARC-062"
    assert (box / "data" / "coronet.db").read_bytes() == before
    assert not (box / "data" / "replaced").exists()


def test_a_short_passphrase_is_refused(box: Path) -> None:
    with pytest.raises(ArchiveError) as raised:
        write_backup(box / "data", box / "coronet.toml", box / "stick", passphrase="1234", software="", now=NOW)  # noqa: S106
    assert code(raised) == "ARC-060"
    assert not (box / "stick").exists()


@pytest.mark.parametrize(
    ("fault", "expected"), [("newer", "ARC-064"), ("digest", "ARC-063"), ("no zip", "ARC-063"), ("no database", "ARC-063")]
)
def test_a_backup_that_cannot_be_used_is_refused(box: Path, fault: str, expected: str) -> None:
    file = backup(box)
    unseal(file, box / "content", passphrase=PASSPHRASE)
    with zipfile.ZipFile(box / "content") as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    manifest = msgspec.json.decode(members["manifest.json"], type=Manifest)
    if fault == "newer":
        members["manifest.json"] = msgspec.json.encode(msgspec.structs.replace(manifest, schema=99))
    elif fault == "digest":
        members["coronet.db"] += b"x"
    elif fault == "no database":
        del members["coronet.db"]
    with zipfile.ZipFile(box / "changed", "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    if fault == "no zip":
        (box / "changed").write_bytes(b"no zip")
    seal(box / "changed", file, passphrase=PASSPHRASE, memory_kib=CHEAP)
    with pytest.raises(ArchiveError) as raised:
        read_backup(file, box / "data", passphrase=PASSPHRASE)
    assert code(raised) == expected


def test_a_folder_that_cannot_be_written_is_a_typed_failure(box: Path) -> None:
    (box / "stick").write_text("a file where the folder should be")
    with pytest.raises(ArchiveError) as raised:
        backup(box)
    assert code(raised) == "ARC-065"
