"""Profiles on a stick: a tar file of profiles and the signature beside it. Everything is checked before anything is written."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from appliance.archive.files import make_folder, write_durably
from appliance.errors import MaintenanceError, SettingsError
from appliance.maintenance.signature import read_signed
from appliance.settings import check_profile
from appliance.settings.profiles import MAXIMUM_BYTES

MAXIMUM_BUNDLE = 4 << 20
MAXIMUM_PROFILES = 64


def pack_profiles(folder: Path, bundle: Path) -> list[str]:
    """Write the profiles of a folder as a bundle, which is then signed; returns their names.

    Raises:
        MaintenanceError: MNT-011, a profile cannot be used.
    """
    names = sorted(path.stem for path in folder.glob("*.toml"))
    with tarfile.open(bundle, "w") as archive:
        for name in names:
            _check(name, folder)
            entry = tarfile.TarInfo(f"{name}.toml")
            content = (folder / entry.name).read_bytes()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return names


def import_profiles(bundle: Path, *, keyring: Path, folder: Path) -> list[str]:
    """Put the profiles of a signed bundle into a folder, replacing those of the same name; returns their names.

    Raises:
        MaintenanceError: MNT-001 to MNT-004 of the signature, MNT-010 no bundle, MNT-011 a bad profile. Nothing was written then.
    """
    content = read_signed(bundle, keyring=keyring, maximum_bytes=MAXIMUM_BUNDLE)
    profiles = _unpack(content)
    make_folder(folder)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as private:
        for name, text in profiles.items():
            (Path(private) / f"{name}.toml").write_bytes(text)
        for name in profiles:
            _check(name, Path(private))
    for name, text in profiles.items():
        write_durably(folder / f"{name}.toml", text)
    return sorted(profiles)


def _unpack(content: bytes) -> dict[str, bytes]:
    bad = MaintenanceError("MNT-010", zh="配置档包格式不正确", en="this is no bundle of profiles")
    profiles: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for entry in archive:
                stem, dot, suffix = entry.name.partition(".")
                if not entry.isreg() or (dot, suffix) != (".", "toml") or "/" in stem or entry.size > MAXIMUM_BYTES:
                    raise bad
                file = archive.extractfile(entry)
                profiles[stem] = b"" if file is None else file.read()
                if len(profiles) > MAXIMUM_PROFILES:
                    raise bad
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise bad from error
    if not profiles:
        raise bad
    return profiles


def _check(name: str, folder: Path) -> None:
    try:
        check_profile(name, folder=folder)
    except SettingsError as error:
        raise MaintenanceError("MNT-011", zh=f"配置档不可用:{error.zh}", en=f"a profile cannot be used: {error.en}") from error
