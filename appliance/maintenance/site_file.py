"""Settings of a site in one sealed file, from one box to another: the settings, the profiles, the people (their PINs only as hashes).

A backup (`appliance.archive.carried`) holds the index of a box and puts it back whole; this holds nothing of any patient, and is for the
box that takes another's place, or for ten of them. It is sealed with a passphrase: hashes of short PINs can be guessed by who has them.
"""

from __future__ import annotations

import sqlite3
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from appliance.archive.archive import Archive
from appliance.archive.files import make_folder, write_durably
from appliance.archive.sealed import MEMORY_KIB, seal, unseal
from appliance.errors import MaintenanceError
from appliance.settings import load_settings
from appliance.settings.profiles import MAXIMUM_BYTES, whole_text
from appliance.study import Role

VERSION = 1
MAXIMUM_FILE = 8 << 20
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who may sign in. ``pin_hash``: Argon2, as the database keeps it."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}$")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    role: Role
    pin_hash: Annotated[str, msgspec.Meta(pattern=r"^\$argon2", max_length=400)]
    disabled: bool


class SiteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds: TOML texts as they stand."""

    version: int
    software: str
    settings: str
    profiles: dict[Name, str]
    people: tuple[Person, ...]


def export_site(archive: Archive, settings: Path, out: Path, *, passphrase: str, software: str, memory_kib: int = MEMORY_KIB) -> int:
    """Write settings, profiles and people of this box, sealed; returns how many people.

    Raises:
        ArchiveError: ARC-060, the passphrase is too short.
        MaintenanceError: MNT-012, a file cannot be read or written.
    """
    with archive.database.reading() as connection:
        rows = connection.execute("SELECT id, name, role, pin_hash, disabled FROM users ORDER BY id").fetchall()
    people = tuple(
        Person(id=row["id"], name=row["name"], role=row["role"], pin_hash=row["pin_hash"], disabled=bool(row["disabled"])) for row in rows
    )
    try:
        profiles = {path.stem: path.read_text("utf-8") for path in sorted((settings.parent / "profiles").glob("*.toml"))}
        content = SiteFile(version=VERSION, software=software, settings=settings.read_text("utf-8"), profiles=profiles, people=people)
        with tempfile.TemporaryDirectory(prefix="coronet-site-") as folder:
            plain = Path(folder) / "site.json"
            plain.write_bytes(msgspec.json.encode(content))
            seal(plain, out, passphrase=passphrase, memory_kib=memory_kib)
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable() from error
    return len(people)


@dataclass(frozen=True)
class OpenedSite:
    """A file that was found good. ``whole``: its settings with its profiles laid beneath, as TOML."""

    content: SiteFile
    whole: str

    def put(self, archive: Archive, adopt: Callable[[str], object]) -> Sequence[str]:
        """Have the settings put in their place by ``adopt``, then add the people; returns the names of those who are new."""
        adopt(self.whole)
        return _add(archive, self.content.people)


def open_site(file: Path, *, passphrase: str) -> OpenedSite:
    """Unseal a file and check all of it; nothing is changed.

    Raises:
        ArchiveError: ARC-061, ARC-062, it is no sealed file of ours, or the passphrase is wrong.
        SettingsError: the settings or a profile cannot be used here.
        MaintenanceError: MNT-012, MNT-013.
    """
    content = _read(file, passphrase=passphrase)
    with tempfile.TemporaryDirectory(prefix="coronet-site-") as folder:
        trial = Path(folder)
        (trial / "profiles").mkdir()
        for name, text in content.profiles.items():
            (trial / "profiles" / f"{name}.toml").write_text(text, "utf-8")
        (trial / "coronet.toml").write_text(content.settings, "utf-8")
        load_settings(trial / "coronet.toml")
        return OpenedSite(content, whole_text(trial / "coronet.toml"))


def import_site(archive: Archive, file: Path, settings: Path, *, passphrase: str) -> Sequence[str]:
    """Put settings, profiles and people of a sealed file into this box; all is checked first. Returns the names of the people that are new.

    People who are here already, by their identity or by a name and role, stay as they are.

    Raises:
        ArchiveError: ARC-061, ARC-062, it is no sealed file of ours, or the passphrase is wrong.
        SettingsError: the settings or a profile cannot be used here.
        MaintenanceError: MNT-012, MNT-013.
    """
    content = open_site(file, passphrase=passphrase).content
    try:
        make_folder(settings.parent / "profiles")
        for name, text in content.profiles.items():
            write_durably(settings.parent / "profiles" / f"{name}.toml", text.encode())
        write_durably(settings, content.settings.encode())
    except OSError as error:
        raise _unusable() from error
    return _add(archive, content.people)


def _read(file: Path, *, passphrase: str) -> SiteFile:
    try:
        with tempfile.TemporaryDirectory(prefix="coronet-site-") as folder:
            plain = Path(folder) / "site.json"
            if file.stat().st_size > MAXIMUM_FILE:
                raise _strange()
            unseal(file, plain, passphrase=passphrase)
            content = msgspec.json.decode(plain.read_bytes(), type=SiteFile)
        if content.version != VERSION or any(len(text) > MAXIMUM_BYTES for text in content.profiles.values()):
            raise _strange()
        tomllib.loads(content.settings)
    except OSError as error:
        raise _unusable() from error
    except (msgspec.DecodeError, tomllib.TOMLDecodeError) as error:
        raise _strange() from error
    return content


def _add(archive: Archive, people: Sequence[Person]) -> list[str]:
    added = []
    with archive.database.transaction() as connection:
        here = {(row["name"], row["role"]) for row in connection.execute("SELECT name, role FROM users")}
        for person in people:
            if (person.name, person.role) in here:
                continue
            try:
                connection.execute(
                    "INSERT INTO users (id, name, role, pin_hash, created_at, disabled) VALUES (?, ?, ?, ?, ?, ?)",
                    (person.id, person.name, person.role, person.pin_hash, archive.clock.wall(), int(person.disabled)),
                )
            except sqlite3.IntegrityError:
                continue  # that identity is here, under another name
            added.append(person.name)
        archive.audit.record(actor="service", action="site-import", details={"people": len(added)})
    return added


def _unusable() -> MaintenanceError:
    return MaintenanceError("MNT-012", zh="设置文件无法读取或写入", en="the file of the site cannot be read or written")


def _strange() -> MaintenanceError:
    return MaintenanceError("MNT-013", zh="不是本机的设置导出文件", en="that is no file of a site's settings")
