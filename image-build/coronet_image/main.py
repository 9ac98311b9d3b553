"""The one command: every stage in its order."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from coronet_image.base import make_base
from coronet_image.disk import loader, make_disk, written_mib
from coronet_image.product import epoch_of, make_root
from coronet_image.run import BuildError, Places, places, run
from coronet_image.slot import make_slot
from coronet_image.variant import make_variant

REPO = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Build; 0 when the image is there."""
    parser = argparse.ArgumentParser(prog="image-build/build", description=__doc__)
    parser.add_argument("--out", type=Path, default=REPO / "build/image", help="where everything is made")
    parser.add_argument("--cache", type=Path, help="package files and wheels that are kept between builds (default: OUT/cache)")
    parser.add_argument("--until", choices=["root", "slot", "disk"], default="disk", help="stop after this stage")
    parser.add_argument("--from", dest="start", choices=["root", "slot", "disk"], default="root", help="take what earlier stages left")
    parser.add_argument(
        "--base", type=Path, help="take the root of this finished build; --version and --break change it (tests of updates)"
    )
    parser.add_argument("--version", default="", help="with --base: the version that it says it is")
    parser.add_argument("--break", dest="broken", choices=["", "daemon"], default="", help="with --base: what does not come up in it")
    parser.add_argument("--extra", default="", help="further words of the kernel's command line (tests: a shell on the serial line)")
    parser.add_argument("--keyring", type=Path, help="certificates (PEM) of those who may sign updates; without it the box takes none")
    parser.add_argument("--key", type=Path, help="secure boot: private key (PEM)")
    parser.add_argument("--certificate", type=Path, help="secure boot: its certificate (PEM)")
    options = parser.parse_args(arguments)
    if os.geteuid():
        sys.stderr.write("Only root can make a file system that belongs to root.\n")
        return 1
    out = options.out.resolve()
    try:
        return _build(places(repo=REPO, out=out, cache=(options.cache or out / "cache").resolve()), options)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _build(where: Places, options: argparse.Namespace) -> int:
    stages = ["root", "slot", "disk"]
    todo = stages[stages.index(options.start) : stages.index(options.until) + 1]
    if options.base or "root" not in todo:  # the kernels in a finished root know their modules by the time of its commit
        where = dataclasses.replace(where, epoch=epoch_of((options.base.resolve() if options.base else where.out) / "root"))
    if options.base:
        todo.remove("root")
        _told("variant", lambda: make_variant(where, options.base.resolve(), version=options.version, broken=options.broken))
    if "root" in todo:
        _told("packages", lambda: make_base(where))
        _told("root file system", lambda: make_root(where, make_base(where), keyring=options.keyring))
    if "slot" in todo:
        _told("slot", lambda: make_slot(where, extra=options.extra, key=options.key, certificate=options.certificate))
    if "disk" in todo:
        grub = loader(where)
        if options.key:
            run("sbsign", "--key", options.key, "--cert", options.certificate, "--output", grub, grub)
        image = make_disk(where, grub=grub, target=where.out / "coronet.img")
        figures = {"image_mib": round(written_mib(image), 1), "disk_mib": image.stat().st_size >> 20}
        (where.out / "figures.json").write_text(json.dumps(figures) + "\n", "ascii")
        sys.stdout.write(f"{image}: {figures['image_mib']} MiB written of {figures['disk_mib']} MiB\n")
    return 0


def _told(name: str, work: Callable[[], object]) -> None:
    start = time.monotonic()
    work()
    sys.stdout.write(f"{name}: {time.monotonic() - start:.0f} s\n")
    sys.stdout.flush()
