"""Instances as WADO-RS hands them out (PS3.18 10.4): files, metadata, bulk data, frames, rendered pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from appliance.archive.search import FoundInstance
from appliance.errors import ApiError

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
AS_STORED = "*"
CHUNK = 1 << 20
SMALL = 1024
"""Values up to so many bytes stand in the metadata itself."""
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
MEDIA_TYPES: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""Media types of compressed frames (PS3.18 table 8.7.3-5)."""


def not_found() -> ApiError:
    """The refusal for what is not there."""
    return ApiError("API-043", zh="没有此对象", en="there is no such object", status=404)


def not_decodable() -> ApiError:
    """The refusal for pixels that cannot be decoded."""
    return ApiError("API-044", zh="图像无法解码", en="the pixels cannot be decoded", status=406)


def file_of(instance: FoundInstance, transfer_syntax: str) -> Iterator[bytes]:
    """The part 10 file, as it is stored or in Explicit VR Little Endian.

    Raises:
        ApiError: API-044, before the first piece.
    """
    if transfer_syntax in {AS_STORED, instance.transfer_syntax_uid}:
        return _file(instance)
    return iter([_decoded_file(instance)])


def _file(instance: FoundInstance) -> Iterator[bytes]:
    with instance.path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _decoded_file(instance: FoundInstance) -> bytes:
    try:
        dataset = pydicom.dcmread(instance.path)
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset.decompress()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except Exception as error:
        raise not_decodable() from error
    return buffer.getvalue()


def metadata_of(instance: FoundInstance, url: str) -> dict[str, Any]:
    """The attributes in DICOM JSON (PS3.18 annex F), large binary values by their address.

    Args:
        instance: whose.
        url: address of the instance, for Bulk Data URIs.
    """
    dataset = pydicom.dcmread(instance.path, defer_size=CHUNK)
    found: dict[str, Any] = {}
    for element in dataset:
        if element.tag.element == 0:
            continue
        key = f"{element.tag:08X}"
        if element.VR in BINARY and len(element.value or b"") > SMALL:
            found[key] = {"vr": element.VR, "BulkDataURI": f"{url}/bulkdata/{key}"}
        else:
            found[key] = element.to_json_dict(None, SMALL)
    return found


def bulk_data_of(instance: FoundInstance, tag: str) -> bytes:
    """The value of one binary attribute, as it is stored.

    Raises:
        ApiError: API-043 there is none.
    """
    try:
        element = pydicom.dcmread(instance.path)[int(tag, 16)]
    except (KeyError, ValueError) as error:
        raise not_found() from error
    if element.VR not in BINARY:
        raise not_found()
    return bytes(element.value or b"")


def frames_of(instance: FoundInstance, numbers: list[int], *, stored: bool) -> Iterator[tuple[str, bytes]]:
    """Frames with their media type, as they are stored or as plain pixels, little endian (PS3.18 10.4.1.1.6).

    Args:
        instance: whose.
        numbers: from 1.
        stored: keep a compressed frame as it is.

    Raises:
        ApiError: API-043 there is no such frame, API-044.
    """
    try:
        dataset = pydicom.dcmread(instance.path)
    except Exception as error:
        raise not_decodable() from error
    count = int(dataset.get("NumberOfFrames") or 1)
    if "PixelData" not in dataset or any(not 1 <= number <= count for number in numbers):
        raise not_found()
    for number in numbers:
        yield _frame(dataset, number - 1, count, stored=stored)


def _frame(dataset: Dataset, index: int, count: int, *, stored: bool) -> tuple[str, bytes]:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if syntax.is_encapsulated and stored:
            frame = get_frame(dataset.PixelData, index, number_of_frames=count)
            return f"{MEDIA_TYPES.get(syntax, 'application/octet-stream')}; transfer-syntax={syntax}", frame
        pixels: Any = pixel_array(dataset, index=index, raw=True)
    except Exception as error:
        raise not_decodable() from error
    plain = np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<"), copy=False)
    return f"application/octet-stream; transfer-syntax={EXPLICIT_LITTLE_ENDIAN}", plain.tobytes()


def rendered(instance: FoundInstance, *, frame: int, media_type: str, window: tuple[float, float] | None, quality: int) -> bytes:
    """A frame as a picture for people, windowed (PS3.18 10.4.1.1.3); an encapsulated PDF as its PDF.

    Args:
        instance: whose.
        frame: from 1.
        media_type: ``image/png``, ``image/jpeg`` or ``application/pdf``.
        window: centre and width; those of the image if not given.
        quality: of a JPEG, 1 to 100.

    Raises:
        ApiError: API-043, API-044, API-045.
    """
    try:
        dataset = pydicom.dcmread(instance.path)
    except Exception as error:
        raise not_decodable() from error
    if "EncapsulatedDocument" in dataset:
        if media_type != "application/pdf":
            raise ApiError("API-045", zh="该对象为 PDF", en="this object is a PDF", status=406)
        return bytes(dataset.EncapsulatedDocument)
    if "PixelData" not in dataset or not 1 <= frame <= int(dataset.get("NumberOfFrames") or 1) or media_type == "application/pdf":
        raise not_found()
    try:
        picture = Image.fromarray(_grey_or_colour(dataset, frame - 1, window))
    except Exception as error:
        raise not_decodable() from error
    buffer = io.BytesIO()
    picture.save(buffer, "PNG" if media_type == "image/png" else "JPEG", **({} if media_type == "image/png" else {"quality": quality}))
    return buffer.getvalue()


def _grey_or_colour(dataset: Dataset, index: int, window: tuple[float, float] | None) -> Any:
    pixels = pixel_array(dataset, index=index)
    if pixels.ndim == 3:
        return pixels.astype(np.uint8)
    values: Any = np.asarray(apply_modality_lut(pixels, dataset), dtype=np.float64)
    if window is None and ("WindowCenter" in dataset or "VOILUTSequence" in dataset):
        values = np.asarray(apply_voi_lut(apply_modality_lut(pixels, dataset), dataset), dtype=np.float64)
    if window is not None:
        centre, width = window
        low, high = centre - width / 2, centre + width / 2
    else:
        low, high = float(values.min()), float(values.max())
    grey = np.clip((values - low) / max(high - low, 1e-9) * 255, 0, 255).round().astype(np.uint8)
    return 255 - grey if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else grey
