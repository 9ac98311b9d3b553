"""Invariants that every virtual patient keeps."""

from __future__ import annotations

import itertools
import json
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from models.phantom import Patient, draw_patient, truth

SEEDS = (3, 5, 17, 1002)
BLOOD = ("lv", "la", "ra", "rv", "pa", "ao")
SEGMENTS = {
    "pRCA", "mRCA", "dRCA", "R-PDA", "LM", "pLAD", "mLAD", "dLAD", "D1", "D2", "pLCx", "OM1", "LCx", "OM2", "L-PDA", "R-PLB", "RI",
    "L-PLB", "other",
}  # fmt: skip


@lru_cache(maxsize=8)
def patient_of(seed: int) -> Patient:
    return draw_patient(seed)


@pytest.fixture(params=SEEDS)
def patient(request: pytest.FixtureRequest) -> Patient:
    return patient_of(request.param)


def distance_to(patient: Patient, field: np.ndarray, points: np.ndarray) -> np.ndarray:
    index = ((points - np.asarray(patient.grid.origin)) / patient.grid.spacing)[:, ::-1].T
    return ndimage.map_coordinates(field, index, order=1, mode="nearest")


def test_main_vessels_exist_and_hang_together(patient: Patient) -> None:
    names = [b.name for b in patient.branches]
    assert names[:4] == ["LM", "LAD", "LCX", "RCA"]
    assert len(set(names)) == len(names)
    assert [b.id for b in patient.branches] == list(range(len(names)))
    for b in patient.branches:
        if b.parent is None:
            assert b.name in ("LM", "RCA")
            continue
        assert b.parent < b.id
        assert b.parent_index is not None
        parent = patient.branches[b.parent]
        assert np.allclose(b.points_mm[0], parent.points_mm[b.parent_index], atol=1e-6)


def test_steps_are_at_most_half_a_millimetre_and_paths_do_not_fold_back(patient: Patient) -> None:
    for b in patient.branches:
        steps = np.linalg.norm(np.diff(b.points_mm, axis=0), axis=1)
        assert steps.max() <= 0.5
        chord = np.diff(b.points_mm[::5], axis=0)
        chord /= np.linalg.norm(chord, axis=1, keepdims=True)
        assert (np.sum(chord[1:] * chord[:-1], axis=1) > -0.2).all(), b.name


def test_side_branches_are_numbered_without_gaps(patient: Patient) -> None:
    for stem in ("D", "OM", "S"):
        numbers = sorted(int(b.name[len(stem) :]) for b in patient.branches if b.name.startswith(stem) and b.name[len(stem) :].isdigit())
        assert numbers == list(range(1, len(numbers) + 1))


def test_ostia_lie_on_the_surface_of_the_aortic_lumen(patient: Patient) -> None:
    aorta = patient.channel("ao")
    for side, name in (("left", "LM"), ("right", "RCA")):
        start = next(b for b in patient.branches if b.name == name).points_mm[0]
        assert np.allclose(start, patient.ostia[side])
        assert abs(float(distance_to(patient, aorta, start[None])[0])) < 0.7


def test_no_centreline_runs_in_blood(patient: Patient) -> None:
    for b in patient.branches:
        points = b.points_mm[10:] if b.parent is None else b.points_mm
        for name in BLOOD:
            assert distance_to(patient, patient.channel(name), points).min() > 0.2, (b.name, name)


def test_no_branch_runs_inside_another_except_at_its_root(patient: Patient) -> None:
    for b in patient.branches:
        away = b.points_mm[30:]
        for other in patient.branches:
            if other.id >= b.id or len(away) == 0:
                continue
            distance, nearest = cKDTree(other.points_mm).query(away)
            assert (distance > 0.8 * other.outer_radius_mm[nearest]).all(), (b.name, other.name)


