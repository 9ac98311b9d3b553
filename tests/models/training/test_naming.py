"""Training of the naming network: damaged trees keep their labels, the network does not care about the order of rows, and it learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

torch = pytest.importorskip("torch")

from appliance.analysis.naming_network import LABELS  # noqa: E402
from appliance.analysis.naming_table import COLUMNS, POINTS, naming_table, pieces_of  # noqa: E402
from models.networks.naming import DeployedNaming, Naming, scaled, scaling  # noqa: E402
from models.training.curves import Curve  # noqa: E402
from models.training.naming_cases import Line, NamingCase, label_of  # noqa: E402
from models.training.naming_samples import IGNORED, NamingSample, make_batch, make_sample, ramus_oftener, scale  # noqa: E402
from models.training.naming_task import LabelScore, development_trees, example, naming_task  # noqa: E402
from models.training.naming_trees import Damage, draw_tree, heart_of  # noqa: E402
from models.training.naming_warp import warp  # noqa: E402
from models.training.trainer import Schedule, Trainer  # noqa: E402
from tests.appliance.analysis.hearts import heart, plain_tree  # noqa: E402

pytestmark = pytest.mark.train


def plain_case() -> NamingCase:
    """The made-up heart and tree as a case: LM and LAD apart, as true trees are."""
    tree, fork = plain_tree(), plain_tree().branches[1].parent_index or 0
    left, around, diagonal, marginal, right = tree.branches

    def line(label: str, parent: int | None, at: int | None, points: np.ndarray) -> Line:
        return Line(points, np.full(len(points), 1.4), LABELS.index(label), parent, at)

    lines = (
        line("LM", None, None, left.points_mm[: fork + 1]),
        line("LAD", 0, fork, left.points_mm[fork:]),
        line("LCX", 0, fork, around.points_mm),
        line("D", 1, (diagonal.parent_index or 0) - fork, diagonal.points_mm),
        line("OM", 2, marginal.parent_index, marginal.points_mm),
        line("RCA", None, None, right.points_mm),
    )
    whole = heart().structures
    vein = Line(
        left.points_mm[fork:] + np.array([0.0, 4.0, 0.0]), np.full(len(left.points_mm) - fork, 1.2), LABELS.index("none"), None, None
    )
    return NamingCase(1, lines, (vein,), whole.labels, np.asarray(whole.geometry.origin))


@pytest.fixture(scope="module")
def case() -> NamingCase:
    return plain_case()


def test_the_undamaged_tree_is_the_true_one(case: NamingCase) -> None:
    drawn = draw_tree(case, heart_of(case), np.random.default_rng(1), Damage(0.0))
    assert drawn is not None
    search = cKDTree(np.concatenate([line.points for line in case.lines]))
    for branch in drawn.tree.branches:
        assert search.query(branch.points_mm)[0].max() < 1e-6
    counts = np.bincount(np.concatenate(drawn.labels), minlength=len(LABELS))
    for line in case.lines:
        assert abs(counts[line.label] - len(line.points)) <= 3


def test_damaged_trees_are_sound_and_carry_the_label_of_the_nearest_true_vessel(case: NamingCase) -> None:
    rng = np.random.default_rng(2)
    search = cKDTree(np.concatenate([line.points for line in case.lines]))
    labels = np.concatenate([np.full(len(line.points), line.label) for line in case.lines])
    seen = 0
    for _ in range(25):
        drawn = draw_tree(case, heart_of(case, rng), rng, Damage(1.5))
        if drawn is None:
            continue
        for number, (branch, own) in enumerate(zip(drawn.tree.branches, drawn.labels, strict=True)):
            assert len(own) == len(branch.points_mm) == len(branch.radius_mm)
            if branch.parent is not None and branch.parent_index is not None:
                assert branch.parent < number
                np.testing.assert_array_equal(branch.points_mm[0], drawn.tree.branches[branch.parent].points_mm[branch.parent_index])
            distance, nearest = search.query(branch.points_mm)
            true = (distance < 0.8) & (own != LABELS.index("none"))
            # bridges and shifted origins run along a neighbour for a few millimetres
            if true.sum() > 40:
                assert (labels[nearest[true]] == own[true]).mean() > 0.6
                seen += 1
    assert seen > 30


def test_another_heart_keeps_the_tree_on_its_surface(case: NamingCase) -> None:
    heart_before = heart_of(case)
    column = [c.name for c in COLUMNS].index("to_left_ventricle")
    before = draw_tree(case, heart_before, np.random.default_rng(0), Damage(0.0))
    bent = warp(case, np.random.default_rng(5))
    after = draw_tree(bent, heart_of(bent), np.random.default_rng(0), Damage(0.0))
    assert before is not None
    assert after is not None
    first, second = naming_table(before.tree, heart_before), naming_table(after.tree, heart_of(bent))
    assert first is not None
    assert second is not None
    own = slice(POINTS, 2 * POINTS)
    lad = [i for i, piece in enumerate(first.pieces) if piece.branch == 0]
    assert abs(np.median(first.columns[column][lad, own]) - np.median(second.columns[column][: len(lad), own])) < 4.0
    assert np.abs(bent.lines[1].points - case.lines[1].points).max() > 3.0


@pytest.mark.parametrize(
    ("name", "label"), [("D3", "D"), ("OM1a", "OM"), ("R-PLB2", "PLB"), ("L-PDA", "PDA"), ("S2", "S"), ("conus", "CB"), ("SN", "other")]
)
def test_branches_of_a_virtual_patient_have_a_label(name: str, label: str) -> None:
    assert label_of(name) == label


def test_labels_stand_on_the_piece_itself_only(case: NamingCase) -> None:
    drawn = draw_tree(case, heart_of(case), np.random.default_rng(1), Damage(0.0))
    assert drawn is not None
    table = naming_table(drawn.tree, heart_of(case))
    assert table is not None
    sample = make_sample(drawn, table)
    assert (sample.label[:, :POINTS] == IGNORED).all()
    assert (sample.label[:, 2 * POINTS :] == IGNORED).all()
    for row, piece in enumerate(pieces_of(drawn.tree)):
        assert sample.label[row, 2 * POINTS - 1] == drawn.labels[piece.branch][piece.end]


def test_patients_with_a_ramus_come_oftener_and_the_others_still_come(case: NamingCase) -> None:
    with_ramus = replace(case, lines=(*case.lines, replace(case.lines[3], label=LABELS.index("RI"))))

    def one_in_eight(rng: np.random.Generator) -> NamingCase:
        return with_ramus if rng.random() < 0.125 else case

    rng = np.random.default_rng(4)
    drawn = [ramus_oftener(one_in_eight, rng) is with_ramus for _ in range(4000)]
    assert 0.23 < np.mean(drawn) < 0.29  # 0.125 / (0.125 + 0.875 * 0.4) = 0.263; a standard deviation is 0.007


def test_training_and_deployment_scale_alike(case: NamingCase) -> None:
    table = example()
    np.testing.assert_allclose(scale(table[0].numpy()), scaled(table, *scaling())[0].numpy(), atol=1e-5)


def test_the_order_of_rows_and_empty_rows_change_no_answer() -> None:
    torch.manual_seed(3)
    graph = DeployedNaming(Naming().eval())
    table = example()
    filled = [c.name for c in COLUMNS].index("filled")
    table[:, filled] = 1.0
    with torch.no_grad():
        plain, _ = graph(table)
        order = torch.randperm(table.shape[2])
        mixed, _ = graph(table[:, :, order])
        longer, _ = graph(torch.nn.functional.pad(table, (0, 0, 0, 8)))
    torch.testing.assert_close(mixed, plain[:, order], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(longer[:, : table.shape[2]], plain, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(plain.sum(dim=-1), torch.ones(plain.shape[:-1]))


def plain_samples(seed: int) -> Iterator[NamingSample]:
    rng = np.random.default_rng(seed)
    whole = plain_case()
    while True:
        bent = warp(whole, rng)
        yield from development_trees(replace(bent, seed=int(rng.integers(1000))), count=3)


def test_it_learns_to_name_a_plain_tree(tmp_path: Path, case: NamingCase) -> None:
    task = replace(naming_task(), source=plain_samples, batch=4, pool=48)
    held_out = LabelScore(development_trees(warp(case, np.random.default_rng(77)), count=2))
    trainer = Trainer(task, folder=tmp_path, score=held_out, seed=1, log=lambda _: None)
    trainer.run(Schedule(minutes=60.0, steps=45, log_every=0.0))
    rows = Curve(tmp_path / "training.csv").rows()
    assert np.mean([row["entropy"] for row in rows[-5:]]) < 0.5 * np.mean([row["entropy"] for row in rows[:3]])
    trainer.network.eval()
    assert held_out(trainer.network)["right"] > 0.85
    batch = make_batch(development_trees(case, count=1), None)
    assert batch["channels"] is not None
    assert batch["channels"].shape[1] == len(COLUMNS)
