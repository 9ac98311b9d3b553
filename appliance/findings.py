"""The findings of one study: the result types and their JSON form.

The JSON shape is a contract that other programs read (ARCHITECTURE.md, 'The findings file'): additive changes only, ``SCHEMA`` counts
breaking ones. Lengths in mm, areas in mm2, volumes in mm3, attenuation in HU; positions are DICOM patient coordinates (LPS) of the series
named. What could not be measured is None, and a field ``x`` that is None has a sibling ``x_reason`` with a code; never 0 for unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from appliance.anatomy import Dominance, SegmentName, Vessel
from appliance.errors import Reason
from appliance.findings_parts import GRADES as GRADES
from appliance.findings_parts import Bridge as Bridge
from appliance.findings_parts import Calcium as Calcium
from appliance.findings_parts import CalciumDeposit as CalciumDeposit
from appliance.findings_parts import Earlier as Earlier
from appliance.findings_parts import EarlierSegment as EarlierSegment
from appliance.findings_parts import Entered as Entered
from appliance.findings_parts import Grade as Grade
from appliance.findings_parts import Graft as Graft
from appliance.findings_parts import GraftKind as GraftKind
from appliance.findings_parts import InStent as InStent
from appliance.findings_parts import Ischaemia as Ischaemia
from appliance.findings_parts import Record as Record
from appliance.findings_parts import SegmentQuality as SegmentQuality
from appliance.findings_parts import Stent as Stent
from appliance.findings_parts import Variant as Variant
from appliance.findings_parts import VariantName as VariantName
from appliance.findings_parts import percent_as_read as percent_as_read
from appliance.findings_parts import score_parts as score_parts
from appliance.findings_parts import whole_parts as whole_parts
from appliance.findings_parts import whole_percent as whole_percent
from appliance.findings_parts import whole_score as whole_score

SCHEMA: Literal[1] = 1

Status = Literal["analysed", "declined", "failed"]
PlaqueType = Literal["calcified", "mixed", "noncalcified"]
HighRiskFeature = Literal["low_attenuation", "positive_remodeling", "spotty_calcification", "napkin_ring"]
NotAssessableReason = Literal["motion", "noise", "blooming", "stent", "truncated"]


class Software(Record, frozen=True, kw_only=True):
    """Which build made the findings."""

    version: str
    commit: str


class EngineInfo(Record, frozen=True, kw_only=True):
    """Which inference engine ran."""

    name: str
    device: str
    precision: str


class ModelInfo(Record, frozen=True, kw_only=True):
    """Which model ran, by content hash."""

    name: str
    version: str
    sha256: str
    validated_on_patients: bool


class SeriesInfo(Record, frozen=True, kw_only=True):
    """The series that was measured."""

    study_uid: str
    series_uid: str
    phase_percent: float | None
    kvp: float | None
    slices: int
    spacing_mm: tuple[float, float, float]
    phase_percent_reason: str | None = None
    kvp_reason: str | None = None


class VesselQuality(Record, frozen=True, kw_only=True):
    """How well one coronary artery is shown: measured along its traced lines, its motion by the network of that name.

    Attributes:
        vessel: a main artery with its side branches.
        grade: 4 excellent, 3 good, 2 moderate, 1 non-diagnostic.
        motion_mm: how far it moved while the picture was taken, in the mean.
        contrast_hu: blood in the vessel less fat.
        noise_hu: standard deviation in the aorta.
        better_series_uid, better_phase_percent: another phase of the study that shows this vessel better by a grade or more.
    """

    vessel: Literal["LAD", "LCX", "RCA"]
    grade: int
    motion_mm: float | None
    contrast_hu: float | None
    noise_hu: float | None
    motion_mm_reason: str | None = None
    contrast_hu_reason: str | None = None
    noise_hu_reason: str | None = None
    better_series_uid: str | None = None
    better_phase_percent: float | None = None


class OtherSeries(Record, frozen=True, kw_only=True):
    """A further series of the study and the part it plays.

    ``vessels`` is how well a further phase shows them; ``read`` is true of a phase that was analysed too, because the main one blurs an
    artery: the branches that were taken from it name its series.
    """

    series_uid: str
    role: Literal["phase", "calcium"]
    phase_percent: float | None
    phase_percent_reason: str | None = None
    vessels: tuple[VesselQuality, ...] = ()
    vessels_reason: str | None = None
    read: bool = False


class NotAssessable(Record, frozen=True, kw_only=True):
    """A segment that cannot be read, and why.

    Attributes:
        branch, start, end: where it lies, a half-open range of the branch's points; a picture of it is among the key views.
    """

    segment: SegmentName
    reason: NotAssessableReason
    branch: int | None = None
    start: int | None = None
    end: int | None = None


class Quality(Record, frozen=True, kw_only=True):
    """Image quality: score 1 (unacceptable) to 5 (excellent); motion 0 (none) to 1, of the artery that moved most.

    Attributes:
        segments: how well each traced segment is shown.
        vessels: how well each coronary artery is shown; empty where no network looked.
        warnings: what is unusual about the scan, in words.
        phase_choice: why this phase was analysed: ``only`` there is no other; by the ``header``.
            Arteries that it blurs may come from another phase: `OtherSeries.read`.
    """

    score: int
    aorta_mean_hu: float | None
    aorta_noise_hu: float | None
    cnr: float | None
    motion: float | None
    coverage_complete: bool
    not_assessable: tuple[NotAssessable, ...]
    aorta_mean_hu_reason: str | None = None
    aorta_noise_hu_reason: str | None = None
    cnr_reason: str | None = None
    motion_reason: str | None = None
    vessels: tuple[VesselQuality, ...] = ()
    warnings: tuple[Reason, ...] = ()
    phase_choice: Literal["only", "header"] | None = None
    segments: tuple[SegmentQuality, ...] = ()


class Branch(Record, frozen=True, kw_only=True):
    """A whole anatomical run (LM, LAD from the bifurcation to its end, D1, ...), proximal to distal, step at most 0.5 mm.

    ``segments`` are half-open index ranges that cover all points; diameters have one entry per point. ``name_source``: whether a person
    gave a name.
    """

    id: int
    parent: int | None
    parent_index: int | None
    vessel: Vessel
    points_mm: tuple[tuple[float, float, float], ...]
    segments: tuple[tuple[int, int, SegmentName], ...]
    name_confidence: float
    lumen_diameter_mm: tuple[float | None, ...]
    vessel_diameter_mm: tuple[float | None, ...]
    repaired: tuple[tuple[int, int], ...] = msgspec.field(default_factory=tuple)
    series_uid: str | None = None
    parent_reason: str | None = None
    parent_index_reason: str | None = None
    name_source: Literal["measured", "corrected"] = "measured"

    @property
    def name(self) -> SegmentName:
        """Name of the branch's first segment (the branch's own name for side branches)."""
        return self.segments[0][2]

    def segment_at(self, index: int) -> SegmentName:
        """Segment that holds point ``index``.

        Raises:
            IndexError: the branch has no such point.
        """
        for start, end, name in self.segments:
            if start <= index < end:
                return name
        raise IndexError(f"branch {self.id} has no point {index}")


class PlaqueVolume(Record, frozen=True, kw_only=True):
    """Plaque volume in mm3; ``low_attenuation``, ``fibrofatty`` and ``fibrous`` are the parts of ``noncalcified``.

    The classes go by attenuation, with boundaries for the tube voltage and the attenuation of the blood (`analysis/plaque_classes`).
    """

    total: float
    calcified: float
    noncalcified: float
    low_attenuation: float
    fibrofatty: float | None = None
    fibrous: float | None = None
    fibrofatty_reason: str | None = None
    fibrous_reason: str | None = None


class Lesion(Record, frozen=True, kw_only=True):
    """One plaque, with or without narrowing. ``start``, ``minimum`` and ``end`` index the branch's points.

    ``grade_source`` says whether the grade follows from the measured percentage or from a person's correction;
    CAD-RADS and texts use ``grade``.
    """

    id: int
    branch: int
    vessel: Vessel
    segment: SegmentName
    start: int
    minimum: int
    end: int
    length_mm: float
    minimum_lumen_diameter_mm: float | None
    reference_diameter_mm: float | None
    diameter_stenosis_percent: float | None
    area_stenosis_percent: float | None
    grade: Grade
    plaque_type: PlaqueType
    volume_mm3: PlaqueVolume
    remodeling_index: float | None
    plaque_burden_percent: float | None
    high_risk: tuple[HighRiskFeature, ...]
    confidence: float
    grade_source: Literal["measured", "corrected"] = "measured"
    minimum_lumen_diameter_mm_reason: str | None = None
    reference_diameter_mm_reason: str | None = None
    diameter_stenosis_percent_reason: str | None = None
    area_stenosis_percent_reason: str | None = None
    remodeling_index_reason: str | None = None
    plaque_burden_percent_reason: str | None = None


class CadRads(Record, frozen=True, kw_only=True):
    """CAD-RADS 2.0 (JCCT 2022;16:536): ``text`` is the whole, e.g. ``CAD-RADS 3/P2/HRP``."""

    category: Literal["0", "1", "2", "3", "4A", "4B", "5", "N"]
    plaque_burden: Literal["P1", "P2", "P3", "P4"] | None
    modifiers: tuple[str, ...]
    text: str
    plaque_burden_reason: str | None = None


class SetAside(Record, frozen=True, kw_only=True):
    """Branches that were taken for bypass grafts and what was measured on them, numbered on from the tree's own.

    They count for nothing unless a physician says that there is no graft: then they stand among ``branches`` and ``lesions`` too.
    """

    branches: tuple[Branch, ...] = ()
    lesions: tuple[Lesion, ...] = ()


class Findings(Record, frozen=True, kw_only=True):
    """Everything found in one study. For a declined or failed study ``reason`` says why and the result fields are None or empty.

    ``bands`` names the table of degrees (`degrees`) by which the measured lesions got their grade.
    """

    status: Status
    software: Software
    reason: Reason | None
    engine: EngineInfo | None
    models: tuple[ModelInfo, ...]
    series: SeriesInfo | None
    other_series: tuple[OtherSeries, ...]
    quality: Quality | None
    dominance: Dominance | None
    branches: tuple[Branch, ...]
    lesions: tuple[Lesion, ...]
    bridges: tuple[Bridge, ...]
    stents: tuple[Stent, ...]
    calcium: Calcium | None
    plaque_total_mm3: PlaqueVolume | None
    segment_involvement_score: int | None
    segment_stenosis_score: int | None
    cad_rads: CadRads | None
    timing_s: dict[str, float]
    schema: Literal[1]
    engine_reason: str | None = None
    series_reason: str | None = None
    quality_reason: str | None = None
    dominance_reason: str | None = None
    calcium_reason: str | None = None
    plaque_total_mm3_reason: str | None = None
    segment_involvement_score_reason: str | None = None
    segment_stenosis_score_reason: str | None = None
    cad_rads_reason: str | None = None
    variants: tuple[Variant, ...] = ()
    grafts: tuple[Graft, ...] = ()
    dominance_source: Literal["measured", "corrected"] = "measured"
    entered: Entered = Entered()
    earlier: Earlier | None = None
    set_aside: SetAside = SetAside()
    bands: Literal["scct", "cn2011"] = "scct"

    @property
    def validated_on_patients(self) -> bool:
        """True only if every model that ran has a recorded validation on patients."""
        return bool(self.models) and all(model.validated_on_patients for model in self.models)

    @property
    def grafts_that_count(self) -> tuple[Graft, ...]:
        """The grafts that were recognised; none where a physician says that there is none."""
        return () if self.entered.grafts is False else self.grafts

    def branch(self, branch_id: int) -> Branch:
        """The branch with that id.

        Raises:
            KeyError: no such branch.
        """
        for branch in self.branches:
            if branch.id == branch_id:
                return branch
        raise KeyError(branch_id)

    def to_json(self) -> bytes:
        """UTF-8 JSON, indented, keys in a fixed order."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    @classmethod
    def from_json(cls, data: bytes) -> Findings:
        """Read the JSON form.

        Raises:
            msgspec.ValidationError: the data do not have the contract's shape; the message names the path.
        """
        return msgspec.json.decode(data, type=cls)

    @classmethod
    def read(cls, path: Path) -> Findings:
        """Read a findings file."""
        return cls.from_json(path.read_bytes())


def is_bypassed(lesion: Lesion, grafts: Sequence[Graft]) -> bool:
    """Whether a patent graft brings blood beyond a lesion: it is sewn on the same branch farther on (CAD-RADS 2.0, modifier G)."""
    return any(
        graft.patency == "patent"
        and graft.target_branch == lesion.branch
        and graft.target_index is not None
        and lesion.minimum < graft.target_index
        for graft in grafts
    )
