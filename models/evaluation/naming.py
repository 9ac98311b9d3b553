"""How well trees are named, apart from everything before: true trees of virtual patients, whole and damaged, named in three ways.

python -m models.evaluation.naming --cases 20 --damage 1.0
python -m models.evaluation.naming --cases 4 --extracted

``rules``: by the written rules alone. ``network``: the likeliest label of each piece, with borders at fixed parts of the vessels and
numbers in the order of origin. ``both``: as the product does it. Only development patients.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.spatial import cKDTree

from appliance.analysis.naming import name_branches
from appliance.analysis.naming_network import LABELS, label_tree
from appliance.analysis.naming_table import Piece, pieces_of
from appliance.analysis.stages import Float, Heart, Tree
from appliance.analysis.surroundings import Surroundings
from appliance.errors import AnalysisError
from appliance.geometry import arc_length
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from models.evaluation.extracted import extracted_tree
from models.evaluation.lines import ResultLine, named_length, result_lines, vessel_length
from models.evaluation.measures import Share, TrueBranch
from models.training.families import load_families
from models.training.naming_cases import NamingCase, virtual_case
from models.training.naming_trees import Damage, draw_tree, heart_of
from models.training.patients import virtual_patient

FIXED_BORDERS: Mapping[str, tuple[tuple[float, str], ...]] = {
    "LAD": ((0.25, "pLAD"), (0.6, "mLAD"), (1.1, "dLAD")),
    "LCX": ((0.4, "pLCx"), (1.1, "LCx")),
    "RCA": ((0.25, "pRCA"), (0.5, "mRCA"), (1.1, "dRCA")),
}
"""Where a vessel's segments end, as parts of its length: what one would take without any rule."""
WAYS = ("rules", "network", "both")
MakeTree = Callable[[NamingCase], tuple[Tree | None, Heart]]


@dataclass
class Tally:
    """What one way of naming got right over all cases."""

    segments: list[Share] = field(default_factory=list)
    vessels: list[Share] = field(default_factory=list)
    confused: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_variant: dict[str, list[Share]] = field(default_factory=dict)

    def add(self, case: NamingCase, truth: list[TrueBranch], lines: list[ResultLine]) -> float:
        """Take in a case; the share of its length that was found and carries the right segment."""
        share = named_length(truth, lines)["name_accuracy_of_found"]
        self.segments.append(share)
        self.vessels.append(vessel_length(truth, lines))
        self.confused.update(confusion(truth, lines))
        for variant in case.variants or ("none",):
            self.by_variant.setdefault(variant, []).append(share)
        return share.value or 0.0


def pooled(shares: Iterable[Share]) -> float:
    """The share of all lengths together."""
    every = list(shares)
    return sum(s.part for s in every) / max(sum(s.whole for s in every), 1e-9)


def true_branches(case: NamingCase) -> list[TrueBranch]:
    """The named truth of a case, grafts left out."""
    return [
        TrueBranch(points=line.points, healthy_radius=line.radius, outer_radius=line.radius, segments=line.segments) for line in case.lines
    ]


def confusion(truth: list[TrueBranch], lines: list[ResultLine]) -> Counter[tuple[str, str]]:
    """Millimetres of true length of 1.5 mm and more by (true segment, segment given), where both differ and a result lies near."""
    points = np.concatenate([line.points[line.own] for line in lines]) if lines else np.zeros((0, 3))
    names = np.concatenate([line.names[line.own] for line in lines]) if lines else np.zeros(0, "<U8")
    found: Counter[tuple[str, str]] = Counter()
    if not len(points):
        return found
    tree = cKDTree(points)
    for branch in truth:
        distance, index = tree.query(branch.points)
        wrong = branch.large & (distance <= branch.found_within) & (names[index] != branch.names)
        for wanted, given, length in zip(branch.names[wrong], names[index][wrong], branch.steps[wrong], strict=True):
            found[str(wanted), str(given)] += length
    return found


def named_by_network(tree: Tree, heart: Heart, session: Session) -> list[ResultLine]:
    """The likeliest label of each piece as segments, with fixed borders and numbers in the order of origin, unmended by any rule."""
    labels = label_tree(tree, heart, Surroundings(heart), session=session)
    if labels is None:
        return []
    pieces = pieces_of(tree)
    likeliest = [LABELS[int(labels[p.branch][p.start : p.end + 1].mean(axis=0).argmax())] for p in pieces]
    distance = _from_ostium(tree)
    names = [np.full(len(branch.points_mm), "other", dtype="<U8") for branch in tree.branches]
    numbers = _numbers(tree, pieces, likeliest, distance)
    for number in range(len(pieces) - 1, -1, -1):
        piece, label = pieces[number], likeliest[number]
        at = np.arange(piece.start, piece.end + 1)
        if label in FIXED_BORDERS:
            reach = [distance[p.branch][[p.start, p.end]] for p, other in zip(pieces, likeliest, strict=True) if other == label]
            low, high = float(np.min(reach)), float(np.max(reach))
            share = (distance[piece.branch][at] - low) / max(high - low, 1e-6)
            ends, segments = zip(*FIXED_BORDERS[label], strict=True)
            names[piece.branch][at] = np.asarray(segments)[np.searchsorted(ends, share)]
        else:
            names[piece.branch][at] = numbers[number]
    return [ResultLine(b.points_mm, n, b.parent is None) for b, n in zip(tree.branches, names, strict=True)]


