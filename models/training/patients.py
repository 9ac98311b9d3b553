"""Virtual patients from a store on disk: drawing one takes seconds, and every network learns from the same ones.

The store is a folder of pickles, one per seed, under a digest of the generator's own sources: a change of the generator starts a new store.
Only files that this program wrote are read.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from functools import lru_cache
from pathlib import Path

import numpy as np

from models import phantom
from models.phantom import Patient, draw_patient
from models.training.families import load_families

STORE = Path("build/patients")
KEPT = 300
"""Patients of the train family that the store grows to (about 50 MB each)."""
FEW = 24
FILLING_SHARE = 0.4
"""How often a new patient is drawn while the store fills, once it holds a few: several trainings fill it together."""
_OF_SCANS = (
    "artefacts", "compose", "device", "device_painting", "motion", "noise", "physics", "render", "scan", "series", "sinogram", "tissue",
    "truth",
)  # fmt: skip
NEW_SHARE = 0.05
"""How often a training process draws a patient that the full store does not hold, and puts it in the place of another."""


def virtual_patient(seed: int, *, store: Path = STORE) -> Patient:
    """The patient of a seed, from the store if it is there, else drawn and stored."""
    path = store / generator_digest() / f"{seed}.pickle"
    try:
        with path.open("rb") as stored:
            kept: Patient = pickle.load(stored)  # noqa: S301 - written by this very function
            return kept
    except (OSError, EOFError, pickle.UnpicklingError):
        patient = draw_patient(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{seed}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        pickle.dump(patient, file, protocol=5)
    partial.replace(path)
    return patient


def training_patient(rng: np.random.Generator, *, store: Path = STORE) -> Patient:
    """A patient of the train family: a stored one or a new one; once the store is full a new one takes the place of an old one."""
    family = load_families()["train"]
    folder = store / generator_digest()
    stored = sorted(int(p.stem) for p in folder.glob("*.pickle") if family.first <= int(p.stem) <= family.last)
    full = len(stored) >= KEPT
    if len(stored) >= FEW and rng.random() > (NEW_SHARE if full else FILLING_SHARE):
        return virtual_patient(int(rng.choice(stored)), store=store)
    if full:
        (folder / f"{int(rng.choice(stored))}.pickle").unlink(missing_ok=True)
    return virtual_patient(int(rng.integers(family.first, family.last + 1)), store=store)


@lru_cache(maxsize=1)
def generator_digest() -> str:
    """Twelve hex digits that change with the sources that patients are drawn by; how they are scanned is not kept in the store."""
    digest = hashlib.sha256()
    for path in sorted(Path(phantom.__path__[0]).glob("*.py")):
        if path.stem not in _OF_SCANS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
