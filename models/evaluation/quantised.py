"""INT8 for cor-seg: calibrated on patches of the train family, judged on development patients, and released if it costs no accuracy.

    python -m models.evaluation.quantised --patches 48 --cases 100061 100084

Writes ``models/weights/cor-seg.int8.json``, which belongs to exactly these weights; ``accepted`` says whether engines may use it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.analysis.locate import locate
from appliance.analysis.segment import segment
from appliance.analysis.stages import VesselClass
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.engine import Session
from appliance.inference.int8_table import write_table
from appliance.inference.openvino_engine import OpenVinoEngine
from models.evaluation.scans import designed_scan, render_on, scanned_study
from models.training.calibrate import calibrate, calibration_patches
from models.training.families import load_families
from models.training.patients import virtual_patient

MOST_LOST = 0.005
"""Lumen Dice against the truth that INT8 may lose, on the mean of the patients."""
NAME = "cor-seg"


@dataclass(frozen=True)
class Judged:
    """One patient in one precision: Dice of the lumen with the truth and with f32, and processor seconds of the segmentation."""

    seed: int
    precision: str
    lumen_dice: float
    with_f32: float
    cpu_s: float


def judge(seed: int, sessions: dict[str, Session], heart: Session) -> list[Judged]:
    """A development patient in every precision; the first one is the measure of the others."""
    patient, scan = virtual_patient(seed), designed_scan(seed, load_families()["development"].design_of(seed))
    volume = scanned_study(patient, scan).main.volume
    located = locate(volume, session=heart)
    truth = render_on(patient, scan, located.heart.roi, noise=False).vessels == int(VesselClass.LUMEN)
    exact: NDArray[np.bool_] | None = None
    found = []
    for precision, session in sessions.items():
        started = time.process_time()
        lumen = segment(volume, located, session=session).classes == int(VesselClass.LUMEN)
        seconds = time.process_time() - started
        exact = lumen if exact is None else exact
        found.append(Judged(seed, precision, _dice(lumen, truth), _dice(lumen, exact), round(seconds, 2)))
    return found


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return round(float(2 * (a & b).sum() / max(int(a.sum()) + int(b.sum()), 1)), 4)


def _must_be_int8(precision: str) -> None:
    if precision != "int8":
        raise RuntimeError("this processor has no instructions for INT8: it cannot be judged here")


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate, judge, write; prints a line of JSON for each patient and precision. 0 if INT8 was accepted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patches", type=int, default=48)
    parser.add_argument("--cases", type=int, nargs="+", default=[100061, 100084])
    parser.add_argument("--catalog", type=Path, default=installed_catalog())
    options = parser.parse_args(arguments)
    catalog = ModelCatalog.load(options.catalog)
    model, threads = catalog[NAME], 1
    table = calibrate(model, calibration_patches(model, count=options.patches))
    # accepted while it is judged: an engine looks at no other
    write_table(model, msgspec.structs.replace(table, accepted=True))
    try:
        engines: dict[str, Any] = {
            "f32": OpenVinoEngine(threads=threads, precision="f32"),
            "without": OpenVinoEngine(threads=threads, int8=False),
            "int8": OpenVinoEngine(threads=threads),
        }
        sessions = {name: engine.load(model) for name, engine in engines.items()}
        _must_be_int8(engines["int8"].precision_of(NAME))
        heart = engines["without"].load(catalog["heart-loc"])
        judged = [each for seed in options.cases for each in judge(seed, sessions, heart)]
    except BaseException:
        write_table(model, table)
        raise
    sys.stdout.write("".join(json.dumps(vars(each)) + "\n" for each in judged))
    means = {name: float(np.mean([each.lumen_dice for each in judged if each.precision == name])) for name in sessions}
    accepted = means["f32"] - means["int8"] <= MOST_LOST
    worst = min(each.with_f32 for each in judged if each.precision == "int8")
    path = write_table(model, msgspec.structs.replace(table, lumen_dice=worst, accepted=accepted))
    sys.stdout.write(f"{path.name}: {'accepted' if accepted else 'refused'}, lumen Dice {means}, worst against f32 {worst}\n")
    return 0 if accepted else 1


if __name__ == "__main__":
    sys.exit(main())
