"""Vessels straightened for the network that looks for plaque, and what it says of every point.

A branch is cut into sections of 21 x 21 pixels of 0.35 mm, one every 0.5 mm, perpendicular to its line. It begins up to 12 mm upstream
in the parent, so that the network sees where a branch comes from, and is read in windows of 64 mm that overlap. Training cuts its samples
with the functions of this file, so what the network learned from is what it meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.stages import Float, NamedTree
from appliance.findings import HighRiskFeature, PlaqueType
from appliance.geometry import arc_length, cross_sections, frames, smooth_curve
from appliance.inference.engine import Outputs, Session
from appliance.volume import Volume

STEP_MM = 0.5
PIXEL_MM = 0.35
SIDE = 21
WINDOW = 128
OVERLAP = 48
UPSTREAM_MM = 12.0
PADDING_HU = -1000.0
CHANNELS = ("section_hu", "blood_hu")
KINDS: tuple[PlaqueType, ...] = ("calcified", "mixed", "noncalcified")
FEATURES: tuple[HighRiskFeature, ...] = ("low_attenuation", "positive_remodeling", "spotty_calcification", "napkin_ring")
_SMOOTH_MM = 0.8
_SHORTEST_MM = 1.0


@dataclass(frozen=True)
class Line:
    """A line through a branch with a point every 0.5 mm.

    Attributes:
        points_mm: LPS, (n, 3).
        along_mm: distance from the branch's first point, (n,); negative upstream, in the parent.
    """

    points_mm: Float
    along_mm: Float


@dataclass(frozen=True)
class Sizes:
    """Diameters at each point of a branch as the network sees them, in mm, (n,) each.

    Attributes:
        lumen: of the lumen.
        lumen_error: expected absolute error of it (scale of a Laplace distribution).
        healthy: of the lumen without disease.
        healthy_error: expected absolute error of it.
    """

    lumen: Float
    lumen_error: Float
    healthy: Float
    healthy_error: Float


@dataclass(frozen=True)
class Reading:
    """What the network says of one branch, one entry per point of the branch, (n,) unless said otherwise.

    Attributes:
        share: probability of plaque, 0..1.
        stent: probability of a stent.
        kinds: probability of each of ``KINDS``, given that there is plaque, (n, 3).
        narrowing: part of the healthy diameter that is missing, 0..1.
        features: probability of each of ``FEATURES`` in the plaque, (n, 4).
        sizes: diameters and their expected errors in mm as in ``Sizes``; None from a network that does not give them.
    """

    share: Float
    stent: Float
    kinds: Float
    narrowing: Float
    features: Float
    sizes: Sizes | None = None


def straighten(points: Float, upstream: Float | None = None) -> Line:
    """The line through a branch.

    Args:
        points: the branch, proximal to distal, (n, 3), two distinct points at least.
        upstream: the parent's points up to the one where the branch begins, that one left out; empty or None at an ostium.
    """
    own = arc_length(points)
    joined, along = points, own
    if upstream is not None and len(upstream):
        joined = np.concatenate([upstream, points])
        along = arc_length(joined)
        along = along - along[len(upstream)]
    keep = np.concatenate([[True], np.diff(along) > 1e-9])
    first = -int(min(-along[0], UPSTREAM_MM) / STEP_MM + 1e-6)
    wanted = np.arange(first, int(own[-1] / STEP_MM + 1e-6) + 1) * STEP_MM
    line = np.stack([np.interp(wanted, along[keep], joined[keep, axis]) for axis in range(3)], axis=1)
    return Line(points_mm=smooth_curve(line, _SMOOTH_MM, STEP_MM), along_mm=np.asarray(wanted, np.float64))


def cut_channels(volume: Volume, line: Line, blood_hu: Float) -> NDArray[np.float32]:
    """The network's input along a whole line: raw values (2, n, SIDE, SIDE) of ``CHANNELS``.

    Args:
        volume: the original series.
        line: with two points at least.
        blood_hu: attenuation of unblurred blood at each point of the line, (n,).
    """
    _, normal, binormal = frames(line.points_mm)
    half = PIXEL_MM * (SIDE // 2)
    hu = cross_sections(volume, line.points_mm, normal, binormal, half_width_mm=half, step_mm=PIXEL_MM)
    blood = np.broadcast_to(blood_hu.astype(np.float32)[:, None, None], hu.shape)
    return np.stack([np.maximum(hu, np.float32(PADDING_HU)), blood])


def window_starts(length: int) -> list[int]:
    """Where the windows of a line of that many points begin: evenly spread, the first at 0, the last at the end."""
    if length <= WINDOW:
        return [0]
    count = int(np.ceil((length - WINDOW) / (WINDOW - OVERLAP))) + 1
    return [round(place) for place in np.linspace(0, length - WINDOW, count)]


def padded(channels: NDArray[np.float32], size: int = WINDOW) -> NDArray[np.float32]:
    """The channels with empty sections behind the end up to ``size``; the blood goes on as it was."""
    missing = size - channels.shape[1]
    if missing <= 0:
        return channels
    tail = np.repeat(channels[:, -1:], missing, axis=1)
    tail[0] = PADDING_HU
    return np.concatenate([channels, tail], axis=1)


def read_line(channels: NDArray[np.float32], session: Session) -> Outputs:
    """The network's outputs along a line (n, ...) from its channels (2, n, SIDE, SIDE), blended over the windows, as float64.

    Raises:
        InferenceError: INF-011 to INF-023, see ``Session.run``.
    """
    length = channels.shape[1]
    ramp = np.minimum(np.arange(WINDOW) + 1.0, WINDOW - np.arange(WINDOW))
    weight = np.zeros(length)
    total: dict[str, Float] = {}
    for start in window_starts(length):
        window = padded(channels[:, start : start + WINDOW])
        used = min(WINDOW, length - start)
        given = session.run(np.ascontiguousarray(window[None]))
        weight[start : start + used] += ramp[:used]
        for output in session.model.outputs:
            if output.role == "check":
                continue
            values = np.asarray(given[output.name][0, :used], np.float64)
            into = total.setdefault(output.name, np.zeros((length, *values.shape[1:])))
            into[start : start + used] += values * ramp[:used].reshape(-1, *[1] * (values.ndim - 1))
    return {name: values / weight.reshape(-1, *[1] * (values.ndim - 1)) for name, values in total.items()}


def read_tree(named: NamedTree, volume: Volume, blood: Sequence[Float], session: Session) -> tuple[Reading, ...]:
    """What the network says of every branch.

    Args:
        named: the tree.
        volume: the original series.
        blood: attenuation of the blood at each point of each branch.
        session: the model ``lesions``.
    """
    return tuple(_read_branch(named, number, volume, blood[number], session) for number in range(len(named.branches)))


def upstream_of(named: NamedTree, number: int) -> Float:
    """The points before a branch's first one, through its parents, at least ``UPSTREAM_MM`` of them where there are so many; (n, 3)."""
    branch = named.branches[number]
    above = np.zeros((0, 3))
    while branch.parent is not None and branch.parent_index is not None:
        parent = named.branches[branch.parent]
        above = np.concatenate([parent.points_mm[: branch.parent_index], above])
        if len(above) > 1 and arc_length(above)[-1] > UPSTREAM_MM:
            break
        branch = parent
    return above


