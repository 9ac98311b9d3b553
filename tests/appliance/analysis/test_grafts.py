"""Bypass grafts on trees drawn around a made-up heart: recognised, taken out of the tree, and never a segment."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from appliance.analysis.cadrads import apply_corrections
from appliance.analysis.grafts import Grafted, part_grafts
from appliance.analysis.pipeline import not_analysed
from appliance.analysis.stages import Heart, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.variants import root_axis
from appliance.errors import Reason
from appliance.findings import Branch, CadRads, Entered
from appliance.volume import Geometry, LabelMap
from appliance.workflow.changing import entry_change
from tests.appliance.analysis.hearts import ROOT, ROOT_RADIUS, SHAPE, SPACING
from tests.appliance.analysis.test_cadrads import lesion
from tests.appliance.analysis.test_variants import FRONT, HEART, LEFTWARD, branch, tree

SCANNED = Geometry(SHAPE, (SPACING,) * 3, (0.0, 0.0, 0.0))
TOP = float(SCANNED.to_points([SHAPE[0] - 1, 0, 0])[2])


def with_outflow() -> Heart:
    """The made-up heart with the ventricle's outflow below the aortic root, so that there is an annulus."""
    labels = HEART.structures.labels.copy()
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    off = SPACING * np.stack([x, y, z], axis=-1) - ROOT
    labels[(np.hypot(off[..., 0], off[..., 1]) < ROOT_RADIUS) & (off[..., 2] <= -12.0) & (off[..., 2] > -21.0)] = Structure.LV
    return Heart(structures=LabelMap(labels, HEART.structures.geometry), roi=HEART.roi)


OUTFLOW = with_outflow()
ANNULUS, AXIS = root_axis(OUTFLOW) or (ROOT, FRONT)
HIGH = np.array([*ROOT[:2], (ANNULUS + 33.0 * AXIS)[2]]) + (ROOT_RADIUS + 1.0) * FRONT
"""On the wall of the ascending aorta, well above the sinuses."""


def on_lad(points: list[np.ndarray], *, number: int = 4) -> Branch:
    """A branch without a name that leaves the LAD in its middle."""
    lad = tree()[1]
    return branch(number, "other", "other", [np.asarray(lad.points_mm[30]), *points], parent=1, at=30)


def parted(*more: Branch, **at: float) -> Grafted:
    found = msgspec.structs.replace(lesion("pLAD", 60.0), branch=1)
    inside = msgspec.structs.replace(lesion("other", 40.0), branch=4, id=1)
    return part_grafts(OUTFLOW, [*tree(), *more], [found, inside] if more else [found], SCANNED)


def test_a_tree_without_grafts_stays_as_it_is() -> None:
    branches = tree()
    assert part_grafts(OUTFLOW, branches, [], SCANNED) == Grafted((), tuple(branches), ())


def test_a_vein_graft_is_a_vessel_of_its_own_and_no_part_of_the_tree() -> None:
    away = np.asarray(tree()[1].points_mm[30]) + 25.0 * FRONT
    result = parted(on_lad([away, HIGH]))
    (graft,) = result.grafts
    assert (graft.kind, graft.origin, graft.target, graft.patency) == ("venous", "aorta", "pLAD", "patent")
    assert (graft.target_branch, graft.target_index) == (1, 30)
    assert np.allclose(graft.points_mm[0], HIGH, atol=0.1), "from its origin"
    assert np.allclose(graft.points_mm[-1], tree()[1].points_mm[30], atol=0.1), "to its target"
    assert graft.lumen_diameter_mm == 3.0
    assert [each.name for each in result.branches] == ["LM", "pLAD", "pLCx", "pRCA"]
    assert [(each.id, each.branch) for each in result.lesions] == [(0, 1)], "a plaque in the graft is none of the coronaries"


