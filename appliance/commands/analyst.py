"""``appliance analyst``: the process that analyses studies and makes what an approval releases."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import open_archive
from appliance.settings import load_settings
from appliance.workflow.analyst import run_analyst
from appliance.workflow.draft import StudyDrafts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Work until told to stop."""
    settings = load_settings(options.settings)
    with closing(open_archive(settings.data)) as archive:
        return run_analyst(archive, drafts=StudyDrafts(settings=settings), settings=settings)
