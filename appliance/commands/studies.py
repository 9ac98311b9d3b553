"""``appliance studies``: list, search, show and manage what the box holds. Patient data goes to the terminal only."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import msgspec

from appliance.archive.archive import Archive, open_archive
from appliance.archive.outbox import OutboxRow
from appliance.archive.search import Keeping, PageQuery
from appliance.archive.studies import StudyRecord
from appliance.errors import ArchiveError, SettingsError
from appliance.settings import Settings, load_settings
from appliance.workflow.keeping import make_retention
from appliance.workflow.resending import send_again
from appliance.worklist import STUDY_STATES

ACTIONS = ("list", "show", "resend", "protect", "unprotect", "delete", "urgent", "routine")
MOST = 10_000
KEY = re.compile(r"[0-9a-f]{16}")
COLUMNS: tuple[tuple[str, int], ...] = (
    ("key", 16), ("", 2), ("state", 10), ("study date", 10), ("patient ID", 12), ("name", 22), ("accession", 14), ("images", 6),
    ("result", 16),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list")
    parser.add_argument("study", nargs="?", help="key or Study Instance UID, for every action but list")
    parser.add_argument("--text", default="", help="words in name, ID or accession number")
    parser.add_argument("--patient", default="", help="words in name or ID, in any script, case and width")
    parser.add_argument("--accession", default="")
    parser.add_argument("--date", default="", metavar="YYYYMMDD[-YYYYMMDD]", help="study date, or a range open at either side")
    parser.add_argument("--state", action="append", default=[], choices=STUDY_STATES)
    parser.add_argument("--urgent", action="store_true", help="only urgent ones")
    parser.add_argument("--to", metavar="DESTINATION", help="resend: what this destination has already once more; 'all': every destination")
    parser.add_argument("--command", metavar="KEY", type=_command_key, help="resend: a name for this wish; said again, nothing goes twice")
    parser.add_argument("--limit", type=_count, default=50)
    parser.add_argument("--offset", type=_count, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def run(options: argparse.Namespace) -> int:
    """Do it; an ArchiveError, which the command line prints, where it cannot be done."""
    settings = load_settings(options.settings)
    with closing(open_archive(settings.data)) as archive:
        if options.action == "list":
            return _list(archive, options)
        return _one(archive, settings, options)


def _list(archive: Archive, options: argparse.Namespace) -> int:
    start, end = _dates(options.date)
    query = PageQuery(
        text=options.text, patient=options.patient, accession=options.accession, states=tuple(options.state), from_date=start,
        to_date=end, urgent=options.urgent,
    )  # fmt: skip
    page = archive.search.page(query, offset=options.offset, limit=min(options.limit, MOST))
    studies = archive.studies.rows(page.keys)
    kept = archive.search.kept(page.keys)
    if options.json:
        rows = [_as_json(study, kept.get(study.key, Keeping())) for study in studies]
        _print_json({"total": page.total, "offset": options.offset, "studies": rows})
        return 0
    lines = [_line([name for name, _ in COLUMNS])]
    lines += [_line(_cells(study, kept.get(study.key, Keeping()))) for study in studies]
    sys.stdout.write("\n".join([*lines, f"{len(studies)} of {page.total}", ""]))
    return 0


def _one(archive: Archive, settings: Settings, options: argparse.Namespace) -> int:
    study = _study(archive, options.study)
    match options.action:
        case "show":
            _show(archive, study, as_json=options.json)
        case "resend":
            sys.stdout.write(f"{_resend(archive, study, to=options.to, command=options.command)}\n")
        case "protect" | "unprotect":
            make_retention(archive, settings).protect(study.key, actor="service", protected=options.action == "protect")
        case "delete":
            freed = make_retention(archive, settings).remove(study.key, actor="service", why="person")
            sys.stdout.write(f"{freed}\n")
        case _:
            with archive.database.transaction():
                archive.studies.save(msgspec.structs.replace(archive.studies.get(study.key), urgent=options.action == "urgent"))
                archive.audit.record(actor="service", action=options.action, study=study.key)
    return 0


def _resend(archive: Archive, study: StudyRecord, *, to: str | None, command: str | None) -> int:
    """How many rows go; 0 for a command that was carried out before."""
    with archive.database.transaction():
        if command is not None and not archive.commands.first_time(command, "service", "send again", study.key, to):
            return 0
        if to:
            return send_again(archive, study, to="" if to == "all" else to, actor="service")
        rows = archive.outbox.resend(study.key)
        archive.audit.record(actor="service", action="send again", study=study.key, details={"rows": rows})
    return rows


def _study(archive: Archive, named: str | None) -> StudyRecord:
    if named is None:
        raise ArchiveError("ARC-010", zh="请指定检查", en="name a study by its key or UID")
    if KEY.fullmatch(named):
        return archive.studies.get(named)
    study = archive.studies.find(named)
    if study is None:
        raise ArchiveError("ARC-010", zh="没有此检查", en="there is no such study")
    return study


def _show(archive: Archive, study: StudyRecord, *, as_json: bool) -> None:
    keeping = archive.search.kept([study.key]).get(study.key, Keeping())
    deliveries = archive.outbox.of_study(study.key)
    if as_json:
        _print_json({**_as_json(study, keeping), "deliveries": [msgspec.to_builtins(row.delivery()) for row in deliveries]})
        return
    facts = _as_json(study, keeping)
    header = facts.pop("header")
    for name, value in {**facts, **{name: value for name, value in header.items() if value not in ("", None)}}.items():
        sys.stdout.write(f"{name:20} {value}\n")
    for row in deliveries:
        sys.stdout.write(f"delivery {row.id:<11} {_delivery(row)}\n")


def _delivery(row: OutboxRow) -> str:
    shown = row.delivery()
    committed = "" if shown.committed is None else f", committed {shown.committed}"
    counts = f"{shown.files} files: sent {shown.sent}, accepted {shown.accepted}{committed}"
    error = f" ({shown.last_error.en})" if shown.last_error else ""
    return f"{shown.destination}: {shown.state}, {counts}{error}"


def _as_json(study: StudyRecord, keeping: Keeping) -> dict[str, Any]:
    row = msgspec.to_builtins(study.row())
    return {**row, "protected": keeping.protected, "images_removed": keeping.images_removed}


def _cells(study: StudyRecord, keeping: Keeping) -> list[str]:
    header = study.header
    marks = ("!" if study.urgent else "") + ("P" if keeping.protected else "")
    images = "removed" if keeping.images_removed and not study.images else str(study.images)
    date = header.study_date or datetime.fromtimestamp(study.received_at).astimezone().strftime("%Y%m%d")
    result = (study.cad_rads or (study.reason.code if study.reason else "")).removeprefix("CAD-RADS ")
    return [study.key, marks, study.state, date, header.patient_id, header.display_name, header.accession_number, images, result]


def _line(cells: Sequence[str]) -> str:
    return "  ".join(_fit(cell, width) for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip()


def _fit(text: str, width: int) -> str:
    """Text cut or filled to so many columns of a terminal, where a Chinese character takes two; control characters left out."""
    fitted, used = "", 0
    for character in (each for each in text if each.isprintable()):
        wide = 2 if east_asian_width(character) in "WF" else 1
        if used + wide > width:
            break
        fitted, used = fitted + character, used + wide
    return fitted + " " * (width - used)


def _dates(text: str) -> tuple[str, str]:
    start, dash, end = text.partition("-")
    if any(part and re.fullmatch(r"\d{8}", part) is None for part in (start, end)):
        raise SettingsError("CFG-005", zh="日期须为 YYYYMMDD 或其范围", en="a date is YYYYMMDD, or a range of them")
    return start, end if dash else start


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError("a whole number")
    return int(text)


def _command_key(text: str) -> str:
    if re.fullmatch(r"[0-9A-Za-z_-]{8,64}", text) is None:
        raise argparse.ArgumentTypeError("8 to 64 letters, digits, - and _")
    return text


def _print_json(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
