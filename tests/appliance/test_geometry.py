"""Curves and sections against shapes whose truth is known exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.geometry import arc_length, cross_sections, frames, resample_curve, sample, smooth_curve
from appliance.volume import Geometry, Volume


def helix(turns: float = 2.0, radius: float = 12.0, pitch: float = 20.0, count: int = 4000) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi * turns, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), pitch * angle / (2 * np.pi)], axis=1)


def test_arc_length_of_a_helix_is_the_analytic_one() -> None:
    per_turn = np.hypot(2 * np.pi * 12.0, 20.0)
    assert arc_length(helix())[-1] == pytest.approx(2 * per_turn, rel=1e-5)


def test_resampling_keeps_both_ends_and_equal_steps() -> None:
    curve = resample_curve(helix(), 0.5)
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    assert np.allclose(curve[[0, -1]], helix()[[0, -1]])
    assert steps.max() <= 0.5
    assert np.ptp(steps) < 1e-3


def test_a_curve_of_one_place_is_refused() -> None:
    with pytest.raises(ValueError, match="two distinct points"):
        resample_curve(np.zeros((4, 3)), 0.5)


def test_smoothing_leaves_a_straight_line_alone_and_fixes_the_ends() -> None:
    line = np.linspace([0, 0, 0], [10, 5, 2], 50)
    assert np.allclose(smooth_curve(line, 2.0, 0.2), line, atol=1e-9)
    noisy = line + np.random.default_rng(1).normal(0, 0.2, line.shape)
    smooth = smooth_curve(noisy, 1.0, 0.2)
    assert np.abs(smooth - line)[10:-10].mean() < 0.5 * np.abs(noisy - line)[10:-10].mean()


def test_frames_are_orthonormal_right_handed_and_do_not_twist_on_a_plane_curve() -> None:
    angle = np.linspace(0, np.pi, 300)
    plane = np.stack([np.cos(angle) * 20, np.sin(angle) * 20, np.zeros_like(angle)], axis=1)
    t, n, b = frames(plane)
    assert np.allclose(np.cross(t, n), b, atol=1e-9)
    assert np.allclose((t * n).sum(axis=1), 0, atol=1e-9)
    # the plane's normal stays fixed in a rotation-minimising frame
    seen = np.stack([n[:, 2], b[:, 2]])
    assert np.ptp(seen, axis=1).max() < 1e-6


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(0.3, 1.2))
def test_trilinear_sampling_of_a_linear_field_is_exact(weights: list[float], spacing: float) -> None:
    geometry = Geometry((9, 10, 11), (spacing, 1.0, 0.7), (-3.0, 2.0, 5.0))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    field = geometry.to_points(index) @ weights[:3] + weights[3]
    where = geometry.to_points(np.random.default_rng(0).uniform(0, 8, (40, 3)))
    assert np.allclose(sample(field, geometry, where), where @ weights[:3] + weights[3], atol=1e-4)


def test_outside_the_volume_is_the_fill_value() -> None:
    geometry = Geometry((4, 4, 4), (1, 1, 1), (0, 0, 0))
    assert sample(np.zeros((4, 4, 4), np.int16), geometry, np.array([[9.0, 0, 0]]), fill=-7) == -7


def test_the_centre_of_a_section_lies_on_the_curve() -> None:
    geometry = Geometry((60, 60, 60), (0.5, 0.5, 0.5), (-15, -15, -15))
    voxels = np.full(geometry.shape, -100, np.int16)
    z, y, x = np.indices(geometry.shape)
    points = geometry.to_points(np.stack([z, y, x], axis=-1))
    voxels[np.hypot(points[..., 0], points[..., 1]) < 1.6] = 400
    line = np.linspace([0, 0, -10], [0, 0, 10], 41)
    _, normal, binormal = frames(line)
    sections = cross_sections(Volume(voxels, geometry), line, normal, binormal, half_width_mm=4, step_mm=0.25)
    assert sections.shape == (41, 33, 33)
    assert (sections[:, 16, 16] == 400).all()
    assert (sections[:, 0, 0] == -100).all()
