"""Parallel-beam projection and back projection of coarse slices, for artefacts that live in the projections."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from models.phantom.types import FloatArray

#: Rows from, rows to, columns from, columns to (half-open).
Window = tuple[int, int, int, int]


@nb.njit(parallel=True, cache=True, fastmath=True)
def project(images: FloatArray, angles: FloatArray, pixel: float, bins: int) -> FloatArray:
    """Line integrals (mm times the image's unit) of `images` (n, y, x) about their middle: (n, angle, bin), bins as wide as a pixel."""
    n, ny, nx = images.shape
    out = np.zeros((n, angles.size, bins), np.float32)
    half = 0.5 * (bins - 1)
    cosine, sine = np.cos(angles), np.sin(angles)
    for s in nb.prange(n):
        for j in range(ny):
            for i in range(nx):
                v = images[s, j, i] * pixel
                if v == 0.0:
                    continue
                x, y = i - 0.5 * (nx - 1), j - 0.5 * (ny - 1)
                for a in range(angles.size):
                    t = x * cosine[a] + y * sine[a] + half
                    b = int(t)
                    if b < 0 or b >= bins - 1:
                        continue
                    w = t - b
                    out[s, a, b] += v * (1.0 - w)
                    out[s, a, b + 1] += v * w
    return out


@nb.njit(parallel=True, cache=True, fastmath=True)
def back_project(sinogram: FloatArray, angles: FloatArray, shape: tuple[int, int], window: Window, zoom: float) -> FloatArray:
    """Mean over the angles of what lies on the rays of each pixel of a window (rows and columns, half-open) of an image of `shape`.

    `zoom` is the pixel size in bins; returns (n, y, x).
    """
    n, na, bins = sinogram.shape
    ny, nx = shape
    j0, j1, i0, i1 = window
    out = np.zeros((n, j1 - j0, i1 - i0), np.float32)
    half = 0.5 * (bins - 1)
    scale = np.float32(1.0 / na)
    for s in nb.prange(n):
        for a in range(na):
            c, d = math.cos(angles[a]) * zoom, math.sin(angles[a]) * zoom
            line = sinogram[s, a]
            for j in range(j0, j1):
                t = half + (j - 0.5 * (ny - 1)) * d - 0.5 * (nx - 1) * c
                for i in range(i0, i1):
                    at = min(max(t + i * c, 0.0), bins - 1.001)
                    b = int(at)
                    w = np.float32(at - b)
                    out[s, j - j0, i - i0] += scale * (line[b] + w * (line[b + 1] - line[b]))
    return out


def ramp(sinogram: FloatArray, pixel: float) -> FloatArray:
    """The ramp filter of filtered back projection with a Hann window; `back_project` of it times pi inverts `project`."""
    bins = sinogram.shape[-1]
    size = 1 << (2 * bins - 1).bit_length()
    n = np.minimum(np.arange(size), size - np.arange(size))
    # the band-limited ramp of Kak and Slaney (1988), eq. 3.61: sampled in space so that the mean is right
    response = np.where(n % 2 == 1, -1.0 / (np.pi * np.maximum(n, 1) * pixel) ** 2, 0.0)
    response[0] = 0.25 / pixel**2
    f = np.real(np.fft.rfft(response)) * (0.5 + 0.5 * np.cos(np.linspace(0.0, np.pi, size // 2 + 1)))
    filtered = np.fft.irfft(np.fft.rfft(sinogram, size, axis=-1) * f, size, axis=-1)[..., :bins]
    return np.asarray(filtered * pixel, np.float32)


def reconstruct(sinogram: FloatArray, angles: FloatArray, pixel: float, shape: tuple[int, int], window: Window) -> FloatArray:
    """Filtered back projection: a window of the image (n, y, x) whose projections `sinogram` holds; bins are as wide as pixels (mm)."""
    return np.asarray(np.float32(np.pi) * back_project(ramp(sinogram, pixel), angles, shape, window, 1.0), np.float32)


def half_turn(count: int) -> FloatArray:
    """`count` angles over 180 degrees."""
    return np.asarray(np.arange(count) * np.pi / count)
