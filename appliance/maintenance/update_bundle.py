"""An update on a stick, checked whole before anything is written: signature, machine, version, and every byte of the payload.

RAUC's verity bundle (rauc.readthedocs.io, "Bundle formats") is a squashfs, its dm-verity hash tree, a CMS that holds the signed manifest,
and the CMS's length in eight bytes. ``rauc info`` reads the manifest only: a changed byte of the payload would show itself in the middle of
the installation. Here the hash tree is computed anew from the payload, and its root compared with the one that was signed.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from appliance.errors import MaintenanceError, UpdateError
from appliance.maintenance.signature import open_plain, run_openssl

BLOCK = 4096
DIGEST = 32
MAXIMUM_CMS = 64 * 1024
MAXIMUM_FOUND = 16
MAXIMUM_ENTRIES = 4096
"""A stick whose directory never ends is looked at so far."""
MAXIMUM_NOTES = 4000
COMPATIBLE = "coronet-x86-64-v1"
"""What this kind of machine is, as RAUC's system.conf says."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\.raucb\Z")
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}\Z")


@dataclass(frozen=True)
class Notes:
    """Release notes."""

    zh: str
    en: str


@dataclass(frozen=True)
class Update:
    """What an update says of itself, signed.

    Attributes:
        notes: for the person who is asked, in both languages.
        needs: oldest version that it can be installed over.
        digest: root hash of the payload (hex): two bundles of one digest hold the same.
        images: bytes of each image, by the class of its slot.
    """

    version: str
    compatible: str
    notes: Notes
    needs: str
    digest: str
    images: Mapping[str, int]
    payload_bytes: int


def find_updates(stick: Path) -> list[Path]:
    """The bundles at the top of a stick, newest name first; folders, links, odd names, and all beyond `MAXIMUM_FOUND` are left out."""
    try:
        with os.scandir(stick) as entries:
            first = islice(entries, MAXIMUM_ENTRIES)
            named = [entry for entry in first if _SAFE_NAME.match(entry.name) and entry.is_file(follow_symlinks=False)]
    except OSError as error:
        raise MaintenanceError("MNT-001", zh="无法读取 U 盘", en="the stick cannot be read") from error
    return [Path(entry.path) for entry in sorted(named, key=lambda entry: entry.name, reverse=True)[:MAXIMUM_FOUND]]


def inspect_update(
    path: Path, *, keyring: Path, compatible: str, minimum: str, room: Mapping[str, int] | None = None, quick: bool = False
) -> Update:
    """Check a bundle as a whole; nothing is written anywhere.

    Args:
        path: the bundle.
        keyring: certificates of our authorities.
        compatible: what this machine is, e.g. ``coronet-x86_64``.
        minimum: oldest version that may be installed: the running one.
        room: bytes of the slot of each class, where they are known.
        quick: read the signed manifest only, to choose among several; never enough to install.

    Raises:
        MaintenanceError: MNT-001 it cannot be read, MNT-003 not signed by us, MNT-020 for another machine, MNT-021 too old, MNT-022 not
            whole, MNT-023 its manifest is not understood.
        UpdateError: UPD-005 another update must come first, UPD-020 it does not fit the slot.
    """
    try:
        with open_plain(path) as file:
            size, cms = _cms(file)
            manifest = _manifest(_signed(cms, keyring=keyring))
            update = _update(manifest, payload_bytes=size - manifest.getint("bundle", "verity-size"))
            _check_fit(update, compatible=compatible, minimum=minimum)
            _check_room(update.images, room or {})
            if not quick:
                _check_payload(file, manifest, payload_bytes=update.payload_bytes)
    except OSError as error:
        raise MaintenanceError("MNT-001", zh=f"无法读取 {path.name}", en=f"{path.name} cannot be read") from error
    except (configparser.Error, ValueError) as error:
        raise _strange() from error
    return update


def _cms(file: BinaryIO) -> tuple[int, bytes]:
    """Bytes before the CMS, and the CMS."""
    end = file.seek(0, os.SEEK_END)
    if end < 8 + 2 * BLOCK:
        raise _not_whole()
    file.seek(end - 8)
    length = int.from_bytes(file.read(8), "big")
    if not 0 < length <= min(MAXIMUM_CMS, end - 8):
        raise _not_whole()
    file.seek(end - 8 - length)
    return end - 8 - length, file.read(length)


def _signed(cms: bytes, *, keyring: Path) -> str:
    """The manifest inside the CMS, if the signature is of one of our keys."""
    with tempfile.TemporaryDirectory(prefix="coronet-update-") as folder:
        signed, out = Path(folder) / "cms", Path(folder) / "manifest"
        signed.write_bytes(cms)
        done = run_openssl(
            "cms", "-verify", "-binary", "-inform", "DER", "-in", str(signed), "-out", str(out), "-CAfile", str(keyring),
            "-no-CApath", "-no-CAstore",
        )  # fmt: skip
        if done.returncode != 0:
            raise MaintenanceError(
                "MNT-003",
                zh="更新包的签名无效或不受信任(亦请核对本机时间)",
                en="the update is not signed by one of our keys (is the clock right?)",
            )
        return out.read_text("utf-8", errors="replace")


