"""What a study is called, what is made of it, and who approved it: plain data handed between the floors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from appliance.anatomy import SegmentName, Vessel

if TYPE_CHECKING:  # people and roles stand here too: what receives must start without numeric Python
    import numpy as np
    from numpy.typing import NDArray

Role = Literal["radiographer", "physician", "engineer"]

DRAFT_NOTICE = "AI 草稿，待医师审核 / AI draft, for review by a physician"
NOT_VALIDATED_NOTICE = "未经临床验证，不得用于诊断 / Not validated on patients, not for diagnosis"


class StudyHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Patient and study identification from the source images (PS3.3 C.7.1 to C.7.3); empty string where the images say nothing.

    ``patient_name`` is the whole DICOM PN in Unicode (component groups separated by ``=``). Dates are YYYYMMDD, times HHMMSS.
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str = ""
    patient_name: str = ""
    patient_id: str = ""
    patient_sex: str = ""
    patient_age: str = ""
    patient_birth_date: str = ""
    accession_number: str = ""
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    series_description: str = ""
    series_number: int | None = None
    institution: str = ""
    referring_physician: str = ""
    requested_procedure: str = ""
    """From the order of the RIS, where there is one."""
    manufacturer: str = ""
    manufacturer_model: str = ""
    protocol: str = ""
    kernel: str = ""
    kvp: float | None = None
    phase_percent: float | None = None
    contrast_agent: str = ""

    @property
    def display_name(self) -> str:
        """The ideographic name where there is one, else the alphabetic one with spaces."""
        groups = self.patient_name.split("=")
        chosen = groups[1] if len(groups) > 1 and groups[1].strip("^ ") else groups[0]
        joint = "" if chosen is not groups[0] else " "
        return joint.join(part for part in chosen.split("^") if part)


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Who approved, as what, and when. Only a physician's approval makes a report final."""

    user_id: str
    user_name: str
    role: Role
    at: datetime

    @property
    def final(self) -> bool:
        """True if the report is final (COMPLETE, VERIFIED) with this approval."""
        return self.role == "physician"


ViewKind = Literal["vr_heart", "vr_tree", "cpr", "scpr", "section", "mip"]


@dataclass(frozen=True)
class KeyView:
    """One picture of the post-processing, annotated, without patient data, banner or notice burnt in.

    Attributes:
        id: stable file-name-safe identifier, e.g. ``"cpr-lad-000"``.
        kind: what the picture is.
        title_zh, title_en: short caption.
        image: uint8 RGB, shape (height, width, 3).
        vessel: the vessel shown, None for the whole heart.
        segment: the segment shown, where the picture belongs to one.
        lesion: id of the lesion shown, where it shows one.
        pixel_spacing_mm: (row, column) where the picture has a true scale, else None.
        angle_degrees: viewing or rotation angle, where there is one.
        window: (width, level) in HU for grey pictures, None for volume rendering.
    """

    id: str
    kind: ViewKind
    title_zh: str
    title_en: str
    image: NDArray[np.uint8]
    vessel: Vessel | None = None
    segment: SegmentName | None = None
    lesion: int | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    angle_degrees: float | None = None
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class FilmPage:
    """A whole film page, to be printed as one image: ``image`` is uint8 grey, shape (height, width), 0 black."""

    number: int
    image: NDArray[np.uint8]
    film_size_id: str = "14INX17IN"
    orientation: Literal["PORTRAIT", "LANDSCAPE"] = "PORTRAIT"


class ReportSection(msgspec.Struct, frozen=True, kw_only=True):
    """A heading and its sentences."""

    heading: str
    sentences: tuple[str, ...]


class ReportText(msgspec.Struct, frozen=True, kw_only=True):
    """The structured report in both languages; sections in the reporting order, the impression last."""

    title_zh: str
    title_en: str
    zh: tuple[ReportSection, ...]
    en: tuple[ReportSection, ...]
    notices: tuple[str, ...]
    """Sentences that must stand on every page (draft mark, validation mark), bilingual."""


def notices(*, approval: Approval | None, validated_on_patients: bool) -> tuple[str, ...]:
    """The notices that every screen, page, film and object of a study must carry.

    The draft mark goes with a physician's approval; the validation mark goes only when every model has a recorded validation on patients.
    """
    marks = []
    if approval is None or not approval.final:
        marks.append(DRAFT_NOTICE)
    if not validated_on_patients:
        marks.append(NOT_VALIDATED_NOTICE)
    return tuple(marks)
