"""The codes of the structured report.

Sources: DICOM PS3.16 (CID 3014/3015 coronary segments, CID 3020 to 3022 CAD-RADS, CID 3114 study quality, CID 3710 dominance, CID 3802
plaque, CID 6042 status of results, annex D), SNOMED CT, UCUM. What has no standard code there is in our private scheme ``99CCTA``.
CAD-RADS codes in DICOM are those of version 1: plaque burden and HRP of version 2.0 are private.
"""

from __future__ import annotations

from highdicom.sr import CodedConcept

from appliance.anatomy import SEGMENTS, Dominance, SegmentName
from appliance.findings import Grade, GraftKind, HighRiskFeature, NotAssessableReason, PlaqueType, Status

PRIVATE_SCHEME = "99CCTA"
PRIVATE_SCHEME_NAME = "Coronet coronary CT angiography codes"


def _dcm(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "DCM", meaning)


def _sct(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "SCT", meaning)


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, PRIVATE_SCHEME, meaning)


def _ucum(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "UCUM", meaning)


MILLIMETRE = _ucum("mm", "mm")
CUBIC_MILLIMETRE = _ucum("mm3", "cubic millimeter")
MILLIGRAM = _ucum("mg", "milligram")
PERCENT = _ucum("%", "Percent")
RATIO = _ucum("{ratio}", "ratio")
NO_UNITS = _ucum("1", "no units")

REPORT_TITLE = _dcm("126000", "Imaging Measurement Report")
CT_CORONARY_ANGIOGRAPHY = _sct("419545005", "CT angiography of coronary arteries")
LANGUAGE_CHINESE = CodedConcept("zh-CN", "RFC5646", "Chinese (China)")
CORONARY_ARTERY = _sct("41801008", "Coronary artery")
COMMENT = _dcm("121106", "Comment")
IMPRESSION = _dcm("121073", "Impression")
PERSON = _dcm("121006", "Person")
DEVICE = _dcm("121007", "Device")
ROLES = {
    "physician": _sct("309343006", "Physician"),
    "radiographer": _sct("159016003", "Radiologic Technologist"),
}

DIAMETER_STENOSIS = _sct("408715008", "Lumen Diameter Stenosis")
AREA_STENOSIS = _sct("408714007", "Lumen Area Stenosis")
LESION_LENGTH = _sct("408716009", "Stenotic Lesion Length")
LUMEN_DIAMETER = _sct("397413000", "Vessel lumen diameter")
MINIMUM = _sct("255605001", "Minimum")
REFERENCE_DIAMETER = _own("REFDIAM", "Reference lumen diameter")
REMODELING_INDEX = _dcm("122345", "Remodeling Index")
PLAQUE_BURDEN = _dcm("122354", "Plaque Burden")
TOTAL_PLAQUE_VOLUME = _dcm("122376", "Total Plaque Volume")
CALCIFIED_VOLUME = _own("CALCVOL", "Calcified plaque volume")
NONCALCIFIED_VOLUME = _own("NONCALCVOL", "Non-calcified plaque volume")
LOW_ATTENUATION_VOLUME = _own("LAPVOL", "Low-attenuation plaque volume")
LENGTH = _sct("410668003", "Length")
DEPTH = _sct("131197000", "Depth")
STENT_LENGTH = _sct("408703009", "Stent Length")
CALCIUM_SCORE = _sct("450360000", "Coronary artery calcium score")
AGATSTON_METHOD = _dcm("112055", "Agatston scoring method")
CALCIUM_VOLUME = _dcm("122660", "Calcium Volume")
CALCIUM_MASS = _dcm("122661", "Calcium Mass")
INVOLVEMENT_SCORE = _own("SIS", "Segment involvement score")
STENOSIS_SCORE = _own("SSS", "Segment stenosis score")

