"""Everything around a virtual heart: pericardium, lungs, chest wall, spine, diaphragm, mediastinum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.phantom.shapes import Extent, capsules, ellipsoid, lumps, smooth_min, unit_slope
from models.phantom.types import FloatArray


@dataclass(frozen=True)
class Place:
    """Body coordinates (mm) of every voxel of the patient's grid: x to the left, y backwards, z up; the heart's middle is fixed."""

    q: FloatArray
    shape: Extent

    @property
    def x(self) -> FloatArray:
        """Towards the patient's left."""
        return np.asarray(self.q[:, 0].reshape(self.shape))

    @property
    def y(self) -> FloatArray:
        """Towards the back."""
        return np.asarray(self.q[:, 1].reshape(self.shape))

    @property
    def z(self) -> FloatArray:
        """Towards the head."""
        return np.asarray(self.q[:, 2].reshape(self.shape))


def draw_chest(
    rng: np.random.Generator, heart: dict[str, FloatArray], core: dict[str, FloatArray], q: FloatArray, shape: Extent
) -> dict[str, FloatArray]:
    """Signed distances of the surroundings; `core` holds atria and great vessels without their extensions."""
    place = Place(q, shape)
    x, y = place.x, place.y
    detail = rng.spawn(1)[0]
    sac = _sac(rng, heart, core, place)
    half_width, depth = float(detail.uniform(116, 136)), float(detail.uniform(86, 100))
    thorax = (np.abs((x - 5.0) / half_width) ** 2.2 + np.abs((y + 60.0 - depth) / depth) ** 2.2) ** (1 / 2.2)
    thorax = smooth_min((thorax - 1.0) * 95.0, heart["chambers"] - 6.0 + 4.0 * np.maximum(heart["chambers"] - 7.0, 0.0), 14.0)
    sac = np.maximum(sac, thorax + 2.5)
    spine, spongy = _spine(place)
    domes = np.minimum(
        ellipsoid(q, shape, (-58.0, 34.0, -212.0 + rng.normal(0, 6)), (92.0, 88.0, 84.0)),
        ellipsoid(q, shape, (72.0, 40.0, -226.0 + rng.normal(0, 6)), (80.0, 82.0, 82.0)),
    )
    gullet = capsules(q, shape, ([(8.0, 70.0, 10.0), (9.0, 68.0, -80.0), (18.0, 66.0, -190.0)], [6.5, 6.5, 7.5]))
    azygos = capsules(q, shape, ([(-9.0, 80.0, 10.0), (-8.0, 80.0, -190.0)], [3.5, 4.0]))
    airway = _airway(detail, place)
    middle = _mediastinum(detail, heart, place, np.minimum(spine, np.minimum(gullet, azygos)), airway)
    lung = np.maximum(thorax + 2.0, np.maximum(-smooth_min(middle, sac - 1.0, 8.0), 2.0 - domes))
    gas = ellipsoid(q, shape, (68.0, 20.0, -205.0), (38.0, 30.0, 30.0)) + lumps(rng, shape, 8, 3.0)
    nodes = [([tuple(c), tuple(c + rng.normal(0, 4, 3))], [1.5, float(rng.uniform(2, 4))]) for c in _node_centres(rng)]
    soft = np.minimum(np.minimum(gullet, azygos), np.minimum(capsules(q, shape, *nodes), np.maximum(airway - 1.3, -airway)))
    cage, cartilage = _cage(rng, thorax, place)
    bone = np.minimum(cage, spine)
    cortex = float(detail.uniform(1.2, 1.9))
    cover = float(rng.uniform(10, 32))
    pectoral = 11.0 * np.exp(-(((np.abs(x - 4.0) - 62.0) / 34.0) ** 2)) * (y < 20.0)
    muscle = np.maximum(thorax - 12.0 - pectoral - lumps(rng, shape, 6, 2.0), 1.5 - thorax)
    return {
        "body": smooth_min(thorax - 18.0 - cover - 0.7 * pectoral, spine - 40.0, 30.0),
        "muscle": np.minimum(np.maximum(muscle, 0.0 - thorax), cartilage),
        "lung": lung,
        "liver": np.maximum(np.maximum(domes, thorax + 1.0), 1.5 - sac),
        "gas": np.minimum(np.maximum(gas, domes + 6.0), airway),
        "bone": bone,
        "marrow": np.minimum(cage + cortex, np.maximum(spongy + cortex, spine + 0.5)),
        "pericardium": sac,
        "soft": np.maximum(soft, 2.0 - heart["wall"]),
    }


