"""Disease on trees of known shape: degrees, walls, joins, truth counted against what is drawn."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from models.phantom.disease import Disease, draw_disease
from models.phantom.lesions import LABEL_STEP_MM, count, measured, spotty
from models.phantom.painting import BLOOD_HU
from models.phantom.plaque import RECIPES, Ground, fill_plaque
from models.phantom.profiles import THINNEST_MM, healthy_profile, join, normals
from models.phantom.stents import VESSEL_MM
from models.phantom.tree import Draft
from models.phantom.types import Branch, Grid, Lesion, Patient
from models.phantom.vessels import CALCIUM, LUMEN, WALL, moved, paint, tree_rows

SEEDS = tuple(range(16))
MANY = range(120)


def line(start: tuple[float, float, float], direction: tuple[float, float, float], length: float) -> np.ndarray:
    d = np.asarray(direction) / np.linalg.norm(direction)
    s = np.arange(0.0, length + 1e-9, 0.5)[:, None]
    bow = 0.002 * (s * (length - s)) * np.array([[d[1], -d[0], 0.3]])
    return np.asarray(start) + s * d + bow


def a_tree() -> list[Draft]:
    """A small tree: left main, two arteries from its end, a diagonal, and a right coronary artery far away."""
    lm = line((0, 0, 0), (1, 0, 0), 10.0)
    lad = line(lm[-1], (0.5, -1, -0.6), 90.0)
    lcx = line(lm[-1], (1, 1, -0.2), 60.0)
    d1 = line(lad[50], (1, -0.6, 0.1), 50.0)
    rca = line((-60, 0, 0), (-0.4, 0.2, -1), 100.0)
    tapers = ((4.6, 4.3), (3.7, 1.4), (3.2, 1.5), (2.1, 1.2), (3.6, 2.0))
    parents = ((None, None), (0, len(lm) - 1), (0, len(lm) - 1), (1, 50), (None, None))
    return [
        Draft(name, "LAD" if name == "D1" else name, points, parent, at, np.linspace(*taper, len(points)))
        for (name, points), (parent, at), taper in zip(
            (("LM", lm), ("LAD", lad), ("LCX", lcx), ("D1", d1), ("RCA", rca)), parents, tapers, strict=True
        )
    ]


def patient_with(drafts: list[Draft], disease: Disease) -> Patient:
    """A patient that is nothing but this tree, far from any aorta."""
    grid = Grid((-200.0, -200.0, -200.0), 200.0, (3, 3, 3))
    branches = tuple(
        Branch(
            id=i, parent=d.parent, parent_index=d.parent_index, name=d.name, vessel=d.vessel, points_mm=d.points, lumen_radius_mm=p.lumen,
            outer_radius_mm=p.outer, outer_offset_mm=p.offset, healthy_radius_mm=p.healthy, segments=((0, len(d.points), "other"),),
        )
        for i, (d, p) in enumerate(zip(drafts, disease.profiles, strict=True))
    )  # fmt: skip
    bare = Patient(
        seed=0, sex="F", age=60, name="X^Y", grid=grid, channels=np.full((3, 3, 3, 1), 3000, np.int16), channel_names=("ao",),
        branches=branches, lesions=(), dominance="right", ostia={"left": (0.0, 0.0, 0.0), "right": (-60.0, 0.0, 0.0)}, tubes=(),
        heart_box=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )  # fmt: skip
    return measured(bare, disease)


@lru_cache(maxsize=256)
def disease_of(seed: int) -> Disease:
    return draw_disease(seed, a_tree(), age=70)


@lru_cache(maxsize=64)
def ill(seed: int) -> tuple[Patient, Disease]:
    return patient_with(a_tree(), disease_of(seed)), disease_of(seed)


def all_lesions() -> list[tuple[Patient, Lesion]]:
    return [(ill(seed)[0], lesion) for seed in SEEDS for lesion in ill(seed)[0].lesions]


def drawn(patient: Patient, low: np.ndarray, high: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """HU, labels and owners around a place on the lattice of `step`, and the position of voxel (0, 0, 0)."""
    first = np.floor(low / step).astype(int)
    shape = tuple(int(n) for n in (np.ceil(high / step).astype(int) - first + 1)[::-1])
    hu, labels, owner = np.full(shape, -90.0, np.float32), np.zeros(shape, np.uint8), np.full(shape, -1, np.int32)
    rows = tree_rows(patient)
    paint(rows, hu, labels, first * step, np.full(3, step), lumen_hu=400.0, owner=owner, material=np.zeros(shape, np.float32), metal=False)
    return hu, labels, owner, first * step


def test_the_truth_of_a_lesion_is_its_narrowest_lumen() -> None:
    for patient, lesion in all_lesions():
        b = patient.branches[lesion.branch]
        assert 0 <= lesion.start < lesion.minimum < lesion.end < len(b.points_mm)
        span = slice(lesion.start, lesion.end + 1)
        narrowed = 100.0 * (1.0 - b.lumen_radius_mm[span] / b.healthy_radius_mm[span])
        assert lesion.diameter_stenosis_percent == pytest.approx(max(float(narrowed.max()), 0.0), abs=0.6)
        assert narrowed[lesion.minimum - lesion.start] == pytest.approx(narrowed.max(), abs=0.6)


def test_outside_lesions_stents_and_joins_the_lumen_is_healthy() -> None:
    for seed in SEEDS:
        patient, _ = ill(seed)
        for b in patient.branches:
            touched = np.zeros(len(b.points_mm), bool)
            touched[:16] = b.parent is not None
            for x in (*patient.lesions, *patient.stents):
                if x.branch == b.id:
                    touched[max(x.start - 6, 0) : x.end + 7] = True
            assert np.allclose(b.lumen_radius_mm[~touched], b.healthy_radius_mm[~touched])


def test_the_lumen_never_pokes_out_of_the_outer_wall() -> None:
    for seed in MANY:
        disease = disease_of(seed)
        for p in disease.profiles:
            thin = p.outer - np.linalg.norm(p.offset, axis=1) - p.widest()
            assert thin.min() > THINNEST_MM - 0.03


def test_the_drawn_lumen_has_the_area_of_the_truth_whatever_its_shape() -> None:
    draft = Draft("RCA", "RCA", line((0, 0, 0), (1, 0, 0), 40.0) * np.array([1.0, 0.0, 0.0]), None, None, np.full(81, 3.0))
    profile = healthy_profile(draft, np.random.default_rng(1))
    profile.lumen[:] = 1.1
    profile.shape[:, 3], profile.shape[:, 4] = -0.4, 0.2
    patient = patient_with([draft], Disease([profile]))
    _, labels, _, _ = drawn(patient, np.array([20.0, -2, -2]), np.array([21.0, 2, 2]), 0.04)
    area = (labels == LUMEN).sum(axis=(0, 1)) * 0.04**2
    assert area.mean() == pytest.approx(np.pi * 1.1**2, rel=0.005)
    second_moments = np.linalg.eigvalsh(np.cov(np.argwhere(labels[:, :, 10] == LUMEN).T))
    assert second_moments[1] / second_moments[0] > 1.5


def test_the_drawn_lumen_at_the_minimum_is_as_wide_as_the_truth_says() -> None:
    """In planes across the vessel where no side branch leaves."""
    checked = 0
    for patient, x in all_lesions():
        if checked == 12:
            break
        b = patient.branches[x.branch]
        leaving = [c.parent_index or 0 for c in patient.branches if c.parent == b.id] + [0] * (b.parent is not None)
        radius = float(b.lumen_radius_mm[x.minimum])
        if any(abs(at - x.minimum) < 14 for at in leaving) or radius < 0.3:
            continue
        centre = b.points_mm[x.minimum]
        _, labels, _, origin = drawn(patient, centre - 4.1, centre + 4.1, 0.08)
        _, u, v = normals(b.points_mm)
        side = np.arange(-2.8, 2.81, 0.08)
        plane = centre + side[:, None, None] * u[x.minimum] + side[None, :, None] * v[x.minimum]
        index = np.rint((plane - origin) / 0.08).astype(int)
        pieces, _ = ndimage.label(labels[index[..., 2], index[..., 1], index[..., 0]] == LUMEN)
        middle = len(side) // 2
        area = (pieces == pieces[middle, middle]).sum() * 0.08**2
        assert np.sqrt(area / np.pi) == pytest.approx(radius, abs=0.04)
        checked += 1
    assert checked == 12


def test_volumes_of_the_truth_are_those_of_the_drawn_voxels() -> None:
    """All plaque of a patient, drawn at once at the step of the truth: every voxel of calcium belongs to one lesion."""
    for seed in (s for s in SEEDS if sum(x.volume_mm3["calcified"] for x in ill(s)[0].lesions) > 20.0):
        patient, _ = ill(seed)
        truth = {key: sum(x.volume_mm3[key] for x in patient.lesions) for key in ("calcified", "noncalcified")}
        first = np.cumsum([0, *(len(b.points_mm) - 1 for b in patient.branches)])
        rows = np.concatenate([first[x.branch] + np.arange(x.start, x.end) for x in patient.lesions])
        points = np.concatenate([b.points_mm for b in patient.branches if b.name != "RCA"])
        inside = [x for x in patient.lesions if patient.branches[x.branch].name != "RCA"]
        truth = {key: sum(x.volume_mm3[key] for x in inside) for key in truth}
        _, labels, owner, _ = drawn(patient, points.min(0) - 5.0, points.max(0) + 5.0, LABEL_STEP_MM)
        voxel = LABEL_STEP_MM**3
        left = owner < first[4]
        assert ((labels == WALL) & np.isin(owner, rows) & left).sum() * voxel == pytest.approx(truth["noncalcified"], abs=1e-6)
        assert ((labels == CALCIUM) & left).sum() * voxel == pytest.approx(truth["calcified"], rel=0.03, abs=0.5)
        return
    pytest.fail("no patient with calcium")


def test_type_and_features_follow_from_what_is_counted() -> None:
    for patient, x in all_lesions():
        v = x.volume_mm3
        assert v["total"] == pytest.approx(v["calcified"] + v["noncalcified"])
        assert v["low_attenuation"] <= v["noncalcified"]
        assert x.plaque_type == ("noncalcified" if v["calcified"] < 0.5 else "calcified" if x.calcium_share >= 0.5 else "mixed")
        assert ("low_attenuation" in x.features) == (v["low_attenuation"] >= 0.5)
        assert ("positive_remodeling" in x.features) == (x.remodeling_index >= 1.1)
        assert "napkin_ring" not in x.features or "low_attenuation" in x.features
        assert "spotty" not in x.features or x.plaque_type == "mixed"
        assert 0.0 < x.plaque_burden_percent <= 100.0
        assert x.branch < len(patient.branches)


def test_every_kind_of_disease_occurs() -> None:
    found = all_lesions()
    assert {x.site for _, x in found} == {"focal", "diffuse", "ostial", "bifurcation"}
    assert {x.plaque_type for _, x in found} == {"calcified", "mixed", "noncalcified"}
    assert {f for _, x in found for f in x.features} == {"napkin_ring", "spotty", "low_attenuation", "positive_remodeling"}
    drafts = [(disease_of(seed), x) for seed in MANY for x in disease_of(seed).lesions]
    ratio = [float((d.profiles[x.branch].lumen / d.profiles[x.branch].healthy)[x.minimum]) for d, x in drafts]
    degrees = 100.0 * (1.0 - np.array(ratio))
    for low, high in itertools.pairwise((-0.1, 0.1, 25.0, 50.0, 70.0, 99.0, 100.1)):
        assert ((degrees > low) & (degrees <= high)).any(), (low, high)
    lengths = np.array([0.5 * (x.end - x.start) for _, x in drafts])
    assert lengths.min() < 6.0
    assert lengths.max() > 30.0
    index = np.array([x.remodeling_index for _, x in found])
    assert index.min() < 0.95
    assert 1.3 < index.max() <= 1.51
    plaques = [len(disease_of(seed).lesions) for seed in MANY]
    assert min(plaques) == 0
    assert max(plaques) >= 6


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_draws_what_it_says_before_any_blur(recipe: str) -> None:
    draft = Draft("RCA", "RCA", line((0, 0, 0), (1, 0, 0), 60.0) * np.array([1.0, 0.0, 0.0]), None, None, np.full(121, 3.4))
    rng = np.random.default_rng(7)
    profile = healthy_profile(draft, rng)
    start, n = 30, 50
    w = np.sin(np.pi * np.arange(n) / (n - 1)) ** 0.5
    profile.lumen[start : start + n] *= 1.0 - 0.4 * w
    profile.outer[start : start + n] *= 1.0 + 0.25 * w
    side = profile.normals[1][start : start + n]
    room = profile.outer - profile.widest() - THINNEST_MM
    profile.offset[start : start + n] = (0.85 * room[start : start + n] * w)[:, None] * side
    ground = Ground(draft.points, profile, start, side, 0.85)
    fill_plaque(rng, recipe, ground, w)
    lesion = Lesion(0, start, start + n // 2, start + n - 1, 40.0, "", 1.2, {}, tuple(ground.blobs), tuple(ground.sheets))
    patient = replace(patient_with([draft], Disease([profile])), lesions=(lesion,), cache={})
    low, high = np.array([14.0, -5, -5]), np.array([42.0, 5, 5])
    hu, labels, owner, _ = drawn(patient, low, high, LABEL_STEP_MM)
    counts = count(tree_rows(patient), patient.branches[0], 0, lesion.start, lesion.end)
    own = (owner >= lesion.start) & (owner < lesion.end)
    assert counts.calcified == pytest.approx(((labels == CALCIUM) & own).sum() * LABEL_STEP_MM**3)
    hard = {"nodular", "sheet", "dense", "mixed_surface", "mixed_base", "punctate", "spotty"}
    if recipe in hard:
        assert hu.max() > 340.0
        assert counts.calcified > 0.3
    else:
        assert counts.calcified == 0.0 or recipe == "low_core"
    if recipe in ("low_core", "napkin"):
        assert counts.low > 0.5
        core = own & (labels == WALL)
        assert np.percentile(hu[core], 2) < 30.0
    if recipe == "napkin":
        rim = np.isclose(hu[own & (labels == WALL)], next(b.hu for b in ground.blobs if b.kind == "rim"), atol=0.5)
        assert rim.sum() * LABEL_STEP_MM**3 > 0.5
    if recipe in ("punctate", "spotty"):
        assert spotty(counts.calcium)
    if recipe == "sheet":
        assert not spotty(counts.calcium)


def test_no_child_opens_a_closed_or_narrowed_parent() -> None:
    drafts = a_tree()
    rng = np.random.default_rng(3)
    profiles = [healthy_profile(d, rng) for d in drafts]
    profiles[1].lumen[44:57] = 0.0
    profiles[0].lumen[-5:] = 0.8
    join(drafts, profiles)
    patient = patient_with(drafts, Disease(profiles))
    _, labels, _, origin = drawn(patient, drafts[1].points[50] - 6.0, drafts[1].points[50] + 6.0, 0.2)
    index = np.rint((drafts[1].points[46:55] - origin) / 0.2).astype(int)
    assert (labels[index[:, 2], index[:, 1], index[:, 0]] == WALL).all()
    assert (profiles[3].lumen[16:] == profiles[3].healthy[16:]).all()
    for child in (1, 2):
        assert profiles[child].lumen[0] <= 0.8 + 1e-9
    assert profiles[2].lumen[12] == pytest.approx(profiles[2].healthy[12])


def test_an_occluded_lumen_is_closed_and_what_lies_behind_is_dimmer() -> None:
    closed = [
        (seed, k) for seed in MANY for k, x in enumerate(disease_of(seed).lesions)
        if (disease_of(seed).profiles[x.branch].lumen[x.start : x.end] <= 0.0).any()
    ]  # fmt: skip
    assert closed
    for seed, k in closed[:4]:
        x = ill(seed)[0].lesions[k]
        assert x.diameter_stenosis_percent == 100.0
        patient, disease = ill(seed)
        b = patient.branches[x.branch]
        stopped = np.flatnonzero(b.lumen_radius_mm[x.start : x.end + 1] <= 0.0) + x.start
        p = b.points_mm[stopped]
        _, labels, _, origin = drawn(patient, p.min(0) - 4.0, p.max(0) + 4.0, 0.2)
        index = np.rint((p - origin) / 0.2).astype(int)
        assert (labels[index[:, 2], index[:, 1], index[:, 0]] != LUMEN).all()
        contrast = disease.profiles[x.branch].contrast
        assert contrast[stopped[-1]] < contrast[stopped[0] - 2]


def test_contrast_falls_along_the_tree_and_goes_on_into_children() -> None:
    for seed in SEEDS[:10]:
        patient, disease = ill(seed)
        for b, p in zip(patient.branches, disease.profiles, strict=True):
            assert (np.diff(p.contrast) <= 1e-9).all()
            assert 0.2 <= p.contrast.min() <= p.contrast.max() <= 1.0
            if b.parent is not None and (p.lumen > 0).all():
                assert p.contrast[0] == pytest.approx(disease.profiles[b.parent].contrast[b.parent_index or 0], abs=0.02)


def test_without_contrast_medium_lumen_is_blood_everywhere() -> None:
    patient, _ = ill(3)
    p = patient.branches[1].points_mm[150]
    shape = (30, 30, 30)
    hu, labels = np.full(shape, -90.0, np.float32), np.zeros(shape, np.uint8)
    paint(tree_rows(patient), hu, labels, p - 3.0, np.full(3, 0.2), lumen_hu=BLOOD_HU)
    deep = hu[labels == LUMEN]
    assert np.median(deep) == pytest.approx(BLOOD_HU, abs=1.0)


def test_stents_sit_in_wide_vessels_only() -> None:
    stented = [(seed, s) for seed in MANY for s in disease_of(seed).stents]
    share = len({seed for seed, _ in stented}) / len(MANY)
    assert 0.02 < share < 0.13
    drafts = a_tree()
    for seed, stent in stented:
        disease = disease_of(seed)
        profile = disease.profiles[stent.branch]
        points = drafts[stent.branch].points
        assert drafts[stent.branch].diameter[stent.start : stent.end + 1].min() >= VESSEL_MM
        assert stent.diameter_mm >= 2.25
        assert stent.hu > 3071.0
        span = slice(stent.start, stent.end + 1)
        narrowed = 100.0 * (1.0 - profile.lumen[span] / profile.healthy[span])
        # at the edges the device may be wider than the vessel that it ends in
        assert narrowed[4:-4].max() <= stent.in_stent_stenosis_percent + 0.5
        assert narrowed.max() >= stent.in_stent_stenosis_percent - 0.5
        middle = 0.5 * (stent.struts[:, :3] + stent.struts[:, 3:6])
        away = np.linalg.norm(middle[:, None] - points[None, span], axis=2).min(axis=1)
        assert np.abs(away - 0.5 * stent.diameter_mm).max() < 0.3
        assert not any(x.branch == stent.branch and x.start < stent.end and stent.start < x.end for x in disease.lesions)


def test_struts_weigh_what_their_wires_weigh_and_are_no_calcium() -> None:
    """The sum of HU that wires add is their volume times their attenuation, whatever the voxel."""
    seed, stent = next((seed, s) for seed in MANY for s in disease_of(seed).stents)
    patient, _ = ill(seed)
    rows = tree_rows(patient)
    ends = np.concatenate([stent.struts[:, :3], stent.struts[:, 3:6]])
    volume = float((np.linalg.norm(stent.struts[:, 3:6] - stent.struts[:, :3], axis=1) * np.pi * stent.struts[:, 6] ** 2).sum())
    for step in (0.15, 0.3):
        shape = tuple(int(n) for n in np.ceil((ends.max(0) - ends.min(0) + 4.0) / step)[::-1])
        with_metal, without = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        labels, same = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        paint(rows, with_metal, labels, ends.min(0) - 2.0, np.full(3, step), lumen_hu=400.0)
        paint(rows, without, same, ends.min(0) - 2.0, np.full(3, step), lumen_hu=400.0, metal=False)
        assert np.array_equal(labels, same)
        added = float((with_metal - without).sum()) * step**3
        # crossings of wires are counted once, and metal takes the place of blood and wall
        assert added == pytest.approx(volume * stent.hu, rel=0.25)
        assert with_metal.max() > 1000.0


def test_a_moved_tree_is_the_same_tree_elsewhere() -> None:
    seed = next(seed for seed in MANY if disease_of(seed).stents)
    patient, _ = ill(seed)
    rows = tree_rows(patient)
    by = np.array([1.0, -0.5, 0.25])
    shifted = moved(rows, patient, {b.id: np.tile(by, (len(b.points_mm), 1)) for b in patient.branches})
    p = patient.branches[patient.stents[0].branch].points_mm[patient.stents[0].start]
    images = []
    for these, corner in ((rows, p - 6.0), (shifted, p - 6.0 + by)):
        hu, labels = np.full((40, 40, 40), -90.0, np.float32), np.zeros((40, 40, 40), np.uint8)
        paint(these, hu, labels, corner, np.full(3, 0.3), lumen_hu=400.0)
        images.append((hu, labels))
    assert (images[0][1] != images[1][1]).mean() < 1e-3
    assert np.abs(images[0][0] - images[1][0]).max() < 2.0
