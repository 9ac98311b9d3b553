"""The support bundle: what a service engineer needs to understand a box, and nothing of any patient.

Two nets, one behind the other. Only what is listed here goes in: states, counts, codes, settings without secrets, our log. And every text
on its way in passes the `Scrubber`, which knows every name, number and UID that the database holds and takes them out, with whatever has
the shape of a UID.
"""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.archive.files import make_folder
from appliance.build import software
from appliance.maintenance.database_view import DatabaseView
from appliance.maintenance.examination import Finding
from appliance.settings import Settings

REMOVED = "[removed]"
MAXIMUM_LOG_LINES = 20000
JOURNAL = ("journalctl", "--unit=coronet*", "--output=json", "--no-pager", f"--lines={MAXIMUM_LOG_LINES}")
JOURNAL_FIELDS = ("__REALTIME_TIMESTAMP", "PRIORITY", "_SYSTEMD_UNIT", "MESSAGE", "CORONET_LOGGER", "CORONET_EVENT", "CORONET_EXCEPTION")
_UID = re.compile(r"(?<![\d.])[012](?:\.\d+){4,}")
_LEAST = 3
"""Shorter words are no names in our log, and would tear holes into everything."""
_SECRETS = ("private_key", "certificate", "passphrase", "password", "pin", "token")
_COUNTS = {
    "studies": "SELECT state, COUNT(*) FROM studies GROUP BY state",
    "outbox": "SELECT kind || ' ' || state, COUNT(*) FROM outbox GROUP BY 1",
    "actions": "SELECT action, COUNT(*) FROM audit GROUP BY action",
    "users": "SELECT role, COUNT(*) FROM users GROUP BY role",
    "associations": "SELECT COALESCE(outcome, 'open'), COUNT(*) FROM associations GROUP BY 1",
}
_IDENTITIES = {
    "studies": ("SELECT header FROM studies", "SELECT study_uid FROM studies"),
    "orders": ("SELECT patient_id FROM orders", "SELECT accession_number FROM orders", "SELECT content FROM orders"),
    "found_studies": (
        "SELECT patient_name FROM found_studies", "SELECT patient_id FROM found_studies", "SELECT patient_birth_date FROM found_studies",
        "SELECT accession_number FROM found_studies",
    ),
    "users": ("SELECT name FROM users",),
    "pseudonyms": ("SELECT patient FROM pseudonyms", "SELECT pseudonym FROM pseudonyms"),
}  # fmt: skip
_NAMING = (
    "patient_name",
    "patient_id",
    "patient_birth_date",
    "accession_number",
    "study_id",
    "referring_physician",
    "study_uid",
    "series_uid",
)
"""Fields of a header that say who it is."""


class Scrubber:
    """Takes identities out of texts.

    Args:
        identities: whole names, numbers and UIDs; the parts of a name count too.
    """

    def __init__(self, identities: Iterable[str]) -> None:
        identities = list(identities)
        words = {part for identity in identities for part in (identity.strip(), *re.split(r"[\^=\s\\]+", identity)) if len(part) >= _LEAST}
        # Chinese names are two characters and more, and have no spaces around them
        words |= {
            identity for whole in identities for identity in re.split(r"[\^=\s]+", whole) if len(identity) >= 2 and not identity.isascii()
        }
        whole = {pattern for identity in identities for pattern in _spellings(identity)}
        patterns = [*sorted(whole, key=len, reverse=True), *map(re.escape, sorted(words, key=len, reverse=True))]
        self._known = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = _UID.sub(REMOVED, text)
        return text if self._known is None else self._known.sub(REMOVED, text)


