"""What the naming network needs of a virtual patient: named lines, veins and the coarse structure map, small enough to keep hundreds."""

from __future__ import annotations

import os
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.analysis.naming_network import LABELS, Label
from models.phantom import Patient
from models.training.context import coarse_map
from models.training.families import load_families
from models.training.patients import STORE, generator_digest, training_patient, virtual_patient

CASES = Path("build/naming")
KEPT = 400
FEWEST = 24
"""Patients that are drawn before any is used twice."""
_NEW_SHARE = 0.04
_SEEN_SHARE = 0.5
"""How often a patient that other networks drew already is taken in."""

Points = npt.NDArray[np.float64]

_PATTERNS: tuple[tuple[str, Label], ...] = (
    (r"LM", "LM"),
    (r"LAD", "LAD"),
    (r"LCX", "LCX"),
    (r"RCA", "RCA"),
    (r"RIa?", "RI"),
    (r"D\d*a?", "D"),
    (r"OM\d*a?", "OM"),
    (r"[LR]-PDA\d*a?", "PDA"),
    (r"[LR]-PLB\d*a?", "PLB"),
    (r"S\d*", "S"),
    (r"(AM|RVB)\d*", "AM"),
    (r"conus|CB", "CB"),
)


@dataclass(frozen=True)
class Line:
    """A branch: points LPS mm (n, 3), lumen radius mm (n,), the index of its label, parent, where it leaves that, and true segments."""

    points: Points
    radius: Points
    label: int
    parent: int | None
    parent_index: int | None
    segments: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class NamingCase:
    """One patient's tree and heart.

    Attributes:
        lines: the coronaries, parents before children.
        veins: cardiac veins, label ``none``.
        variants: what is unusual about the tree.
        structures: (z, y, x) classes at 3 mm as heart-loc gives them; ``origin``: LPS position of their first voxel.
    """

    seed: int
    lines: tuple[Line, ...]
    veins: tuple[Line, ...]
    structures: npt.NDArray[np.uint8]
    origin: Points
    variants: tuple[str, ...] = ()


def label_of(name: str) -> Label:
    """The label of a virtual patient's branch; a branch of a branch (``D1a``) has its parent's."""
    return next((label for pattern, label in _PATTERNS if re.fullmatch(pattern, name)), "other")


def make_case(patient: Patient) -> NamingCase:
    """The case of a patient."""
    coarse = coarse_map(patient)
    order = _parents_first([branch.parent for branch in patient.branches])
    place = {number: position for position, number in enumerate(order)}
    lines = tuple(
        Line(
            points=np.asarray(branch.points_mm, np.float64),
            radius=np.asarray(branch.healthy_radius_mm, np.float64),
            label=LABELS.index(label_of(branch.name)),
            parent=None if branch.parent is None else place[branch.parent],
            parent_index=branch.parent_index,
            segments=branch.segments,
        )
        for branch in (patient.branches[number] for number in order)
    )
    veins = tuple(
        Line(np.asarray(tube.points_mm, np.float64), np.asarray(tube.radius_mm, np.float64), LABELS.index("none"), None, None)
        for tube in patient.tubes
        if tube.kind == "vein"
    )
    return NamingCase(patient.seed, lines, veins, coarse.structures, np.asarray(coarse.origin, np.float64), patient.variants)


def _parents_first(parents: list[int | None]) -> list[int]:
    order: list[int] = []
    while len(order) < len(parents):
        order += [i for i, parent in enumerate(parents) if i not in order and (parent is None or parent in order)]
    return order


def virtual_case(seed: int, *, folder: Path = CASES, patient: Patient | None = None) -> NamingCase:
    """The case of a seed, from the folder if it is there, else made and kept."""
    path = folder / generator_digest() / f"{seed}.pickle"
    try:
        with path.open("rb") as stored:
            kept: NamingCase = pickle.load(stored)  # noqa: S301 - written by this very function
            return kept
    except (OSError, EOFError):
        case = make_case(patient or virtual_patient(seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{seed}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        pickle.dump(case, file, protocol=5)
    partial.replace(path)
    return case


def training_case(rng: np.random.Generator, *, folder: Path = CASES, store: Path = STORE) -> NamingCase:
    """A case of the train family: mostly one that is kept, now and then one more."""
    family = load_families()["train"]
    kept = _seeds(folder / generator_digest(), family.first, family.last)
    if len(kept) < KEPT:
        fresh = sorted(set(_seeds(store / generator_digest(), family.first, family.last)) - set(kept))
        if fresh and (len(kept) < FEWEST or rng.random() < _SEEN_SHARE):
            return virtual_case(int(rng.choice(fresh)), folder=folder)
        if len(kept) < FEWEST or rng.random() < _NEW_SHARE:
            patient = training_patient(rng, store=store)
            return virtual_case(patient.seed, folder=folder, patient=patient)
    return virtual_case(int(rng.choice(kept)), folder=folder)


def _seeds(folder: Path, first: int, last: int) -> list[int]:
    return sorted(seed for path in folder.glob("*.pickle") if first <= (seed := int(path.stem)) <= last)
