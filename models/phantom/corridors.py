"""Where coronary arteries may run on a heart: the sinuses of the aorta and the furrows between the chambers."""

from __future__ import annotations

import itertools

import numpy as np

from models.phantom.growth import NoRoomError
from models.phantom.surface import Frame, Surface, arc, resample, smooth
from models.phantom.types import FloatArray

LEFT_SINUS = np.array([0.92, 0.38, 0.0]) / np.hypot(0.92, 0.38)
RIGHT_SINUS = np.array([-0.25, -0.97, 0.0]) / np.hypot(0.25, 0.97)


class Corridors:
    """Landmark lines of one heart (mm, LPS)."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.centre, self.axis = self._aortic_root()

    def _aortic_root(self) -> tuple[FloatArray, FloatArray]:
        """Centre of the sinuses and the root's upward axis."""
        s = self.surface
        ao, lv = s.organs["ao"], s.organs["lv"]
        reach = 3.0
        while ((ao < reach) & (lv < reach)).sum() < 12:
            reach += 1.0
        annulus = s.mean_point((ao < reach) & (lv < reach))
        near = s.points[(ao < -4.0).ravel()]
        d = np.linalg.norm(near - annulus, axis=1)
        higher = near[(d > 18.0) & (d < 34.0) & (near[:, 2] > annulus[2] + 4.0)]
        if len(higher) == 0:
            raise NoRoomError
        axis = higher.mean(0) - annulus
        axis /= np.linalg.norm(axis)
        ring = near[(np.abs((near - annulus) @ axis - 13.0) < 3.0) & (d < 26.0)]
        if len(ring) == 0:
            raise NoRoomError
        return ring.mean(0), axis

    def ostium(self, height: float, direction: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where a ray from the root's axis, `height` mm above the sinuses' centre, leaves the aortic lumen, and its direction."""
        direction = direction - self.axis * (direction @ self.axis)
        direction /= np.linalg.norm(direction)
        t = np.arange(4.0, 30.0, 0.1)
        p = self.centre + height * self.axis + t[:, None] * direction
        value = self.surface.sample(self.surface.organs["ao"], p)
        out = np.flatnonzero(value > 0.0)
        return p[out[0] if out.size else -1], direction

    def open_direction(self, height: float, guess: FloatArray, spread: float) -> FloatArray:
        """The direction near a guess with the widest fat outside the aorta."""
        s = self.surface
        best, score = guess, -1e9
        side = np.cross(self.axis, guess)
        for angle in np.linspace(-spread, spread, 17):
            ostium, d = self.ostium(height, np.cos(angle) * guess + np.sin(angle) * side)
            probe = ostium + np.array([3.0, 5.0, 7.0])[:, None] * d
            space = np.minimum(s.sample(s.heart, probe), s.sample(s.organs["pa"], probe) - 1.1)
            value = float(np.minimum(space, 4.0).sum()) - 3.0 * abs(angle)
            if value > score:
                best, score = d, value
        return best

    def around_root(self, start: FloatArray, end: FloatArray, height: float, gap: float) -> FloatArray:
        """Points `gap` mm outside the aortic lumen from one direction to another, the short way round the root."""
        a, b = (self.ostium(height, d)[1] for d in (start, end))
        rows = []
        for u in np.linspace(0.0, 1.0, 8):
            d = (1.0 - u) * a + u * b
            p, d = self.ostium(height, d / np.linalg.norm(d))
            rows.append(p + gap * d)
        return np.asarray(rows)

    def _band(self, p: FloatArray, frame: Frame, low: float, high: float, *, by: str, steps: int) -> FloatArray:
        """Mean position per bin of angle or height: the middle line of a furrow."""
        t, angle = frame.cylindrical(p)
        key = angle if by == "angle" else t
        edges = np.linspace(low, high, steps + 1)
        rows = []
        for a, b in itertools.pairwise(edges):
            lower, upper = min(a, b), max(a, b)
            here = (key >= lower) & (key < upper)
            if here.sum() >= 2:
                rows.append(np.median(p[here], axis=0))
        return np.asarray(rows).reshape(-1, 3)

    def anterior_groove(self, reach: float) -> FloatArray:
        """From the base towards the apex, to the share `reach` of the way; above 1 around the apex and back below."""
        s = self.surface
        frame = s.left_frame
        p = s.groove(s.lv, s.rv)
        _t, angle = frame.cylindrical(p)
        up = (angle > 0.3) & (angle < 3.1)
        line = self._band(p[up], frame, 0.02, min(reach, 0.97), by="height", steps=20)
        if len(line) < 6:
            raise NoRoomError
        if reach > 0.97:
            tip = s.ray(frame.base + 0.9 * frame.length * frame.axis, frame.axis, 2.0)
            line = np.concatenate([line, tip[None]])
        if reach > 1.0:
            back = self.posterior_groove(0.93, 2.0 - reach)
            line = np.concatenate([line, onwards(back, tip)]) if len(back) > 2 else line
        return line

    def posterior_groove(self, start: float, stop: float) -> FloatArray:
        """Between two heights (0 base, 1 apex) on the lower side."""
        s = self.surface
        frame = s.left_frame
        p = s.groove(s.lv, s.rv)
        _, angle = frame.cylindrical(p)
        down = (angle < -0.3) & (angle > -3.1)
        return self._band(p[down], frame, start, stop, by="height", steps=14)

    def left_ring(self) -> FloatArray:
        """The left atrioventricular groove, from above round the obtuse margin to the crux."""
        s = self.surface
        line = self._band(s.groove(s.lv, s.la), s.left_frame, 1.5, -2.8, by="angle", steps=36)
        if len(line) < 8:
            raise NoRoomError
        return line

    def right_ring(self) -> FloatArray:
        """The right atrioventricular groove, from the aorta round the acute margin to the crux."""
        s = self.surface
        line = self._band(s.groove(s.rv, s.ra, height=(0.8, 6.0)), s.right_frame, 1.9, -2.6, by="angle", steps=36)
        if len(line) < 8:
            raise NoRoomError
        return line

    def leg(self, start: FloatArray, lead: FloatArray, line: FloatArray, height: float, via: FloatArray | None = None) -> FloatArray:
        """From an ostium along its lead-out direction (or past the points `via`), through the fat, onto a corridor line."""
        out = (start + 4.0 * lead)[None] if via is None else via
        line = entered(out[-1], line)
        path = self.surface.route(out[-1], line[0], height=height)
        p = np.concatenate([start[None], out, path[1:-1], line])
        p = smooth(resample(p), 3.0)
        p[0] = start
        return p


def entered(start: FloatArray, line: FloatArray, beyond: float = 6.0) -> FloatArray:
    """The rest of a corridor from a little beyond the place nearest to `start` (looked for in its first half)."""
    half = line[: max(2, len(line) // 2)]
    nearest = int(np.argmin(((half - start) ** 2).sum(1)))
    s = arc(line)
    first = int(np.searchsorted(s, s[nearest] + beyond))
    return line[min(first, len(line) - 2) :]


def onwards(line: FloatArray, tip: FloatArray) -> FloatArray:
    """A line without its points closer than 6 mm to `tip`."""
    return np.asarray(line[np.linalg.norm(line - tip, axis=1) > 6.0])