LESION_MORPHOLOGY = _dcm("122133", "Lesion Morphology")
STENOSIS_GRADE = _own("GRADE", "Stenosis grade (SCCT)")
GRADE_SOURCE = _own("GRADESOURCE", "Source of stenosis grade")
GRADE_CORRECTED = _own("CORRECTED", "Corrected by a person")
HIGH_RISK_FEATURE = _own("HRPFEATURE", "High-risk plaque feature")
ASSESSABILITY = _own("ASSESSABILITY", "Assessability")
ASSESSABLE = _own("ASSESSABLE", "Assessable")
NOT_ASSESSABLE = _own("NOTASSESSABLE", "Not assessable")
NOT_ASSESSABLE_REASON = _own("NOTASSESSREASON", "Reason why not assessable")
DOMINANCE = _own("DOMINANCE", "Coronary dominance")
STUDY_QUALITY = _dcm("122739", "Overall study quality")
SUMMARY_OF_ANALYSES = _dcm("111065", "Summary of Analyses")
CAD_ASSESSMENT = _dcm("130720", "Coronary Artery Disease Assessment")
CAD_MODIFIER = _dcm("130722", "Coronary Artery Disease Stenosis Assessment Modifier")
CAD_PLAQUE_BURDEN = _own("PCATEGORY", "CAD-RADS 2.0 plaque burden category")

STENOSIS = _sct("415582006", "stenosis")
PLAQUE = _sct("1522000", "plaque")
OCCLUSION = _sct("26036001", "occlusion")
MUSCLE_BRIDGE = _sct("424045003", "Muscle Bridge")
STENT = _sct("65818007", "Stent")
GRAFT = _own("GRAFT", "Coronary artery bypass graft")
GRAFT_KIND = _own("GRAFTKIND", "Kind of bypass graft")
GRAFT_KINDS: dict[GraftKind, CodedConcept] = {
    "arterial": _own("GRAFTARTERIAL", "Arterial graft"),
    "venous": _own("GRAFTVENOUS", "Graft from the ascending aorta"),
    "unknown": _own("GRAFTUNKNOWN", "Kind of graft not known"),
}
PATENCY = _own("PATENCY", "Patency of bypass graft")
PATENCIES = {
    "patent": _own("PATENT", "Patent"),
    "narrowed": _own("NARROWED", "Narrowed by half or more"),
    "occluded": OCCLUSION,
}

