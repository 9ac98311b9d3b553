"""The released naming network on a virtual patient's true tree (development family, 100007): every name, whole and mistreated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from appliance.analysis.naming import name_branches
from appliance.analysis.ostia import side_of
from appliance.analysis.stages import Heart, NamedTree, Tree, TreeBranch
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.engine import Session
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.volume import Geometry, LabelMap

TREE = Path(__file__).parents[2] / "data" / "naming-tree.npz"


@dataclass(frozen=True)
class Case:
    tree: Tree
    heart: Heart
    names: list[list[str]]


@pytest.fixture(scope="module")
def session() -> Session:
    return OnnxRuntimeEngine(threads=1).load(ModelCatalog.load(installed_catalog())["naming"])


@pytest.fixture(scope="module")
def case() -> Case:
    with np.load(TREE) as stored:
        data = {name: stored[name] for name in stored.files}
    x, y, z = (float(value) for value in data["corner"])
    grid = Geometry(data["structures"].shape, (3.0, 3.0, 3.0), (x, y, z))
    heart = Heart(LabelMap(data["structures"], grid), grid)
    cuts = np.cumsum(data["sizes"])[:-1]
    points, radius = np.split(data["points"].astype(np.float64), cuts), np.split(data["radius"].astype(np.float64), cuts)
    branches: list[TreeBranch] = []
    for number, (parent, origin) in enumerate(zip(data["parents"].tolist(), data["origins"].tolist(), strict=True)):
        root = parent < 0
        branches.append(
            TreeBranch(
                points_mm=points[number],
                parent=None if root else parent,
                parent_index=None if root else origin,
                side=side_of(points[number][0], heart) if root else branches[parent].side,
                radius_mm=radius[number] + 0.45,
                probability=np.ones(len(points[number])),
            )
        )
    names = [["other"] * size for size in data["sizes"].tolist()]
    columns = (data[f"segment_{name}"].tolist() for name in ("lines", "starts", "ends", "names"))
    for line, start, end, name in zip(*columns, strict=True):
        names[line][start:end] = [name] * (end - start)
    return Case(Tree(tuple(branches)), heart, names)


def right_share(case: Case, named: NamedTree) -> float:
    """Share of the true points of 1.5 mm and more whose nearest named point carries their name."""
    found = np.concatenate([branch.points_mm[0 if branch.parent is None else 1 :] for branch in named.branches])
    names = [
        branch.segment_at(index) for branch in named.branches for index in range(0 if branch.parent is None else 1, len(branch.points_mm))
    ]
    right = whole = 0
    for branch, wanted in zip(case.tree.branches, case.names, strict=True):
        for index in np.flatnonzero(branch.radius_mm - 0.45 >= 0.75):
            distance = np.linalg.norm(found - branch.points_mm[index], axis=1)
            right += distance.min() < 1.0 and names[int(distance.argmin())] == wanted[index]
            whole += 1
    return right / whole


def test_it_names_a_plain_virtual_tree_right(case: Case, session: Session) -> None:
    named = name_branches(case.tree, case.heart, session=session)
    assert right_share(case, named) > 0.93
    assert named.dominance == "right"
    assert all(0.0 <= branch.confidence <= 1.0 for branch in named.branches)


def test_the_order_of_branches_does_not_matter(case: Case, session: Session) -> None:
    branches = case.tree.branches
    roots = [i for i, branch in enumerate(branches) if branch.parent is None]
    order = [*roots[::-1], *(i for i in range(len(branches)) if i not in roots)]
    place = {old: new for new, old in enumerate(order)}
    mixed = Tree(tuple(replace(b, parent=None if b.parent is None else place[b.parent]) for b in (branches[i] for i in order)))
    first, second = (name_branches(tree, case.heart, session=session) for tree in (case.tree, mixed))
    assert {tuple(b.points_mm[-1]): b.segments for b in first.branches} == {tuple(b.points_mm[-1]): b.segments for b in second.branches}


def test_moving_the_study_changes_no_name(case: Case, session: Session) -> None:
    shift = np.array([-40.0, 220.0, -700.0])
    tree = Tree(tuple(replace(branch, points_mm=branch.points_mm + shift) for branch in case.tree.branches))
    grid = case.heart.structures.geometry
    x, y, z = (float(value) for value in np.asarray(grid.origin) + shift)
    heart = Heart(replace(case.heart.structures, geometry=replace(grid, origin=(x, y, z))), case.heart.roi)
    first, second = name_branches(case.tree, case.heart, session=session), name_branches(tree, heart, session=session)
    assert [branch.segments for branch in first.branches] == [branch.segments for branch in second.branches]
    assert first.dominance == second.dominance


def test_a_false_branch_is_cut_off_or_gets_no_name_of_the_18(case: Case, session: Session) -> None:
    lad = case.tree.branches[2]
    at = len(lad.points_mm) // 3
    # straight away from the heart, as no coronary runs
    middle = np.concatenate([branch.points_mm for branch in case.tree.branches]).mean(axis=0)
    away = (lad.points_mm[at] - middle) / np.linalg.norm(lad.points_mm[at] - middle)
    spur = TreeBranch(
        points_mm=lad.points_mm[at] + 0.5 * np.arange(40)[:, None] * away,
        parent=2,
        parent_index=at,
        side="left",
        radius_mm=np.full(40, 1.0),
        probability=np.ones(40),
    )
    named = name_branches(Tree((*case.tree.branches, spur)), case.heart, session=session)
    left = [branch for branch in named.branches if np.linalg.norm(branch.points_mm - spur.points_mm[-1], axis=1).min() < 5.0]
    assert left or "no_coronary" in {one.rule for one in named.dropped}
    assert all(branch.name == "other" for branch in left)
    assert right_share(case, named) > 0.9