def test_a_graft_that_a_physician_rejects_comes_back_with_its_plaques_and_goes_again() -> None:
    away = np.asarray(tree()[1].points_mm[30]) + 25.0 * FRONT
    result = parted(on_lad([away, HIGH]))
    found = msgspec.structs.replace(
        not_analysed("analysed", Reason("", zh="", en="")),
        branches=result.branches, lesions=result.lesions, grafts=result.grafts, set_aside=result.set_aside,
        cad_rads=CadRads(category="0", plaque_burden=None, modifiers=(), text=""),
    )  # fmt: skip
    change = entry_change(Entered(grafts=False)).apply(found)
    (back,) = change.set_aside.branches
    assert [(each.id, each.parent, each.parent_index, each.name) for each in change.branches[-1:]] == [(4, 1, 30, "other")]
    assert [(each.id, each.branch, each.segment) for each in change.lesions] == [(0, 1, "pLAD"), (1, back.id, "other")]
    assert change.plaque_total_mm3 is not None
    assert change.plaque_total_mm3.total == pytest.approx(sum(each.volume_mm3.total for each in change.lesions))
    assert change.cad_rads is not None
    assert "G" not in change.cad_rads.modifiers
    graded = apply_corrections(change, {1: "severe"})
    assert entry_change(Entered(grafts=False)).apply(graded).lesions == graded.lesions, "again changes nothing"
    again = entry_change(Entered()).apply(graded)
    assert (again.branches, again.lesions) == (found.branches, found.lesions)
    assert again.cad_rads is not None
    assert "G" in again.cad_rads.modifiers
    assert [each.grade for each in entry_change(Entered(grafts=False)).apply(again).lesions] == [found.lesions[0].grade, "severe"]


def test_a_mammary_artery_comes_from_above() -> None:
    start = np.asarray(tree()[1].points_mm[30]) + 40.0 * FRONT
    start = start + 20.0 * LEFTWARD
    up = np.array([start[0], start[1], TOP - 4.0])
    far = float(Surroundings(OUTFLOW).distance(up[None], 1, 2, 3, 4, 5, 6)[0])  # type: ignore[arg-type]
    assert far > 8.0, "the drawing lies off the heart"
    (graft,) = parted(on_lad([start, up])).grafts
    assert (graft.kind, graft.origin, graft.target) == ("arterial", "subclavian", "pLAD")


def test_a_narrow_place_in_a_graft_is_told() -> None:
    away = np.asarray(tree()[1].points_mm[30]) + 25.0 * FRONT
    whole = on_lad([away, HIGH])
    lumen = [3.0] * len(whole.points_mm)
    lumen[60:72] = [1.3] * 12
    (graft,) = parted(msgspec.structs.replace(whole, lumen_diameter_mm=tuple(lumen))).grafts
    assert graft.patency == "narrowed"


def test_of_grafts_that_run_together_no_patency_is_claimed() -> None:
    """Where two grafts cross, their lines share a stretch, and a change of calibre there is that from one to the other."""
    away = np.asarray(tree()[1].points_mm[30]) + 25.0 * FRONT
    first = on_lad([away, HIGH])
    start = np.asarray(first.points_mm[40])
    up = np.array([*(start + 30.0 * FRONT)[:2], TOP - 4.0])
    second = branch(5, "other", "other", [start, start + 30.0 * FRONT, up], parent=4, at=40)
    grafts = parted(first, second).grafts
    assert [(graft.kind, graft.patency, graft.patency_reason) for graft in grafts] == [
        ("venous", None, "runs_together"), ("arterial", None, "runs_together"),
    ]  # fmt: skip


@pytest.mark.parametrize("height", [-6.0, 0.0, 12.0])
def test_a_branch_to_the_sinus_node_is_no_graft(height: float) -> None:
    """It runs to the aorta too, but below the sinotubular junction."""
    near = ROOT + np.array([0.0, 0.0, height]) + (ROOT_RADIUS + 1.0) * FRONT
    assert parted(on_lad([near + 15.0 * FRONT, near])).grafts == ()


def test_a_graft_with_an_origin_of_its_own_finds_its_target() -> None:
    target = np.asarray(tree()[3].points_mm[40])
    own = branch(4, "other", "other", [HIGH, HIGH + 20.0 * FRONT, target + np.array([0.0, 0.0, 2.0])])
    (graft,) = parted(own).grafts
    assert (graft.kind, graft.target, graft.target_branch) == ("venous", "pRCA", 3)


def test_what_is_named_beyond_a_graft_stays_in_the_tree() -> None:
    away = np.asarray(tree()[1].points_mm[30]) + 25.0 * FRONT
    graft = on_lad([away, HIGH])
    start = np.asarray(graft.points_mm[4])
    diagonal = branch(5, "LAD", "D1", [start, start + 20.0 * LEFTWARD], parent=4, at=4)
    nameless = branch(6, "other", "other", [start, start - 20.0 * LEFTWARD], parent=4, at=4)
    result = parted(graft, diagonal, nameless)
    assert [(each.name, each.parent, each.parent_index) for each in result.branches[4:]] == [("D1", 1, 30)]
