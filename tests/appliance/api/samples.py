"""Plausible studies for the API and kiosk tests: findings, report text and drawn key views."""

from __future__ import annotations

import io
from functools import cache

import msgspec
import numpy as np
from PIL import Image, ImageDraw

from appliance.anatomy import SEGMENTS, SegmentName
from appliance.api.messages import (
    DRAFT_NOTICE,
    NOT_VALIDATED_NOTICE,
    CadRads,
    Findings,
    Grade,
    Health,
    Lesion,
    PictureInfo,
    Reason,
    ReportSection,
    ReportText,
    StudyDetail,
    StudyHeader,
    StudyRow,
    StudyState,
)
from appliance.comparison import summary
from appliance.findings import Branch, EngineInfo, ModelInfo, PlaqueVolume, Quality, SeriesInfo, Software

CATEGORY_OF_GRADE: dict[Grade, str] = {
    "none": "0", "minimal": "1", "mild": "2", "moderate": "3", "severe": "4A", "occluded": "5",
}  # fmt: skip


def header(number: int, *, name: str, sex: str = "M", age: str = "061Y", phase: float | None = 75) -> StudyHeader:
    return StudyHeader(
        study_uid=f"2.25.{number}",
        series_uid=f"2.25.{number}.1",
        patient_name=name,
        patient_id=f"C{number:07d}",
        patient_sex=sex,
        patient_age=age,
        study_date="20261122",
        study_time="093000",
        accession_number=f"A{number:06d}",
        institution="示范医院",
        phase_percent=phase,
    )


def lesion(
    number: int,
    segment: str,
    vessel: str,
    percent: float | None,
    grade: Grade,
    *,
    plaque: str = "mixed",
    high_risk: tuple[str, ...] = (),
    length: float = 12.4,
) -> Lesion:
    branch, first = place_in_tree(segment)
    volume = PlaqueVolume(total=84.0, calcified=21.0, noncalcified=63.0, low_attenuation=6.5)
    return Lesion(
        id=number,
        branch=branch,
        vessel=vessel,  # type: ignore[arg-type]
        segment=segment,  # type: ignore[arg-type]
        start=first + 10,
        minimum=first + 20,
        end=first + 35,
        length_mm=length,
        minimum_lumen_diameter_mm=None if percent is None else 3.2 * (1 - percent / 100),
        reference_diameter_mm=3.2,
        diameter_stenosis_percent=percent,
        area_stenosis_percent=None if percent is None else 100 * (1 - (1 - percent / 100) ** 2),
        grade=grade,
        plaque_type=plaque,  # type: ignore[arg-type]
        volume_mm3=volume,
        remodeling_index=1.14,
        plaque_burden_percent=62.0,
        high_risk=high_risk,  # type: ignore[arg-type]
        confidence=0.83,
    )


TREE: tuple[tuple[tuple[SegmentName, ...], int | None, float], ...] = (
    (("LM",), None, 0.97),
    (("pLAD", "mLAD", "dLAD"), 0, 0.96),
    (("D1",), 1, 0.72),
    (("pLCx", "LCx"), 0, 0.94),
    (("OM1",), 3, 0.58),
    (("other",), 1, 0.31),
    (("pRCA", "mRCA", "dRCA"), None, 0.98),
    (("R-PDA",), 6, 0.81),
    (("R-PLB",), 6, 0.77),
)
"""Segments, parent and confidence of the names of the samples' branches."""


def sample_branches() -> tuple[Branch, ...]:
    """A right-dominant tree; each segment has 60 points 0.5 mm apart."""
    branches = []
    for number, (names, parent, confidence) in enumerate(TREE):
        count = 60 * len(names)
        branches.append(
            Branch(
                id=number,
                parent=parent,
                parent_index=None if parent is None else 59,
                vessel=SEGMENTS[names[0]].vessel if names[0] != "other" else "LAD",
                points_mm=tuple((10.0 * number, 0.0, -0.5 * index) for index in range(count)),
                segments=tuple((60 * index, 60 * index + 60, name) for index, name in enumerate(names)),
                name_confidence=confidence,
                lumen_diameter_mm=(3.0,) * count,
                vessel_diameter_mm=(3.8,) * count,
                parent_reason="ostium" if parent is None else None,
                parent_index_reason="ostium" if parent is None else None,
            )
        )
    return tuple(branches)


def place_in_tree(segment: str) -> tuple[int, int]:
    """Branch of the samples that has a segment, and the segment's first point; (0, 0) where none has."""
    for branch in sample_branches():
        for start, _, name in branch.segments:
            if name == segment:
                return branch.id, start
    return 0, 0


def sample_lesions() -> tuple[Lesion, ...]:
    return (
        lesion(0, "pLAD", "LAD", 63.4, "moderate", high_risk=("low_attenuation", "positive_remodeling"), length=14.8),
        lesion(1, "mLAD", "LAD", 31.0, "mild", plaque="noncalcified", length=8.1),
        lesion(2, "D1", "LAD", 0.0, "none", plaque="calcified", length=4.2),
        lesion(3, "LCx", "LCX", 18.2, "minimal", plaque="calcified", length=6.0),
        lesion(4, "pRCA", "RCA", 44.9, "mild", length=17.3),
    )


