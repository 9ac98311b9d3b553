"""``appliance daemon``: the coordinator, which starts everything else."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.daemon import run_daemon
from appliance.maintenance.last_good import FOLDER, keep_settings
from appliance.maintenance.reset import finish_reset
from appliance.settings import Settings, SettingsError, load_settings, load_settings_or_new

if TYPE_CHECKING:
    from appliance.archive.archive import Archive
    from appliance.coordination import ServiceTools
    from appliance.worklist import SelfTestRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument(
        "--apart", action="append", default=[], choices=["analyst"], help="a process that is not started here: a unit of its own runs it"
    )
    parser.add_argument("--last-good", type=Path, default=Settings().data / FOLDER, help=argparse.SUPPRESS)
    parser.add_argument("--safe-mode", action="store_true", help="only receive and store (systemd, after too many failures)")


def run(options: argparse.Namespace) -> int:
    """Run until told to stop."""
    settings, path = _settings(options)
    if finish_reset(settings.data):
        settings = load_settings_or_new(path)  # the site's may have gone with it
    elif not options.safe_mode:
        keep_settings(settings, path)
    return run_daemon(settings, settings_path=path, apart=options.apart, safe_mode=options.safe_mode, tools=partial(_tools, settings, path))


def _settings(options: argparse.Namespace) -> tuple[Settings, Path]:
    """The site's, and where they stand; in safe mode the last good ones where the site's cannot be used.

    Raises:
        SettingsError: those of the site, where there are no others.
    """
    path: Path = options.settings
    try:
        return load_settings_or_new(path), path
    except SettingsError as error:
        good: Path = options.last_good / path.name
        if not options.safe_mode or not good.is_file():
            raise
        sys.stderr.write(f"{error.code}\n{error.zh}\n{error.en}\n")
        return load_settings(good), good


def _tools(settings: Settings, path: Path) -> ServiceTools:
    """What the service engineer needs; read in only here, after the receiver was started."""
    from appliance.build import installed_version
    from appliance.commands.passphrase import make_passphrase
    from appliance.coordination import ServiceTools
    from appliance.maintenance.signature import KEYRING, read_signed
    from appliance.maintenance.site_file import export_site, open_site
    from appliance.maintenance.support_bundle import write_bundle
    from appliance.workflow.service_stick import LARGEST_ORDER

    def export(archive: Archive, out: Path) -> str:
        passphrase = make_passphrase()
        export_site(archive, path, out, passphrase=passphrase, software=installed_version())
        return passphrase

    return ServiceTools(
        read_signed=partial(read_signed, keyring=KEYRING, maximum_bytes=LARGEST_ORDER),
        examine_box=lambda: _examine(settings),
        # without the self-test: peers that do not answer would take longer than a person waits
        write_support=lambda out: write_bundle(out, settings=settings, findings=()),
        export_site=export,
        open_site=lambda file, passphrase: open_site(file, passphrase=passphrase).put,
    )


def _examine(settings: Settings) -> list[SelfTestRow]:
    """As `appliance doctor`, but the models: the analyst has tried them before it said that it is ready."""
    from appliance.maintenance.examination import absent, examine
    from appliance.worklist import SelfTestRow

    findings = examine(settings, models=lambda: absent("models", "由分析服务启动时测试", "tried by the analysis at its start"))
    return [SelfTestRow(part=each.part, state=each.state, zh=each.zh, en=each.en, code=each.code) for each in findings]
