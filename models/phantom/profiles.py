"""Radii and look of a branch while disease is put into it: the healthy wall, joins between branches, and the flow of contrast."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from models.phantom.tree import STEP_MM, Draft
from models.phantom.types import FloatArray, Look

#: The least thickness of any wall (mm), also on the thin side of an eccentric plaque.
THINNEST_MM = 0.26


@dataclass
class Profile:
    """Radii (mm) and look along one branch; one value or row per point. `normals` are the tangent and two normals, (n, 3) each."""

    lumen: FloatArray
    outer: FloatArray
    offset: FloatArray
    healthy: FloatArray
    healthy_outer: FloatArray
    shape: FloatArray
    contrast: FloatArray
    wall_hu: FloatArray
    halo_hu: FloatArray
    normals: tuple[FloatArray, FloatArray, FloatArray] = field(repr=False)

    def look(self) -> Look:
        """What the branch keeps of it."""
        return Look(self.shape, self.contrast, self.wall_hu, self.halo_hu)

    def widest(self) -> FloatArray:
        """The lumen's largest radius (mm), its shape included."""
        return np.asarray(self.lumen * np.sqrt(1.0 + np.abs(self.shape[:, 3]) + np.abs(self.shape[:, 4])))


def healthy_profile(draft: Draft, rng: np.random.Generator, *, wall_hu: float = 45.0, thickness: float = 1.0) -> Profile:
    """The branch without disease: a nearly round lumen and a real wall outside it."""
    r = draft.diameter / 2.0
    n = len(r)
    wall = np.clip(0.28 + 0.14 * r, 0.34, 0.6) * thickness * float(rng.uniform(0.92, 1.1))
    frame = normals(draft.points)
    angle = float(rng.uniform(0, 2 * np.pi)) + 0.8 * waves(rng, n, 20.0)
    shape = np.zeros((n, 6))
    shape[:, :3] = np.cos(angle)[:, None] * frame[1] + np.sin(angle)[:, None] * frame[2]
    shape[:, 3] = float(rng.uniform(0.0, 0.1)) * (1.0 + 0.3 * waves(rng, n, 15.0))
    shape[:, 5] = float(rng.uniform(0.0, 0.06))
    hu = wall_hu + 6.0 * waves(rng, n, 12.0)
    return Profile(
        lumen=r.copy(), outer=r + wall, offset=np.zeros((n, 3)), healthy=r.copy(), healthy_outer=r + wall, shape=shape,
        contrast=np.ones(n), wall_hu=hu, halo_hu=np.zeros(n), normals=frame,
    )  # fmt: skip