STATUSES: dict[Status, CodedConcept] = {
    "analysed": _dcm("111222", "Succeeded"),
    "failed": _dcm("111224", "Failed"),
    "declined": _dcm("111225", "Not Attempted"),
}
GRADES: dict[Grade, CodedConcept] = {
    "none": _sct("260413007", "None"),
    "minimal": _sct("255605001", "Minimal"),
    "mild": _sct("255604002", "Mild"),
    "moderate": _sct("6736007", "Moderate"),
    "severe": _sct("24484000", "Severe"),
    "occluded": OCCLUSION,
}
PLAQUES: dict[PlaqueType, CodedConcept] = {
    "calcified": _sct("18115005", "Pathologic calcification"),
    "mixed": _sct("26242008", "mixed"),
    "noncalcified": _sct("17589002", "non-calcified"),
}
HIGH_RISK: dict[HighRiskFeature, CodedConcept] = {
    "low_attenuation": _own("LAP", "Low-attenuation plaque"),
    "positive_remodeling": _own("PR", "Positive remodeling"),
    "spotty_calcification": _own("SPOTTY", "Spotty calcification"),
    "napkin_ring": _own("NAPKIN", "Napkin-ring sign"),
}
NOT_ASSESSABLE_REASONS: dict[NotAssessableReason, CodedConcept] = {
    "motion": _own("MOTION", "Motion artifact"),
    "noise": _own("NOISE", "Image noise"),
    "blooming": _own("BLOOMING", "Calcium blooming"),
    "stent": _own("STENTARTIFACT", "Stent artifact"),
    "truncated": _own("TRUNCATED", "Truncated coverage"),
}
DOMINANCES: dict[Dominance, CodedConcept] = {
    "right": _sct("253728007", "Right Coronary Dominance"),
    "left": _sct("253729004", "Left Coronary Dominance"),
    "codominant": _sct("253730009", "Balanced Coronary Dominance"),
}
QUALITY_SCORES: dict[int, CodedConcept] = {
    5: _dcm("122740", "Excellent image quality"),
    4: _dcm("122741", "Good image quality"),
    3: _own("FAIRQUALITY", "Fair image quality"),
    2: _dcm("122742", "Poor image quality"),
    1: _dcm("111235", "Unusable - Quality renders image unusable"),
}
CATEGORIES: dict[str, CodedConcept] = {
    "0": _dcm("130723", "0 - Documented absence of CAD"),
    "1": _dcm("130724", "1 - Minimal non-obstructive CAD"),
    "2": _dcm("130725", "2 - Mild non-obstructive CAD"),
    "3": _dcm("130726", "3 - Moderate stenosis"),
    "4A": _dcm("130728", "4A - Severe stenosis"),
    "4B": _dcm("130729", "4B - Severe stenosis"),
    "5": _dcm("130730", "5 - Total coronary occlusion"),
    "N": _dcm("130731", "N - Non-diagnostic study"),
}
MODIFIERS: dict[str, CodedConcept] = {
    "N": _dcm("130732", "N - Non-diagnostic segments"),
    "S": _dcm("130733", "S - Stent"),
    "G": _dcm("130734", "G - Graft"),
}
VESSEL_SITES: dict[str, CodedConcept] = {
    "LM": _sct("3227004", "Left Main Coronary Artery"),
    "LAD": _sct("59438005", "Left Anterior Descending Coronary Artery"),
    "LCX": _sct("57396003", "Circumflex Coronary Artery"),
    "RCA": _sct("13647002", "Right Coronary Artery"),
}
SEGMENT_MEANINGS: dict[SegmentName, str] = {
    "pRCA": "Proximal Right Coronary Artery",
    "mRCA": "Mid Right Coronary Artery",
    "dRCA": "Distal Right Coronary Artery",
    "R-PDA": "Posterior Descending Right Coronary Artery",
    "LM": "Left Main Coronary Artery",
    "pLAD": "Proximal Left Anterior Descending Coronary Artery",
    "mLAD": "Mid Left Anterior Descending Coronary Artery",
    "dLAD": "Distal Left Anterior Descending Coronary Artery",
    "D1": "1st Diagonal Coronary Artery",
    "D2": "2nd Diagonal Coronary Artery",
    "pLCx": "Proximal Circumflex Coronary Artery",
    "OM1": "1st Marginal Coronary Artery",
    "LCx": "Distal Circumflex Coronary Artery",
    "OM2": "2nd Marginal Coronary Artery",
    "L-PDA": "Left Posterior Descending Circumflex Coronary Artery",
    "R-PLB": "1st Right posterolateral Coronary Artery",
    "RI": "Intermediate Artery (Ramus)",
    "L-PLB": "Left Posterolateral Circumflex Coronary Artery",
}


def segment_site(name: SegmentName) -> CodedConcept:
    """The segment's code of CID 3014 or 3015; a branch outside the model is 'Coronary artery'."""
    code = SEGMENTS[name].snomed
    return CORONARY_ARTERY if code is None else _sct(code, SEGMENT_MEANINGS[name])


def modifier(text: str) -> CodedConcept:
    """The code of a CAD-RADS modifier; private for those of version 2.0 (HRP, I+, I-, E)."""
    return MODIFIERS.get(text) or _own(f"MODIFIER-{text}", f"CAD-RADS modifier {text}")


def plaque_burden(category: str) -> CodedConcept:
    """The private code of P1 to P4."""
    return _own(category, f"CAD-RADS plaque burden {category}")
