"""``appliance simulate-ct``: a virtual patient on a virtual CT, pushed over C-STORE or written to a folder with the truth beside it."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from appliance.dicom.sender import send
from appliance.settings import DestinationSettings
from models.phantom import draw_patient, draw_scan
from models.phantom.series import KINDS, write_phases, write_series

PEER = re.compile(r"(?P<ae>[^@]{1,16})@(?P<host>[^:]+):(?P<port>\d{1,5})\Z")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--seed", type=int, default=1, help="which virtual patient")
    parser.add_argument("--kind", choices=KINDS, default="ccta", help="which series the scanner sends")
    parser.add_argument("--slices", type=int, default=280)
    parser.add_argument(
        "--phases", type=_phases, default=(), metavar="P,P,...", help="one series per phase (percent of R-R), e.g. 40,70,75"
    )
    parser.add_argument("--calcium", action="store_true", help="send the calcium scan without contrast medium first")
    parser.add_argument("--own-geometry", action="store_true", help="slices and field of view as drawn, not 0.5 mm fitted to the heart")
    parser.add_argument("--study", default="", help="text that tells studies of one patient apart")
    parser.add_argument("--out", type=Path, help="write the files here (with truth.json) and keep them")
    parser.add_argument("--files", type=Path, help="push the files of this folder instead of making new ones")
    parser.add_argument("--to", type=_peer, metavar="AE@HOST:PORT", help="push them there")
    parser.add_argument("--calling", default="VIRTUALCT", help="own AE title")


def run(options: argparse.Namespace) -> int:
    """0 if everything was made and, with ``--to``, accepted; 1 if an image was refused."""
    if options.out is None and options.to is None:
        sys.stderr.write("nothing to do: give --out, --to, or both\n")
        return 2
    if options.files is not None:
        return _push(sorted(options.files.glob("*.dcm")), options)
    if options.out is not None:
        return _push(_make(options, options.out), options)
    with tempfile.TemporaryDirectory() as folder:
        return _push(_make(options, Path(folder)), options)


def _make(options: argparse.Namespace, folder: Path) -> list[Path]:
    start = time.perf_counter()
    patient, scan = draw_patient(options.seed), draw_scan(options.seed)
    files = []
    if options.calcium:
        files += write_series(patient, scan, folder / "calcium", kind="calcium", study=options.study, series_number=2)
    if options.phases:
        files += write_phases(
            patient, scan, folder, phases=options.phases, slices=options.slices, study=options.study, own_geometry=options.own_geometry
        )
    else:
        files += write_series(
            patient, scan, folder, kind=options.kind, slices=options.slices, study=options.study, own_geometry=options.own_geometry
        )
    sys.stdout.write(f"scanned: {len(files)} images in {time.perf_counter() - start:.1f} s\n")
    return files


def _push(files: list[Path], options: argparse.Namespace) -> int:
    if options.to is None:
        return 0
    ae_title, host, port = options.to
    destination = DestinationSettings(name="simulate-ct", host=host, port=port, ae_title=ae_title, calling_ae_title=options.calling)
    start = time.perf_counter()
    outcomes = send(destination, files)
    refused = [outcome for outcome in outcomes if not outcome.accepted]
    sys.stdout.write(f"pushed: {len(outcomes) - len(refused)} of {len(files)} images accepted in {time.perf_counter() - start:.1f} s\n")
    for outcome in refused[:5]:
        reason = outcome.reason
        sys.stderr.write(f"{outcome.path.name}: {reason.en if reason else outcome.status}\n")
    return 1 if refused else 0


def _phases(text: str) -> tuple[float, ...]:
    try:
        phases = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers") from error
    if not all(0.0 <= phase < 100.0 for phase in phases):
        raise argparse.ArgumentTypeError(f"{text!r}: a phase is at least 0 and less than 100 percent")
    return phases


def _peer(text: str) -> tuple[str, str, int]:
    match = PEER.match(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not AE@HOST:PORT")
    return match["ae"], match["host"], int(match["port"])
