"""The few words that stand on a film, Chinese first."""

from __future__ import annotations

from appliance.anatomy import SEGMENTS, Dominance
from appliance.degrees import degree_unknown
from appliance.findings import Findings, Grade, Lesion, PlaqueType, percent_as_read
from appliance.study import StudyHeader

GRADE: dict[Grade, tuple[str, str]] = {
    "none": ("无狭窄", "none"),
    "minimal": ("轻微", "minimal"),
    "mild": ("轻度", "mild"),
    "moderate": ("中度", "moderate"),
    "severe": ("重度", "severe"),
    "occluded": ("闭塞", "occluded"),
}
PLAQUE: dict[PlaqueType, tuple[str, str]] = {
    "calcified": ("钙化", "calcified"),
    "mixed": ("混合", "mixed"),
    "noncalcified": ("非钙化", "non-calcified"),
}
DOMINANCE: dict[Dominance, tuple[str, str]] = {
    "right": ("右优势型", "right dominant"),
    "left": ("左优势型", "left dominant"),
    "codominant": ("均衡型", "co-dominant"),
}
SEX = {"M": "男 M", "F": "女 F", "O": "其他 O"}
UNKNOWN = "—"
UNREADABLE = ("程度无法评价", "not assessable")


def sex(header: StudyHeader) -> str:
    """PatientSex in words."""
    return SEX.get(header.patient_sex.upper(), UNKNOWN)


def age(header: StudyHeader) -> str:
    """PatientAge (``062Y``) in words; a dash where the images do not say."""
    text = header.patient_age.strip().upper()
    units = {"Y": ("岁", "Y"), "M": ("月", "M"), "W": ("周", "W"), "D": ("天", "D")}
    if len(text) < 2 or text[-1] not in units or not text[:-1].isdigit():
        return UNKNOWN
    zh, en = units[text[-1]]
    return f"{int(text[:-1])} {zh} {en}"


def date(text: str) -> str:
    """A DICOM date as 2026-11-22; a dash for none."""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text or UNKNOWN


def examination_number(header: StudyHeader) -> str:
    """Accession number, else study ID."""
    return header.accession_number or header.study_id or UNKNOWN


def phase(header: StudyHeader, findings: Findings) -> str:
    """Cardiac phase of the measured series."""
    percent = findings.series.phase_percent if findings.series is not None else header.phase_percent
    return f"{percent:g}%" if percent is not None else UNKNOWN


def percent(lesion: Lesion) -> str:
    """Diameter stenosis in whole percent; a dash where it was not measured."""
    value = lesion.diameter_stenosis_percent
    if value is None:
        return UNKNOWN
    return percent_as_read(value)


def grade(lesion: Lesion) -> str:
    """Degree in both languages; says so where a person corrected it, and where nobody knows it."""
    zh, en = UNREADABLE if degree_unknown(lesion) else GRADE[lesion.grade]
    return f"{zh} {en}" + ("*" if lesion.grade_source == "corrected" else "")


def segment(lesion: Lesion) -> str:
    """Segment in short and in Chinese; the vessel's branch where the segment model has no name for it."""
    return f"{short_segment(lesion)} {SEGMENTS[lesion.segment].zh}" if lesion.segment != "other" else short_segment(lesion)


def short_segment(lesion: Lesion) -> str:
    """Abbreviation of the segment, e.g. ``pLAD``; ``RCA 分支 branch`` where the segment model has no name for it."""
    return lesion.segment if lesion.segment != "other" else f"{lesion.vessel if lesion.vessel != 'other' else ''} 分支 branch".strip()


def lesion_title(lesion: Lesion) -> str:
    """One line over a lesion's pictures."""
    plaque_zh, plaque_en = PLAQUE[lesion.plaque_type]
    narrowing = f"{percent(lesion)} {grade(lesion)}" if lesion.grade != "none" else grade(lesion)
    return f"{short_segment(lesion)}  {narrowing} · {plaque_zh} {plaque_en} · {lesion.length_mm:.0f} mm"
