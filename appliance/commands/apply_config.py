"""``appliance apply-config``: write what systemd needs of the settings (network, peers, screen). It takes effect at the next start."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.archive.files import make_folder, write_durably
from appliance.maintenance.system_files import HOSTNAME, all_paths, system_files
from appliance.settings import load_settings_or_new


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument("--root", type=Path, default=Path("/"), help="write below this folder instead")


def run(options: argparse.Namespace) -> int:
    """Write them, each whole or not at all; names what was written."""
    settings = load_settings_or_new(options.settings)
    files = system_files(settings)
    for path in all_paths():
        target: Path = options.root / path
        if path not in files:
            # the machine's own name is not ours to take away where we write straight into its /etc
            if path != HOSTNAME or options.root != Path("/"):
                target.unlink(missing_ok=True)
            continue
        make_folder(target.parent)
        target.parent.chmod(0o755)
        new = target.with_name(f".{target.name}.new")
        new.touch(mode=0o644)
        new.chmod(0o644)
        write_durably(target, files[path].encode(), part=new)
        sys.stdout.write(f"{target}\n")
    if settings.network.time_zone:
        _link(options.root / "etc/localtime", Path("/usr/share/zoneinfo") / settings.network.time_zone)
    return 0


def _link(name: Path, target: Path) -> None:
    """A link that is there before or after, never missing between."""
    new = name.with_name(f".{name.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(name)
    sys.stdout.write(f"{name}\n")
