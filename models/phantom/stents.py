"""Stents: rings of thin wire in vessels wide enough for a device, open or narrowed again by tissue grown inside."""

from __future__ import annotations

import numpy as np

from models.phantom.profiles import Profile, waves
from models.phantom.tree import STEP_MM, Draft
from models.phantom.types import FloatArray, Stent

#: Share of patients with stents, the narrowest vessel that takes one and the smallest device (mm, diameter).
PATIENT_SHARE = 0.065
VESSEL_MM = 2.0
DEVICE_MM = 2.25
#: Attenuation of cobalt-chromium and steel (HU): at 60 to 70 keV about 40 times that of water, less what hardening takes.
METAL_HU = (20000.0, 40000.0)
WEIGHT = {"LM": 0.3, "LAD": 3.0, "LCX": 1.6, "RCA": 2.4}
#: Narrowing inside (percent): none, mild, significant, severe, closed.
INSIDE = ((0.0, 0.0), (5.0, 30.0), (30.0, 70.0), (70.0, 97.0), (100.0, 100.0))
INSIDE_CHANCE = (0.52, 0.20, 0.16, 0.08, 0.04)


def draw_stents(rng: np.random.Generator, drafts: list[Draft], profiles: list[Profile]) -> list[Stent]:
    """No stent in most patients, else one to three; their lumen and wall are put into `profiles`."""
    out: list[Stent] = []
    if rng.random() >= PATIENT_SHARE:
        return out
    for _ in range(int(rng.choice([1, 2, 3], p=[0.62, 0.28, 0.10]))):
        place = _place(rng, drafts, out)
        if place is not None:
            out.append(_implant(rng, drafts[place[0]], profiles[place[0]], *place))
    return out


def _place(rng: np.random.Generator, drafts: list[Draft], taken: list[Stent]) -> tuple[int, int, int] | None:
    """A stretch of 8 to 38 mm whose diameter is at least `VESSEL_MM` all along, away from other stents and from the vessel's root."""
    wide = [_wide(d) for d in drafts]
    eligible = [i for i, (first, last) in enumerate(wide) if last - first >= int(8.0 / STEP_MM)]
    if not eligible:
        return None
    weight = np.array([WEIGHT.get(drafts[i].name, 0.25) for i in eligible])
    branch = int(rng.choice(eligible, p=weight / weight.sum()))
    first, last = wide[branch]
    length = min(int(np.clip(rng.gamma(6.0, 3.3), 8.0, 38.0) / STEP_MM), last - first)
    start = int(rng.integers(first, last - length + 1))
    full = [(s.start, s.end) for s in taken if s.branch == branch] + [(first, last) for first, last, _ in drafts[branch].bridges]
    if any(start < last + 8 and first < start + length + 8 for first, last in full):
        return None
    return branch, start, start + length


def _wide(draft: Draft) -> tuple[int, int]:
    """First and last point between which a branch takes a stent."""
    first = 2 if draft.parent is None else int(np.ceil(draft.diameter[0] / STEP_MM)) + 3
    narrow = np.flatnonzero(draft.diameter[first:] < VESSEL_MM)
    last = (first + int(narrow[0]) - 1) if len(narrow) else len(draft.diameter) - 1
    return first, min(last, len(draft.diameter) - 8)