def _manifest(text: str) -> configparser.RawConfigParser:
    manifest = configparser.RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#",), empty_lines_in_values=False)
    manifest.read_string(text)
    if manifest.get("bundle", "format") != "verity":
        raise _strange()
    return manifest


def _update(manifest: configparser.RawConfigParser, *, payload_bytes: int) -> Update:
    version = manifest.get("update", "version")
    notes, needs = _described(_text(manifest.get("update", "description", fallback="")))
    if not (_VERSION.match(version) and _VERSION.match(needs)) or payload_bytes <= 0 or payload_bytes % BLOCK:
        raise _strange()
    images = {section[6:]: manifest.getint(section, "size") for section in manifest.sections() if section.startswith("image.")}
    return Update(
        version=version,
        compatible=manifest.get("update", "compatible"),
        notes=notes,
        needs=needs,
        digest=bytes.fromhex(manifest.get("bundle", "verity-hash")).hex(),
        images=images,
        payload_bytes=payload_bytes,
    )


def _text(value: str) -> str:
    """A string of a GKeyFile without its escapes."""
    return re.sub(r"\\([sntr\\])", lambda match: {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}[match.group(1)], value)


def _described(description: str) -> tuple[Notes, str]:
    """Notes and the oldest version it installs over, from the description: our JSON, or any text, which then is the notes."""
    try:
        tree = json.loads(description)
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        return Notes(zh=description[:MAXIMUM_NOTES], en=description[:MAXIMUM_NOTES]), "0"
    zh, en = str(tree.get("zh", "")), str(tree.get("en", ""))
    return Notes(zh=(zh or en)[:MAXIMUM_NOTES], en=(en or zh)[:MAXIMUM_NOTES]), str(tree.get("needs", "0"))


def _check_fit(update: Update, *, compatible: str, minimum: str) -> None:
    if update.compatible != compatible:
        raise MaintenanceError("MNT-020", zh="此更新不适用于本机型", en=f"the update is for {update.compatible[:40]}, this is {compatible}")
    if _number(update.version) < _number(minimum):
        raise MaintenanceError(
            "MNT-021", zh=f"版本 {update.version} 过旧,不允许降级到 {minimum} 以下", en=f"version {update.version} is older than {minimum}"
        )

    if _number(minimum) < _number(update.needs):
        raise UpdateError(
            "UPD-005",
            zh=f"请先升级到 {update.needs},再安装 {update.version}",
            en=f"install version {update.needs} first, then {update.version}",
        )


def _check_room(images: Mapping[str, int], room: Mapping[str, int]) -> None:
    for name, size in images.items():
        if size > room.get(name, size):
            raise UpdateError(
                "UPD-020",
                zh=f"更新包过大:{name} 需 {size >> 20} MiB,分区仅 {room[name] >> 20} MiB",
                en=f"the update does not fit: {name} takes {size >> 20} MiB, the slot has {room[name] >> 20}",
            )


def _number(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    return tuple(parts + [0] * (4 - len(parts)))


def _check_payload(file: BinaryIO, manifest: configparser.RawConfigParser, *, payload_bytes: int) -> None:
    """The root of the hash tree over what is really there must be the one that was signed; the tree in the file must be that tree."""
    salt = bytes.fromhex(manifest.get("bundle", "verity-salt"))
    expected = bytes.fromhex(manifest.get("bundle", "verity-hash"))
    file.seek(0)
    level = _block_hashes(file, payload_bytes // BLOCK, salt)
    levels: list[bytes] = []
    while len(level) > DIGEST or not levels:
        padded = level + bytes(-len(level) % BLOCK)
        levels.append(padded)
        level = b"".join(hashlib.sha256(salt + padded[at : at + BLOCK]).digest() for at in range(0, len(padded), BLOCK))
    if level != expected:
        raise _not_whole()
    tree = b"".join(reversed(levels))
    file.seek(payload_bytes)
    if file.read(manifest.getint("bundle", "verity-size")) != tree:
        raise _not_whole()


def _block_hashes(file: BinaryIO, blocks: int, salt: bytes) -> bytes:
    """SHA-256 of salt and block, for each block; 1 MiB at a time, so that an update of any size fits."""
    salted = hashlib.sha256(salt)
    hashes = []
    while blocks:
        chunk = file.read(min(blocks, 256) * BLOCK)
        if not chunk or len(chunk) % BLOCK:
            raise _not_whole()
        for at in range(0, len(chunk), BLOCK):
            one = salted.copy()
            one.update(memoryview(chunk)[at : at + BLOCK])
            hashes.append(one.digest())
        blocks -= len(chunk) // BLOCK
    return b"".join(hashes)


def _not_whole() -> MaintenanceError:
    return MaintenanceError("MNT-022", zh="更新包不完整或已损坏", en="the update is not whole, or was changed")


def _strange() -> MaintenanceError:
    return MaintenanceError("MNT-023", zh="无法识别更新包的清单", en="the manifest of the update is not understood")
