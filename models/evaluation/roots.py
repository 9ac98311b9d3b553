"""How well ostia are found, apart from most of what comes before: the aortic root of virtual patients, looked at in three ways.

python -m models.evaluation.roots --cases 20

Heart by heart-loc on a scan of the whole heart at 3 mm, coronaries by cor-seg in a cube of 80 mm about the root. ``rules``: trees begin
where the written rules say. ``network``: its peaks as they are. ``both``: as the product does it. Only development patients.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from appliance.analysis.centrelines import trace
from appliance.analysis.locate import Located, locate
from appliance.analysis.ostia_network import find_peaks, find_root
from appliance.analysis.segment import segment
from appliance.analysis.stages import Float, Segmentation
from appliance.analysis.surroundings import Surroundings
from appliance.errors import AnalysisError
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from appliance.volume import Geometry, Volume
from models.evaluation.scans import designed_scan, render_on
from models.phantom import Patient, Scan
from models.phantom.motion import seen
from models.training.families import load_families
from models.training.ostia_samples import true_ostia
from models.training.patients import virtual_patient

WAYS = ("rules", "network", "both")
WITHIN_MM = 2.0
FALSE_MM = 6.0
_SIDE = 160
_MARGIN_MM = 30.0


@dataclass
class Tally:
    """Distances from true ostia to the nearest found one (30 mm where there is none), sides that are wrong, ostia where none is."""

    distances: list[float] = field(default_factory=list)
    wrong_side: int = 0
    false: int = 0

    def add(self, true: Float, sides: Sequence[str], found: Float, found_sides: Sequence[str]) -> None:
        """Take in one patient: positions (n, 3) and sides, true and found."""
        gap = np.linalg.norm(true[:, None] - found[None], axis=2) if len(found) else np.full((len(true), 1), 30.0)
        self.distances += [float(min(row.min(), 30.0)) for row in gap]
        self.wrong_side += sum(len(found) > 0 and row.min() <= FALSE_MM and found_sides[int(row.argmin())] != side
                               for row, side in zip(gap, sides, strict=True))  # fmt: skip
        self.false += int((gap.min(axis=0) > FALSE_MM).sum()) if len(found) else 0

    def line(self) -> str:
        """The figures in words."""
        d = np.array(self.distances)
        return (
            f"within 2 mm {(d <= WITHIN_MM).sum()}/{len(d)}, median {np.median(d):.2f} mm, 95 % {np.percentile(d, 95):.1f} mm, "
            f"worst {d.max():.1f} mm, wrong side {self.wrong_side}, false ostia {self.false}"
        )


def look_at(patient: Patient, scan: Scan, sessions: Mapping[str, Session]) -> tuple[Located, Segmentation]:
    """The heart at 3 mm and the coronaries about its root, by the networks."""
    low, high = np.asarray(patient.heart_box)
    coarse = _grid(low - _MARGIN_MM, np.ceil((high - low + 2 * _MARGIN_MM) / 3.0), 3.0)
    # a scan averaged to 3 mm has little noise
    whole = render_on(patient, replace(scan, noise_hu=0.25 * scan.noise_hu), coarse)
    located = locate(Volume(whole.hu, coarse), session=sessions["heart-loc"])
    root = find_root(located.heart)
    middle = root.middle if root is not None else coarse.centre
    fine = _grid(middle - 0.25 * _SIDE, np.full(3, _SIDE), 0.5)
    volume = Volume(render_on(patient, scan, fine).hu, fine)
    near = replace(located, heart=replace(located.heart, roi=fine))
    return near, segment(volume, near, session=sessions["cor-seg"])


def _grid(corner: Float, size: Float, spacing_mm: float) -> Geometry:
    x, y, z = (float(value) for value in corner)
    nx, ny, nz = (int(n) for n in size)
    return Geometry((nz, ny, nx), (spacing_mm,) * 3, (x, y, z))


def evaluate(seeds: Sequence[int], sessions: Mapping[str, Session]) -> dict[str, Tally]:
    """Look at the roots of patients in every way."""
    family = load_families()["development"]
    tallies = {way: Tally() for way in WAYS}
    for seed in seeds:
        patient, scan = virtual_patient(seed), designed_scan(seed, family.design_of(seed))
        located, segmentation = look_at(patient, scan, sessions)
        points, numbers = true_ostia(patient)
        sides = ["right" if number else "left" for number in numbers]
        true = seen(points, patient, scan)
        lines = []
        for way, session in (("rules", None), ("both", sessions.get("ostia"))):
            found, found_sides = _roots(located, segmentation, session)
            tallies[way].add(true, sides, found, found_sides)
            lines.append(f"{way} {np.round(tallies[way].distances[-len(true) :], 1).tolist()} {found_sides}")
        if "ostia" in sessions:
            peaks = find_peaks(segmentation, Surroundings(located.heart), session=sessions["ostia"])
            tallies["network"].add(true, sides, np.array([p.point_mm for p in peaks]).reshape(-1, 3), [p.side for p in peaks])
            lines.append(f"network {np.round(tallies['network'].distances[-len(true) :], 1).tolist()} {[round(p.share, 2) for p in peaks]}")
        sys.stdout.write(f"{seed} {patient.heart_model} {','.join(patient.variants)} {sides}: {'; '.join(lines)}\n")
        sys.stdout.flush()
    return tallies


def _roots(located: Located, segmentation: Segmentation, session: Session | None) -> tuple[Float, list[str]]:
    """Where the trees begin, and their sides."""
    try:
        tree = trace(located.heart, segmentation, session=session).tree
    except AnalysisError:
        return np.zeros((0, 3)), []
    roots = [branch for branch in tree.branches if branch.parent is None]
    return np.array([branch.points_mm[0] for branch in roots]).reshape(-1, 3), [branch.side for branch in roots]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation.roots", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=20, help="development patients, spread over the designs")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args(arguments)
    catalog = ModelCatalog.load(installed_catalog())
    engine = best_engine(threads=options.threads)
    sessions = {name: engine.load(catalog[name]) for name in ("heart-loc", "cor-seg", "ostia") if name in catalog}
    seeds = load_families()["development"].spread(options.cases)
    for way, tally in evaluate(seeds, sessions).items():
        if tally.distances:
            sys.stdout.write(f"{way}: {tally.line()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