def make_findings(lesions: tuple[Lesion, ...]) -> Findings:
    worst = max((CATEGORY_OF_GRADE[each.grade] for each in lesions), default="0")
    modifiers = ("HRP",) if any(len(each.high_risk) >= 2 for each in lesions) else ()
    burden = "P2" if lesions else None
    text = "/".join(["CAD-RADS " + worst, *([burden] if burden else []), *modifiers])
    return Findings(
        status="analysed",
        software=Software(version="0.1.0", commit="test"),
        reason=None,
        engine=EngineInfo(name="openvino", device="CPU", precision="f32"),
        models=(ModelInfo(name="coronary", version="1", sha256="0" * 64, validated_on_patients=False),),
        series=SeriesInfo(study_uid="2.25.1", series_uid="2.25.1.1", phase_percent=75, kvp=120, slices=280, spacing_mm=(0.4, 0.4, 0.5)),
        other_series=(),
        quality=Quality(score=4, aorta_mean_hu=438, aorta_noise_hu=24, cnr=18, motion=0.1, coverage_complete=True, not_assessable=()),
        dominance="right",
        branches=sample_branches(),
        lesions=lesions,
        bridges=(),
        stents=(),
        calcium=None,
        plaque_total_mm3=PlaqueVolume(total=312, calcified=88, noncalcified=224, low_attenuation=14),
        segment_involvement_score=4,
        segment_stenosis_score=6,
        cad_rads=CadRads(
            category=worst,  # type: ignore[arg-type]
            plaque_burden=burden,  # type: ignore[arg-type]
            modifiers=modifiers,
            text=text,
        ),
        timing_s={"read": 3.1, "total": 62.0},
        schema=1,
    )


def make_report(findings: Findings) -> ReportText:
    category = findings.cad_rads.text if findings.cad_rads else ""
    zh = (
        ReportSection(heading="检查技术", sentences=("前瞻性心电门控冠状动脉 CT 血管成像,75% 期相。",)),
        ReportSection(heading="图像质量", sentences=("图像质量良好。",)),
        ReportSection(
            heading="印象",
            sentences=(
                "CT 所见提示:",
                "1. 左前降支近段混合斑块,管腔中度狭窄,提示高危斑块。",
                "2. 左前降支中段非钙化斑块,管腔轻度狭窄。",
                "3. 右冠状动脉近段混合斑块,管腔轻度狭窄。",
                "4. 左回旋支中远段钙化斑块,管腔轻微狭窄。",
                f"{category};建议结合临床,必要时行功能学检查或 CT-FFR。",
            ),
        ),
    )
    en = (
        ReportSection(heading="Technique", sentences=("Prospectively ECG-gated coronary CT angiography, 75 % phase.",)),
        ReportSection(heading="Image quality", sentences=("Good image quality.",)),
        ReportSection(
            heading="Impression",
            sentences=(
                "CT findings suggest:",
                "1. Mixed plaque in the proximal LAD causing moderate stenosis, with high-risk features.",
                "2. Non-calcified plaque in the mid LAD causing mild stenosis.",
                "3. Mixed plaque in the proximal RCA causing mild stenosis.",
                "4. Calcified plaque in the mid to distal LCx causing minimal stenosis.",
                f"{category}; correlate clinically, functional testing or CT-FFR where needed.",
            ),
        ),
    )
    return ReportText(
        title_zh="冠状动脉 CT 血管成像报告", title_en="Coronary CT angiography report", zh=zh, en=en,
        notices=(DRAFT_NOTICE, NOT_VALIDATED_NOTICE),
    )  # fmt: skip


PICTURES: tuple[PictureInfo, ...] = tuple(
    PictureInfo(id=name, kind=kind, title_zh=zh, title_en=en, width=640, height=640, vessel=vessel, lesion=mark)  # type: ignore[arg-type]
    for name, kind, zh, en, vessel, mark in (
        ("vr-heart-000", "vr_heart", "心脏容积再现 前位", "Heart VR, anterior", None, None),
        ("vr-tree-000", "vr_tree", "冠脉树容积再现", "Coronary tree VR", None, None),
        ("cpr-lad-000", "cpr", "左前降支 CPR 0°", "LAD CPR 0°", "LAD", None),
        ("cpr-lad-090", "cpr", "左前降支 CPR 90°", "LAD CPR 90°", "LAD", None),
        ("scpr-lad", "scpr", "左前降支拉直", "LAD straightened", "LAD", None),
        ("section-0", "section", "近段狭窄横断面", "Sections at the proximal stenosis", "LAD", 0),
        ("cpr-lcx-000", "cpr", "左回旋支 CPR 0°", "LCX CPR 0°", "LCX", None),
        ("cpr-rca-000", "cpr", "右冠状动脉 CPR 0°", "RCA CPR 0°", "RCA", None),
        ("section-4", "section", "右冠近段狭窄横断面", "Sections at the proximal RCA stenosis", "RCA", 4),
        ("mip-axial", "mip", "薄层 MIP 轴位", "Thin MIP, axial", None, None),
    )
)


