"""What a client takes: the Accept header of PS3.18 8.7 (RFC 9110 12.5.1), with type and transfer syntax of multipart answers."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message

from appliance.errors import ApiError


@dataclass(frozen=True)
class Wanted:
    """One media type of an Accept header.

    Attributes:
        media_type: as named; for multipart answers the type of the parts.
        multipart: whether in multipart/related.
        transfer_syntax: UID, ``*`` for as stored, empty where none is named.
        quality: weight.
    """

    media_type: str
    multipart: bool
    transfer_syntax: str
    quality: float


def wanted(header: str) -> list[Wanted]:
    """The media types of an Accept header, the best first; anything for an empty one."""
    found = [_one(each) for each in (header or "*/*").split(",") if each.strip()]
    return sorted((each for each in found if each.quality > 0), key=lambda each: -each.quality)


def not_acceptable() -> ApiError:
    """The refusal where nothing fits."""
    return ApiError("API-045", zh="不支持所要求的格式", en="an answer in none of these media types can be given", status=406)


def _one(text: str) -> Wanted:
    header = Message()
    header["Content-Type"] = text.strip()
    kind = text.partition(";")[0].strip().lower()
    try:
        quality = float(str(header.get_param("q", "1")))
    except ValueError:
        quality = 0.0
    multipart = kind == "multipart/related"
    named = str(header.get_param("type", "application/dicom")).lower() if multipart else kind
    return Wanted(named, multipart, str(header.get_param("transfer-syntax", "")), quality)
