"""The virtual CT in torch: the same composition as `models.phantom.render`, for a GPU that must not wait for the CPU.

The distance fields of a patient lie on the device; what depends on the scan alone (moved vessels, noise texture, streaks) is worked out on
the CPU once per scan and sent over. From then on a patch costs the CPU nothing. `render_patch` gives what `render` gives, up to rounding;
the tests compare them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.phantom import artefacts, motion, painting
from models.phantom.noise import block_of
from models.phantom.organs import CHANNELS
from models.phantom.physics import calcium_factor
from models.phantom.render import BEATING, STRUCTURE_CLASS, point_spread, texture_block, thin_slices, tube_rows
from models.phantom.tissue import tissue_table
from models.phantom.types import FloatArray, Ghost, Patient, Scan, Vector
from models.phantom.vessels import CALCIUM, LUMEN, SHEET_COLUMNS, SHEET_WIDTH, WALL, Rows, tree_rows

_INSIDE_SAC = 8
_FIRST_BLOOD, _LAST_BLOOD = 1, 7
_CHUNK = 2_000_000
"""Voxels times rows that are worked out at once."""


@dataclass(frozen=True)
class DevicePatient:
    """A patient's distance fields (c, z, y, x) int16, hundredths of a millimetre, on a device."""

    patient: Patient
    field: Tensor


@dataclass(frozen=True)
class DeviceRows:
    """A tree's segment, blob and strut rows on a device."""

    segments: Tensor
    blobs: Tensor
    struts: Tensor


@dataclass(frozen=True)
class DeviceScan:
    """What a scan of one patient needs beside the fields: plain tubes by kind, the tree at rest and at each place of its path, tissues."""

    scan: Scan
    tubes: tuple[tuple[Tensor, int, bool], ...]
    tree: DeviceRows
    places: tuple[DeviceRows, ...]
    tissue: Tensor
    border: Tensor
    added_hu: Tensor
    noise_gain: Tensor
    fields_origin: FloatArray
    fields_spacing: FloatArray


@dataclass(frozen=True)
class DevicePatch:
    """Attenuation (float32, rounded), structures and vessels (uint8), all (z, y, x), on the device."""

    hu: Tensor
    structures: Tensor
    vessels: Tensor


def to_device(patient: Patient, device: torch.device) -> DevicePatient:
    """Send a patient's distance fields to a device (about 50 MB)."""
    return DevicePatient(patient, torch.from_numpy(np.ascontiguousarray(np.moveaxis(patient.channels, -1, 0))).to(device))


def prepare_scan(on_device: DevicePatient, scan: Scan) -> DeviceScan:
    """Work out on the CPU what a scan needs, and send it over."""
    patient, device = on_device.patient, on_device.field.device

    def send(rows: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows, np.float32)).to(device)

    def tree(rows: Rows) -> DeviceRows:
        return DeviceRows(send(rows.segments), send(rows.blobs), send(rows.struts))

    copies = motion.moved_rows(patient, scan) if motion.moves(scan) else []
    table = tissue_table(scan)
    low, high = (np.asarray(corner) for corner in patient.heart_box)
    field = artefacts.fields(patient, scan, low - 40.0, high + 40.0)
    return DeviceScan(
        scan=scan,
        tubes=tuple((send(rows), label, everywhere) for rows, label, everywhere in tube_rows(patient, scan)),
        tree=tree(tree_rows(patient)),
        places=tuple(tree(rows) for rows in copies),
        tissue=send(np.array([table[name] for name in CHANNELS])),
        border=send(np.array([BEATING.get(name, 0.0) * scan.heart_motion_mm for name in CHANNELS])),
        added_hu=send(field.added_hu),
        noise_gain=send(field.noise_gain),
        fields_origin=field.origin,
        fields_spacing=field.spacing,
    )


