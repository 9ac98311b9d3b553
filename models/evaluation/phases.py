"""How often a second look at another phase comes, what it gives, and how long it takes: development patients, each scanned at two phases.

python -m models.evaluation.phases --cases 20

Every virtual patient can be scanned at any phase: each gets end-systole and mid-diastole (40 and 75 %) of one beat, as DICOM files, and is
analysed as the product does. Not for the test family.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.analysis.pipeline import Models, analyze
from appliance.analysis.reading import read_source
from appliance.errors import AnalysisError, DeclinedError, InferenceError, VolumeError
from appliance.findings import Findings
from appliance.inference.catalog import installed_catalog
from models.evaluation.scans import designed_scan
from models.phantom import draw_patient
from models.phantom.series import write_phases
from models.training.families import Design, load_families

PHASES = (40.0, 75.0)
ARTERIES = ("LM", "LAD", "LCX", "RCA")
NOT_TAKEN = "DEC-158"


@dataclass(frozen=True)
class Look:
    """What became of one study.

    Attributes:
        seed: the patient.
        analysed: not declined and not failed.
        read: whether the other phase was read.
        taken: the vessels that came from it.
        refused: how many arteries it shows more of and that could not be taken.
        first_s: seconds for the first phase, from finding the heart to its findings.
        second_s: seconds for the second look; 0 without one.
    """

    seed: int
    analysed: bool
    read: bool = False
    taken: tuple[str, ...] = ()
    refused: int = 0
    first_s: float = 0.0
    second_s: float = 0.0


def look_of(seed: int, findings: Findings) -> Look:
    """What the findings of an analysed study say of its second look."""
    quality, seconds = findings.quality, findings.timing_s
    vessels = {branch.vessel for branch in findings.branches if branch.series_uid is not None}
    second = seconds.get("second_phase", 0.0)
    return Look(
        seed=seed,
        analysed=findings.status == "analysed",
        read=any(series.read for series in findings.other_series),
        taken=tuple(vessel for vessel in ARTERIES if vessel in vessels),
        refused=sum(warning.code == NOT_TAKEN for warning in (quality.warnings if quality is not None else ())),
        first_s=seconds.get("total", 0.0) - second - seconds.get("calcium", 0.0),
        second_s=second,
    )


def look_at(seed: int, design: Design, *, models: Models) -> Look:
    """Scan one patient at both phases and analyse the study."""
    with tempfile.TemporaryDirectory(prefix="coronet-phases-") as folder:
        write_phases(draw_patient(seed), designed_scan(seed, design), Path(folder), phases=PHASES, own_geometry=True)
        try:
            return look_of(seed, analyze(read_source(Path(folder)), models=models).findings)
        except (AnalysisError, DeclinedError, InferenceError, VolumeError):
            return Look(seed, analysed=False)


def summary(looks: Sequence[Look]) -> list[str]:
    """The rate and the time in words, one line each."""
    analysed = [look for look in looks if look.analysed]
    read = [look for look in analysed if look.read]
    lines = [f"{len(looks)} studies of two phases, {len(analysed)} analysed; another phase was read in {len(read)} of them"]
    taken = {vessel: sum(vessel in look.taken for look in read) for vessel in ARTERIES}
    told = ", ".join(f"{vessel} {count}" for vessel, count in taken.items() if count) or "nothing"
    lines.append(
        f"taken from it: {told}, in {sum(bool(look.taken) for look in read)} studies; {sum(look.refused for look in read)} refused"
    )
    if read:
        part = statistics.median(look.second_s / look.first_s for look in read)
        lines.append(f"time of a second look to that of the first: {part:.2f} in the median")
    return lines


def line(look: Look) -> str:
    """One study in a line."""
    if not look.analysed:
        return f"{look.seed} not analysed"
    second = f"second {look.second_s:.1f} s, taken {' '.join(look.taken) or '-'}, refused {look.refused}" if look.read else "no second look"
    return f"{look.seed} first {look.first_s:.1f} s, {second}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    family = load_families()["development"]

    def named(seed: int) -> str:
        return family.design_of(seed).name

    parser = argparse.ArgumentParser(
        prog="python -m models.evaluation.phases", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20, help="patients, of each design as many as it has a share in the family")
    parser.add_argument("--first", type=int, default=0, help="leave out so many of them")
    parser.add_argument("--design", choices=[design.name for design in family.designs], help="patients of one design alone")
    options = parser.parse_args(arguments)
    last = options.first + options.cases
    seeds = (
        family.spread(last) if options.design is None else [seed for seed in family.spread(len(family)) if named(seed) == options.design]
    )
    models, looks = Models.load(catalog=installed_catalog()), []
    for seed in seeds[options.first : last]:
        looks.append(look_at(seed, family.design_of(seed), models=models))
        sys.stdout.write(line(looks[-1]) + "\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join(summary(looks)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