def _spellings(identity: str) -> Iterator[str]:
    """Patterns of a name as people write it: its parts in both orders with any or no sign between them; a date with dashes."""
    for group in identity.split("="):
        parts = [re.escape(part) for part in re.split(r"[\^\s]+", group) if part]
        if len(parts) > 1 and sum(map(len, parts)) >= _LEAST - (not group.isascii()):
            between = r"[\^=\s,]*" if not group.isascii() else r"[\^=\s,]+"
            for ordered in (parts, parts[::-1]):
                # a short Latin name must not tear holes into words
                yield between.join(ordered) if not group.isascii() else rf"\b{between.join(ordered)}\b"
    if re.fullmatch(r"(19|20)\d{6}", identity):
        yield f"{identity[:4]}[-/.]{identity[4:6]}[-/.]{identity[6:]}"


def _plain(line: str) -> str:
    """A line of the log with its letters as such: escapes, and messages that the journal keeps as numbers, would hide a name."""
    try:
        tree = json.loads(line)
    except ValueError:
        return line
    if not isinstance(tree, dict):
        return line
    return json.dumps({name: _as_text(value) for name, value in tree.items()}, ensure_ascii=False)


def _as_text(value: Any) -> Any:
    """The journal writes what is not plain text as a list of byte values."""
    if isinstance(value, list) and value and all(isinstance(each, int) and 0 <= each < 256 for each in value):
        return bytes(value).decode("utf-8", "replace")
    return value


def write_bundle(
    out: Path, *, settings: Settings, findings: Sequence[Finding], journal: Callable[[], Iterable[str]] | None = None
) -> list[str]:
    """Write the bundle (tar, gzip); returns the names of what it holds.

    Args:
        out: the file, replaced if it is there.
        settings: of the box.
        findings: of `appliance.maintenance.examination`.
        journal: lines of the log, JSON; systemd's journal if not given.
    """
    view = DatabaseView(settings.data)
    scrub = Scrubber(identities(view))
    build = software()
    parts: dict[str, Any] = {
        "about.json": {
            "version": build.version,
            "commit": build.commit,
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "examination.json": findings,
        "settings.json": _without_secrets(msgspec.to_builtins(settings, enc_hook=str)),
        "counts.json": _counts(view),
        "components.json": _component_rows(view),
    }
    texts = {name: scrub(msgspec.json.format(msgspec.json.encode(part)).decode()) for name, part in parts.items()}
    texts["log.jsonl"] = "".join(f"{scrub(_plain(line))}\n" for line in (journal or journal_lines)())
    make_folder(out.parent)
    with tarfile.open(out, "w:gz") as archive:
        for name, text in texts.items():
            entry = tarfile.TarInfo(f"coronet-support/{name}")
            content = text.encode()
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return list(texts)


def identities(view: DatabaseView) -> list[str]:
    """Everything in the database that names a patient or a person."""
    if not view.path.exists():
        return []
    found: list[str] = []
    tables = view.tables()
    for table, statements in _IDENTITIES.items():
        if table in tables:
            for text in (text for statement in statements for text in view.texts(statement)):
                found += _named(text)
    return [text for text in found if text]


def _named(text: str) -> list[str]:
    """What names somebody in a column: the column itself, or the naming fields of a JSON object in it."""
    if not text.startswith("{"):
        return [text]
    tree = json.loads(text)
    return [str(tree.get(name) or "") for name in _NAMING]


def journal_lines() -> list[str]:
    """Our entries of systemd's journal, only the fields that are ours; empty where there is no journal."""
    try:
        done = subprocess.run(JOURNAL, capture_output=True, text=True, timeout=60, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return []
    entries = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return [json.dumps({name: entry[name] for name in JOURNAL_FIELDS if name in entry}, ensure_ascii=False) for entry in entries]


def _counts(view: DatabaseView) -> dict[str, dict[str, int]]:
    return {name: view.counts(statement) for name, statement in _COUNTS.items()} if view.path.exists() else {}


def _component_rows(view: DatabaseView) -> dict[str, Any]:
    return view.components() if view.path.exists() else {}


def _without_secrets(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: REMOVED if key in _SECRETS and value else _without_secrets(value) for key, value in tree.items()}
    return [_without_secrets(each) for each in tree] if isinstance(tree, list | tuple) else tree
