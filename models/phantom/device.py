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
from models.phantom.device_painting import DeviceRows, paint_tree, paint_tubes
from models.phantom.noise import block_of
from models.phantom.organs import CHANNELS
from models.phantom.physics import calcium_factor
from models.phantom.render import BEATING, STRUCTURE_CLASS, point_spread, texture_block, thin_slices, tube_rows
from models.phantom.tissue import tissue_table
from models.phantom.types import FloatArray, Ghost, Patient, Scan, Vector
from models.phantom.vessels import Rows, tree_rows

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
        paint_tubes(hu, structures, vessels, points, rows, label, h, everywhere=everywhere)
    scale = calcium_factor(prepared.scan.kvp)
    width2 = (painting.STRUT_SPREAD * float(step.max())) ** 2
    if not prepared.places:
        paint_tree(hu, vessels, points, prepared.tree, aorta, prepared.scan.vessel_hu, scale, h, width2)
        return tuple(volume.reshape(size) for volume in (hu, structures, vessels))
    still = hu.clone()
    paint_tree(still.clone(), vessels, points, prepared.tree, aorta, prepared.scan.vessel_hu, scale, h, width2)
    kernels = motion.wedge_filters(len(prepared.places), prepared.scan.motion_angle_deg, (float(step[0]), float(step[1])))
    total = hu.reshape(size)
    for kernel, rows_there in zip(kernels, prepared.places, strict=True):
        work, scratch = still.clone(), torch.zeros_like(vessels)
        paint_tree(work, scratch, points, rows_there, aorta, prepared.scan.vessel_hu, scale, h, width2)
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
