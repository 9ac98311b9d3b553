"""Gaps, samples, batches, loss and export of the repair network, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

torch = pytest.importorskip("torch")

from models.networks.repair import SIDE, SPACING_MM, DeployedRepair, Repair  # noqa: E402
from models.phantom import Patient, draw_patient  # noqa: E402
from models.training.export import export_network  # noqa: E402
from models.training.repair_gaps import LONGEST_MM, SHORTEST_MM, draw_gap, lines_of, tree_distance  # noqa: E402
from models.training.repair_samples import GapSite, RepairSample, draw_sample, find_site  # noqa: E402
from models.training.repair_task import channels_of, gap_loss, make_batch, repair_task  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(7)


@pytest.fixture(scope="module")
def site(patient: Patient) -> GapSite:
    return find_site(patient, np.random.default_rng(0), scans=1)


def tube(rng: np.random.Generator) -> RepairSample:
    """Two ends of a vessel along z; the vessel runs on between them, or there is nothing."""
    z, y, x = np.mgrid[:SIDE, :SIDE, :SIDE]
    at = rng.uniform(18, 30, 2)
    across = np.hypot(y - at[0], x - at[1])
    first, last = rng.uniform(10, 16), rng.uniform(30, 38)
    gap = (z > first) & (z < last)
    vessel = bool(rng.random() < 0.5)
    shown = (across < 3) & ((z < first) | (z > last))
    hu = np.where(shown | ((across < 3) & gap & vessel), 380, -90) + rng.normal(0, 15, across.shape)
    return RepairSample(
        hu=hu.astype(np.int16),
        coronary=np.where(shown, 250, 0).astype(np.uint8),
        near=np.array([first, *at], np.float32),
        far=np.array([last, *at], np.float32),
        course=((across < 1.6) & gap & vessel).astype(np.uint8),
        vessel=np.array(vessel, np.float32),
    )


def test_a_true_gap_lies_on_its_branch_and_a_false_one_does_not(patient: Patient) -> None:
    lines = lines_of(patient)
    rng = np.random.default_rng(3)
    for _ in range(12):
        gap = draw_gap(lines, rng, kind="vessel")
        assert gap.course is not None
        line = lines.points[gap.course.branch]
        assert np.allclose(gap.near_mm, line[gap.course.start])
        assert np.allclose(gap.far_mm, line[gap.course.end - 1])
        length = lines.along[gap.course.branch][gap.course.end - 1] - lines.along[gap.course.branch][gap.course.start]
        assert SHORTEST_MM - 0.6 < length < LONGEST_MM + 0.6
        assert lines.along[gap.course.branch][-1] - lines.along[gap.course.branch][gap.course.end - 1] > 5.0
    veins = np.concatenate([points for points, _ in lines.veins])
    for _ in range(6):
        gap = draw_gap(lines, rng, kind="vein")
        assert gap.kind != "vein" or np.linalg.norm(veins - gap.far_mm, axis=1).min() < 1e-6


def test_the_way_along_the_tree(patient: Patient) -> None:
    lines = lines_of(patient)
    child = next(b for b in patient.branches if b.parent is not None and b.parent_index is not None and b.parent_index > 12)
    assert child.parent is not None
    assert child.parent_index is not None
    along = lines.along
    wanted = along[child.id][20] + along[child.parent][child.parent_index] - along[child.parent][2]
    assert tree_distance(lines, (child.id, 20), (child.parent, 2)) == pytest.approx(wanted)
    assert tree_distance(lines, (child.id, 20), (child.id, 5)) == pytest.approx(along[child.id][20] - along[child.id][5])
    other = next(b for b in patient.branches if b.parent is None and b.vessel == "RCA")
    left = next(b for b in patient.branches if b.parent is None and b.vessel != "RCA")
    assert tree_distance(lines, (other.id, 3), (left.id, 3)) == float("inf")


def test_a_true_sample_shows_the_loss_and_the_course_joins_the_ends(site: GapSite) -> None:
    rng = np.random.default_rng(5)
    for _ in range(4):
        sample = draw_sample(site, rng, kind="vessel")
        assert float(sample.vessel) == 1.0
        course = np.argwhere(sample.course > 0)
        for end in (sample.near, sample.far):
            assert cKDTree(course).query(end)[0] * SPACING_MM < 3.0
        gap = np.linalg.norm(sample.near - sample.far) * SPACING_MM
        extent = np.linalg.norm(np.ptp(course, axis=0)) * SPACING_MM
        assert extent > 0.7 * gap
        if gap > 5.0:
            middle = course[np.linalg.norm(course - 0.5 * (sample.near + sample.far), axis=1) < 4.0]
            assert sample.coronary[tuple(middle.T)].mean() < 160 or not len(middle)


def test_a_false_sample_has_no_course(site: GapSite) -> None:
    rng = np.random.default_rng(6)
    for kind in ("other_branch", "edge"):
        sample = draw_sample(site, rng, kind=kind)
        assert bool(sample.course.any()) == bool(sample.vessel)
    edge = draw_sample(site, rng, kind="edge")
    assert float(edge.vessel) == 0.0
    z, y, x = np.clip(np.rint(edge.far).astype(int), 1, SIDE - 2)
    assert edge.coronary[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].max() > 90  # the invented piece begins at the far end


def test_turning_a_cube_turns_all_of_it() -> None:
    rng = np.random.default_rng(0)
    sample = tube(rng)
    while not float(sample.vessel):
        sample = tube(rng)
    sample.coronary[:] = 0
    sample.coronary[5, 9, 13] = 255
    sample.hu[5, 9, 13] = 900
    batch = make_batch([sample] * 16, rng)
    assert batch["channels"].shape == (16, 4, SIDE, SIDE, SIDE)
    assert len({item[1].argmax() for item in batch["channels"]}) > 6
    inner = channels_of(sample)[0][sample.course > 0].mean()
    for channels, course in zip(batch["channels"], batch["course"], strict=True):
        assert channels[0].argmax() == channels[1].argmax()
        assert abs(channels[0][course > 0].mean() - inner) < 0.2
        ends = [np.array(np.unravel_index(channels[c].argmax(), course.shape)) for c in (2, 3)]
        where = np.argwhere(course > 0)
        assert all(cKDTree(where).query(end)[0] < 3.0 for end in ends)


def test_it_learns_to_tell_a_vessel_from_nothing_and_where_it_runs() -> None:
    rng = np.random.default_rng(1)
    torch.manual_seed(0)
    task = repair_task()
    network = task.network().to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    samples = [tube(rng) for _ in range(24)]
    for _ in range(40):
        batch = {k: torch.from_numpy(v) for k, v in make_batch([samples[i] for i in rng.choice(24, 4)], rng).items() if v is not None}
        network.train()
        loss, _ = gap_loss(network(batch["channels"]), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fresh = make_batch([tube(rng) for _ in range(12)], rng)
    truth, course = np.asarray(fresh["vessel"])[:, 0] > 0.5, np.asarray(fresh["course"]) > 0.5
    with torch.no_grad():  # by the batch's own statistics: the running ones have not settled after so few steps
        shown, answer = network(torch.from_numpy(fresh["channels"]))
    right = (answer[:, 0].numpy() > 0) == truth
    share = torch.sigmoid(shown[:, 0]).numpy()
    assert right.mean() > 0.8
    assert share[course].mean() > 5.0 * share[~course].mean()


def test_export_agrees_with_torch_and_answers_once_per_gap(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert export_network(repair_task().deployment, Repair(), file=tmp_path / "repair.onnx") < 0.01
    assert (tmp_path / "repair.onnx").stat().st_size < 2e6
    course, vessel, check = DeployedRepair(Repair().eval())(torch.zeros(3, 4, SIDE, SIDE, SIDE))
    assert course.shape == (3, SIDE, SIDE, SIDE)
    assert course.dtype == torch.uint8
    assert vessel.shape == (3, 1)
    assert check.shape == (3,)
