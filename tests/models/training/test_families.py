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
        "test": (300000, 300199),
    }
    assert families["development"].seeds(2) == [100000, 100001]
    with pytest.raises(ValueError, match="100 patients"):
        families["development"].seeds(101)


def test_families_that_share_a_patient_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    path.write_text("[train]\nseeds = [0, 10]\n[test]\nseeds = [10, 20]\n", encoding="utf-8")
    with pytest.raises(ValueError, match="train and test"):
        load_families(path)


def test_every_patient_of_development_and_test_has_one_design() -> None:
    families = load_families()
    for kind in ("development", "test"):
        names = [families[kind].design_of(seed).name for seed in families[kind].seeds(len(families[kind]))]
        assert set(names) == {"as-drawn", "noisy", "faint", "blurred", "moving", "thick"}
        assert names.count("as-drawn") >= 0.6 * len(names)
    assert [design.name for design in families["train"].designs] == ["as-drawn"]
    with pytest.raises(ValueError, match="no patient"):
        families["test"].design_of(100000)


def test_a_part_of_a_family_holds_all_designs_in_their_shares() -> None:
    test = load_families()["test"]
    names = [test.design_of(seed).name for seed in test.spread(100)]
    assert len(names) == len(set(test.spread(100))) == 100
    assert {name: names.count(name) for name in names} == {"as-drawn": 60, "noisy": 8, "faint": 8, "blurred": 8, "moving": 8, "thick": 8}
    assert len(test.spread(7)) == 7
    assert test.spread(200) == test.seeds(200)


def test_designs_that_leave_out_a_patient_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    path.write_text("[test]\nseeds = [0, 10]\n[test.designs]\na = { seeds = [0, 5] }\nb = { seeds = [7, 10] }\n", encoding="utf-8")
    with pytest.raises(ValueError, match="do not cover"):
        load_families(path)
