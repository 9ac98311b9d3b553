"""The store of virtual patients: what comes out is what was drawn, and it stays bounded."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.phantom import Patient
from models.training import patients
from models.training.families import load_families
from models.training.patients import generator_digest, training_patient, virtual_patient
from tests.patients import drawn_patient


@pytest.fixture(scope="module")
def drawn() -> Patient:
    return replace(drawn_patient(3), cache={})


def test_a_stored_patient_is_the_drawn_one(tmp_path: Path, drawn: Patient) -> None:
    first = virtual_patient(3, store=tmp_path)
    stored = tmp_path / generator_digest() / "3.pickle"
    assert stored.exists()
    assert [p.name for p in stored.parent.iterdir()] == ["3.pickle"]
    again = virtual_patient(3, store=tmp_path)
    for patient in (first, again):
        np.testing.assert_array_equal(patient.channels, drawn.channels)
        assert [b.name for b in patient.branches] == [b.name for b in drawn.branches]
        np.testing.assert_array_equal(patient.branches[0].points_mm, drawn.branches[0].points_mm)


def test_a_full_store_gives_what_it_holds_and_replaces_one_now_and_then(
    tmp_path: Path, drawn: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patients, "KEPT", 4)
    monkeypatch.setattr(patients, "FEW", 4)
    monkeypatch.setattr(patients, "draw_patient", lambda seed: replace(drawn, seed=seed))
    rng = np.random.default_rng(1)
    folder = tmp_path / generator_digest()
    seen = set()
    for _ in range(60):
        patient = training_patient(rng, store=tmp_path)
        stored = {int(path.stem) for path in folder.iterdir()}
        assert patient.seed in stored
        assert len(stored) <= 4
        seen.add(patient.seed)
    train = load_families()["train"]
    assert 5 < len(seen) < 20  # four to fill it, then one in twenty is new
    assert all(train.first <= seed <= train.last for seed in seen)


def test_a_torn_file_is_drawn_anew(tmp_path: Path, drawn: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patients, "draw_patient", lambda _: drawn)
    folder = tmp_path / generator_digest()
    folder.mkdir()
    (folder / "3.pickle").write_bytes(pickle.dumps(drawn)[:1000])
    np.testing.assert_array_equal(virtual_patient(3, store=tmp_path).channels, drawn.channels)
