"""``appliance daemon``: the coordinator, which starts everything else."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from appliance.daemon import run_daemon
from appliance.maintenance.examination import absent, examine
from appliance.maintenance.reset import finish_reset
from appliance.maintenance.signature import KEYRING, read_signed
from appliance.settings import Settings, load_settings_or_new
from appliance.worklist import SelfTestRow

MAXIMUM_ORDER = 16 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument(
        "--apart", action="append", default=[], choices=["analyst"], help="a process that is not started here: a unit of its own runs it"
    )
    parser.add_argument("--safe-mode", action="store_true", help="only receive and store (systemd, after too many failures)")


def run(options: argparse.Namespace) -> int:
    """Run until told to stop."""
    settings = load_settings_or_new(options.settings)
    if finish_reset(settings.data):
        settings = load_settings_or_new(options.settings)  # the site's may have gone with it
    read = partial(read_signed, keyring=KEYRING, maximum_bytes=MAXIMUM_ORDER)
    return run_daemon(
        settings,
        settings_path=options.settings,
        apart=options.apart,
        safe_mode=options.safe_mode,
        read_signed=read,
        examine_box=lambda: _examine(settings),
    )


def _examine(settings: Settings) -> list[SelfTestRow]:
    """As `appliance doctor`, but the models: the analyst has tried them before it said that it is ready."""
    findings = examine(settings, models=lambda: absent("models", "由分析服务启动时测试", "tried by the analysis at its start"))
    return [SelfTestRow(part=each.part, state=each.state, zh=each.zh, en=each.en, code=each.code) for each in findings]
