"""Parts of the findings beside the tree and its plaques: bridges, stents, variants, grafts, calcium, what was entered or found earlier.

See `findings`: the same contract. And how numbers are shown, so that every screen, page, film and object shows the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from appliance.anatomy import SegmentName


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all findings types: immutable, keyword only; optional ``*_reason`` siblings are left out of the JSON when None."""


Grade = Literal["none", "minimal", "mild", "moderate", "severe", "occluded"]
GRADES: tuple[Grade, ...] = ("none", "minimal", "mild", "moderate", "severe", "occluded")


class Bridge(Record, frozen=True, kw_only=True):
    """A myocardial bridge: ``depth_mm`` of muscle over the vessel's outer wall; the narrowing under it is not graded as plaque."""

    branch: int
    start: int
    end: int
    depth_mm: float


InStent = Literal["patent", "narrowed", "occluded"]


class Stent(Record, frozen=True, kw_only=True):
    """A stent and whether its lumen can be read.

    Attributes:
        branch: the vessel.
        start, end: half-open range of its points.
        assessable: whether the lumen inside can be read.
        diameter_mm: of the device.
        inside: whether blood passes: ``patent``, ``narrowed`` (by half or more), ``occluded``.
    """

    branch: int
    start: int
    end: int
    assessable: bool
    diameter_mm: float | None = None
    inside: InStent | None = None
    inside_reason: str | None = None


VariantName = Literal[
    "separate_left_ostia",
    "lcx_from_right",
    "rca_from_left",
    "left_from_right",
    "single_coronary",
    "interarterial_course",
    "retroaortic_course",
    "high_takeoff_left",
    "high_takeoff_right",
]


class Variant(Record, frozen=True, kw_only=True):
    """An anatomical variant of origin or course, and the branch that shows it."""

    name: VariantName
    branch: int


class CalciumDeposit(Record, frozen=True, kw_only=True):
    """One deposit, the point of a branch that it lies nearest to, and its part of the Agatston score."""

    branch: int
    point: int
    agatston: float


class Calcium(Record, frozen=True, kw_only=True):
    """Calcium score of the non-contrast series.

    Attributes:
        series_uid: the series that was scored.
        agatston, volume_mm3: of all coronary deposits.
        mass_mg: None without the scanner's own calibration factor.
        vessels: Agatston score of LM, LAD, LCX and RCA; side branches count to their parent.
        unassigned: Agatston score of coronary deposits whose artery is not known; part of ``agatston``.
        category: 0, 1-10, 11-100, 101-400 or >400.
        percentile: None until a table with its source is installed.
        registration: likeness of the scan to the angiogram over the heart, after the registration, at most 1.
        deposits: those that lie on a traced branch, so that a new name moves their score to another artery.
    """

    series_uid: str
    agatston: float
    volume_mm3: float
    mass_mg: float | None
    vessels: dict[str, float]
    mass_mg_reason: str | None = None
    unassigned: float = 0.0
    category: str | None = None
    percentile: float | None = None
    percentile_reason: str | None = None
    registration: float | None = None
    deposits: tuple[CalciumDeposit, ...] = ()


GraftKind = Literal["arterial", "venous", "unknown"]


class Graft(Record, frozen=True, kw_only=True):
    """A bypass graft: a vessel of its own, never a native segment.

    Attributes:
        kind: ``arterial`` comes from above (mammary artery), ``venous`` from the ascending aorta.
        origin: ``aorta``, ``subclavian`` (it enters the images from above), ``unknown``.
        target: native segment that it is sewn to; None where no end on a native vessel was seen.
        target_branch, target_index: the native branch and the point of it where the graft is sewn on.
        points_mm: from its origin to its target, step at most 0.5 mm.
        lumen_diameter_mm: typical diameter of the lumen.
        patency: ``patent`` where contrast is seen from origin to target, ``narrowed`` by half or more, ``occluded``.
        confidence: 0..1.
    """

    id: int
    kind: GraftKind
    origin: Literal["aorta", "subclavian", "unknown"]
    target: SegmentName | None
    points_mm: tuple[tuple[float, float, float], ...]
    lumen_diameter_mm: float | None
    patency: Literal["patent", "narrowed", "occluded"] | None
    confidence: float
    target_branch: int | None = None
    target_index: int | None = None
    target_reason: str | None = None
    lumen_diameter_mm_reason: str | None = None
    patency_reason: str | None = None


