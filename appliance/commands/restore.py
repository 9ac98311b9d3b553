"""``appliance restore FILE``: the index of a sealed backup back in its place; the appliance must be stopped."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from appliance.archive.carried import read_backup
from appliance.commands.passphrase import read_secret


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, default=Path("/var/lib/coronet"), help="data folder of the appliance")
    parser.add_argument("--settings", type=Path, help="write the settings of the backup here, too")


def run(options: argparse.Namespace) -> int:
    """0 if it is back; an ArchiveError, which the command line prints, otherwise."""
    restored = read_backup(options.file, options.data, passphrase=read_secret("口令 / passphrase"), settings=options.settings)
    at = datetime.fromtimestamp(restored.manifest.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    sys.stdout.write(f"已恢复至 {at} / restored as of {at}\n")
    if restored.replaced is not None:
        sys.stdout.write(f"原数据库保存于 / the former database is kept in {restored.replaced}\n")
    return 0