def test_veins_keep_clear_of_arteries(patient: Patient) -> None:
    points = np.concatenate([b.points_mm for b in patient.branches])
    radius = np.concatenate([b.lumen_radius_mm for b in patient.branches])
    veins = [t for t in patient.tubes if t.kind == "vein"]
    assert veins
    for vein in veins:
        distance, nearest = cKDTree(points).query(vein.points_mm)
        assert (distance - radius[nearest] - vein.radius_mm).min() > -0.3


def test_a_real_wall_lies_outside_the_lumen(patient: Patient) -> None:
    for b in patient.branches:
        shift = np.linalg.norm(b.outer_offset_mm, axis=1)
        assert (b.outer_radius_mm - shift - b.lumen_radius_mm > 0.2).all(), b.name
        assert (b.lumen_radius_mm >= 0).all()
        assert (b.healthy_radius_mm > 0.3).all()


def test_segments_cover_each_branch_in_order(patient: Patient) -> None:
    for b in patient.branches:
        edges = [i for i, _, _ in b.segments] + [b.segments[-1][1]]
        assert edges[0] == 0
        assert edges[-1] == len(b.points_mm)
        assert all(i < j for i, j in itertools.pairwise(edges))
        assert {name for _, _, name in b.segments} <= SEGMENTS


def test_dominance_follows_from_the_branches(patient: Patient) -> None:
    names = {b.name for b in patient.branches}
    if patient.dominance == "right":
        assert {"R-PDA", "R-PLB"} <= names
    elif patient.dominance == "codominant":
        assert "R-PDA" in names
        assert "R-PLB" not in names
    else:
        assert "R-PDA" not in names


def test_lesions_narrow_as_much_as_they_say(patient: Patient) -> None:
    for lesion in patient.lesions:
        b = patient.branches[lesion.branch]
        assert 0 <= lesion.start < lesion.minimum < lesion.end < len(b.points_mm)
        span = slice(lesion.start, lesion.end + 1)
        narrowing = 100.0 * (1.0 - b.lumen_radius_mm[span] / b.healthy_radius_mm[span])
        assert narrowing.max() == pytest.approx(lesion.diameter_stenosis_percent, abs=0.6)
        assert narrowing[lesion.minimum - lesion.start] == pytest.approx(narrowing.max(), abs=0.6)
        v = lesion.volume_mm3
        assert v["total"] == pytest.approx(v["calcified"] + v["noncalcified"])
        assert v["low_attenuation"] <= v["noncalcified"]
        assert (v["calcified"] > 0.0) == (lesion.plaque_type != "noncalcified")


def test_the_same_seed_gives_the_same_patient() -> None:
    first, second, other = draw_patient(5), draw_patient(5), patient_of(3)
    assert np.array_equal(first.channels, second.channels)
    assert truth(first) == truth(second)
    assert truth(first) != truth(other)


def test_truth_is_plain_data_in_the_terms_of_the_findings(patient: Patient) -> None:
    facts = json.loads(json.dumps(truth(patient)))
    assert len(facts["branches"]) == len(patient.branches)
    for branch in facts["branches"]:
        assert len(branch["points_mm"]) == len(branch["lumen_diameter_mm"]) == len(branch["vessel_diameter_mm"])
        assert branch["vessel"] in ("LM", "LAD", "LCX", "RCA", "RI", "other")
    for lesion in facts["lesions"]:
        assert lesion["grade"] in ("none", "minimal", "mild", "moderate", "severe", "occluded")
        assert lesion["segment"] in SEGMENTS


def test_seeds_reach_every_kind_of_disease_and_dominance() -> None:
    """Diversity, counted on cheap draws: the plan and the lesion tables, not whole patients."""
    from models.phantom.tree import draw_plan

    plans = [draw_plan(np.random.default_rng((s, 9))) for s in range(200)]
    assert {p.dominance for p in plans} == {"right", "left", "codominant"}
    assert {p.ramus for p in plans} == {True, False}
    assert min(p.lm_length for p in plans) < 5.0 < 15.0 < max(p.lm_length for p in plans)
