"""Straightening and reading: where the sections lie, what they show, and how the answers of windows become one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from appliance.analysis import lesion_network as network
from appliance.analysis.stages import NamedBranch, NamedTree
from appliance.inference.catalog import Channel, Model, Output
from appliance.inference.engine import check_input, check_outputs
from appliance.volume import Geometry, Volume

ALONG_Z = np.stack([np.zeros(81), np.zeros(81), np.arange(81) * 0.5], axis=1)


def ramp_volume() -> Volume:
    """HU = 10 x + 3 y + z (mm): what a section must show is known to the last digit, whatever its turn."""
    shape, spacing, origin = (100, 60, 60), (0.4, 0.4, 0.5), (-12.0, -12.0, -4.0)
    geometry = Geometry(shape, spacing, origin)
    points = geometry.to_points(np.indices(shape).reshape(3, -1).T)
    return Volume(np.rint(100 * points @ [10.0, 3.0, 1.0] / 100).astype(np.int16).reshape(shape), geometry)


def tube_volume() -> Volume:
    """A tube of 400 HU, radius 1.5 mm, along z through (0, 0), in fat."""
    geometry = Geometry((100, 60, 60), (0.4, 0.4, 0.5), (-12.0, -12.0, -4.0))
    points = geometry.to_points(np.indices(geometry.shape).reshape(3, -1).T)
    inside = np.hypot(points[:, 0], points[:, 1]) < 1.5
    return Volume(np.where(inside, 400, -90).astype(np.int16).reshape(geometry.shape), geometry)


def test_the_line_has_a_point_every_half_millimetre_from_the_branch_s_first() -> None:
    line = network.straighten(ALONG_Z)
    np.testing.assert_allclose(line.along_mm, np.arange(81) * 0.5, atol=1e-9)
    np.testing.assert_allclose(line.points_mm, ALONG_Z, atol=1e-9)


def test_the_line_begins_twelve_millimetres_upstream_at_most() -> None:
    upstream, own = ALONG_Z[:60], ALONG_Z[60:]
    line = network.straighten(own, upstream)
    assert line.along_mm[0] == -network.UPSTREAM_MM
    assert line.along_mm[-1] == pytest.approx(10.0)
    np.testing.assert_allclose(line.points_mm[:, 2], 30.0 + line.along_mm, atol=1e-6)
    short = network.straighten(own, upstream[-5:])
    assert short.along_mm[0] == pytest.approx(-2.5)


def test_unevenly_spaced_points_make_an_even_line() -> None:
    uneven = np.stack([np.zeros(40), np.zeros(40), np.cumsum(np.tile([0.2, 0.7], 20))], axis=1)
    line = network.straighten(uneven)
    np.testing.assert_allclose(np.diff(line.points_mm[:, 2]), 0.5, atol=1e-6)
    assert line.points_mm[0, 2] == pytest.approx(0.2)


def test_sections_show_what_lies_there() -> None:
    volume, line = ramp_volume(), network.straighten(ALONG_Z[:40])
    channels = network.cut_channels(volume, line, np.full(40, 410.0))
    assert channels.shape == (2, 40, network.SIDE, network.SIDE)
    assert (channels[1] == 410.0).all()
    middle = network.SIDE // 2
    np.testing.assert_allclose(channels[0, :, middle, middle], line.points_mm[:, 2], atol=0.6)  # voxels are whole HU
    # across the section the values fall and rise with 10 x + 3 y: its steepest slope is known whatever the section's turn
    rows, columns = np.gradient(channels[0, 20], network.PIXEL_MM)
    assert np.hypot(rows.mean(), columns.mean()) == pytest.approx(np.hypot(10.0, 3.0), rel=0.02)


def test_a_tube_is_a_disc_in_every_section() -> None:
    line = network.straighten(ALONG_Z[4:60])
    sections = network.cut_channels(tube_volume(), line, np.full(len(line.along_mm), 400.0))[0]
    volume = tube_volume()
    drawn = (volume.voxels[50] > 0).sum() * 0.4 * 0.4
    seen = ((sections + 90.0) / 490.0).sum(axis=(1, 2)) * network.PIXEL_MM**2
    np.testing.assert_allclose(seen, drawn, rtol=0.03)
    centre = np.array([np.argwhere(s > 155.0).mean(axis=0) for s in sections])
    np.testing.assert_allclose(centre, network.SIDE // 2, atol=0.6)


def test_outside_the_volume_there_is_padding() -> None:
    line = network.straighten(ALONG_Z + np.array([30.0, 0.0, 0.0]))
    channels = network.cut_channels(tube_volume(), line, np.full(81, 400.0))
    assert (channels[0] == network.PADDING_HU).all()


@pytest.mark.parametrize("length", [1, 127, 128, 129, 200, 208, 209, 500])
def test_windows_cover_a_line_and_overlap(length: int) -> None:
    starts = network.window_starts(length)
    assert starts[0] == 0
    assert starts[-1] == max(length - network.WINDOW, 0)
    assert all(0 < b - a <= network.WINDOW - network.OVERLAP for a, b in pairwise(starts))


@dataclass
class MeanSession:
    """A network that can be worked out by hand: plaque is the section's mean HU as a byte, the rest follows from it."""

    runs: int = 0

    @property
    def model(self) -> Model:
        channel = Channel(name="section_hu", unit="HU", low=0.0, high=255.0, padding=0.0)
        return Model(
            name="lesions", version="1", file="", sha256="", purpose="", spacing_mm=0.5, multiple=1, classes=(), many=True,
            channels=(channel, channel), tile=(network.WINDOW, network.SIDE, network.SIDE),
            outputs=(
                Output(name="plaque", role="share", axes=1),
                Output(name="stent", role="share", axes=1),
                Output(name="kinds", role="scores", axes=1, classes=network.KINDS),
                Output(name="narrowing", role="scores", axes=1, classes=("narrowing",)),
                Output(name="features", role="scores", axes=1, classes=network.FEATURES),
                Output(name="sizes", role="scores", axes=1, classes=("lumen_mm", "lumen_error_mm", "healthy_mm", "healthy_error_mm")),
                Output(name="check", role="check"),
            ),
        )  # fmt: skip

    def run(self, channels: np.ndarray) -> dict[str, Any]:
        check_input(self.model, channels)
        self.runs += 1
        mean = channels[:, 0].mean(axis=(2, 3)).clip(1, 255)
        score = np.stack([mean, mean / 2, mean / 4, mean / 8], axis=-1).astype(np.float32)
        outputs = {
            "plaque": mean.astype(np.uint8), "stent": np.zeros(mean.shape, np.uint8), "kinds": score[..., :3],
            "narrowing": score[..., :1] / 255, "features": score / 255, "sizes": score / 100, "check": np.ones(len(mean), np.float32),
        }  # fmt: skip
        return dict(check_outputs(self.model, channels, outputs))


