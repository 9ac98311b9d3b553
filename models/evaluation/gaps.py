"""How well gaps are judged, apart from everything before: gaps with known truth in virtual patients, decided in three ways.

python -m models.evaluation.gaps --cases 20 --gaps 10

``rules``: by the written rules alone. ``network``: its answer on the two true ends, taken as it is. ``both``: as the product does it,
which chooses the ends itself. A bridge is right if it keeps to the middle of true coronaries; all others are wrong joins. Only development
patients.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from appliance.analysis.repair import Bridge, RepairRules, Ways, allowance, refusal
from appliance.analysis.repair_network import Gap as Question
from appliance.analysis.repair_network import GapJudge
from appliance.analysis.repair_places import Sources, tips_of
from appliance.analysis.stages import Float, Heart, Orphan, Segmentation, VesselClass
from appliance.analysis.surroundings import Surroundings
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from appliance.volume import Geometry
from models.evaluation.scans import designed_scan
from models.networks.repair import SPACING_MM
from models.training.context import coarse_map
from models.training.families import load_families
from models.training.ostia_samples import heart_of
from models.training.patients import virtual_patient
from models.training.repair_gaps import KINDS, Gap, lines_of
from models.training.repair_samples import Cube, GapSite, draw_cube, lost_mask, paled, seen_share

SIDE = 72
"""Voxels of the cube that a gap is rendered in: an orphan's further course must be in it."""
WAYS = ("rules", "network", "both")
RIGHT_MM = 1.5
"""A voxel of a right bridge is this near to a true centre line."""
RIGHT_PART = 0.85
_SEEN = 0.35


@dataclass(frozen=True)
class Case:
    """A gap as the product's repair meets it: the picture and what was segmented, the orphan, and where bridges may begin."""

    gap: Gap
    cube: Cube
    segmentation: Segmentation
    surroundings: Surroundings
    orphan: Orphan
    ends: Float
    sides: Float
    near: Float
    far: Float
    blood: float


@dataclass
class Tally:
    """What one way decided: per kind of gap right bridges, wrong joins, and gaps left open."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, kind: str, outcome: str) -> None:
        """Count one decision."""
        self.counts[kind, outcome] += 1

    def line(self) -> str:
        """True gaps bridged right, wrong joins of all, by kind."""
        true = sum(n for (kind, _), n in self.counts.items() if kind == "vessel")
        every = sum(self.counts.values())
        right = self.counts["vessel", "right"]
        wrong = sum(n for (_, outcome), n in self.counts.items() if outcome == "wrong")
        kinds = "; ".join(f"{kind} {self._of(kind)}" for kind in KINDS)
        return f"true gaps bridged right {right}/{true}, wrong joins {wrong}/{every} ({kinds})"

    def _of(self, kind: str) -> str:
        return "/".join(f"{self.counts[kind, outcome]} {outcome}" for outcome in ("right", "wrong", "open"))


def make_case(site: GapSite, heart: Heart, rng: np.random.Generator) -> Case | None:
    """A drawn gap; None where the lost piece or the tree cannot be told from the rest."""
    gap, cube, near, far, extra = draw_cube(site, rng, size=SIDE)
    lost = lost_mask(gap, cube)
    share = seen_share(cube, lost, (*gap.invented, *extra), rng)
    hu = paled(cube.rendered.hu, lost, rng) if gap.course is not None else cube.rendered.hu
    x, y, z = (float(value) for value in cube.origin)
    geometry = Geometry((SIDE,) * 3, (SPACING_MM,) * 3, (x, y, z))
    classes = np.where(share >= 255 * _SEEN, int(VesselClass.LUMEN), 0).astype(np.uint8)
    segmentation = Segmentation(geometry=geometry, hu=hu, classes=classes, coronary=share)
    pieces, _ = ndimage.label(classes > 0, structure=np.ones((3, 3, 3)))
    lines = np.rint(cube.index(cube.points)).astype(int)
    inside = ((lines >= 0) & (lines < SIDE)).all(axis=1)
    held = np.zeros(len(lines), int)
    held[inside] = pieces[tuple(lines[inside].T)]
    mine, theirs = (_piece_at(pieces, cube.index(end)) for end in (far, near))
    if not mine or mine == theirs:
        return None
    voxels = np.argwhere(pieces == mine).astype(np.int32)
    orphan = Orphan(voxels=voxels, length_mm=float(np.linalg.norm(np.ptp(voxels, axis=0) * SPACING_MM)))
    tree = (held > 0) & (held != mine)
    if not tree.any():
        return None
    sides = cube.points[tree]
    # the near end is an end of the tree where nothing of its branch follows
    ends = near[None] if any(s.start <= 1 or _begins_at(s.start, s.branch, site, gap) for s in gap.lost) else sides[:0]
    bright = hu[(share > 200) & (cube.rendered.vessels == 1)]
    blood = float(np.median(bright)) if bright.size > 50 else 0.0
    return Case(gap, cube, segmentation, Surroundings(heart), orphan, ends.reshape(-1, 3), sides, near, far, blood)


def _begins_at(start: int, branch: int, site: GapSite, gap: Gap) -> bool:
    """Whether a lost stretch begins at the gap's near end."""
    line = site.lines.points[branch]
    return bool(np.linalg.norm(line[min(start, len(line) - 1)] - gap.near_mm) < 1.0)


