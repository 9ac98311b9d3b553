"""Index and patient coordinates, oblique grids included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from appliance.volume import Geometry, LabelMap, Volume


@given(st.floats(-180, 180), st.floats(-180, 180), st.tuples(*(st.floats(0.2, 3.0),) * 3))
def test_points_and_indices_are_inverse(a: float, b: float, spacing: tuple[float, float, float]) -> None:
    direction = Rotation.from_euler("zx", [a, b], degrees=True).as_matrix()
    geometry = Geometry((5, 6, 7), spacing, (1.0, -20.0, 300.0), direction)
    index = np.random.default_rng(0).uniform(-3, 9, (20, 3))
    assert np.allclose(geometry.to_index(geometry.to_points(index)), index, atol=1e-6)


def test_axes_are_what_dicom_says() -> None:
    geometry = Geometry((5, 6, 7), (0.4, 0.5, 0.6), (10.0, 20.0, 30.0))
    assert geometry.to_points([1, 2, 3]).tolist() == pytest.approx([10 + 3 * 0.4, 20 + 2 * 0.5, 30 + 0.6])
    assert geometry.extent_mm == pytest.approx((2.8, 3.0, 3.0))


def test_same_grid_sees_a_shift() -> None:
    geometry = Geometry((5, 6, 7), (1, 1, 1), (0, 0, 0))
    assert geometry.same_grid(Geometry((5, 6, 7), (1, 1, 1), (0, 0, 0)))
    assert not geometry.same_grid(Geometry((5, 6, 7), (1, 1, 1), (0, 0, 0.1)))


def test_voxels_that_do_not_fit_their_grid_are_refused() -> None:
    geometry = Geometry((5, 6, 7), (1, 1, 1), (0, 0, 0))
    with pytest.raises(ValueError, match="do not fit"):
        Volume(np.zeros((5, 6, 8), np.int16), geometry)
    with pytest.raises(ValueError, match="do not fit"):
        LabelMap(np.zeros((7, 6, 5), np.uint8), geometry)
