"""Key views as Secondary Capture images: one series, one RGB object per view (PS3.3 A.8.1).

Above the picture stands a small patient line, below it the caption and the notices; nothing covers the picture itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from appliance.fonts import SIMPLIFIED_CHINESE, cjk_font
from appliance.report.fonts import wrap
from appliance.report.instance import Origin, new_instance
from appliance.report.pdf_page import date_text
from appliance.study import KeyView, StudyHeader

MINIMUM_WIDTH = 512
"""Narrower pictures get black margins, so that the lines of text fit."""

TEXT_SHARE = 40
"""The text is one part in so many of the width high, within ``TEXT_SIZES`` pixels."""

TEXT_SIZES = (13, 22)
PATIENT_INK = (200, 206, 212)
CAPTION_INK = (255, 255, 255)
NOTICE_INK = (255, 196, 92)


def make_captures(key_views: Sequence[KeyView], *, origin: Origin, notices: Sequence[str], clear: bool = False) -> list[Dataset]:
    """One Secondary Capture per key view, all in one new series.

    Args:
        key_views: the pictures.
        origin: what they are made from.
        notices: sentences burnt into every picture.
        clear: leave the patient line out (for pseudonymised routes).

    Raises:
        ImagingError: IMG-010, the font is not installed.
    """
    if not key_views:
        return []
    series_uid = origin.uids()
    return [_capture(view, number, series_uid, origin, notices, clear=clear) for number, view in enumerate(key_views, start=1)]


def burn_in(view: KeyView, *, header: StudyHeader | None, notices: Sequence[str]) -> NDArray[np.uint8]:
    """The picture, unchanged, with the patient line above (none without a header) and caption and notices below; uint8 RGB."""
    rows, columns, _ = view.image.shape
    width = max(columns, MINIMUM_WIDTH)
    size = min(max(width // TEXT_SHARE, TEXT_SIZES[0]), TEXT_SIZES[1])
    font = ImageFont.truetype(str(cjk_font()), size, index=SIMPLIFIED_CHINESE)
    above = [] if header is None else _lines([(patient_line(header), PATIENT_INK)], width, font)
    below = _lines([(f"{view.title_zh}  {view.title_en}", CAPTION_INK), *((notice, NOTICE_INK) for notice in notices)], width, font)
    leading = round(size * 1.45)
    head, foot = leading * len(above) + size // 2, leading * len(below) + size // 2
    page = Image.new("RGB", (width, head + rows + foot))
    page.paste(Image.fromarray(view.image), ((width - columns) // 2, head))
    draw = ImageDraw.Draw(page)
    for start, lines in ((size // 4, above), (head + rows + size // 4, below)):
        for number, (line, ink) in enumerate(lines):
            draw.text((size // 2, start + number * leading), line, font=font, fill=ink)
    return np.asarray(page)


def patient_line(header: StudyHeader) -> str:
    """Name, sex, age, patient ID, accession number, exam date, institution."""
    parts = (
        header.display_name,
        header.patient_sex,
        header.patient_age,
        header.patient_id,
        header.accession_number,
        date_text(header.study_date),
        header.institution,
    )
    return "  ".join(part for part in parts if part)


Line = tuple[str, tuple[int, int, int]]


def _lines(texts: Sequence[Line], width: int, font: ImageFont.FreeTypeFont) -> list[Line]:
    measure: Callable[[str], float] = font.getlength
    return [(line, ink) for text, ink in texts for line in wrap(text, width - font.size, measure)]


def _capture(view: KeyView, number: int, series_uid: str, origin: Origin, notices: Sequence[str], *, clear: bool) -> Dataset:
    dataset = new_instance(
        origin,
        sop_class=SecondaryCaptureImageStorage,
        modality="CT",
        series="captures",
        series_uid=series_uid,
        number=number,
        description="Coronary CTA key views",
    )
    pixels = burn_in(view, header=None if clear else origin.header, notices=notices)
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BodyPartExamined = "HEART"
    dataset.PatientOrientation = ""
    dataset.BurnedInAnnotation = "NO" if clear else "YES"
    dataset.LossyImageCompression = "00"
    dataset.ImageComments = f"{view.title_zh} / {view.title_en}"
    dataset.DerivationDescription = "; ".join((f"Coronet key view {view.id}", *notices))
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = 8
    dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    data = pixels.tobytes()
    dataset.PixelData = data if len(data) % 2 == 0 else data + b"\x00"
    dataset["PixelData"].VR = "OB"
    return dataset
