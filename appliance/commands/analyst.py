"""``appliance analyst``: the process that analyses studies and makes what an approval releases."""

from __future__ import annotations

import argparse
import threading
from contextlib import closing
from pathlib import Path

import numba

from appliance.archive.archive import open_archive
from appliance.errors import Reason
from appliance.inference.processor import this_processor
from appliance.settings import load_settings_or_new
from appliance.workflow.analyst import run_analyst
from appliance.workflow.draft import StudyDrafts
from appliance.workflow.engine_plan import COMPONENT
from appliance.workflow.kept_alive import KeptAliveDrafts
from appliance.workflow.logs import configure_logging
from appliance.workflow.notify import SystemdNotifier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Work until told to stop."""
    settings = load_settings_or_new(options.settings)
    configure_logging()
    # the numeric kernels get as many threads as the networks, so that receiver and kiosk keep a core where there are many
    numba.set_num_threads(min(numba.get_num_threads(), settings.analysis.threads or this_processor().threads))
    with closing(open_archive(settings.data)) as archive:

        def on_engine(ready: bool, detail: str, reason: Reason | None) -> None:
            archive.components.report(COMPONENT, ready=ready, detail=detail, reason=reason)

        drafts = KeptAliveDrafts(drafts=StudyDrafts(settings=settings, on_engine=on_engine), notifier=SystemdNotifier())
        threading.Thread(target=drafts.idle_loop, args=(threading.Event(),), name="watchdog", daemon=True).start()
        archive.components.report("analyst", ready=False, reason=archive.components.get("analyst").reason)
        return run_analyst(archive, drafts=drafts, settings=settings)
