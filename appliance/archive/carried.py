"""Backups that leave the box: index and settings in one sealed file, and the way back.

The file is a ZIP (``manifest.json``, ``coronet.db``, ``coronet.toml``) sealed with a passphrase (`sealed`): the database holds patients'
names and the hashes of PINs and tokens, so there is no unsealed kind. The images are no part of it: they are in the archives, and those in
the spool are taken in again after a restore.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import zipfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from appliance.archive.archive import open_archive
from appliance.archive.backup import file_digest, place_database, sound, take_snapshot
from appliance.archive.files import PART, make_folder, sync_folder, write_durably
from appliance.archive.instance_files import hold_lock
from appliance.archive.migrations import MIGRATIONS
from appliance.archive.sealed import MEMORY_KIB, check_passphrase, seal, unseal
from appliance.errors import ArchiveError

VERSION = 1
DATABASE, SETTINGS, MANIFEST = "coronet.db", "coronet.toml", "manifest.json"
LARGEST_MANIFEST = 1 << 16


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds: SHA-256 of each member, the version of the database's shape, and when and by what it was made."""

    version: int
    created_at: float
    software: str
    schema: int
    members: dict[str, str]


@dataclass(frozen=True)
class Restored:
    """What came back: when the backup was made, and where what it replaced was put."""

    manifest: Manifest
    replaced: Path | None


def write_backup(
    data: Path, settings: Path, folder: Path, *, passphrase: str, software: str, now: float, memory_kib: int = MEMORY_KIB
) -> Path:
    """Write a backup of a data folder, which may be in use, and read it back.

    Args:
        data: the data folder.
        settings: the settings file.
        folder: where the backup shall lie: a stick, a network folder.
        passphrase: what it is sealed with.
        software: version of this software.
        now: seconds since the epoch.
        memory_kib: see `seal`.

    Returns:
        the file; it appears whole or not at all.

    Raises:
        ArchiveError: the passphrase is too short, the database is damaged, the folder cannot be written, or reading back fails.
    """
    check_passphrase(passphrase)
    name = f"coronet-backup-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}.sealed"
    part = folder / (name + PART)
    try:
        with tempfile.TemporaryDirectory(dir=data) as scratch:
            work = Path(scratch)
            snapshot = take_snapshot(data / DATABASE, work / "snapshot", now=now, keep=1)
            digests = {DATABASE: snapshot.description.sha256, SETTINGS: file_digest(settings)}
            manifest = Manifest(version=VERSION, created_at=now, software=software, schema=snapshot.description.schema, members=digests)
            with zipfile.ZipFile(work / "content.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
                bundle.writestr(MANIFEST, msgspec.json.encode(manifest))
                bundle.write(snapshot.path, DATABASE)
                bundle.write(settings, SETTINGS)
            make_folder(folder)
            seal(work / "content.zip", part, passphrase=passphrase, memory_kib=memory_kib)
            _unpack(part, work / "again", passphrase=passphrase)
        part.rename(folder / name)
        sync_folder(folder)
    except OSError as error:
        raise _unwritable(error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return folder / name


def read_backup(file: Path, data: Path, *, passphrase: str, settings: Path | None = None) -> Restored:
    """Put the database of a backup in the place of the one of a data folder, which nobody may use.

    Args:
        file: the backup.
        data: the data folder.
        passphrase: what it is sealed with.
        settings: write the settings of the backup there; an older file gets ``.before`` behind its name. Not written if not given.

    Raises:
        ArchiveError: another process uses the data folder, the backup cannot be opened or is of newer software, or nothing can be written.
    """
    try:
        make_folder(data / "spool")
        with ExitStack() as stack:
            for lock, what in ((data / "daemon.lock", "daemon"), (data / "spool" / "receiver.lock", "spool")):
                stack.enter_context(closing(hold_lock(lock, what=what)))
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=data)))
            manifest = _unpack(file, work, passphrase=passphrase)
            replaced = _put_away(data) if (data / DATABASE).exists() else None
            place_database(work / DATABASE, data / DATABASE, of_earlier=True)
            if settings is not None:
                if settings.exists():
                    shutil.copyfile(settings, settings.with_name(settings.name + ".before"))
                write_durably(settings, (work / SETTINGS).read_bytes())
        with closing(open_archive(data)) as archive:
            archive.audit.record(
                actor="service", action="restored", details={"created_at": manifest.created_at, "software": manifest.software}
            )
    except OSError as error:
        raise _unwritable(error) from error
    return Restored(manifest, replaced)


def _unpack(file: Path, folder: Path, *, passphrase: str) -> Manifest:
    """Open a backup into a folder and check every member of it."""
    make_folder(folder)
    content = folder / "content.unsealed"
    unseal(file, content, passphrase=passphrase)
    try:
        with zipfile.ZipFile(content) as bundle:
            with bundle.open(MANIFEST) as member:
                manifest = msgspec.json.decode(member.read(LARGEST_MANIFEST), type=Manifest)
            if manifest.version != VERSION or manifest.schema > len(MIGRATIONS):
                raise ArchiveError(
                    "ARC-064", zh="备份由更新版本的软件生成", en="the backup was made by newer software", version=manifest.version
                )
            for name in (DATABASE, SETTINGS):
                bundle.extract(name, folder)
                if file_digest(folder / name) != manifest.members.get(name):
                    raise _not_whole()
        with closing(sqlite3.connect(folder / DATABASE)) as connection:
            if not sound(connection):
                raise _not_whole()
    except (zipfile.BadZipFile, KeyError, msgspec.DecodeError, sqlite3.DatabaseError) as error:
        raise _not_whole() from error
    finally:
        content.unlink(missing_ok=True)
    return manifest


def _put_away(data: Path) -> Path:
    """Keep the database that is replaced."""
    folder = data / "replaced"
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    for suffix in ("", "-wal", "-shm"):
        path = data / (DATABASE + suffix)
        if path.exists():
            shutil.copyfile(path, folder / path.name)
    return folder


def _not_whole() -> ArchiveError:
    return ArchiveError("ARC-063", zh="备份内容不完整", en="the content of the backup is not whole")


def _unwritable(error: OSError) -> ArchiveError:
    return ArchiveError("ARC-065", zh=f"无法读写:{error.strerror}", en=f"a file cannot be read or written: {error.strerror}")