@cache
def draw_picture(info: PictureInfo) -> bytes:
    """The PNG of a grey picture with a bright winding vessel, so that a screen has something to show."""
    size = 640
    seed = sum(info.id.encode())
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    grey = 46 + 26 * np.sin(5 * x + seed) * np.cos(4 * y) + noise.normal(0, 7, (size, size))
    heart = ((x - 0.5) / 0.38) ** 2 + ((y - 0.52) / 0.44) ** 2 < 1
    grey = np.where(heart, grey + 40, grey - 22)
    warm = info.kind in ("vr_heart", "vr_tree")
    tone = np.array([1.25, 0.72, 0.6]) if warm else np.ones(3)
    image = Image.fromarray(np.clip(grey[..., None] * tone, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    points = [(size * (0.5 + 0.2 * np.sin(t * 4 + seed)), size * (0.12 + 0.76 * t)) for t in np.linspace(0, 1, 60)]
    for index, (px, py) in enumerate(points):
        radius = 13 - 7 * index / 60 - (5 if 22 < index < 28 else 0)
        pen.ellipse((px - radius, py - radius, px + radius, py + radius), fill=(255, 214, 170) if warm else (225, 225, 225))
    png = io.BytesIO()
    image.save(png, "PNG", compress_level=1)
    return png.getvalue()


def row(key: str, state: StudyState, head: StudyHeader, *, received_at: float, **more: object) -> StudyRow:
    fields: dict[str, object] = {"images": 280, "updated_at": received_at + 60, "revision": 1} | more
    return StudyRow(key=key, state=state, header=head, received_at=received_at, **fields)  # type: ignore[arg-type]


def sample_details(now: float) -> list[StudyDetail]:
    """One study in every state that matters to the worklist."""
    before = make_findings((lesion(0, "pLAD", "LAD", 41.0, "mild"), lesion(1, "LCx", "LCX", 18.0, "minimal")))
    earlier = summary(before, study_date="20250318", final=True)
    findings = msgspec.structs.replace(make_findings(sample_lesions()), earlier=earlier)
    report = make_report(findings)
    drafted = {"findings": findings, "report": report, "pictures": PICTURES, "notices": (DRAFT_NOTICE, NOT_VALIDATED_NOTICE)}
    text = findings.cad_rads.text if findings.cad_rads else None
    severe = make_findings((lesion(0, "pLAD", "LAD", 84.0, "severe"), lesion(1, "mRCA", "RCA", 71.0, "severe")))
    severe_text = severe.cad_rads.text if severe.cad_rads else None
    clean = make_findings(())
    return [
        StudyDetail(row=row("s-draft", "draft", header(1, name="Zhang^Jianguo=张^建国"), received_at=now - 300, cad_rads=text), **drafted),  # type: ignore[arg-type]
        StudyDetail(
            row=row(
                "s-urgent",
                "draft",
                header(2, name="Li^Xiuying=李^秀英", sex="F", age="072Y"),
                received_at=now - 120,
                urgent=True,
                cad_rads=severe_text,
            ),
            findings=severe,
            report=make_report(severe),
            pictures=PICTURES,
            notices=(DRAFT_NOTICE, NOT_VALIDATED_NOTICE),
        ),
        StudyDetail(
            row=row(
                "s-analysing",
                "analysing",
                header(3, name="Wang^Wei=王^伟"),
                received_at=now - 70,
                stage="segment",
                progress=0.46,
                revision=0,
            )
        ),
        StudyDetail(row=row("s-receiving", "receiving", header(4, name="Liu^Yang=刘^洋", age="055Y"), received_at=now - 8, images=112)),
        StudyDetail(row=row("s-queued", "queued", header(5, name="Ouyang^Zhenhua=欧阳^振华", age="049Y"), received_at=now - 30)),
        StudyDetail(
            row=row(
                "s-declined",
                "declined",
                header(6, name="Chen^Jing=陈^静", sex="F", age="038Y", phase=None),
                received_at=now - 900,
                reason=Reason(code="DEC-004", zh="未见对比剂增强,不是冠状动脉 CTA", en="no contrast enhancement: not a coronary CTA"),
            )
        ),
        StudyDetail(
            row=row(
                "s-failed",
                "failed",
                header(7, name="Smith^John", age="066Y"),
                received_at=now - 1500,
                reason=Reason(code="ANA-010", zh="未找到升主动脉", en="the ascending aorta was not found"),
            )
        ),
        StudyDetail(
            row=row(
                "s-delivered",
                "delivered",
                header(8, name="Zhao^Min=赵^敏", sex="F", age="058Y"),
                received_at=now - 4000,
                cad_rads="CAD-RADS 0",
            ),
            findings=clean,
            report=make_report(clean),
            pictures=PICTURES[:3],
            notices=(NOT_VALIDATED_NOTICE,),
        ),
    ]


HEALTH = Health(receiver_ready=True, analyst_ready=True, engine="OpenVINO CPU", disk_free_fraction=0.62)