def _piece_at(pieces: np.ndarray, index: Float) -> int:
    """The piece of the mask within 2 mm of a place, 0 where there is none."""
    where = np.argwhere(pieces > 0)
    if not len(where):
        return 0
    distance = np.linalg.norm(where - index, axis=1)
    nearest = int(distance.argmin())
    return int(pieces[tuple(where[nearest])]) if distance[nearest] * SPACING_MM <= 2.0 else 0


def decide(case: Case, *, session: Session | None, rules: RepairRules) -> str:
    """'right', 'wrong' or 'open': by the rules, or with the network."""
    orphan, picture = case.orphan, case.segmentation
    if refusal(orphan, picture, case.surroundings, case.blood, rules):
        return "open"
    judge = GapJudge(session, picture) if session is not None else None
    ways = Ways(picture, case.surroundings, case.blood, rules, judge)
    tips, sources = tips_of(orphan.voxels, picture.geometry), Sources.bare(case.ends, case.sides)
    bridge = ways.cheapest(orphan, tips, sources, most=allowance(orphan, picture, case.blood, rules))
    return "open" if bridge is None else ("right" if is_right(bridge, case) else "wrong")


def is_right(bridge: Bridge, case: Case) -> bool:
    """Whether a bridge keeps to true coronaries."""
    if case.gap.kind not in ("vessel", "other_branch"):
        return False
    points = case.segmentation.geometry.to_points(bridge.voxels)
    return bool((cKDTree(case.cube.points).query(points)[0] <= RIGHT_MM).mean() >= RIGHT_PART)


def answer(case: Case, *, session: Session, least: float) -> str:
    """The network's own word on the two true ends."""
    (verdict,) = GapJudge(session, case.segmentation).verdicts([Question(case.near, case.far)])
    if verdict.vessel < least:
        return "open"
    return "right" if case.gap.kind == "vessel" else "wrong"


def evaluate(seeds: Sequence[int], *, gaps: int, session: Session | None, least: float = 0.5) -> dict[str, Tally]:
    """Decide ``gaps`` gaps of each patient in every way; ``least``: probability from which the network alone says yes."""
    rules = RepairRules()
    family = load_families()["development"]
    tallies = {way: Tally() for way in WAYS}
    for seed in seeds:
        rng = np.random.default_rng((seed, 9))
        patient = virtual_patient(seed)
        heart = heart_of(coarse_map(patient))
        # the truth at 3 mm lies where the patient is: pictures with steps would not fit it
        scan = replace(designed_scan(seed, family.design_of(seed)), steps=())
        site = GapSite(lines_of(patient), (scan,))
        cases = (make_case(site, heart, rng) for _ in range(gaps))
        for case in (one for one in cases if one is not None):
            tallies["rules"].add(case.gap.kind, decide(case, session=None, rules=rules))
            if session is not None:
                tallies["network"].add(case.gap.kind, answer(case, session=session, least=least))
                tallies["both"].add(case.gap.kind, decide(case, session=session, rules=rules))
        sys.stdout.write(f"{seed} rules: {tallies['rules'].line()} both: {tallies['both'].line()}\n")
        sys.stdout.flush()
    return tallies


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation.gaps", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=20, help="development patients, spread over the designs")
    parser.add_argument("--gaps", type=int, default=10, help="gaps of each")
    parser.add_argument("--least", type=float, default=0.5, help="least probability that counts as the network's yes")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args(arguments)
    catalog = ModelCatalog.load(installed_catalog())
    session = best_engine(threads=options.threads).load(catalog["repair"]) if "repair" in catalog else None
    seeds = load_families()["development"].spread(options.cases)
    for way, tally in evaluate(seeds, gaps=options.gaps, session=session, least=options.least).items():
        sys.stdout.write(f"{way}: {tally.line()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
