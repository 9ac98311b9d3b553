"""A small made-up study with exactly known places: a ball of muscle in fat, an aorta, three coronary tubes, ribs and lungs around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.anatomy import SegmentName, Vessel
from appliance.findings import Branch, Findings, Lesion, PlaqueVolume, Software
from appliance.volume import Geometry, LabelMap, Volume

BALL_MM = 34.0
FAT_MM = 41.0
RIB_MM = 56.0


@dataclass(frozen=True)
class MadeStudy:
    """The volume, its label map, its findings."""

    volume: Volume
    structures: LabelMap
    findings: Findings


def on_ball(start: tuple[float, float], end: tuple[float, float], radius_mm: float) -> NDArray[np.float64]:
    """Points 0.4 mm apart on a ball about the origin; (azimuth, elevation) in degrees, azimuth 0 = front, 90 = patient's left."""
    azimuth, elevation = (np.radians(np.linspace(a, b, 600)) for a, b in zip(start, end, strict=True))
    points = radius_mm * np.stack([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], axis=1)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.arange(0.0, length[-1], 0.4)
    return np.stack([np.interp(at, length, points[:, axis]) for axis in range(3)], axis=1)


def branch_of(
    number: int, vessel: Vessel, points: NDArray[np.float64], names: tuple[SegmentName, ...], parent: int | None, diameter: float
) -> Branch:
    count = len(points)
    cuts = [round(count * k / len(names)) for k in range(len(names) + 1)]
    return Branch(
        id=number,
        parent=parent,
        parent_index=None if parent is None else 24,
        vessel=vessel,
        points_mm=tuple((float(x), float(y), float(z)) for x, y, z in points),
        segments=tuple((cuts[k], cuts[k + 1], name) for k, name in enumerate(names)),
        name_confidence=0.9,
        lumen_diameter_mm=(diameter,) * count,
        vessel_diameter_mm=(diameter + 1.0,) * count,
        parent_reason="ANA-000" if parent is None else None,
        parent_index_reason="ANA-000" if parent is None else None,
    )


def lesion_of(number: int, branch: Branch, at: int, percent: float | None, segment: SegmentName) -> Lesion:
    return Lesion(
        id=number, branch=branch.id, vessel=branch.vessel, segment=segment, start=at - 12, minimum=at, end=at + 12, length_mm=9.6,
        minimum_lumen_diameter_mm=None if percent is None else 3.0 * (1 - percent / 100), reference_diameter_mm=3.0,
        diameter_stenosis_percent=percent, area_stenosis_percent=None, grade="moderate", plaque_type="mixed",
        volume_mm3=PlaqueVolume(total=40, calcified=10, noncalcified=30, low_attenuation=4), remodeling_index=1.12,
        plaque_burden_percent=60.0, high_risk=("positive_remodeling",), confidence=0.8, area_stenosis_percent_reason="ANA-000",
        minimum_lumen_diameter_mm_reason="ANA-000" if percent is None else None,
        diameter_stenosis_percent_reason="ANA-000" if percent is None else None,
    )  # fmt: skip


def findings_of(branches: tuple[Branch, ...], lesions: tuple[Lesion, ...]) -> Findings:
    return Findings(
        status="analysed", software=Software(version="0", commit="0"), reason=None, engine=None, models=(), series=None, other_series=(),
        quality=None, dominance=None, branches=branches, lesions=lesions, bridges=(), stents=(), calcium=None, plaque_total_mm3=None,
        segment_involvement_score=None, segment_stenosis_score=None, cad_rads=None, timing_s={}, schema=1,
    )  # fmt: skip


def make_study() -> MadeStudy:
    """A 0.7 mm volume of 180 x 180 x 180 voxels."""
    spacing = 0.7
    geometry = Geometry(shape=(180, 180, 180), spacing=(spacing,) * 3, origin=(-62.65, -62.65, -62.65))
    axis = -62.65 + spacing * np.arange(180)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    distance = np.sqrt(x * x + y * y + z * z)
    hu = np.full(geometry.shape, -850.0)
    hu[distance > RIB_MM + 3] = -90
    hu[(np.abs(distance - RIB_MM) < 3) & (np.sin(z / 4.0) > 0.2)] = 800
    hu[distance < FAT_MM] = -90
    aorta = (x * x + (y + 8) ** 2 < 13**2) & (z > 18) & (distance < 60)
    hu[distance < BALL_MM] = 110
    hu[distance < BALL_MM - 10] = 380
    hu[aorta] = 400
    labels = np.where(distance < FAT_MM, 8, 0)
    labels[distance < BALL_MM] = 1
    labels[distance < BALL_MM - 10] = 3
    labels[aorta & (z < 50)] = 6
    curves = {
        "LM": on_ball((20, 62), (28, 46), BALL_MM + 3),
        "LAD": on_ball((28, 46), (20, -65), BALL_MM + 3),
        "LCX": on_ball((28, 46), (125, -5), BALL_MM + 3),
        "RCA": on_ball((-20, 55), (-150, -45), BALL_MM + 3),
    }
    curves["LM"] = np.concatenate([curves["LM"], curves["LAD"][:1]])
    branches = (
        branch_of(0, "LM", curves["LM"], ("LM",), None, 4.0),
        branch_of(1, "LAD", curves["LAD"], ("pLAD", "mLAD", "dLAD"), 0, 3.0),
        branch_of(2, "LCX", curves["LCX"], ("pLCx", "LCx"), 0, 3.0),
        branch_of(3, "RCA", curves["RCA"], ("pRCA", "mRCA", "dRCA"), None, 3.2),
    )
    for branch in branches:
        radius = (branch.lumen_diameter_mm[0] or 0) / 2
        for point in branch.points_mm[::2]:
            low = np.maximum(np.floor((np.array(point) + 62.65) / spacing - 4).astype(int), 0)
            part = tuple(slice(low[k], low[k] + 9) for k in (2, 1, 0))
            near = (x[:, :, part[2]] - point[0]) ** 2 + (y[:, part[1], :] - point[1]) ** 2 + (z[part[0]] - point[2]) ** 2
            hu[part] = np.maximum(hu[part], np.clip((radius + 0.35 - np.sqrt(near)) / 0.7, 0, 1) * 490 - 90)
    lesions = (lesion_of(0, branches[1], 50, 62.0, "pLAD"), lesion_of(1, branches[3], 120, None, "mRCA"))
    noise = np.random.default_rng(1).normal(0, 18, geometry.shape)
    coarse = slice(2, None, 4)
    return MadeStudy(
        volume=Volume(np.ascontiguousarray(hu + noise).astype(np.int16), geometry),
        structures=LabelMap(
            np.ascontiguousarray(labels[coarse, coarse, coarse]).astype(np.uint8),
            Geometry(shape=(45, 45, 45), spacing=(2.8,) * 3, origin=tuple(geometry.to_points([2, 2, 2]))),
        ),
        findings=findings_of(branches, lesions),
    )
