"""The families of virtual patients never share a patient."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.training.families import load_families


def test_committed_families_are_disjoint_and_as_fixed() -> None:
    families = load_families()
    assert {name: (family.first, family.last) for name, family in families.items()} == {
        "train": (0, 99999),
        "development": (100000, 100099),
        "test": (200000, 200199),
    }
    assert families["development"].seeds(2) == [100000, 100001]
    with pytest.raises(ValueError, match="100 patients"):
        families["development"].seeds(101)


def test_families_that_share_a_patient_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    path.write_text("[train]\nseeds = [0, 10]\n[test]\nseeds = [10, 20]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="train and test"):
        load_families(path)