def normals(p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Tangent and two normals along a polyline, turning as little as possible."""
    t = np.gradient(p, axis=0)
    t /= np.linalg.norm(t, axis=1, keepdims=True) + 1e-9
    a = np.empty_like(t)
    first = np.cross(t[0], [0.0, 0.0, 1.0] if abs(t[0, 2]) < 0.9 else [1.0, 0.0, 0.0])
    a[0] = first / np.linalg.norm(first)
    for i in range(1, len(t)):
        v = a[i - 1] - t[i] * (a[i - 1] @ t[i])
        a[i] = v / np.linalg.norm(v)
    return t, a, np.cross(t, a)


def waves(rng: np.random.Generator, n: int, length_mm: float) -> FloatArray:
    """Smooth noise along a branch, of about unit size, with structures of `length_mm`; never beyond -2...2."""
    sigma = max(length_mm / STEP_MM / 3.0, 0.5)
    raw = ndimage.gaussian_filter1d(rng.normal(0.0, 1.0, n + int(8 * sigma)), sigma)[int(4 * sigma) : int(4 * sigma) + n]
    return np.asarray(np.clip(raw * np.sqrt(2.0 * np.sqrt(np.pi) * sigma), -2.0, 2.0))


def join(drafts: list[Draft], profiles: list[Profile]) -> None:
    """Let every branch leave its parent through the lumen that disease has left there: no child may open a narrowed or closed parent."""
    for draft, profile in zip(drafts, profiles, strict=True):
        if draft.parent is None or draft.parent_index is None:
            continue
        parent, at = profiles[draft.parent], draft.parent_index
        near = slice(max(at - 12, 0), at + 13)
        if (parent.lumen[near] >= parent.healthy[near] - 0.02).all():
            continue
        # only the first bend counts: farther on, the branch may come back near this place
        head = slice(0, int(8.0 / STEP_MM))
        away = np.linalg.norm(draft.points[head, None] - drafts[draft.parent].points[None, near], axis=2)
        limit = (0.75 * away + parent.lumen[None, near]).min(axis=1)
        profile.lumen[head] = np.minimum(profile.lumen[head], limit)


def soften_shelves(profiles: list[Profile]) -> None:
    """Keep the lumen from widening so steeply that the ball drawn at a wide point reaches into a narrow one beside it.

    A ball of radius R at a distance d covers sqrt(R^2 - d^2) there: R^2 <= r^2 + d^2 keeps the drawn lumen as narrow as the truth.
    """
    for profile in profiles:
        square = profile.lumen**2
        for k in range(1, 9):
            room = (0.85 * STEP_MM * k) ** 2
            square[k:] = np.minimum(square[k:], profile.lumen[:-k] ** 2 + room)
            square[:-k] = np.minimum(square[:-k], profile.lumen[k:] ** 2 + room)
        profile.lumen[:] = np.sqrt(square)


def close_ends(rng: np.random.Generator, profiles: list[Profile]) -> None:
    """Let the lumen taper towards each occlusion, bluntly or slowly, so that no open point reaches into the closed stretch."""
    for profile in profiles:
        closed = profile.lumen <= 0.0
        if closed.any():
            away = ndimage.distance_transform_edt(~closed) * STEP_MM
            profile.lumen[:] = np.minimum(profile.lumen, float(rng.uniform(0.25, 0.9)) * away)


def fill(rng: np.random.Generator, drafts: list[Draft], profiles: list[Profile]) -> None:
    """Contrast along the tree: falling with distance, and dimmer in a thinner vessel behind an occlusion."""
    per_mm = float(rng.choice([0.0, rng.uniform(0.0002, 0.0019)], p=[0.15, 0.85]))
    for i, (draft, profile) in enumerate(zip(drafts, profiles, strict=True)):
        n = len(profile.lumen)
        first, thin = 1.0, 1.0
        if draft.parent is not None and draft.parent_index is not None and draft.parent < i:
            parent = profiles[draft.parent]
            first = float(parent.contrast[draft.parent_index])
            if (parent.lumen[: draft.parent_index + 1] <= 0.0).any():
                thin = 0.94
        level = first * (1.0 - per_mm * STEP_MM * np.arange(n))
        closed = np.flatnonzero(profile.lumen <= 0.0)
        if len(closed):
            level[closed[-1] :] *= float(rng.uniform(0.45, 0.95))
            _shrink(profile, slice(closed[-1] + int(6.0 / STEP_MM), n), float(rng.uniform(0.8, 0.97)))
        elif thin < 1.0:
            _shrink(profile, slice(int(4.0 / STEP_MM), n), thin)
        profile.contrast[:] = np.clip(level, 0.2, 1.0)


def _shrink(profile: Profile, span: slice, factor: float) -> None:
    """A whole stretch, its wall included, that is filled under low pressure; over 6 mm to the full factor."""
    n = len(profile.lumen[span])
    ramp = 1.0 - (1.0 - factor) * np.clip(np.arange(n) * STEP_MM / 6.0, 0.0, 1.0)
    for values in (profile.lumen, profile.healthy, profile.outer, profile.healthy_outer):
        values[span] *= ramp
    profile.offset[span] *= ramp[:, None]
    profile.outer[span] = np.maximum(
        profile.outer[span], profile.widest()[span] + np.linalg.norm(profile.offset[span], axis=1) + THINNEST_MM
    )
