"""Vessels in torch: tubes, the coronary tree with its plaque, and stents, painted into the voxels of a patch as `painting` does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.phantom import painting
from models.phantom.vessels import CALCIUM, LUMEN, SHEET_COLUMNS, SHEET_WIDTH, WALL

_FIRST_BLOOD, _LAST_BLOOD = 1, 7
_CHUNK = 2_000_000
"""Voxels times rows that are worked out at once."""


@dataclass(frozen=True)
class DeviceRows:
    """A tree's segment, blob and strut rows on a device."""

    segments: Tensor
    blobs: Tensor
    struts: Tensor


def _near(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Which boxes (n, 3) touch the box of all points."""
    return ((high >= points.amin(0).float()) & (low <= points.amax(0).float())).all(dim=1)


def _to_axis(p: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance, place along (0 to 1) and vector from points (n, 1, 3) to line pieces (m, 3): (n, m), (n, m), (n, m, 3)."""
    u = last - first
    away = p - first
    length2 = (u * u).sum(-1).clamp(min=1e-12)
    t = ((away * u).sum(-1) / length2).clamp(0.0, 1.0)
    off = away - t[..., None] * u
    return off.norm(dim=-1), t, off


def paint_tubes(
    hu: Tensor, structures: Tensor, vessels: Tensor, points: Tensor, rows: Tensor, label: int, h: float, *, everywhere: bool
) -> None:
    """Plain tubes (rows: ends, radii, HU) over voxels ``points`` (n, 3); unless ``everywhere``, not inside chambers and great vessels."""
    reach = torch.maximum(rows[:, 6], rows[:, 7])[:, None] + h
    rows = rows[_near(points, torch.minimum(rows[:, :3], rows[:, 3:6]) - reach, torch.maximum(rows[:, :3], rows[:, 3:6]) + reach)]
    if not len(rows):
        return
    open_to_it = torch.arange(len(points), device=points.device)
    if not everywhere:
        open_to_it = open_to_it[(structures < _FIRST_BLOOD) | (structures > _LAST_BLOOD)]
    for places in open_to_it.split(max(1, _CHUNK // len(rows))):
        d, t, _ = _to_axis(points[places].float()[:, None], rows[:, :3], rows[:, 3:6])
        best, which = (d - (rows[:, 6] + t * (rows[:, 7] - rows[:, 6]))).min(dim=1)
        alpha = (0.5 - best / h).clamp(0.0, 1.0)
        hu[places] += alpha * (rows[which, 8] - hu[places])
        if label:
            vessels[places[best < 0.0]] = label


def paint_tree(
    hu: Tensor,
    vessels: Tensor,
    points: Tensor,
    tree: DeviceRows,
    aorta: Tensor,
    lumen_hu: float,
    calcium_scale: float,
    h: float,
    width2: float,
) -> None:
    """As `painting.paint_coronaries` and `paint_struts`."""
    s = tree.segments
    reach = s[:, 42:43] + 1.5 * s[:, 6:8].amax(1, keepdim=True).clamp(min=0.0) + 2.0 * h
    ends = torch.stack([s[:, 0:3], s[:, 3:6], s[:, 8:11], s[:, 11:14]])
    s = s[_near(points, ends.amin(0) - reach, ends.amax(0) + reach)]
    if len(s):
        size = tree.blobs[:, 12:15].amax(1, keepdim=True) + h if len(tree.blobs) else torch.zeros(0, 1, device=hu.device)
        blobs = tree.blobs[_near(points, tree.blobs[:, :3] - size, tree.blobs[:, :3] + size)] if len(tree.blobs) else tree.blobs
        for places in torch.arange(len(points), device=points.device).split(max(1, _CHUNK // len(s))):
            _paint_coronaries(hu, vessels, points, places, s, blobs, aorta, lumen_hu, calcium_scale, h)
    far = 3.5 * width2**0.5
    rows = tree.struts
    rows = rows[_near(points, torch.minimum(rows[:, :3], rows[:, 3:6]) - far, torch.maximum(rows[:, :3], rows[:, 3:6]) + far)]
    if not len(rows):
        return
    for places in torch.arange(len(points), device=points.device).split(max(1, _CHUNK // len(rows))):
        d, _, _ = _to_axis(points[places].float()[:, None], rows[:, :3], rows[:, 3:6])
        share = (0.5 * rows[:, 6] ** 2 / width2 * torch.exp(-0.5 * d * d / width2)).clamp(max=1.0)
        most, which = (share * rows[:, 7]).max(dim=1)
        metal = share.gather(1, which[:, None])[:, 0]
        hu[places] += most - metal * hu[places]


def _paint_coronaries(
    hu: Tensor, vessels: Tensor, points: Tensor, places: Tensor, s: Tensor, blobs: Tensor, aorta: Tensor, lumen_hu: float,
    calcium_scale: float, h: float,
) -> None:  # fmt: skip
    p = points[places].float()
    d, t, off = _to_axis(p[:, None], s[:, 0:3], s[:, 3:6])
    seen = d <= s[:, 42] + h
    none = torch.full_like(d, 1e9)
    radius = s[:, 6] + t * (s[:, 7] - s[:, 6])
    along = (off * s[:, 19:22]).sum(-1)
    c = (along / d.clamp(min=1e-6)).clamp(-1.0, 1.0)
    shape = (1.0 + s[:, 22] * (2.0 * c * c - 1.0) + s[:, 23] * c * (4.0 * c * c - 3.0)).clamp(min=0.0).sqrt()
    inner, own = torch.where(seen, d - torch.where(radius > 0.0, radius * shape, radius), none).min(dim=1)
    wide = radius.gather(1, own[:, None])[:, 0] * torch.where(
        radius.gather(1, own[:, None])[:, 0] > 0.0, shape.gather(1, own[:, None])[:, 0], 1.0
    )
    factor = s[own, 17] * (1.0 + s[own, 24] * along.gather(1, own[:, None])[:, 0] / wide.clamp(min=0.3))
    e, te, _ = _to_axis(p[:, None], s[:, 8:11], s[:, 11:14])
    e = torch.where(seen, e - (s[:, 14] + te * (s[:, 15] - s[:, 14])), none)
    outer, nearest = e.min(dim=1)
    halo = torch.where(
        (s[:, 25] > 0.0) & (e < painting.HALO_MM), s[:, 25] * (1.0 - e.clamp(min=0.0) / painting.HALO_MM) ** 2, torch.zeros_like(e)
    ).amax(dim=1)
    lumen = (0.5 - inner / h).clamp(0.0, 1.0)
    whole = torch.maximum(lumen, (0.5 - outer / h).clamp(0.0, 1.0))
    root = (seen & (s[:, 18] > 0.0)).any(dim=1)
    take = ((whole > 0.0) | (halo > 0.0)) & ~(root & (aorta[places] < 0.0))
    value = hu[places]
    value = value + halo * (-value / 60.0).clamp(0.0, 1.0)
    wall, calcium, calcium_hu, deepest = _plaque(p, s[nearest], inner, outer, blobs, h)
    ring = whole - lumen
    part = torch.minimum(calcium, ring)
    painted = value * (1.0 - whole) + (ring - part) * wall + part * calcium_hu * calcium_scale
    painted = painted + lumen * (painting.BLOOD_HU + (lumen_hu - painting.BLOOD_HU) * factor)
    hu[places] = torch.where(take, painted, hu[places])
    label = torch.where(inner < 0.0, LUMEN, torch.where(deepest < 0.0, CALCIUM, WALL)).to(torch.uint8)
    vessels[places] = torch.where(take & ((inner < 0.0) | (outer < 0.0)), label, vessels[places])


def _plaque(p: Tensor, s: Tensor, inner: Tensor, outer: Tensor, blobs: Tensor, h: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """HU of the soft wall, share and HU of calcium, and distance to it, from the sheets of the nearest segment and the blobs."""
    wall, calcium, calcium_hu = s[:, 16].clone(), torch.zeros_like(inner), torch.zeros_like(inner)
    deepest = torch.full_like(inner, 1e9)

    def harden(d: Tensor, hard: Tensor, calcified: Tensor) -> None:
        share = torch.where(calcified, (0.5 - d / h).clamp(0.0, 1.0), torch.zeros_like(d))
        calcium_hu.copy_(torch.where(share > calcium, hard, calcium_hu))
        calcium.copy_(torch.maximum(share, calcium))
        deepest.copy_(torch.where(calcified, torch.minimum(deepest, d), deepest))

    for at in SHEET_COLUMNS:
        hard = s[:, at + SHEET_WIDTH - 1]
        harden(_sheet(p, s, at, inner, outer), hard, hard > 0.0)
    for q in blobs:
        d = _ellipsoid(p, q)
        if float(q[16]) > 0.5:
            harden(d, q[15].expand_as(d), torch.ones_like(d, dtype=torch.bool))
        else:
            wall += (0.5 - d / h).clamp(0.0, 1.0) * (q[15] - wall)
    return wall, calcium, calcium_hu, deepest


def _sheet(p: Tensor, s: Tensor, at: int, inner: Tensor, outer: Tensor) -> Tensor:
    u = s[:, 3:6] - s[:, 0:3]
    away = p - s[:, 0:3]
    t = ((away * u).sum(-1) / (u * u).sum(-1).clamp(min=1e-12)).clamp(0.0, 1.0)
    off = away - t[:, None] * u
    d = off.norm(dim=-1)
    half = s[:, at + 3] + t * (s[:, at + 4] - s[:, at + 3])
    thick = (inner - outer).clamp(min=1e-3)
    depth = torch.maximum(s[:, at + 5] * thick - inner, inner - s[:, at + 6] * thick)
    c = ((off * s[:, at : at + 3]).sum(-1) / d.clamp(min=1e-6)).clamp(-1.0, 1.0)
    arc = torch.maximum(depth, (torch.acos(c) - half) * d)
    closed = torch.where(half >= np.pi, depth, arc)
    return torch.where(half <= 0.0, torch.full_like(d, 1e9), closed)


def _ellipsoid(p: Tensor, q: Tensor) -> Tensor:
    local = (p - q[:3]) @ q[3:12].reshape(3, 3).T / q[12:15]
    k_0 = local.norm(dim=-1)
    k_1 = (local / q[12:15]).norm(dim=-1) + 1e-6
    return torch.where(k_0 <= 1e-3, -q[12:15].min(), k_0 * (k_0 - 1.0) / k_1)
