"""Invariants that every virtual patient keeps."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from models.phantom import Patient, draw_patient, truth
from models.phantom.variants import DOMINANCE, ORIGINS, draw_plan
from tests.patients import drawn_patient

#: Chosen by their plans (cheap to draw) so that every origin, dominance and most variants occur; nothing was tuned on them.
SEEDS = (0, 1, 3, 8, 9, 17, 21, 22, 26, 60, 76, 96)
MAINS = ("LAD", "LCX", "RCA")
BLOOD = ("lv", "la", "ra", "rv", "pa", "ao")
SEGMENTS = {
    "pRCA", "mRCA", "dRCA", "R-PDA", "LM", "pLAD", "mLAD", "dLAD", "D1", "D2", "pLCx", "OM1", "LCx", "OM2", "L-PDA", "R-PLB", "RI",
    "L-PLB", "other",
}  # fmt: skip


@pytest.fixture(params=SEEDS)
def patient(request: pytest.FixtureRequest) -> Patient:
    return drawn_patient(request.param)


def distance_to(patient: Patient, field: np.ndarray, points: np.ndarray) -> np.ndarray:
    index = ((points - np.asarray(patient.grid.origin)) / patient.grid.spacing)[:, ::-1].T
    return ndimage.map_coordinates(field, index, order=1, mode="nearest")


def test_main_vessels_exist_and_hang_together(patient: Patient) -> None:
    names = [b.name for b in patient.branches]
    assert set(MAINS) <= set(names)
    assert len(set(names)) == len(names)
    assert [b.id for b in patient.branches] == list(range(len(names)))
    roots = [b for b in patient.branches if b.parent is None]
    assert len(roots) == len(patient.ostia)
    for b in patient.branches:
        if b.parent is None:
            assert min(np.linalg.norm(b.points_mm[0] - np.asarray(o)) for o in patient.ostia.values()) < 1e-6
            continue
        assert b.parent < b.id
        assert b.parent_index is not None
        parent = patient.branches[b.parent]
        assert np.allclose(b.points_mm[0], parent.points_mm[b.parent_index], atol=1e-6)


def test_origins_are_as_the_variants_say(patient: Patient) -> None:
    by_name = {b.name: b for b in patient.branches}
    roots = {b.name for b in patient.branches if b.parent is None and b.kind == "native"}
    if "separate_ostia" in patient.variants:
        assert roots == {"LAD", "LCX", "RCA"}
    elif "anomalous_lcx_from_right" in patient.variants:
        assert "LM" not in by_name
        circumflex = by_name["LCX"].points_mm[0]
        assert np.linalg.norm(circumflex - patient.ostia["right"]) < 14.0 < np.linalg.norm(circumflex - patient.ostia["left"])
    elif "single_coronary" in patient.variants:
        assert roots == {"LM"}
    else:
        assert roots == {"LM", "RCA"}
    if "short_left_main" in patient.variants:
        assert len(by_name["LM"].points_mm) * 0.5 < 6.0


def test_an_anomalous_right_artery_runs_between_aorta_and_pulmonary_trunk() -> None:
    patient = next(p for p in map(drawn_patient, SEEDS) if "interarterial_course" in p.variants)
    rca = next(b for b in patient.branches if b.name == "RCA").points_mm[:80]
    aorta, trunk = (distance_to(patient, patient.channel(n), rca) for n in ("ao", "pa"))
    right = distance_to(patient, patient.channel("rv"), rca)
    assert (np.maximum(aorta, np.minimum(trunk, right))[6:] < 6.5).sum() >= 10


def test_the_seeds_cover_the_variants_and_both_kinds_of_heart() -> None:
    patients = [drawn_patient(s) for s in SEEDS]
    assert {p.heart_model for p in patients} == {"real-1", "real-2", "procedural"}
    assert {p.dominance for p in patients} == {"right", "left", "codominant"}
    seen = {v for p in patients for v in p.variants}
    assert seen >= {
        "ramus", "short_left_main", "separate_ostia", "high_takeoff_left", "high_takeoff_right", "anomalous_lcx_from_right",
        "anomalous_rca_from_left", "interarterial_course", "single_coronary", "bridge", "small_lcx", "ectatic", "lad_around_apex",
    }  # fmt: skip


def test_bridges_lie_under_muscle_and_nowhere_else(patient: Patient) -> None:
    muscle = patient.channel("myocardium")
    for b in patient.branches:
        under = -distance_to(patient, muscle, b.points_mm) - b.outer_radius_mm
        for start, end, depth in b.bridges:
            assert (end - start) * 0.5 >= 6.0
            assert (under[start:end] > 0.0).all()
            assert under[start:end].max() == pytest.approx(depth, abs=0.25)
    assert ("bridge" in patient.variants) == any(b.bridges for b in patient.branches)


def test_vessels_taper_but_for_ectasia(patient: Patient) -> None:
    for b in patient.branches:
        if b.kind == "native" and "ectatic" not in patient.variants:
            assert (b.healthy_radius_mm[1:] / np.minimum.accumulate(b.healthy_radius_mm)[:-1]).max() < 1.08, b.name
            if b.parent is not None:
                assert b.healthy_radius_mm[0] <= 1.05 * patient.branches[b.parent].healthy_radius_mm[b.parent_index or 0]


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
    for b in patient.branches:
        if b.parent is None and b.kind == "native":
            assert abs(float(distance_to(patient, aorta, b.points_mm[:1])[0])) < 0.7


def test_no_centreline_runs_in_blood(patient: Patient) -> None:
    fields = {name: patient.channel(name) for name in BLOOD}
    for b in patient.branches:
        points = b.points_mm[10:] if b.parent is None else b.points_mm
        for name, field in fields.items():
            assert (distance_to(patient, field, points) > 0.2).all(), (b.name, name)


def test_the_aorta_lies_in_no_other_blood(patient: Patient) -> None:
    """A first prototype painted the aorta over the pulmonary trunk."""
    aorta = patient.channel("ao") < -0.5
    for name in ("pa", "ra", "rv", "la", "svc"):
        assert not (aorta & (patient.channel(name) < -0.5)).any(), name


def test_no_branch_runs_inside_another_except_at_its_root(patient: Patient) -> None:
    for b in patient.branches:
        # A graft is sewn onto the vessel that it feeds.
        away = b.points_mm[30:-24] if b.kind == "graft" else b.points_mm[30:]
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


def test_grafts_begin_at_their_own_place_and_end_in_the_vessel_they_feed() -> None:
    patient = next(p for p in map(drawn_patient, SEEDS) if "graft" in p.variants)
    native = np.concatenate([b.points_mm for b in patient.branches if b.kind == "native"])
    grafts = [b for b in patient.branches if b.kind == "graft"]
    assert grafts
    for number, graft in enumerate(grafts, start=1):
        assert graft.name == f"G{number}"
        assert np.allclose(graft.points_mm[0], patient.ostia[f"graft-{number}"])
        assert cKDTree(native).query(graft.points_mm[-1])[0] < 0.6
        assert (distance_to(patient, patient.channel("lung"), graft.points_mm) > 0.0).all()


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
        assert (v["calcified"] >= 0.5) == (lesion.plaque_type != "noncalcified")


def test_the_same_seed_gives_the_same_patient() -> None:
    first, second, other = drawn_patient(3), draw_patient(3), drawn_patient(0)
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


def test_plans_reach_every_origin_and_dominance() -> None:
    plans = [draw_plan(np.random.default_rng((s, 9))) for s in range(400)]
    assert {p.dominance for p in plans} == set(DOMINANCE)
    assert {p.origin for p in plans} == set(ORIGINS)
    assert {p.ramus for p in plans} == {True, False}
    assert min(p.lm_length for p in plans) < 3.0 < 18.0 < max(p.lm_length for p in plans)
    assert min(p.lad_reach for p in plans) < 0.8 < 1.2 < max(p.lad_reach for p in plans)
    assert min(p.size for p in plans) < 0.75 < 1.3 < max(p.size for p in plans)