def _from_ostium(tree: Tree) -> list[Float]:
    found: list[Float] = []
    for branch in tree.branches:
        start = 0.0 if branch.parent is None else float(found[branch.parent][branch.parent_index or 0])
        found.append(start + arc_length(branch.points_mm))
    return found


def _numbers(tree: Tree, pieces: tuple[Piece, ...], likeliest: Sequence[str], distance: list[Float]) -> list[str]:
    """The segment of each piece that is no main vessel: connected pieces of one label are one branch."""
    first = list(range(len(pieces)))
    for number, piece in enumerate(pieces):
        if piece.parent is not None and likeliest[piece.parent] == likeliest[number]:
            first[number] = first[piece.parent]
    names = ["other"] * len(pieces)
    for label, given in (("D", ("D1", "D2")), ("OM", ("OM1", "OM2")), ("RI", ("RI",)), ("LM", ("LM",))):
        heads = sorted({f for f in first if likeliest[f] == label}, key=lambda f: float(distance[pieces[f].branch][pieces[f].start]))
        for name, head in zip(given, heads, strict=False):
            names[head] = name
    for head in set(first):
        if likeliest[head] in ("PDA", "PLB"):
            names[head] = ("L-" if tree.branches[pieces[head].branch].side == "left" else "R-") + likeliest[head]
    return [names[f] for f in first]


def name_in_ways(tree: Tree, heart: Heart, session: Session | None) -> dict[str, list[ResultLine]]:
    """The tree named in each of `WAYS` (without a network by the rules only); no lines where a way cannot."""
    found: dict[str, list[ResultLine]] = {}
    for way in WAYS if session is not None else WAYS[:1]:
        try:
            if way == "network" and session is not None:
                found[way] = named_by_network(tree, heart, session)
            else:
                found[way] = result_lines(name_branches(tree, heart, session=None if way == "rules" else session).branches)
        except AnalysisError:
            found[way] = []
    return found


def damaged_tree(case: NamingCase, damage: float) -> tuple[Tree | None, Heart]:
    """The one damaged tree of a case that is evaluated, and the heart as it is seen then."""
    rng = np.random.default_rng((case.seed, 7))
    heart = heart_of(case, rng if damage else None)
    drawn = draw_tree(case, heart, rng, Damage(damage))
    return drawn.tree if drawn else None, heart


def evaluate(cases: Iterable[NamingCase], trees: MakeTree, *, session: Session | None) -> dict[str, Tally]:
    """Name one tree of each case in each way."""
    tallies: dict[str, Tally] = {}
    for case in cases:
        tree, heart = trees(case)
        if tree is None:
            continue
        truth = true_branches(case)
        ways = name_in_ways(tree, heart, session)
        shares = {way: tallies.setdefault(way, Tally()).add(case, truth, lines) for way, lines in ways.items()}
        _say(f"{case.seed} {' '.join(f'{way} {share:.3f}' for way, share in shares.items())} {' '.join(case.variants)}")
    return tallies


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation.naming", description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="development patients to skip")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--damage", type=float, default=1.0, help="0: the true trees; 1: as bad as an extraction may be")
    parser.add_argument("--extracted", action="store_true", help="trees as the product extracts them from the true label maps")
    options = parser.parse_args(arguments)
    catalog = ModelCatalog.load(installed_catalog())
    session = best_engine().load(catalog["naming"]) if "naming" in catalog else None
    seeds = load_families()["development"].seeds(options.first + options.cases)[options.first :]
    trees: MakeTree = _extracted if options.extracted else partial(damaged_tree, damage=options.damage)
    for way, tally in evaluate(map(virtual_case, seeds), trees, session=session).items():
        values = [share.value or 0.0 for share in tally.segments]
        _say(
            f"{way}: segments {pooled(tally.segments):.4f} (median {np.median(values):.4f}, worst {min(values):.4f}), "
            f"vessels {pooled(tally.vessels):.4f}, n {len(values)}"
        )
        _say("   confused, mm: " + ", ".join(f"{a} as {b} {length:.0f}" for (a, b), length in tally.confused.most_common(12)))
        _say("   by variant: " + ", ".join(f"{name} {pooled(s):.3f} ({len(s)})" for name, s in sorted(tally.by_variant.items())))
    return 0


def _extracted(case: NamingCase) -> tuple[Tree | None, Heart]:
    heart = heart_of(case)
    return extracted_tree(virtual_patient(case.seed), heart), heart


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
