"""An analytic heart: chambers, muscle and great vessels as ovals and capsules about a drawn skeleton.

The two real hearts show one lie and one set of proportions each; this one varies both. Coordinates are those of the real hearts
(LPS, mm, the aortic annulus near (14, 0, -95)), so that everything around the heart fits either kind. Lengths follow cardiac CT norms:
left ventricle 70 to 90 mm long, wall 7 to 11 mm (hypertrophic to 18, dilated 5 to 7), root 28 to 42 mm wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.phantom.kernels import oval_field
from models.phantom.shapes import Extent, capsules, smooth_min
from models.phantom.types import FloatArray, Vector

PIVOT = np.array([14.0, 2.0, -96.0])


@dataclass(frozen=True)
class Landmarks:
    """Where the vessels around a heart join it (mm, coordinates of the real hearts); the defaults fit the real hearts."""

    ascending: Vector = (-12.0, -6.0, -58.0)
    superior_cava: tuple[Vector, Vector] = ((-28.0, 9.0, -80.0), (-34.0, 7.0, -50.0))
    inferior_cava: tuple[Vector, Vector] = ((-24.0, 14.0, -126.0), (-21.0, 26.0, -150.0))
    appendage: tuple[Vector, ...] = ((24.0, 26.0, -88.0), (36.0, 17.0, -80.0), (41.0, 4.0, -76.0), (38.0, -8.0, -74.0))
    pulmonary_veins: tuple[Vector, ...] = ((-14.0, 30.0, -85.0), (-14.0, 38.0, -98.0), (22.0, 35.0, -84.0), (20.0, 40.0, -94.0))


@dataclass(frozen=True)
class Proportions:
    """Sizes of an analytic heart, mm and shares."""

    length: float
    radius: float
    wall: float
    septum: float
    right: float
    left_atrium: FloatArray
    right_atrium: FloatArray
    root: float
    ascending: float
    trunk: float
    turn: FloatArray


def turned(degrees: tuple[float, float, float]) -> FloatArray:
    """The rotation by angles about x, then y, then z."""
    a, b, c = np.deg2rad(degrees)
    ca, sa, cb, sb, cc, sc = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    rx = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    ry = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    rz = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


def draw_proportions(rng: np.random.Generator) -> Proportions:
    """One heart: most are of normal proportions, about one in eight is hypertrophic and one in eight dilated."""
    kind = str(rng.choice(["normal", "hypertrophic", "dilated"], p=[0.74, 0.13, 0.13]))
    wall = {"normal": rng.uniform(6.5, 10.5), "hypertrophic": rng.uniform(11.5, 17.0), "dilated": rng.uniform(5.0, 7.0)}[kind]
    radius = float(rng.normal({"normal": 29.5, "hypertrophic": 31.0, "dilated": 34.5}[kind], 1.8))
    large = float(rng.choice([1.0, 1.18], p=[0.8, 0.2]))
    return Proportions(
        length=float(rng.normal(76.0 if kind != "dilated" else 82.0, 4.0)),
        radius=radius,
        wall=float(wall),
        septum=float(rng.uniform(0.9, 1.5 if kind == "hypertrophic" else 1.15)),
        right=float(rng.normal(1.0, 0.09)),
        left_atrium=large * rng.normal(1.0, 0.08, 3).clip(0.82, 1.2),
        right_atrium=float(rng.choice([1.0, 1.15], p=[0.85, 0.15])) * rng.normal(1.0, 0.08, 3).clip(0.82, 1.2),
        root=float(np.clip(rng.normal(1.0, 0.09), 0.82, 1.25)),
        ascending=float(np.clip(rng.normal(15.0, 1.8), 11.5, 20.0)),
        trunk=float(np.clip(rng.normal(13.0, 1.3), 10.5, 16.5)),
        turn=turned((float(rng.normal(0, 6)), float(rng.uniform(-18, 16)), float(rng.normal(0, 8)))),
    )


def draw_heart(rng: np.random.Generator, q: FloatArray, shape: Extent) -> tuple[dict[str, FloatArray], Landmarks]:
    """Signed distances (mm) of the seven structures of the real heart maps at positions `q` (n, 3), and where vessels join."""
    return _Builder(draw_proportions(rng), rng, q, shape).build()


class _Builder:
    """Places the bodies of one heart."""

    def __init__(self, size: Proportions, rng: np.random.Generator, q: FloatArray, shape: Extent) -> None:
        self.size, self.rng, self.q, self.shape = size, rng, q, shape
        self.base = self._place((22.0, 12.0, -102.0), 1.5)
        self.annulus = self._place((14.0, 0.0, -95.0), 1.0)
        self.mitral = self._place((27.0, 18.0, -106.0), 1.0)
        self.axis = _unit(size.turn @ np.array([0.61, -0.64, -0.46]) + rng.normal(0, 0.03, 3))
        right = size.turn @ np.array([-0.74, -0.67, -0.07]) + rng.normal(0, 0.06, 3)
        self.right = _unit(right - self.axis * (right @ self.axis))
        up = np.cross(self.axis, self.right)
        self.up = up if up[2] > 0 else -up

    def _place(self, p: Vector, spread: float = 0.0) -> FloatArray:
        return np.asarray(PIVOT + self.size.turn @ (np.asarray(p) - PIVOT) + self.rng.normal(0.0, spread, 3))

    def _oval(self, centre: FloatArray, axes: FloatArray, radii: tuple[float, ...] | FloatArray) -> FloatArray:
        field = oval_field(self.q, np.asarray(centre, np.float32), np.asarray(axes, np.float32), np.asarray(radii, np.float32))
        return np.asarray(field).reshape(self.shape)

    def _chain(self, *stations: tuple[FloatArray, float]) -> FloatArray:
        return capsules(self.q, self.shape, ([_vector(p) for p, _ in stations], [r for _, r in stations]))

    def _side(self, point: FloatArray, normal: FloatArray) -> FloatArray:
        """Signed distance to a plane, positive where the normal points."""
        n = np.asarray(normal, np.float32)
        return np.asarray((self.q @ n - np.float32(point @ normal)).reshape(self.shape))

    def build(self) -> tuple[dict[str, FloatArray], Landmarks]:
        aorta, ascending = self._aorta()
        muscle, blood = self._left_ventricle()
        right, trunk, valve = self._right_ventricle()
        left_atrium, middle = self._left_atrium(muscle)
        right_atrium, cava = self._right_atrium(valve)
        right = np.maximum(right, 1.0 - self._side(*valve))
        blood = np.maximum(blood, 0.5 - aorta)
        right = np.maximum(right, np.maximum(0.5 - trunk, -muscle))
        heart = {"lv_epi": muscle, "la": left_atrium, "lv": blood, "ra": right_atrium, "rv": right, "ao": aorta, "pa": trunk}
        return heart, self._landmarks(ascending, middle, cava)

    def _aorta(self) -> tuple[FloatArray, Vector]:
        s, rng = self.size, self.rng
        way = _unit(s.turn @ np.array([-0.6, -0.15, 0.78]) + np.array([-0.1, 0.0, 0.3]) + rng.normal(0, 0.06, 3))
        top = np.array([-16.0, -6.0, -58.0]) + rng.normal(0, 2.0, 3)
        r = s.root
        root = self._chain(
            (self.annulus + 8.0 * way, 11.3 * r), (self.annulus + 16.0 * r * way, 13.2 * r), (self.annulus + 24.0 * r * way, 12.6 * r),
            (0.5 * (self.annulus + 24.0 * r * way + top), 0.5 * (12.6 * r + s.ascending)), (top, s.ascending),
        )  # fmt: skip
        for toward in ((0.92, 0.38, 0.0), (-0.25, -0.97, 0.0), (-0.67, 0.6, 0.0)):
            d = s.turn @ np.asarray(toward)
            d = _unit(d - way * (d @ way))
            bulge = self.annulus + 14.0 * r * way + 6.0 * r * d
            root = smooth_min(root, self._chain((bulge, 9.4 * r), (bulge + 2.0 * way, 9.0 * r)), 3.0)
        return root, _vector(top)

    def _left_ventricle(self) -> tuple[FloatArray, FloatArray]:
        s = self.size
        axes = np.stack([self.axis, self.right, self.up])
        centre = self.base + 0.33 * s.length * self.axis
        outer = self._oval(centre, axes, (0.67 * s.length, s.radius, 0.97 * s.radius))
        depth = self._side(self.base, self.axis)
        outer = -smooth_min(-outer, depth + 1.0, 7.0)
        shift = 0.5 * s.wall * (s.septum - 1.0)
        inner = self._oval(
            centre - shift * self.right, axes, (0.67 * s.length - 0.85 * s.wall, s.radius - s.wall - shift, 0.97 * s.radius - s.wall)
        )
        inner = -smooth_min(-inner, depth, 4.0)
        outflow = (centre - 0.1 * s.length * self.axis, self.annulus)
        inner = smooth_min(inner, self._chain((outflow[0], 11.0), (outflow[1], 10.0 * s.root)), 5.0)
        outer = smooth_min(outer, self._chain((outflow[0], 13.5), (outflow[1] - 3.0 * _unit(outflow[1] - outflow[0]), 12.0 * s.root)), 5.0)
        return outer, inner

    def _right_ventricle(self) -> tuple[FloatArray, FloatArray, tuple[FloatArray, FloatArray]]:
        s, rng = self.size, self.rng
        axes = np.stack([self.axis, self.right, self.up])
        centre = self.base + 0.38 * s.length * self.axis + 0.64 * s.radius * self.right - 0.05 * s.radius * self.up
        reach = float(rng.uniform(0.47, 0.58))
        body = self._oval(centre, axes, (reach * s.length, 0.92 * s.radius * s.right, 1.06 * s.radius * s.right))
        conus = self._place((21.0, -21.0, -92.0), 1.5)
        mouth = self._place((20.0, -18.0, -79.0), 1.0)
        fork = np.array([6.0, 20.0, -53.0]) + rng.normal(0, 2.0, 3)
        outlet = self._chain((centre + 0.35 * s.radius * self.up, 14.0), (conus, s.trunk), (mouth, s.trunk - 1.0))
        body = smooth_min(body, outlet, 8.0)
        start = mouth + 8.0 * _unit(mouth - conus)
        trunk = self._chain(
            (start, s.trunk - 0.5), (0.55 * start + 0.45 * fork + np.array([2.0, -3.0, 2.0]), s.trunk + 0.5), (fork, s.trunk - 0.5)
        )
        opening = self._place((0.0, -12.0, -122.0), 1.5)
        toward = _unit(self.size.turn @ np.array([0.88, -0.42, -0.12]) + rng.normal(0, 0.04, 3))
        return body, trunk, (opening, toward)

    def _left_atrium(self, muscle: FloatArray) -> tuple[FloatArray, FloatArray]:
        s = self.size
        middle = self._place((7.0, 31.0, -93.0), 1.5)
        body = self._oval(middle, s.turn.T, np.array([31.0, 18.5, 23.5]) * s.left_atrium)
        body = smooth_min(body, self._chain((middle + np.array([6.0, 0.0, -3.0]), 15.0), (self.mitral - 3.0 * self.axis, 13.5)), 6.0)
        return np.maximum(body, 1.0 - muscle), middle

    def _right_atrium(self, valve: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        s, rng = self.size, self.rng
        middle = self._place((-22.0, -2.0, -109.0), 1.5)
        radii = np.array([21.0, 25.0, 34.0]) * s.right_atrium
        body = self._oval(middle, s.turn.T, radii)
        body = smooth_min(body, self._chain((middle, 17.0), (valve[0] - 3.0 * valve[1], 15.0)), 6.0)
        tip = self._place((2.0 + float(rng.uniform(-8, 2)), -27.0, -82.0), 1.5)
        ear = self._chain((self._place((-18.0, -14.0, -94.0)), 9.0), (self._place((-11.0, -24.0, -87.0)), 7.0), (tip, 4.0))
        body = smooth_min(body, ear, 5.0)
        ends = np.stack(
            [middle + s.turn @ np.array([-5.0, 9.0, 0.72 * radii[2]]), middle + s.turn @ np.array([-1.0, 14.0, -0.6 * radii[2]])]
        )
        return np.maximum(body, 1.0 + self._side(*valve)), ends

    def _landmarks(self, ascending: Vector, atrium: FloatArray, cava: FloatArray) -> Landmarks:
        """Appendage, pulmonary veins and venae cavae move with the atria they join."""
        default = Landmarks()
        shift = atrium - np.array([5.0, 30.0, -93.0])
        upper, lower = cava
        return Landmarks(
            ascending=ascending,
            superior_cava=(_vector(upper), _vector(0.5 * (upper + np.array([-34.0, 7.0, -50.0])) + np.array([-2.0, 0.0, 4.0]))),
            inferior_cava=(_vector(lower), _vector(lower + np.array([3.0, 9.0, -26.0]))),
            appendage=tuple(_vector(self._place(p)) for p in default.appendage),
            pulmonary_veins=tuple(_vector(np.asarray(p) + shift) for p in default.pulmonary_veins),
        )


def _unit(v: FloatArray) -> FloatArray:
    return np.asarray(v / np.linalg.norm(v))


def _vector(p: FloatArray) -> Vector:
    return (float(p[0]), float(p[1]), float(p[2]))
