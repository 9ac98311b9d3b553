"""Windows along a traced line, on volumes whose truth is exact, and what is made of the answers."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.motion_network import RADII_MM, SECTIONS, STEP_MM, WINDOW_SHAPE, motion_along, windows
from appliance.volume import Geometry, Volume

GRID = Geometry((60, 80, 80), (0.5, 0.5, 0.5), (-20.0, -20.0, -15.0))


def volume(width_mm: float) -> Volume:
    """A vessel along z that is 3 mm wide in y and ``width_mm`` in x, in fat."""
    z, y, x = np.mgrid[tuple(slice(0, n) for n in GRID.shape)]
    points = GRID.to_points(np.stack([z, y, x], axis=-1))
    share = np.hypot(points[..., 0] / (0.5 * width_mm), points[..., 1] / 1.5)
    inside = np.clip(0.5 + (1.0 - share) * np.hypot(points[..., 0], points[..., 1]) / np.maximum(share, 0.1) / 0.5, 0.0, 1.0)
    return Volume(np.where(share < 0.5, 400, np.rint(-90 + 490 * inside)).astype(np.int16), GRID)


def line(length_mm: float = 20.0, step_mm: float = 0.4) -> np.ndarray:
    z = np.arange(0.0, length_mm, step_mm) - 0.5 * length_mm
    return np.stack([np.zeros_like(z), np.zeros_like(z), z], axis=1)


class WidthSession:
    """Answers with what can be counted: mm between the nearest and the farthest half-level radius, and the blood in thousands of HU."""

    def run(self, channels: np.ndarray) -> dict[str, np.ndarray]:
        assert channels.shape[1:] == (2, *WINDOW_SHAPE)
        radius = RADII_MM[(channels[:, 0] < 155.0).argmax(axis=3)]
        moved = radius.mean(axis=1).max(axis=1) - radius.mean(axis=1).min(axis=1)
        return {"scores": np.stack([moved, channels[:, 1].mean(axis=(1, 2, 3)) / 1000.0], axis=1).astype(np.float32)}


def test_a_window_shows_the_vessel_across_its_line() -> None:
    even = line(step_mm=STEP_MM)
    cut = windows(volume(3.0), even, np.array([10, 20]))
    assert cut.shape == (2, *WINDOW_SHAPE)
    radius = RADII_MM[(cut < 155.0).argmax(axis=3)]
    assert np.abs(radius - 1.5).max() <= 0.3
    assert (cut[..., 0] > 390).all()
    assert (cut[..., -1] == -90).all()


@pytest.mark.parametrize("width", [3.0, 6.0])
def test_answers_belong_to_points_of_the_given_line(width: float) -> None:
    points = line()
    found = motion_along(volume(width), points, 350.0, WidthSession())  # type: ignore[arg-type]
    assert found is not None
    assert found.motion_mm == pytest.approx(np.full(len(found.index), 0.5 * (width - 3.0)), abs=0.4)
    assert found.too_far == pytest.approx(np.full(len(found.index), 0.35), abs=1e-6)
    along = points[found.index, 2] - points[0, 2]
    assert along[0] == pytest.approx((SECTIONS // 2) * STEP_MM, abs=0.4)
    assert np.diff(along) == pytest.approx(np.full(len(along) - 1, 2.0), abs=0.41)
    assert points[-1, 2] - points[0, 2] - along[-1] <= 4.0 + 0.4


def test_a_line_shorter_than_a_window_is_not_judged() -> None:
    assert motion_along(volume(3.0), line(2.0), 350.0, WidthSession()) is None  # type: ignore[arg-type]