def _read_branch(named: NamedTree, number: int, volume: Volume, blood: Float, session: Session) -> Reading:
    points = named.branches[number].points_mm
    along = arc_length(points)
    if along[-1] < _SHORTEST_MM:
        return nothing(len(points))
    line = straighten(points, upstream_of(named, number))
    outputs = read_line(cut_channels(volume, line, np.interp(line.along_mm, along, blood)), session)

    def at_points(name: str, scale: float = 1.0) -> Float:
        columns = (outputs[name] * scale).reshape(len(line.along_mm), -1)
        return np.stack([np.interp(along, line.along_mm, column) for column in columns.T], axis=1)

    kinds = at_points("kinds")
    return Reading(
        share=at_points("plaque", 1 / 255)[:, 0],
        stent=at_points("stent", 1 / 255)[:, 0],
        kinds=kinds / np.maximum(kinds.sum(axis=1, keepdims=True), 1e-6),
        narrowing=np.clip(at_points("narrowing")[:, 0], 0.0, 1.0),
        features=np.clip(at_points("features"), 0.0, 1.0),
        sizes=Sizes(*at_points("sizes").T) if "sizes" in outputs else None,
    )


def nothing(count: int) -> Reading:
    """A reading that knows nothing of ``count`` points: no plaque, every kind alike."""
    zero = np.zeros(count)
    return Reading(share=zero, stent=zero, kinds=np.full((count, 3), 1 / 3), narrowing=zero, features=np.zeros((count, len(FEATURES))))