def _implant(rng: np.random.Generator, draft: Draft, profile: Profile, branch: int, start: int, end: int) -> Stent:
    span = slice(start, end + 1)
    diameter = max(DEVICE_MM, float(draft.diameter[span].mean()) * float(rng.uniform(0.98, 1.1)))
    n = end - start + 1
    radius = np.full(n, diameter / 2.0)
    low, high = INSIDE[int(rng.choice(len(INSIDE), p=INSIDE_CHANCE))]
    percent = float(rng.uniform(low, high))
    profile.healthy[span] = radius
    profile.lumen[span] = radius * (1.0 - percent / 100.0 * _ingrowth(rng, n))
    if percent >= 100.0:
        middle, half = n // 2, max(2, int(rng.uniform(0.1, 0.45) * n))
        profile.lumen[start + middle - half : start + middle + half] = 0.0
    profile.shape[span, 3:5] *= 0.3
    wall = float(rng.uniform(0.4, 0.8))
    profile.healthy_outer[span] = np.maximum(profile.healthy_outer[span], radius + 0.4)
    edge = np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) * STEP_MM / 2.0, 0.0, 1.0)
    profile.outer[span] = np.maximum(profile.healthy_outer[span], radius + 0.4 + (wall - 0.4) * edge)
    profile.wall_hu[span] = float(rng.uniform(60.0, 110.0))
    strut = float(rng.choice([rng.uniform(0.03, 0.05), rng.uniform(0.055, 0.075)], p=[0.75, 0.25]))
    pitch = float(rng.uniform(0.9, 1.7))
    struts = _wires(rng, draft.points[span], profile, span, diameter / 2.0 + strut, pitch)
    return Stent(
        branch=branch, start=start, end=end, diameter_mm=diameter, strut_radius_mm=strut, pitch_mm=pitch,
        hu=float(rng.uniform(*METAL_HU)),
        in_stent_stenosis_percent=percent, struts=np.column_stack([struts, np.full(len(struts), strut)]),
    )  # fmt: skip


def _ingrowth(rng: np.random.Generator, n: int) -> FloatArray:
    """Where tissue grows inside the stent (0 to 1, somewhere 1): in the middle, at an edge, or all along."""
    i = np.arange(n) / max(n - 1, 1)
    centre, width = float(rng.choice([rng.uniform(0.3, 0.7), 0.05, 0.95])), float(np.exp(rng.uniform(np.log(0.08), np.log(0.8))))
    out = np.exp(-0.5 * ((i - centre) / width) ** 2) * (1.0 + 0.1 * waves(rng, n, 4.0))
    # towards the edges the lumen opens again over a millimetre
    edge = np.minimum(np.arange(n), np.arange(n)[::-1]) * STEP_MM
    out = out * np.clip(edge, 0.0, 1.0)
    return np.asarray(out / out.max())


def _wires(rng: np.random.Generator, points: FloatArray, profile: Profile, span: slice, radius: float, pitch: float) -> FloatArray:
    """Wire pieces (start, end) of zigzag rings around a path, every second pair of rings tied by two straight links."""
    along = np.arange(len(points)) * STEP_MM
    a, b = profile.normals[1][span], profile.normals[2][span]
    crowns = int(rng.integers(6, 10))
    turns = np.linspace(0.0, 2.0 * np.pi, 4 * crowns + 1)
    height = 0.42 * pitch

    def at(s: FloatArray, angle: FloatArray) -> FloatArray:
        s = np.clip(s, 0.0, along[-1])
        middle, u, v = (np.stack([np.interp(s, along, m[:, c]) for c in range(3)], axis=1) for m in (points, a, b))
        ring = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
        return np.asarray(middle + radius * ring / np.linalg.norm(ring, axis=1, keepdims=True))

    pieces = []
    centres = np.arange(height, along[-1] - height, pitch)
    for k, centre in enumerate(centres):
        phase = np.pi * (k % 2) + float(rng.normal(0, 0.1))
        zigzag = 2.0 * np.abs((crowns * turns / np.pi / 2.0 + phase / 2.0 / np.pi) % 1.0 - 0.5) * 2.0 - 1.0
        ring = at(centre + height * zigzag, turns)
        pieces.append(np.concatenate([ring[:-1], ring[1:]], axis=1))
        if k + 1 < len(centres):
            angle = np.array([0.0, np.pi]) + float(rng.uniform(0, np.pi))
            pieces.append(np.concatenate([at(np.full(2, centre + height), angle), at(np.full(2, centres[k + 1] - height), angle)], axis=1))
    return np.concatenate(pieces)