def test_windows_are_blended_into_one_answer() -> None:
    values = (1 + np.arange(300) % 250).astype(np.float32)
    channels = np.broadcast_to(values[None, :, None, None], (2, 300, network.SIDE, network.SIDE)).copy()
    session = MeanSession()
    outputs = network.read_line(channels, session)
    assert session.runs == len(network.window_starts(300)) > 2
    np.testing.assert_allclose(outputs["plaque"], values, atol=1e-3)
    np.testing.assert_allclose(outputs["kinds"], values[:, None] / [1, 2, 4], atol=1e-3)


def test_a_reading_has_one_entry_for_every_point_of_every_branch() -> None:
    trunk, side = ALONG_Z[6:70], np.stack([np.arange(9) * 0.45, np.zeros(9), np.full(9, 15.0)], axis=1)
    tree = NamedTree(
        branches=(
            NamedBranch(trunk, None, None, "LAD", ((0, 64, "pLAD"),), 1.0),
            NamedBranch(side, 0, 24, "LAD", ((0, 9, "D1"),), 1.0),
            NamedBranch(side[:2], 0, 24, "LAD", ((0, 2, "D2"),), 1.0),
        ),
        dominance=None,
    )
    np.testing.assert_array_equal(network.upstream_of(tree, 1), trunk[:24])
    readings = network.read_tree(tree, tube_volume(), [np.full(64, 400.0), np.full(9, 400.0), np.full(2, 400.0)], MeanSession())
    for reading, count in zip(readings, (64, 9, 2), strict=True):
        assert reading.share.shape == reading.stent.shape == reading.narrowing.shape == (count,)
        assert reading.kinds.shape == (count, 3)
        assert reading.features.shape == (count, 4)
        np.testing.assert_allclose(reading.kinds.sum(axis=1), 1.0)
        assert (reading.share >= 0).all()
        assert (reading.share <= 1).all()
        if reading.share.any():
            assert reading.sizes is not None
            np.testing.assert_allclose(reading.sizes.lumen, 2.0 * reading.sizes.lumen_error)
            np.testing.assert_allclose(reading.sizes.lumen, 4.0 * reading.sizes.healthy)
    assert readings[2].sizes is None
    assert (readings[2].share == 0).all()  # too short to be straightened: nothing is said of it
