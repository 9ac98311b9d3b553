"""A real coronary tree is read as it is, and laid on a heart without changing its shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from appliance.geometry import arc_length
from models.evaluation.real_tree import Path3D, branches_of, read_paths, read_tree, rigid_fit

DATA = Path(__file__).parent / "data" / "coronary-tree"


def test_the_real_tree_has_its_paths_and_size() -> None:
    left, right = read_paths(DATA / "lca_cl.vtp"), read_paths(DATA / "rca_cl.vtp")
    assert (len(left), len(right)) == (5, 4)
    assert all(path.radius[0] > 10.0 for path in (*left, *right)), "they begin in the aorta"
    tree = read_tree(DATA / "lca_cl.vtp", DATA / "rca_cl.vtp")
    assert [branch.id for branch in tree] == list(range(len(tree)))
    assert [branch.name for branch in tree if branch.parent is None] == ["left-0", "right-0"]
    assert max(float(branch.lumen_radius_mm.max()) for branch in tree) < 3.0, "nothing of the aorta is left"
    lengths = {branch.name: float(arc_length(branch.points_mm)[-1]) for branch in tree}
    assert lengths["left-0"] == pytest.approx(172.0, abs=2.0)
    assert lengths["right-0"] == pytest.approx(162.0, abs=2.0)
    for branch in tree:
        assert float(np.linalg.norm(np.diff(branch.points_mm, axis=0), axis=1).max()) < 1.5
        if branch.parent is not None and branch.parent_index is not None:
            np.testing.assert_allclose(branch.points_mm[0], tree[branch.parent].points_mm[branch.parent_index])


def test_paths_that_share_a_stem_become_a_tree() -> None:
    stem = np.stack([np.arange(0.0, 40.0, 0.3), np.zeros(134), np.zeros(134)], axis=1)
    main = Path3D(np.concatenate([stem, np.add(stem, [40.0, 0.0, 0.0])]), np.concatenate([np.full(20, 9.0), np.full(248, 2.0)]))
    side = Path3D(
        np.concatenate([stem, np.add(stem[:, [1, 0, 2]], [40.0, 0.0, 0.0])])[:220], np.concatenate([np.full(20, 9.0), np.full(200, 1.0)])
    )
    first, second = branches_of([side, main], side="left", first_id=3)
    assert (first.id, first.parent, second.id, second.parent) == (3, None, 4, 3)
    assert first.points_mm[0] == pytest.approx([6.0, 0.0, 0.0], abs=0.2), "where the aorta ends"
    assert second.points_mm[0] == pytest.approx([40.0, 0.0, 0.0], abs=1.5)
    assert second.lumen_radius_mm == pytest.approx(1.0, abs=0.01)


def test_a_file_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.vtp"
    path.write_text("<VTKFile><ImageData/></VTKFile>", encoding="utf-8")
    with pytest.raises(ValueError, match="no PolyData"):
        read_paths(path)
    path.write_text('<VTKFile><PolyData><Piece><Points><DataArray format="binary">AAAA</DataArray></Points></Piece></PolyData></VTKFile>')
    with pytest.raises(ValueError, match="no ASCII array"):
        read_paths(path)


def test_a_rigid_move_is_found_again() -> None:
    points = np.random.default_rng(0).normal(0.0, 30.0, (7, 3))
    turn = Rotation.from_rotvec([0.3, -1.2, 0.8]).as_matrix()
    found, shift = rigid_fit(points, points @ turn.T + [5.0, -80.0, 300.0])
    np.testing.assert_allclose(found, turn, atol=1e-9)
    np.testing.assert_allclose(shift, [5.0, -80.0, 300.0], atol=1e-9)
