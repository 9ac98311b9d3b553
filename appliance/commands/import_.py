"""``appliance import FOLDER``: take in the DICOM files of a stick, CD or folder; the appliance must be running."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from appliance.archive.archive import open_archive
from appliance.dicom.sender import echo, send
from appliance.settings import load_settings
from appliance.workflow.importing import ImportSummary, import_folder
from appliance.workflow.probe import own_door

SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument("--report", type=Path, help="write every refused file and its reason here (JSON; holds the medium's file names)")


def run(options: argparse.Namespace) -> int:
    """0 if all DICOM files were taken, 1 if some were not; a typed error, which the command line prints, if nothing could be done."""
    settings = load_settings(options.settings)
    door = own_door(settings.receiver)
    echo(door)
    with closing(open_archive(settings.data)) as archive:
        summary = import_folder(
            options.folder,
            door=door,
            scratch=settings.data,
            largest=settings.receiver.maximum_instance_bytes,
            send=send,
            progress=_progress,
        )
        archive.audit.record(
            actor="service",
            action="import",
            details={"files": summary.files, "accepted": summary.accepted, "other": summary.other, "refused": dict(summary.reasons)},
        )
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    _print(summary)
    if options.report is not None:
        options.report.write_bytes(msgspec.json.format(msgspec.json.encode(summary.refused), indent=2))
    return 1 if summary.reasons else 0


def _progress(summary: ImportSummary) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{summary.files} 个文件 / files, {summary.accepted} 幅已接收 / accepted")
        sys.stderr.flush()


def _print(summary: ImportSummary) -> None:
    write = sys.stdout.write
    write(f"已接收 {summary.accepted} / accepted {summary.accepted}\n其他文件 {summary.other} / other files {summary.other}\n")
    skipped = summary.skipped
    if skipped.links or skipped.special or skipped.unreadable or skipped.too_deep:
        counts = (skipped.links, skipped.special, skipped.unreadable, skipped.too_deep)
        write("已跳过:链接 {},特殊文件 {},无法读取 {},层级过深 {}\n".format(*counts))
        write("skipped: links {}, special files {}, unreadable {}, too deep {}\n".format(*counts))
    for code, number in summary.reasons.most_common():
        example = next((each for each in summary.refused if each.reason.code == code), None)
        if example is not None:
            write(f"未接收 {number} / refused {number}  {code}  {example.reason.zh} / {example.reason.en}\n")
    for each in summary.refused[:SHOWN]:
        write(f"  {each.path}: {each.reason.code}\n")
