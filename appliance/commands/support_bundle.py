"""``appliance support-bundle --out FILE``: what a service engineer needs, nothing of any patient."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.maintenance.examination import absent, examine
from appliance.maintenance.support_bundle import write_bundle
from appliance.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", type=Path, help="a log file instead of systemd's journal")


def run(options: argparse.Namespace) -> int:
    """Write it; its content is named on standard output. Models are not tried: `appliance doctor` does that, and takes a minute."""
    settings = load_settings(options.settings)
    findings = examine(settings, models=lambda: absent("models", "未测试(见 doctor)", "not tried (see doctor)"))
    log: Path | None = options.log
    journal = None if log is None else lambda: log.read_text("utf-8", errors="replace").splitlines()
    for name in write_bundle(options.out, settings=settings, findings=findings, journal=journal):
        sys.stdout.write(f"{name}\n")
    return 0
