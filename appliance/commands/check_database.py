"""``appliance check-database``: look whether the database is sound, repair it while the appliance is stopped, or confirm a repair."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import open_archive
from appliance.archive.clock import SystemClock
from appliance.archive.repair import acknowledge, check_database, open_repaired
from appliance.settings import load_settings

WORDS = {
    "whole": "数据库完好 / the database is sound",
    "damaged": "数据库已损坏 / the database is damaged",
    "unfinished": "限时内未发现问题,检查未完成 / nothing was found in the time given, the check was not finished",
    "absent": "尚无数据库 / there is no database yet",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that the check may take")
    parser.add_argument("--repair", action="store_true", help="repair it; the appliance must be stopped")
    parser.add_argument("--acknowledge", action="store_true", help="the message of a repair was read")


def run(options: argparse.Namespace) -> int:
    """0 if it is sound (or was repaired, or the message acknowledged), 1 if it is damaged."""
    settings = load_settings(options.settings)
    if options.repair:
        with closing(open_repaired(settings, clock=SystemClock())) as archive:
            reason = archive.components.get("database").reason
        sys.stdout.write(f"{WORDS['whole']}\n" if reason is None else f"{reason.code}\n{reason.zh}\n{reason.en}\n")
        return 0
    if options.acknowledge:
        with closing(open_archive(settings.data)) as archive:
            acknowledge(archive, actor="service")
        return 0
    outcome, problems = check_database(settings.data / "coronet.db", limit_s=options.limit)
    sys.stdout.write("".join(f"{line}\n" for line in (WORDS[outcome], *problems)))
    return 1 if outcome == "damaged" else 0
