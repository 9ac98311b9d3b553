"""Voxels of a NIfTI file that hold no number.

SimpleITK's reader gives 0 HU, the value of water, where a file of floating point holds NaN or infinity; so they are looked for in the file
itself (NIfTI-1.1, nifti1.h: header of 348 bytes, type at byte 70, offset of the voxels at byte 108).
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 348
_DIMENSIONS, _TYPE, _OFFSET = slice(40, 56), slice(70, 72), slice(108, 112)
_FLOATS = {16: "f4", 64: "f8"}


def without_value(path: Path) -> NDArray[np.bool_] | None:
    """True where the file holds NaN or infinity, (z, y, x) in the file's own order; None where all voxels hold numbers.

    A file that is not floating-point NIfTI-1 in one volume has numbers only, as far as this function can tell.

    Raises:
        OSError: the file cannot be read.
    """
    content = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    order = _byte_order(content)
    if order is None:
        return None
    float_type = _FLOATS.get(int(np.frombuffer(content[_TYPE], f"{order}i2")[0]))
    if float_type is None:
        return None
    _, nx, ny, nz, *_ = (int(size) for size in np.frombuffer(content[_DIMENSIONS], f"{order}i2"))
    offset = int(np.frombuffer(content[_OFFSET], f"{order}f4")[0])
    kind = np.dtype(f"{order}{float_type}")
    if min(nx, ny, nz) < 1 or offset < _HEADER_BYTES or len(content) < offset + nx * ny * nz * kind.itemsize:
        return None
    bad: NDArray[np.bool_] = ~np.isfinite(np.frombuffer(content, kind, nx * ny * nz, offset)).reshape(nz, ny, nx)
    return bad if bad.any() else None


def _byte_order(content: bytes) -> str | None:
    """``<`` or ``>``, whichever makes the header's length 348; None where neither does."""
    return next((order for order in "<>" if content[:4] == np.array(_HEADER_BYTES, f"{order}i4").tobytes()), None)