Ischaemia = Literal["I+", "I-", "I±"]


class Entered(Record, frozen=True, kw_only=True):
    """What a physician entered for CAD-RADS; None: nothing, the rules decide.

    Attributes:
        ischaemia: what CT-FFR or perfusion said (modifier I); no rule derives it.
        grafts: whether there is a bypass graft (modifier G), whatever was recognised.
        exceptions: whether there is disease other than atherosclerosis (modifier E), whatever was recognised.
    """

    ischaemia: Ischaemia | None = None
    grafts: bool | None = None
    exceptions: bool | None = None


class SegmentQuality(Record, frozen=True, kw_only=True):
    """How well one traced segment is shown; those that cannot be read stand among the quality's ``not_assessable`` too.

    Attributes:
        segment, branch, start, end: where it lies, a half-open range of the branch's points.
        motion_mm: how far it moved while the picture was taken, by the network ``motion``.
        cnr: contrast of its blood to fat against the noise of a voxel.
        blooming_mm: longest stretch where calcium closes around a small lumen.
        truncated: whether the vessel leaves the images here.
    """

    segment: SegmentName
    branch: int
    start: int
    end: int
    motion_mm: float | None
    cnr: float | None
    blooming_mm: float
    truncated: bool
    motion_mm_reason: str | None = None
    cnr_reason: str | None = None


class EarlierSegment(Record, frozen=True, kw_only=True):
    """A segment with plaque at an earlier examination, and its worst degree by CAD-RADS; None where that could not be read."""

    segment: SegmentName
    grade: Grade | None
    grade_reason: str | None = None


class Earlier(Record, frozen=True, kw_only=True):
    """The newest earlier examination of the patient that this box has analysed and released: what the present one is compared with.

    Attributes:
        study_date: YYYYMMDD.
        final: whether a physician approved it.
        validated_on_patients: whether every model that ran had a recorded validation on patients.
        software: version and commit that analysed it.
        cad_rads: the whole text.
        agatston: calcium score.
        segments: those with plaque.
        clear: named segments that were traced, could be read, and showed no plaque; of any other nothing is known.
    """

    study_date: str
    final: bool
    validated_on_patients: bool
    software: str
    cad_rads: str
    agatston: float | None
    segments: tuple[EarlierSegment, ...]
    clear: tuple[SegmentName, ...]
    agatston_reason: str | None = None


def whole_percent(percent: float) -> int:
    """A degree of narrowing as every screen, page and film shows it: cut, not rounded, as the bands are (69.6 is moderate, never 70)."""
    return math.floor(percent)


def percent_as_read(percent: float) -> str:
    """A degree of narrowing as text: '49%' for 49.9, '<1%' where there is one below 1 %."""
    return "<1%" if 0 < percent < 1 else f"{whole_percent(percent)}%"


def whole_score(agatston: float) -> int:
    """A calcium score as every screen, page and film shows it: a whole number; a score above zero never becomes zero."""
    return max(round(agatston), 1) if agatston > 0 else 0


def whole_parts(whole: int, parts: Sequence[float]) -> tuple[str, ...]:
    """The parts of a whole as every screen, page and film shows them: whole numbers that add up to ``whole`` as shown.

    By largest remainder: all are cut, and what is missing goes to those that lost most, of two that lost the same to the larger. A part
    that comes out as 0 and is more is shown as '<1'. Parts that do not make up the whole at all are each rounded.
    """
    cut = [math.floor(part) for part in parts]
    missing = whole - sum(cut)
    if 0 <= missing <= len(parts):
        order = sorted(range(len(parts)), key=lambda i: (cut[i] - parts[i], -parts[i], i))
        shown = [number + (index in order[:missing]) for index, number in enumerate(cut)]
    else:
        shown = [round(part) for part in parts]
    return tuple("<1" if number == 0 and part > 0 else str(number) for number, part in zip(shown, parts, strict=True))


def score_parts(calcium: Calcium) -> dict[str, str]:
    """The calcium score of each artery, and of deposits whose artery is not known (``unassigned``), as shown beside the whole score."""
    parts = {**calcium.vessels, "unassigned": calcium.unassigned}
    return dict(zip(parts, whole_parts(whole_score(calcium.agatston), tuple(parts.values())), strict=True))
