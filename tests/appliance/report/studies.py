"""Hand-written findings of several kinds: normal, several lesions, occlusion, corrected, not assessable, declined, failed.

Each branch is a straight line with a point every 0.5 mm, so lengths are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import msgspec
import numpy as np

from appliance.anatomy import SegmentName, Vessel
from appliance.errors import Reason
from appliance.findings import (
    Branch,
    Bridge,
    CadRads,
    Calcium,
    EngineInfo,
    Findings,
    Grade,
    HighRiskFeature,
    Lesion,
    ModelInfo,
    NotAssessable,
    PlaqueType,
    PlaqueVolume,
    Quality,
    SeriesInfo,
    Software,
    Stent,
)
from appliance.study import Approval, KeyView, StudyHeader, ViewKind

CHINA = timezone(timedelta(hours=8))
NOW = datetime(2026, 11, 22, 16, 30, 5, tzinfo=CHINA)
STEP_MM = 0.5

HEADER = StudyHeader(
    study_uid="1.2.826.0.1.3680043.10.1.1",
    series_uid="1.2.826.0.1.3680043.10.1.2",
    frame_of_reference_uid="1.2.826.0.1.3680043.10.1.3",
    patient_name="Wang^Xiaoming=王^小明",
    patient_id="P0012345",
    patient_sex="M",
    patient_age="058Y",
    patient_birth_date="19680304",
    accession_number="A2026112201",
    study_id="CT778",
    study_date="20261122",
    study_time="101530",
    study_description="冠状动脉 CTA",
    series_description="CorCTA 0.5 BestDiast 75%",
    series_number=5,
    institution="示范医院",
    referring_physician="Li^Hua=李^华",
    manufacturer="Virtual CT",
    kvp=120.0,
    phase_percent=75.0,
    contrast_agent="碘海醇 350",
)
SOURCE = tuple(("1.2.840.10008.5.1.4.1.1.2", f"1.2.826.0.1.3680043.10.1.2.{number}") for number in range(1, 13))
PHYSICIAN = Approval(user_id="u-1", user_name="张医师", role="physician", at=NOW)
RADIOGRAPHER = Approval(user_id="u-2", user_name="赵技师", role="radiographer", at=NOW)


def branch(
    number: int, vessel: Vessel, *segments: tuple[SegmentName, int], parent: int | None = None, leaves_at: int | None = None
) -> Branch:
    """A straight branch; each segment with its number of points."""
    ranges, start = [], 0
    for name, count in segments:
        ranges.append((start, start + count, name))
        start += count
    return Branch(
        id=number,
        parent=parent,
        parent_index=leaves_at,
        vessel=vessel,
        points_mm=tuple((float(number), 0.0, STEP_MM * index) for index in range(start)),
        segments=tuple(ranges),
        name_confidence=0.9,
        lumen_diameter_mm=(3.0,) * start,
        vessel_diameter_mm=(4.0,) * start,
        parent_reason="ostium" if parent is None else None,
        parent_index_reason="ostium" if parent is None else None,
    )


TREE = (
    branch(0, "LM", ("LM", 20)),
    branch(1, "LAD", ("pLAD", 50), ("mLAD", 70), ("dLAD", 80), parent=0, leaves_at=19),
    branch(2, "LCX", ("pLCx", 40), ("LCx", 80), parent=0, leaves_at=19),
    branch(3, "RCA", ("pRCA", 80), ("mRCA", 80), ("dRCA", 60)),
    branch(4, "LAD", ("D1", 60), parent=1, leaves_at=50),
    branch(5, "LCX", ("OM1", 60), parent=2, leaves_at=40),
    branch(6, "RCA", ("R-PDA", 60), parent=3, leaves_at=219),
    branch(7, "RCA", ("R-PLB", 50), parent=3, leaves_at=219),
)


def lesion(
    number: int,
    on: int,
    segment: SegmentName,
    at: tuple[int, int, int],
    percent: float | None,
    grade: Grade,
    plaque: PlaqueType,
    *,
    high_risk: Sequence[HighRiskFeature] = (),
) -> Lesion:
    """A lesion on a branch of the tree; ``at`` is start, minimum, end."""
    start, minimum, end = at
    vessel = TREE[on].vessel
    return Lesion(
        id=number,
        branch=on,
        vessel=vessel,
        segment=segment,
        start=start,
        minimum=minimum,
        end=end,
        length_mm=(end - start) * STEP_MM,
        minimum_lumen_diameter_mm=None if percent is None else 3.0 * (1 - percent / 100),
        reference_diameter_mm=3.0,
        diameter_stenosis_percent=percent,
        area_stenosis_percent=None if percent is None else 100 * (1 - (1 - percent / 100) ** 2),
        grade=grade,
        plaque_type=plaque,
        volume_mm3=PlaqueVolume(total=64.0, calcified=20.0, noncalcified=44.0, low_attenuation=6.5),
        remodeling_index=1.15,
        plaque_burden_percent=62.0,
        high_risk=tuple(high_risk),
        confidence=0.8,
        minimum_lumen_diameter_mm_reason="no_reference" if percent is None else None,
        diameter_stenosis_percent_reason="no_reference" if percent is None else None,
        area_stenosis_percent_reason="no_reference" if percent is None else None,
    )


GOOD = Quality(
    score=4,
    aorta_mean_hu=432.4,
    aorta_noise_hu=21.6,
    cnr=18.3,
    motion=0.1,
    coverage_complete=True,
    not_assessable=(),
)

NORMAL = Findings(
    status="analysed",
    software=Software(version="0.1.0", commit="28e610e"),
    reason=None,
    engine=EngineInfo(name="openvino", device="CPU", precision="fp32"),
    models=(
        ModelInfo(name="heart-locator", version="1", sha256="ab" * 32, validated_on_patients=False),
        ModelInfo(name="coronary", version="1", sha256="cd" * 32, validated_on_patients=False),
    ),
    series=SeriesInfo(
        study_uid=HEADER.study_uid,
        series_uid=HEADER.series_uid,
        phase_percent=75.0,
        kvp=120.0,
        slices=280,
        spacing_mm=(0.39, 0.39, 0.5),
    ),
    other_series=(),
    quality=GOOD,
    dominance="right",
    branches=TREE,
    lesions=(),
    bridges=(),
    stents=(),
    calcium=None,
    plaque_total_mm3=PlaqueVolume(total=0.0, calcified=0.0, noncalcified=0.0, low_attenuation=0.0),
    segment_involvement_score=0,
    segment_stenosis_score=0,
    cad_rads=CadRads(category="0", plaque_burden=None, modifiers=(), text="CAD-RADS 0", plaque_burden_reason="no_plaque"),
    timing_s={},
    schema=1,
    calcium_reason="no_series",
)

SEVERAL = msgspec.structs.replace(
    NORMAL,
    lesions=(
        lesion(0, 1, "pLAD", (20, 32, 44), 62.7, "moderate", "mixed", high_risk=("low_attenuation", "positive_remodeling")),
        lesion(1, 1, "mLAD", (80, 90, 100), 0.0, "none", "calcified"),
        lesion(2, 2, "LCx", (60, 70, 80), 49.9, "mild", "noncalcified", high_risk=("spotty_calcification",)),
        lesion(3, 3, "mRCA", (60, 100, 130), 75.2, "severe", "mixed"),
    ),
    bridges=(Bridge(branch=1, start=84, end=120, depth_mm=2.1),),
    stents=(Stent(branch=3, start=165, end=205, assessable=False),),
    calcium=Calcium(
        series_uid="1.2.826.0.1.3680043.10.1.9",
        agatston=256.2,
        volume_mm3=210.0,
        mass_mg=48.2,
        vessels={"LM": 0.0, "LAD": 180.1, "LCX": 30.0, "RCA": 46.1},
    ),
    calcium_reason=None,
    plaque_total_mm3=PlaqueVolume(total=256.0, calcified=80.0, noncalcified=176.0, low_attenuation=26.0),
    segment_involvement_score=5,
    segment_stenosis_score=8,
    cad_rads=CadRads(category="4A", plaque_burden="P2", modifiers=("HRP", "S"), text="CAD-RADS 4A/P2/HRP/S"),
)

OCCLUSION = msgspec.structs.replace(
    NORMAL,
    lesions=(lesion(0, 3, "mRCA", (100, 120, 140), 100.0, "occluded", "noncalcified"),),
    cad_rads=CadRads(category="5", plaque_burden="P1", modifiers=(), text="CAD-RADS 5/P1"),
    segment_involvement_score=1,
    segment_stenosis_score=3,
)

CORRECTED = msgspec.structs.replace(
    NORMAL,
    lesions=(msgspec.structs.replace(lesion(0, 1, "pLAD", (20, 32, 44), 62.7, "severe", "mixed"), grade_source="corrected"),),
    cad_rads=CadRads(category="4A", plaque_burden="P1", modifiers=(), text="CAD-RADS 4A/P1"),
    segment_involvement_score=1,
    segment_stenosis_score=3,
)

NOT_READABLE = msgspec.structs.replace(
    NORMAL,
    quality=msgspec.structs.replace(
        GOOD,
        score=2,
        coverage_complete=False,
        not_assessable=(NotAssessable(segment="mRCA", reason="motion"), NotAssessable(segment="dRCA", reason="motion")),
    ),
    branches=tuple(item for item in TREE if item.vessel != "LCX"),
    dominance=None,
    dominance_reason="not_traced",
    cad_rads=CadRads(category="N", plaque_burden=None, modifiers=(), text="CAD-RADS N", plaque_burden_reason="no_plaque"),
)

DECLINED = Findings(
    status="declined",
    software=Software(version="0.1.0", commit="28e610e"),
    reason=Reason(code="DEC-004", zh="没有动脉期对比剂:主动脉平均 45 HU。", en="No arterial contrast: aorta 45 HU on average."),
    engine=None,
    models=(),
    series=None,
    other_series=(),
    quality=None,
    dominance=None,
    branches=(),
    lesions=(),
    bridges=(),
    stents=(),
    calcium=None,
    plaque_total_mm3=None,
    segment_involvement_score=None,
    segment_stenosis_score=None,
    cad_rads=None,
    timing_s={},
    schema=1,
    engine_reason="declined",
    series_reason="declined",
    quality_reason="declined",
    dominance_reason="declined",
    calcium_reason="declined",
    plaque_total_mm3_reason="declined",
    segment_involvement_score_reason="declined",
    segment_stenosis_score_reason="declined",
    cad_rads_reason="declined",
)

FAILED = msgspec.structs.replace(
    DECLINED,
    status="failed",
    reason=Reason(code="ANA-002", zh="未找到主动脉根部。", en="The aortic root was not found."),
)

KINDS: dict[str, Findings] = {
    "normal": NORMAL,
    "several": SEVERAL,
    "occlusion": OCCLUSION,
    "corrected": CORRECTED,
    "not-readable": NOT_READABLE,
    "declined": DECLINED,
    "failed": FAILED,
}


def picture(width: int, height: int) -> np.ndarray:
    """A made-up RGB picture in which every pixel differs from its neighbours."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)


def view(
    name: str, kind: ViewKind, *, vessel: Vessel | None = None, lesion_id: int | None = None, size: tuple[int, int] = (640, 480)
) -> KeyView:
    """A key view with a made-up picture."""
    return KeyView(
        id=name,
        kind=kind,
        title_zh=f"图 {name}",
        title_en=f"view {name}",
        image=picture(*size),
        vessel=vessel,
        lesion=lesion_id,
        window=None if kind.startswith("vr") else (800.0, 300.0),
    )


KEY_VIEWS = [
    view("vr-heart-0", "vr_heart"),
    view("vr-tree-0", "vr_tree"),
    view("cpr-lad-000", "cpr", vessel="LAD"),
    view("cpr-lcx-000", "cpr", vessel="LCX"),
    view("cpr-rca-000", "cpr", vessel="RCA"),
    view("scpr-lesion-3", "scpr", vessel="RCA", lesion_id=3, size=(900, 320)),
    view("section-lesion-3", "section", vessel="RCA", lesion_id=3, size=(240, 240)),
    view("scpr-lesion-0", "scpr", vessel="LAD", lesion_id=0, size=(900, 320)),
    view("mip-axial", "mip", size=(512, 512)),
]
