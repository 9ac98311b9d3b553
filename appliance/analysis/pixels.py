"""Pixels of CT files as Hounsfield units.

Uncompressed pixels are taken straight from the file; RLE, JPEG-LS, JPEG 2000 and HTJ2K go through pydicom's decoders, the other JPEG
processes through the GDCM that SimpleITK holds.

    VOL-010  the pixels cannot be decoded (transfer syntax named)    VOL-012  no rescale slope and intercept: not Hounsfield units
    VOL-011  the pixel data is damaged or cut short                  VOL-013  the pixels are not 16 bit grey
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from appliance.errors import VolumeError

Stored = NDArray[np.int32]
HU = NDArray[np.int16]

LOWEST_HU, HIGHEST_HU = -1024, 32767
"""Padding outside the reconstruction circle is written as anything down to -3024; below -1024 there is no tissue, only padding."""
GDCM_SYNTAXES = frozenset({"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"})
"""JPEG Extended and Lossless."""


def read_hu(path: Path, *, frames: int | None = None) -> HU:
    """All pixels of a file in HU.

    Args:
        path: a CT file.
        frames: number of frames of a multi-frame file, None for a single-frame one.

    Returns:
        int16, shape (frames or 1, rows, columns).

    Raises:
        VolumeError: VOL-010 to VOL-013.
    """
    try:
        return _read(path, frames)
    except VolumeError:
        raise
    except Exception as error:
        raise VolumeError(
            "VOL-011", zh="像素数据已损坏或不完整", en="the pixel data is damaged or incomplete", file=path.name, cause=type(error).__name__
        ) from error


def _read(path: Path, frames: int | None) -> HU:
    dataset = pydicom.dcmread(path)
    if int(dataset.SamplesPerPixel) != 1 or int(dataset.BitsAllocated) not in (8, 16):
        raise VolumeError("VOL-013", zh="像素不是 16 位灰度", en="the pixels are not 16 bit grey", file=path.name)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in GDCM_SYNTAXES:
        return _by_gdcm(path, dataset, frames)
    stored = _stored(dataset, syntax, frames or 1)
    return _to_hu(stored, _rescale(dataset, frames, path))


def _stored(dataset: Any, syntax: UID, frames: int) -> NDArray[Any]:
    """Stored values, shape (frames, rows, columns), sign and unused high bits dealt with."""
    shape = (frames, int(dataset.Rows), int(dataset.Columns))
    if syntax.is_compressed and syntax != pydicom.uid.DeflatedExplicitVRLittleEndian:
        _need_decoder(syntax)
        return np.asarray(dataset.pixel_array).reshape(shape)
    signed, bits, allocated = bool(dataset.PixelRepresentation), int(dataset.BitsStored), int(dataset.BitsAllocated)
    order = ">" if syntax == pydicom.uid.ExplicitVRBigEndian and allocated == 16 else "<"
    count = frames * shape[1] * shape[2]
    values = np.frombuffer(dataset.PixelData, f"{order}{'i' if signed else 'u'}{allocated // 8}", count=count).reshape(shape)
    unused = allocated - bits
    if unused == 0:
        return values
    # Bits above those stored may hold overlays of old equipment, and need not repeat the sign.
    return (values << unused) >> unused


def _need_decoder(syntax: UID) -> None:
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise VolumeError("VOL-010", zh=f"无法解码传输语法:{syntax.name}", en=f"no decoder for the transfer syntax {syntax.name}")


def _rescale(dataset: Any, frames: int | None, path: Path) -> NDArray[np.float64]:
    """Slope and intercept of each frame, shape (frames, 2)."""
    if frames is None or "RescaleSlope" in dataset:
        pairs = [(dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"))] * (frames or 1)
    else:
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
        pairs = []
        for group in dataset.PerFrameFunctionalGroupsSequence:
            items = group.get("PixelValueTransformationSequence") or shared.get("PixelValueTransformationSequence") or [{}]
            pairs.append((items[0].get("RescaleSlope"), items[0].get("RescaleIntercept")))
    if any(slope is None or intercept is None for slope, intercept in pairs):
        raise VolumeError(
            "VOL-012", zh="影像没有 CT 值换算参数", en="the image does not say how pixels become Hounsfield units", file=path.name
        )
    return np.array([(float(slope), float(intercept)) for slope, intercept in pairs])


def _to_hu(stored: NDArray[Any], rescale: NDArray[np.float64]) -> HU:
    out = np.empty(stored.shape, np.int16)
    for frame, (slope, intercept) in enumerate(rescale):
        if slope == 1 and intercept == int(intercept):
            # 16 bit values and any sensible intercept fit 32 bits; one pass, no floating point
            values: NDArray[Any] = stored[frame].astype(np.int32)
            values += int(intercept)
        else:
            values = np.rint(stored[frame] * slope + intercept)
        np.clip(values, LOWEST_HU, HIGHEST_HU, out=values)
        out[frame] = values
    return out


def _by_gdcm(path: Path, dataset: Any, frames: int | None) -> HU:
    """GDCM decodes and rescales in one step."""
    _rescale(dataset, frames, path)
    itk: Any = SimpleITK
    reader = itk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        image = itk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        name = dataset.file_meta.TransferSyntaxUID.name
        raise VolumeError("VOL-010", zh=f"无法解码传输语法:{name}", en=f"pixels of the transfer syntax {name} cannot be decoded") from error
    values: HU = np.clip(np.rint(image), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    return np.asarray(values.reshape(frames or 1, int(dataset.Rows), int(dataset.Columns)))
