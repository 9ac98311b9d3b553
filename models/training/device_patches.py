"""Training batches for cor-seg composed where the network trains: a pool of patients' distance fields on the GPU.

Processes draw patients, a thread prepares the next scan of each; neither is waited for once the first few patients are there. The patches
are those of `models.training.coronary_patches`, drawn by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.networks.cor_seg import HU_RANGE, SPACING_MM, relative
from models.phantom import Patient, Scan, draw_patient, draw_scan
from models.phantom.device import DevicePatient, DeviceScan, prepare_scan, render_patch, sampled, to_device
from models.training.context import BLOOD_POOL_CLASSES, COARSE_MM
from models.training.coronary_patches import PATCH, RESAMPLED, Sites, draw_centre, find_sites, measured_blood, own_grid
from models.training.families import load_families
from models.training.samples import Variation

PATCHES_PER_SCAN = 64
FIRST_PATIENTS = 8
_VESSELS = (1, 3)


@dataclass
class Entry:
    """A patient on the device: sites, points of the true centrelines (n, 3), coarse masks (2, z, y, x), scan in use, next scan."""

    on_device: DevicePatient
    sites: Sites
    lines: Tensor
    masks: Tensor
    scan: DeviceScan
    following: Future[DeviceScan]
    left: int


class DevicePatches:
    """An endless stream of batches on a device: ``for batch in DevicePatches(device, seed=1, batch=6): ...``.

    Args:
        device: where the fields lie and the batches are made.
        seed: of patients, scans and places.
        batch: patches in a batch. size: voxels along a patch's edge.
        patients: the pool's size, about 50 MB each. drawers: processes that draw patients; 0 draws them here.
        variation: as for the CPU's samples.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        seed: int,
        batch: int,
        variation: Variation,
        size: int = PATCH,
        patients: int = 200,
        drawers: int = 12,
    ) -> None:
        self._device = device
        self._rng = np.random.default_rng(seed)
        self._batch, self._size, self._patients = batch, size, patients
        self._variation = variation
        self._family = load_families()["train"]
        self._pool: list[Entry] = []
        self._helper = ThreadPoolExecutor(2)
        self._drawers: Executor = ProcessPoolExecutor(drawers, mp_context=get_context("spawn")) if drawers else self._helper
        self._coming = [self._order() for _ in range(max(1, 2 * drawers))]

    def __iter__(self) -> Iterator[dict[str, Tensor | None]]:
        """Batches with ``channels`` (n, 4, z, y, x), ``target`` (n, z, y, x) and ``skeleton`` (n, z, y, x)."""
        while True:
            self._take_patients()
            patches = [self._patch(self._pool[int(self._rng.integers(len(self._pool)))]) for _ in range(self._batch)]
            names = ("channels", "target", "skeleton")
            yield dict(zip(names, (torch.stack(parts) for parts in zip(*patches, strict=True)), strict=True))

    def close(self) -> None:
        """End the drawing processes."""
        self._drawers.shutdown(wait=False, cancel_futures=True)
        self._helper.shutdown(wait=False, cancel_futures=True)

    def _order(self) -> Future[tuple[Patient, Sites]]:
        return self._drawers.submit(draw_with_sites, int(self._rng.integers(self._family.first, self._family.last + 1)))

    def _take_patients(self) -> None:
        """Take in what was drawn; wait only for the first few."""
        fewest = min(FIRST_PATIENTS, self._patients)
        while True:
            for number, future in enumerate(self._coming):
                if future.done() or (len(self._pool) < fewest and number == 0):
                    patient, sites = future.result()
                    self._coming[number] = self._order()
                    if len(self._pool) >= self._patients:
                        del self._pool[int(self._rng.integers(len(self._pool)))]
                    self._pool.append(self._entry(patient, sites))
            if len(self._pool) >= fewest:
                return

    def _entry(self, patient: Patient, sites: Sites) -> Entry:
        on_device = to_device(patient, self._device)
        branches = [np.asarray(b.points_mm, np.float32) for b in patient.branches]
        lines = np.concatenate([part for points in branches for part in (points, 0.5 * (points[1:] + points[:-1]))])
        structures = sites.coarse.structures
        masks = np.stack([structures > 0, np.isin(structures, BLOOD_POOL_CLASSES)]).astype(np.float32)
        return Entry(
            on_device=on_device,
            sites=sites,
            lines=torch.from_numpy(lines).to(self._device),
            masks=torch.from_numpy(masks).to(self._device),
            scan=prepare_scan(on_device, self._any_scan()),
            following=self._helper.submit(prepare_scan, on_device, self._any_scan()),
            left=PATCHES_PER_SCAN,
        )

    def _any_scan(self) -> Scan:
        return draw_scan(int(self._rng.integers(2**31)))

    def _patch(self, entry: Entry) -> tuple[Tensor, Tensor, Tensor]:
        entry.left -= 1
        if entry.left <= 0 and entry.following.done():
            entry.scan, entry.left = entry.following.result(), PATCHES_PER_SCAN
            entry.following = self._helper.submit(prepare_scan, entry.on_device, self._any_scan())
        rng, size = self._rng, self._size
        half = 0.5 * size * SPACING_MM
        origin = draw_centre(entry.sites, rng, spread_mm=0.6 * half) - half
        seed, own = int(rng.integers(2**31)), rng.random() < RESAMPLED
        x, y, z = (float(value) for value in origin)
        patch = render_patch(
            entry.on_device, entry.scan, origin=(x, y, z), spacing=(SPACING_MM,) * 3, shape=(size,) * 3, seed=seed, noise=not own
        )
        hu = self._scanned(entry, origin, seed) if own else patch.hu
        gain = 1.0 + float(rng.uniform(-self._variation.gain, self._variation.gain))
        offset = float(rng.uniform(-self._variation.offset_hu, self._variation.offset_hu))
        low, high = HU_RANGE
        varied = hu * gain + offset
        scaled = (varied.clamp(low, high) - low) * (2.0 / (high - low)) - 1.0
        blood = torch.full_like(varied, measured_blood(entry.scan.scan, rng) * gain + offset)
        channels = torch.cat([scaled[None], self._context(entry, origin), relative(varied, blood)[None]])
        target = patch.vessels.long()
        skeleton = self._skeleton(entry, origin, patch.vessels)
        flips = [axis for axis in range(3) if self._variation.flips and rng.random() < 0.5]
        if flips:
            channels = channels.flip([axis + 1 for axis in flips])
            target, skeleton = target.flip(flips), skeleton.flip(flips)
        return channels, target, skeleton

    def _scanned(self, entry: Entry, origin: np.ndarray, seed: int) -> Tensor:
        """The patch on the scan's own pixels and slices, interpolated linearly."""
        low, spacing, shape = own_grid(entry.scan.scan, origin, self._size)
        x, y, z = (float(value) for value in low)
        own = render_patch(entry.on_device, entry.scan, origin=(x, y, z), spacing=spacing, shape=shape, seed=seed)
        return sampled(own.hu[None], self._grid((origin - low) / np.asarray(spacing), SPACING_MM / np.asarray(spacing)))[0].reshape(
            (self._size,) * 3
        )

    def _grid(self, first: np.ndarray, step: np.ndarray) -> Tensor:
        """Indices (n, 3: x, y, z) of a patch's voxels in another grid."""
        axes = [first[a] + step[a] * torch.arange(self._size, dtype=torch.float64, device=self._device) for a in range(3)]
        z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
        return torch.stack([x.ravel(), y.ravel(), z.ravel()], dim=1)

    def _context(self, entry: Entry, origin: np.ndarray) -> Tensor:
        """As `models.training.context.noisy_context`, as shares."""
        rng = self._rng
        if rng.random() < self._variation.drop_context:
            return torch.zeros(2, *(self._size,) * 3, device=self._device)
        first = (origin - entry.sites.coarse.origin + rng.normal(0.0, 0.8, 3)) / COARSE_MM
        index = self._grid(first, np.full(3, SPACING_MM / COARSE_MM))
        sigma, gain, bias = rng.uniform(0.4, 0.9), rng.uniform(1.0, 2.0), rng.normal(0.0, 0.12)
        taps = torch.exp(-0.5 * (torch.arange(-3, 4, device=self._device) / sigma) ** 2).float()
        taps /= taps.sum()
        kernel = taps[:, None, None] * taps[None, :, None] * taps[None, None, :]
        soft = functional.conv3d(functional.pad(entry.masks[:, None], (3,) * 6, mode="replicate"), kernel[None, None])[:, 0]
        disturbed = (gain * (soft - 0.5 + bias) + 0.5).clamp(0.0, 1.0)
        return sampled(disturbed, index).reshape(2, *(self._size,) * 3)

    def _skeleton(self, entry: Entry, origin: np.ndarray, vessels: Tensor) -> Tensor:
        """1.0 on voxels that a true centreline crosses, where a coronary is drawn."""
        index = torch.round((entry.lines - torch.from_numpy(origin).float().to(self._device)) / SPACING_MM).long()
        index = index[((index >= 0) & (index < self._size)).all(dim=1)]
        mask = torch.zeros_like(vessels, dtype=torch.bool)
        mask[index[:, 2], index[:, 1], index[:, 0]] = True
        return (mask & (vessels >= _VESSELS[0]) & (vessels <= _VESSELS[1])).float()


def draw_with_sites(seed: int) -> tuple[Patient, Sites]:
    """A patient and where patches of him may be centred; runs in a process of its own."""
    patient = draw_patient(seed)
    return patient, find_sites(patient, np.random.default_rng(seed))