def render_patch(
    on_device: DevicePatient,
    prepared: DeviceScan,
    *,
    origin: Vector,
    spacing: Vector,
    shape: tuple[int, int, int],
    seed: int,
    noise: bool = True,
) -> DevicePatch:
    """As `models.phantom.render.render`, within 40 mm of the heart; the field of view is not cut round."""
    scan = prepared.scan
    thin = thin_slices(spacing)
    step = np.array([spacing[0], spacing[1], spacing[2] / thin])
    in_plane = [point_spread(scan.psf_sigma_mm[0] / d, scan.edge_enhancement) for d in spacing[:2]]
    along = point_spread(scan.psf_sigma_mm[1] / step[2], 0.0)
    reach = motion.WEDGE_REACH_MM if motion.moves(scan) else 0.0
    pad = np.array([t.size // 2 + int(np.ceil(reach / d)) for t, d in zip(in_plane, spacing[:2], strict=True)] + [along.size // 2])
    start = np.asarray(origin, np.float64) - pad * step
    size = ((shape[0] - 1) * thin + 1 + 2 * int(pad[2]), shape[1] + 2 * int(pad[1]), shape[2] + 2 * int(pad[0]))
    hu, structures, vessels = _compose(on_device, prepared, start, step, size)
    hu = _blurred(hu, along, in_plane[1], in_plane[0])
    crop = tuple(slice(int(p), int(p) + (n - 1) * t + 1, t) for p, n, t in zip(pad[::-1], shape, (thin, 1, 1), strict=True))
    hu = hu[crop] + _artefacts_and_noise(on_device, prepared, np.asarray(origin), np.asarray(spacing), shape, seed, noise=noise)
    return DevicePatch(torch.round(hu).clamp(-1024.0, 3071.0), structures[crop], vessels[crop])


def _compose(
    on_device: DevicePatient, prepared: DeviceScan, start: FloatArray, step: FloatArray, size: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    scan, patient = prepared.scan, on_device.patient
    parts = []
    for slab in motion.slabs(patient, scan, float(start[2]), float(step[2]), size[0]):
        corner = start + np.array((0.0, 0.0, slab.first * step[2])) - slab.shift
        parts.append(_slab(on_device, prepared, corner, step, (slab.last - slab.first, *size[1:])))
    hu, structures, vessels = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
    if scan.ghost is not None:
        _mix_ghost(on_device, prepared, scan.ghost, start, step, hu)
    return hu, structures, vessels


def _mix_ghost(on_device: DevicePatient, prepared: DeviceScan, ghost: Ghost, start: FloatArray, step: FloatArray, hu: Tensor) -> None:
    heights = start[2] + step[2] * np.arange(hu.shape[0]) - motion.middle_z(on_device.patient)
    rows = np.flatnonzero((heights >= ghost.bottom_mm) & (heights < ghost.top_mm))
    if not rows.size:
        return
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    corner = start + np.array((0.0, 0.0, part.start * step[2])) - np.asarray(ghost.shift_mm)
    other, _, _ = _slab(on_device, prepared, corner, step, (part.stop - part.start, hu.shape[1], hu.shape[2]))
    hu[part] += ghost.share * (other - hu[part])


def _slab(
    on_device: DevicePatient, prepared: DeviceScan, start: FloatArray, step: FloatArray, size: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Organs, tubes and vessels before any blur."""
    points = _points(start, step, size, on_device.field.device)
    h = float(np.prod(step)) ** (1.0 / 3.0)
    hu, structures, aorta = _organs(on_device, prepared, points, h)
    vessels = torch.zeros_like(structures)
    for rows, label, everywhere in prepared.tubes:
        _paint_tubes(hu, structures, vessels, points, rows, label, h, everywhere=everywhere)
    scale = calcium_factor(prepared.scan.kvp)
    width2 = (painting.STRUT_SPREAD * float(step.max())) ** 2
    if not prepared.places:
        _paint_tree(hu, vessels, points, prepared.tree, aorta, prepared.scan.vessel_hu, scale, h, width2)
        return tuple(volume.reshape(size) for volume in (hu, structures, vessels))
    still = hu.clone()
    _paint_tree(still.clone(), vessels, points, prepared.tree, aorta, prepared.scan.vessel_hu, scale, h, width2)
    kernels = motion.wedge_filters(len(prepared.places), prepared.scan.motion_angle_deg, (float(step[0]), float(step[1])))
    total = hu.reshape(size)
    for kernel, rows_there in zip(kernels, prepared.places, strict=True):
        work, scratch = still.clone(), torch.zeros_like(vessels)
        _paint_tree(work, scratch, points, rows_there, aorta, prepared.scan.vessel_hu, scale, h, width2)
        difference = (work - still).reshape(size)
        # the CPU scatters a difference with the kernel, which is a convolution; torch's is a correlation
        turned = torch.from_numpy(np.ascontiguousarray(kernel[::-1, ::-1])).to(hu.device)[None, None]
        padding = (kernel.shape[0] // 2, kernel.shape[1] // 2)
        total = total + functional.conv2d(difference[:, None], turned, padding=padding)[:, 0]
    return total, structures.reshape(size), vessels.reshape(size)


def _points(start: FloatArray, step: FloatArray, size: tuple[int, int, int], device: torch.device) -> Tensor:
    """LPS positions (n, 3) of all voxels, x fastest; float64 as on the CPU, where whole-number texture places depend on it."""
    z, y, x = (start[2 - a] + step[2 - a] * torch.arange(size[a], dtype=torch.float64, device=device) for a in range(3))
    zz, yy, xx = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([xx.ravel(), yy.ravel(), zz.ravel()], dim=1)


def sampled(field: Tensor, index: Tensor) -> Tensor:
    """Trilinear values (c, n) of a field (c, z, y, x) at fractional indices (n, 3: x, y, z), clamped at the edges; float32."""
    sizes = torch.tensor(field.shape[:0:-1], device=field.device, dtype=index.dtype)
    at = torch.minimum(index.clamp(min=0.0), sizes - 1.001)
    lower = at.long()
    w = (at - lower).float()
    nx, ny = field.shape[3], field.shape[2]
    base = (lower[:, 2] * ny + lower[:, 1]) * nx + lower[:, 0]
    flat = field.reshape(field.shape[0], -1)
    total = torch.zeros(field.shape[0], len(index), device=field.device)
    for dz in range(2):
        for dy in range(2):
            for dx in range(2):
                weight = (w[:, 2] if dz else 1 - w[:, 2]) * (w[:, 1] if dy else 1 - w[:, 1]) * (w[:, 0] if dx else 1 - w[:, 0])
                total += weight * flat[:, base + (dz * ny + dy) * nx + dx].float()
    return total


def _organs(on_device: DevicePatient, prepared: DeviceScan, points: Tensor, h: float) -> tuple[Tensor, Tensor, Tensor]:
    """HU, structure class, and distance to the aorta's lumen (mm) at each point: surfaces painted back to front."""
    grid = on_device.patient.grid
    origin = torch.tensor(grid.origin, dtype=points.dtype, device=points.device)
    distance = 0.01 * sampled(on_device.field, (points - origin) / grid.spacing)
    alpha = (0.5 - distance / (h + prepared.border[:, None])).clamp(0.0, 1.0)
    value = prepared.tissue[:, :1] + _texture(prepared, points, present=(alpha > 0.0).any(dim=1).tolist())
    # what lies in front lets this share through
    through = torch.flip(torch.cumprod(torch.flip(1.0 - alpha, [0]), 0), [0])
    behind = torch.cat([through[1:], torch.ones_like(through[:1])])
    hu = (value * alpha * behind).sum(0) - 1000.0 * through[0]
    number = torch.arange(1, len(CHANNELS) + 1, device=points.device)[:, None]
    top = torch.where(distance < 0.0, number, 0).amax(0)
    classes = torch.tensor([0, *(STRUCTURE_CLASS.get(name, 0) for name in CHANNELS)], dtype=torch.uint8, device=points.device)
    kind = classes[top]
    outside = distance[CHANNELS.index("pericardium")] >= 0.0
    kind = torch.where((kind == _INSIDE_SAC) & outside, torch.zeros_like(kind), kind)
    return hu, kind, distance[CHANNELS.index("ao")]


def _texture(prepared: DeviceScan, points: Tensor, *, present: list[bool]) -> Tensor:
    """Tissue texture (c, n), HU, of the channels that are present."""
    blocks = torch.from_numpy(texture_block()).to(points.device)
    period = blocks.shape[1]
    out = torch.zeros(len(CHANNELS), len(points), device=points.device)
    for c, (_, amplitude, scale) in enumerate(prepared.tissue.double().tolist()):
        if amplitude > 0.0 and present[c]:
            # the renderer keeps frequencies in single precision
            at = torch.floor(points * float(np.float32(abs(scale)))).long() + torch.tensor([0, 5 * c, 17 * c], device=points.device)
            at = torch.remainder(at, period)
            out[c] = amplitude * blocks[1 if scale < 0.0 else 0, at[:, 2], at[:, 1], at[:, 0]]
    return out


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


def _paint_tubes(
    hu: Tensor, structures: Tensor, vessels: Tensor, points: Tensor, rows: Tensor, label: int, h: float, *, everywhere: bool
) -> None:
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


def _paint_tree(
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


def _blurred(hu: Tensor, along: FloatArray, rows: FloatArray, columns: FloatArray) -> Tensor:
    """Separable blur with repeated edges, axis by axis."""
    for axis, taps in ((2, columns), (1, rows), (0, along)):
        size = hu.shape[axis]
        lines = hu.movedim(axis, -1).reshape(-1, 1, size)
        kernel = torch.from_numpy(taps).to(hu.device)[None, None]
        lines = functional.conv1d(functional.pad(lines, (taps.size // 2,) * 2, mode="replicate"), kernel)
        moved = list(hu.movedim(axis, -1).shape)
        hu = lines.reshape(moved).movedim(-1, axis)
    return hu


def _artefacts_and_noise(
    on_device: DevicePatient,
    prepared: DeviceScan,
    origin: FloatArray,
    spacing: FloatArray,
    shape: tuple[int, int, int],
    seed: int,
    *,
    noise: bool,
) -> Tensor:
    scan, device = prepared.scan, on_device.field.device
    corners = np.repeat(origin[None].astype(np.float64), shape[0], axis=0)
    corners[:, 2] += spacing[2] * np.arange(shape[0])
    for slab in motion.slabs(on_device.patient, scan, float(origin[2]), float(spacing[2]), shape[0]):
        corners[slab.first : slab.last] -= slab.shift
    first = torch.from_numpy((corners - prepared.fields_origin) / prepared.fields_spacing).to(device)
    pitch = spacing / prepared.fields_spacing
    x = first[:, 0, None] + pitch[0] * torch.arange(shape[2], device=device)
    y = first[:, 1, None] + pitch[1] * torch.arange(shape[1], device=device)
    whole = (shape[0], shape[1], shape[2])
    index = torch.stack([x[:, None, :].expand(whole), y[:, :, None].expand(whole), first[:, 2, None, None].expand(whole)], dim=-1)
    both = sampled(torch.stack([prepared.added_hu, prepared.noise_gain]), index.reshape(-1, 3)).reshape(2, *whole)
    if not noise or scan.noise_hu <= 0.0:
        return both[0]
    block = torch.from_numpy(block_of(scan, (float(spacing[0]), float(spacing[1]), float(spacing[2])))).to(device)
    period = block.shape[0]
    shift = np.random.default_rng((scan.seed, seed, 77)).integers(0, 4096, 6)
    k, j, i = (torch.arange(n, device=device) for n in shape)
    forward = _block_at(block, (k + shift[0]) % period, (j + shift[1]) % period, (i + shift[2]) % period)
    back = _block_at(block, (k + shift[3]) % period, (shift[4] - j) % period, (shift[5] - i) % period)
    return both[0] + scan.noise_hu / np.sqrt(2.0) * both[1] * (forward + back)


def _block_at(block: Tensor, k: Tensor, j: Tensor, i: Tensor) -> Tensor:
    return block[k[:, None, None], j[None, :, None], i[None, None, :]]