def _sac(rng: np.random.Generator, heart: dict[str, FloatArray], core: dict[str, FloatArray], place: Place) -> FloatArray:
    """The pericardial sac: the heart and the roots of the great vessels with 1 to 16 mm of fat; a lean heart has almost none."""
    x, y, z = place.x, place.y, place.z
    middle = float(np.clip(rng.gamma(2.2, 1.6) + 2.0, 2.0, 11.0))
    fat = float(rng.choice([rng.uniform(0.8, 2.2), middle, rng.uniform(9.0, 15.0)], p=[0.2, 0.66, 0.14]))
    sac = np.minimum(np.minimum(heart["lv_epi"], heart["rv_outer"]), np.minimum(core["la"], core["ra"]))
    sac = sac - fat * (1.0 + 0.35 * np.clip(lumps(rng, place.shape, 6, 1.0), -1.5, 1.5))
    great = np.minimum(np.maximum(core["ao"], y - 20.0), np.maximum(core["pa"], np.maximum(np.abs(x - 5.0) - 34.0, y - 25.0)))
    sac = smooth_min(sac, great - 3.5 + np.maximum(z + 48.0, 0.0) * 0.6, 12.0)
    return unit_slope(np.maximum(ndimage.gaussian_filter(sac, 2.0), y - 62.0))


def _airway(rng: np.random.Generator, place: Place) -> FloatArray:
    """Air in trachea, main and lobar bronchi."""
    r = float(rng.uniform(7.0, 9.0))
    return capsules(
        place.q, place.shape,
        ([(2, 50, 15), (3, 50, -34)], [r, r]),
        ([(3, 50, -34), (-34, 50, -58), (-50, 52, -78)], [r * 0.8, r * 0.65, r * 0.5]),
        ([(3, 50, -34), (38, 58, -66), (52, 66, -88)], [r * 0.75, r * 0.6, r * 0.45]),
    )  # fmt: skip


def _mediastinum(
    rng: np.random.Generator, heart: dict[str, FloatArray], place: Place, posterior: FloatArray, airway: FloatArray
) -> FloatArray:
    """Fat between the lungs: thin everywhere but above the heart and in front."""
    x, y, z = place.x, place.y, place.z
    base = float(rng.uniform(10.0, 18.0))
    above = np.clip((z + 75.0) / 30.0, 0.0, 1.0)
    waist = 6.0 * np.exp(-(((y + 50.0) / 14.0) ** 2))
    column = np.abs(x - 4.0 - 0.1 * (y - 30.0)) - (base + 12.0 * above - waist)
    column = smooth_min(column, posterior - 2.5, 8.0)
    vessels = np.minimum(np.minimum(heart["ao"], heart["svc"]), np.minimum(np.minimum(heart["ra"], heart["ivc"]), heart["pa"]))
    column = smooth_min(column, vessels - 2.5, 8.0)
    return smooth_min(column, np.minimum(airway, heart["la"]) - 2.5, 6.0)


def _node_centres(rng: np.random.Generator) -> FloatArray:
    """Places of mediastinal lymph nodes and thymic remnants."""
    n = int(rng.integers(6, 14))
    return rng.uniform((-25.0, -45.0, -75.0), (35.0, 70.0, -5.0), (n, 3))


def _spine(place: Place) -> tuple[FloatArray, FloatArray]:
    """Vertebrae (bodies with discs between them, arch, processes; no bone in the canal), and the same without end plates."""
    x, y, z = place.x, place.y, place.z
    level = np.abs((z / 24.0) % 1.0 - 0.5) * 24.0
    pillar = np.hypot((x - 4.0) / 1.15, y - 108.0) - (14.0 + level / 6.0)
    body = np.maximum(pillar, level - 10.2)
    canal = np.hypot(x - 4.0, y - 132.0)
    ring = np.maximum(np.abs(canal - 12.0) - 3.0, level - 8.0)
    process = np.hypot(np.maximum(np.abs(x - 4.0) - 1.5, 0.0), np.maximum(np.abs(y - 152.0) - 12.0, 0.0)) - 2.0
    wings = np.hypot(np.maximum(np.abs(x - 4.0) - 30.0, 0.0), y - 128.0) - 5.0
    wings = np.maximum(wings, 11.0 - canal)
    arch = np.minimum(ring, np.minimum(process, np.maximum(wings, level - 7.0)))
    return np.asarray(np.minimum(body, arch)), np.asarray(np.minimum(pillar, arch))


def _cage(rng: np.random.Generator, thorax: FloatArray, place: Place) -> tuple[FloatArray, FloatArray]:
    """Ribs (sloping bands in the chest wall) with sternum, and the cartilage between them."""
    x, y, z = place.x, place.y, place.z
    slope = float(rng.uniform(0.45, 0.7))
    phase = (z - slope * y + float(rng.uniform(0, 30))) / 30.0
    band = np.abs(phase % 1.0 - 0.5) * 30.0
    rib = np.hypot(band * 0.8, (thorax - 5.5) * 1.7) - 5.2
    front = (y < 0.0) * np.clip(68.0 - np.abs(x - 4.0), -60.0, 60.0) - (y >= 0.0) * 30.0
    sternum = np.hypot(np.maximum(np.abs(x - 4.0) - 12.0, 0.0), np.maximum(np.abs(thorax - 9.0) - 1.0, 0.0)) - 4.0
    sternum = np.maximum(sternum, np.maximum(-150.0 - z, y - 10.0))
    cartilage = np.maximum(rib, -front)
    return np.asarray(np.minimum(np.maximum(rib, front), sternum)), np.asarray(cartilage)
