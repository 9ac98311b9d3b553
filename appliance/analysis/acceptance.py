"""Whether a series is a coronary CT angiogram that may be analysed, by its headers and geometry alone.

The gate of the product (limits from the SCCT acquisition guideline, JCCT 2016;10:435, and Chinese practice): too thick, too far apart,
incomplete or plainly something else is declined; merely unusual is warned of. Contrast in the pixels is judged later, by ``quality``.

    DEC-001  not CT                            DEC-007  slices thicker than 1.0 mm
    DEC-002  scout                             DEC-008  slices more than 0.8 mm apart
    DEC-003  secondary, MPR, MIP               DEC-009  gaps, tilt, mixture: no regular volume
    DEC-004  lung or bone kernel               DEC-010  too few slices, coronaries not covered
    DEC-005  wrong body part                   DEC-011  not axial
    DEC-006  no contrast agent                 DEC-012  no images
    DEC-013  images that do not say which study, series or instance they are

Warnings: DEC-051 thickness, DEC-052 increment, DEC-053 field of view, DEC-054 sharp kernel, DEC-055 derived image, DEC-056 body part,
DEC-057 pixel size, DEC-058 voxels without a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from appliance.analysis.kernels import sharpness
from appliance.analysis.slices import SliceHeader
from appliance.analysis.stack import main_phase, split_phases, stack_slices
from appliance.errors import Reason, VolumeError
from appliance.volume import Geometry

THICKEST_MM, THICK_MM = 1.0, 0.75
FARTHEST_MM, FAR_MM = 0.8, 0.5
LEAST_COVERAGE_MM = 90.0
"""The coronary arteries of a small heart span some 100 mm; a prospective scan may be cut close."""
LEAST_FIELD_MM = 100.0
USUAL_FIELD_MM = (160.0, 260.0)
TOLERANCE_MM = 0.005
"""Headers round: a 0.8 mm increment may come as 0.8001."""
AXIAL = 0.9
"""Cosine between slice normal and body axis: up to 25 degrees off still counts as axial; the same for the rows in the slice."""
COARSE_MM = 0.6
"""Pixels of a field of 300 mm; the coronary arteries are two to four millimetres wide."""

CT_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
REFORMATTED = frozenset({
    "MPR", "REFORMATTED", "RESAMPLED", "MIP", "MINIP", "MAX_IP", "MIN_IP", "AVERAGE", "CURVED", "CPR", "VRT", "VOLREN",
    "PROJECTION IMAGE", "CSA MPR", "CSAPARALLEL", "SCREEN SAVE", "PERFUSION", "SUBTRACTION",
})  # fmt: skip
WRONG_PARTS = frozenset({
    "HEAD", "BRAIN", "SKULL", "NECK", "HEADNECK", "SINUS", "IAC", "ORBIT", "FACE", "JAW", "ABDOMEN", "PELVIS", "ABDOMENPELVIS", "LIVER",
    "KIDNEY", "PANCREAS", "COLON", "SPINE", "CSPINE", "TSPINE", "LSPINE", "SSPINE", "HIP", "KNEE", "LEG", "FEMUR", "TIBIA", "ANKLE",
    "FOOT", "SHOULDER", "ARM", "ELBOW", "WRIST", "HAND", "EXTREMITY", "HUMERUS", "PROSTATE", "UTERUS",
})  # fmt: skip
CARDIAC_WORDS = re.compile(r"\bcor|corcta|coron|cardi|heart|\bccta|\bctca|冠|心脏|心臟", re.IGNORECASE)
LUNG_WORDS = re.compile(r"\blung|\bhrct\b|肺", re.IGNORECASE)
NO_CONTRAST_AGENT = re.compile(r"\s*(none|no|non|without|no contrast|nil|n/?a|无|未用|平扫)\s*", re.IGNORECASE)
NO_CONTRAST_WORDS = re.compile(
    r"non[\s\-_]?contrast|without contrast|w/o contrast|\bunenhanced|\bnative\b|平扫|未增强"
    r"|ca[\s\-_]?sc(ore)?|calcium|\bcacs?\b|agatston|钙化|积分",
    re.IGNORECASE,
)

Rule = Callable[[Sequence[SliceHeader]], Reason | None]


def judge(headers: Sequence[SliceHeader]) -> Reason | None:
    """Why the series may not be analysed; None if it may.

    Args:
        headers: of all slices of one series (several phases allowed: the one that would be analysed is judged).
    """
    images = [header for header in headers if header.rows > 0]
    if not images:
        return _declined("DEC-012", "没有影像", "it holds no images")
    for rule in (_unnamed, _not_ct, _scout, _reformatted, _body_part, _no_contrast, _kernel):
        if (reason := rule(images)) is not None:
            return reason
    phase = main_phase(images)
    try:
        stack = stack_slices(phase)
    except VolumeError as error:
        # One slice, or a handful, has no geometry to speak of; what is wrong with it is that it is no scan of a heart.
        return _too_thick(phase) or _declined("DEC-009", error.zh, error.en)
    # Thickness before increment: it is what a person knows of a protocol.
    return _not_axial(stack.geometry) or _too_thick(phase) or judge_geometry(stack.geometry)


def judge_geometry(geometry: Geometry) -> Reason | None:
    """Why a volume may not be analysed by its grid alone, of which a NIfTI file says no more; None if it may."""
    return _not_axial(geometry) or _too_far_apart(geometry) or _not_covered(geometry)


def warn(headers: Sequence[SliceHeader]) -> tuple[Reason, ...]:
    """What is unusual about a series that is accepted; shown beside the result."""
    phase = main_phase([header for header in headers if header.rows > 0])
    stack = stack_slices(phase)
    return tuple(filter(None, (_thick(phase), *warn_geometry(stack.geometry), _sharp(phase), _derived(phase), _odd_part(phase))))


def warn_geometry(geometry: Geometry) -> tuple[Reason, ...]:
    """What is unusual about a volume by its grid alone."""
    return tuple(filter(None, (_far(geometry), _field(geometry), _coarse(geometry))))


def is_complete(headers: Sequence[SliceHeader]) -> bool:
    """Whether the images received make whole volumes: every phase regular, without gaps. A scout or a report is never waited for."""
    images = [header for header in headers if header.rows > 0 and header.sop_class_uid in CT_CLASSES and not _is_scout(header)]
    if not images:
        return True
    try:
        for phase in split_phases(images):
            stack_slices(phase)
    except VolumeError:
        return False
    return True


def is_calcium_scan(headers: Sequence[SliceHeader]) -> bool:
    """Whether the series is a calcium scan: 2.5-3 mm slices of the heart without contrast agent."""
    images = [header for header in headers if header.rows > 0]
    if not images or any(rule(images) is not None for rule in (_not_ct, _scout, _reformatted, _kernel)):
        return False
    first = images[0]
    thickness = first.thickness or 0.0
    if not 2.4 <= thickness <= 3.1 or first.contrast_given or not (NO_CONTRAST_WORDS.search(_texts(first)) or _says_cardiac(first)):
        return False
    if first.study.contrast_agent and not NO_CONTRAST_AGENT.fullmatch(first.study.contrast_agent):
        return False
    try:
        return stack_slices(main_phase(images)).coverage_mm >= LEAST_COVERAGE_MM
    except VolumeError:
        return False


def _declined(code: str, zh: str, en: str) -> Reason:
    return Reason(code, zh=f"不是可以分析的冠状动脉 CTA:{zh}。", en=f"Not a coronary CTA that can be analysed: {en}.")


def _texts(header: SliceHeader) -> str:
    study = header.study
    return f"{study.series_description} {study.protocol} {header.comment}"


def _says_cardiac(header: SliceHeader) -> bool:
    gated = header.study.phase_percent is not None or header.trigger_ms is not None
    return gated or CARDIAC_WORDS.search(f"{_texts(header)} {header.study.study_description} {header.body_part}") is not None


# -- reasons to decline, each by the headers of a series


def _unnamed(images: Sequence[SliceHeader]) -> Reason | None:
    count = sum(not (each.study.study_uid and each.study.series_uid and each.sop_instance_uid) for each in images)
    if count == 0:
        return None
    return _declined("DEC-013", f"{count} 层影像没有检查、序列或实例 UID", f"{count} slices have no study, series or instance UID")


def _not_ct(images: Sequence[SliceHeader]) -> Reason | None:
    wrong = next((each for each in images if each.sop_class_uid not in CT_CLASSES or each.modality != "CT" or each.colour), None)
    if wrong is None:
        return None
    return _declined(
        "DEC-001", f"不是 CT 断层影像(设备类型 {wrong.modality or '未知'})", f"no CT slices (modality {wrong.modality or 'unknown'})"
    )


def _is_scout(header: SliceHeader) -> bool:
    described = re.search(r"\b(scout|topogram|surview|scano|localizer|定位)", header.study.series_description, re.IGNORECASE)
    return "LOCALIZER" in header.image_type or "SCOUT" in header.image_type or described is not None


def _scout(images: Sequence[SliceHeader]) -> Reason | None:
    if not any(map(_is_scout, images)):
        return None
    return _declined("DEC-002", "这是定位像", "it is a scout")


def _reformatted(images: Sequence[SliceHeader]) -> Reason | None:
    for header in images:
        kinds = {kind.upper() for kind in header.image_type}
        if "SECONDARY" in kinds or kinds & REFORMATTED:
            kind = "/".join(header.image_type[:4])
            return _declined("DEC-003", f"是后处理重建影像({kind}),不是原始断层", f"reformatted images, not original slices ({kind})")
    return None


def _body_part(images: Sequence[SliceHeader]) -> Reason | None:
    part = re.sub(r"[\s\-_]", "", images[0].body_part.upper())
    if part not in WRONG_PARTS or _says_cardiac(images[0]):
        return None
    return _declined("DEC-005", f"检查部位为 {images[0].body_part}", f"the body part is {images[0].body_part}")


def _no_contrast(images: Sequence[SliceHeader]) -> Reason | None:
    """Only where the headers say so plainly: many scanners leave the contrast attributes empty on every scan."""
    first = images[0]
    agent, texts = first.study.contrast_agent, _texts(first)
    if agent and NO_CONTRAST_AGENT.fullmatch(agent):
        return _declined("DEC-006", f"未使用对比剂(标注为 {agent})", f"no contrast agent was given ({agent})")
    if not agent and not first.contrast_given and (match := NO_CONTRAST_WORDS.search(texts)):
        return _declined(
            "DEC-006", f"平扫序列(描述含“{match.group().strip()}”)", f"a scan without contrast agent ('{match.group().strip()}')"
        )
    return None


def _kernel(images: Sequence[SliceHeader]) -> Reason | None:
    study = images[0].study
    if sharpness(study.manufacturer, study.kernel) == "unfit":
        return _declined(
            "DEC-004", f"使用肺或骨算法重建(卷积核 {study.kernel})", f"reconstructed with a lung or bone kernel ({study.kernel})"
        )
    if LUNG_WORDS.search(study.series_description) and not CARDIAC_WORDS.search(study.series_description):
        return _declined("DEC-004", "为肺部重建序列", "a lung reconstruction")
    return None


def _too_thick(images: Sequence[SliceHeader]) -> Reason | None:
    thickness = max((header.thickness or 0.0 for header in images), default=0.0)
    if thickness <= THICKEST_MM + TOLERANCE_MM:
        return None
    return _declined(
        "DEC-007", f"层厚 {thickness:.2f} mm,大于 {THICKEST_MM} mm", f"slices are {thickness:.2f} mm thick, more than {THICKEST_MM} mm"
    )


# -- reasons to decline, each by the geometry


def _not_axial(geometry: Geometry) -> Reason | None:
    """Rows may run along any body axis (the volume is turned when it is read), but not askew: the networks know no askew hearts."""
    if abs(float(geometry.direction[2, 2])) < AXIAL:
        return _declined("DEC-011", "不是横断面影像", "the slices are not axial")
    if float(np.abs(geometry.direction[0, :2]).max()) < AXIAL:
        return _declined("DEC-011", "影像在层面内旋转,无法使用", "the images are turned askew within the slice")
    return None


def warn_valueless(share: float) -> tuple[Reason, ...]:
    """Warning of voxels that hold no number (NaN) and stand as air; ``share`` of the whole, 0 to 1."""
    if share <= 0.0:
        return ()
    percent = f"{100 * share:.1f} %"
    return (Reason("DEC-058", zh=f"{percent} 的体素没有数值,按空气处理", en=f"{percent} of the voxels hold no value and stand as air"),)


def _too_far_apart(geometry: Geometry) -> Reason | None:
    step = geometry.spacing[2]
    if step <= FARTHEST_MM + TOLERANCE_MM:
        return None
    return _declined(
        "DEC-008", f"层间距 {step:.2f} mm,大于 {FARTHEST_MM} mm", f"slices lie {step:.2f} mm apart, more than {FARTHEST_MM} mm"
    )


def _not_covered(geometry: Geometry) -> Reason | None:
    count, length, field = geometry.shape[0], geometry.extent_mm[2], min(geometry.extent_mm[:2])
    if length < LEAST_COVERAGE_MM:
        return _declined(
            "DEC-010",
            f"仅 {count} 层,覆盖 {length:.0f} mm,不足以包括冠状动脉",
            f"only {count} slices, {length:.0f} mm long: the coronary arteries are not covered",
        )
    if field < LEAST_FIELD_MM:
        return _declined("DEC-010", f"视野仅 {field:.0f} mm,未包括整个心脏", f"a field of view of {field:.0f} mm does not hold the heart")
    return None


# -- warnings


def _thick(images: Sequence[SliceHeader]) -> Reason | None:
    thickness = images[0].thickness
    if thickness is None or thickness <= THICK_MM + TOLERANCE_MM:
        return None
    return Reason("DEC-051", zh=f"层厚 {thickness:.2f} mm,偏厚", en=f"slices of {thickness:.2f} mm are on the thick side")


def _far(geometry: Geometry) -> Reason | None:
    step = geometry.spacing[2]
    if step <= FAR_MM + TOLERANCE_MM:
        return None
    return Reason("DEC-052", zh=f"层间距 {step:.2f} mm,偏大", en=f"slices {step:.2f} mm apart are on the wide side")


def _field(geometry: Geometry) -> Reason | None:
    field = float(np.mean(geometry.extent_mm[:2]))
    if USUAL_FIELD_MM[0] <= field <= USUAL_FIELD_MM[1]:
        return None
    return Reason("DEC-053", zh=f"视野 {field:.0f} mm,不是常用的心脏视野", en=f"a field of view of {field:.0f} mm is unusual for the heart")


def _coarse(geometry: Geometry) -> Reason | None:
    pixel = max(geometry.spacing[:2])
    if pixel <= COARSE_MM + TOLERANCE_MM:
        return None
    return Reason("DEC-057", zh=f"像素 {pixel:.2f} mm,过大,小血管显示受限", en=f"pixels of {pixel:.2f} mm are too large for small vessels")


def _sharp(images: Sequence[SliceHeader]) -> Reason | None:
    study = images[0].study
    if sharpness(study.manufacturer, study.kernel) != "sharp":
        return None
    return Reason(
        "DEC-054", zh=f"锐利卷积核 {study.kernel},斑块测量受影响", en=f"the sharp kernel {study.kernel} affects plaque measurements"
    )


def _derived(images: Sequence[SliceHeader]) -> Reason | None:
    if "DERIVED" not in images[0].image_type:
        return None
    return Reason("DEC-055", zh="影像经过后期处理(DERIVED)", en="the images were processed further (DERIVED)")


def _odd_part(images: Sequence[SliceHeader]) -> Reason | None:
    part = re.sub(r"[\s\-_]", "", images[0].body_part.upper())
    if part not in WRONG_PARTS:
        return None
    return Reason("DEC-056", zh=f"检查部位标注为 {images[0].body_part}", en=f"the body part is given as {images[0].body_part}")
