"""The coronary tree in the words of the SCCT 18-segment model.

Source: SCCT 2014 guideline for interpretation and reporting of coronary CTA (JCCT 2014;8:342, App. 1);
codes from DICOM CID 3014 (SNOMED CT).
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Vessel = Literal["LM", "LAD", "LCX", "RCA", "RI", "other"]
Territory = Literal["LM", "LAD", "LCX", "RCA"]
Dominance = Literal["right", "left", "codominant"]
SegmentName = Literal[
    "pRCA", "mRCA", "dRCA", "R-PDA", "LM", "pLAD", "mLAD", "dLAD", "D1", "D2",
    "pLCx", "OM1", "LCx", "OM2", "L-PDA", "R-PLB", "RI", "L-PLB", "other",
]  # fmt: skip


class Segment(msgspec.Struct, frozen=True):
    """One row of the segment table.

    Attributes:
        number: SCCT number 1-18, 0 for branches outside the model.
        name: abbreviation used in every file and screen.
        zh: Chinese name.
        en: English name, lower case, as it stands in a sentence.
        vessel: the vessel whose run the segment belongs to.
        territory: LAD, LCX, RCA or LM, for CAD-RADS vessel counts (RI counts as LCX, SYNTAX rule).
        snomed: SNOMED CT code (CID 3014), None outside the model.
        scored: one of the 16 segments of the segment involvement and stenosis scores.
    """

    number: int
    name: SegmentName
    zh: str
    en: str
    vessel: Vessel
    territory: Territory | None
    snomed: str | None
    scored: bool


SEGMENTS: dict[SegmentName, Segment] = {
    segment.name: segment
    for segment in (
        Segment(1, "pRCA", "右冠状动脉近段", "proximal RCA", "RCA", "RCA", "91083009", True),
        Segment(2, "mRCA", "右冠状动脉中段", "mid RCA", "RCA", "RCA", "450960006", True),
        Segment(3, "dRCA", "右冠状动脉远段", "distal RCA", "RCA", "RCA", "41879009", True),
        Segment(4, "R-PDA", "右后降支", "right posterior descending artery", "RCA", "RCA", "53655008", True),
        Segment(5, "LM", "左主干", "left main", "LM", "LM", "3227004", True),
        Segment(6, "pLAD", "左前降支近段", "proximal LAD", "LAD", "LAD", "68787002", True),
        Segment(7, "mLAD", "左前降支中段", "mid LAD", "LAD", "LAD", "91748002", True),
        Segment(8, "dLAD", "左前降支远段", "distal LAD", "LAD", "LAD", "36672000", True),
        Segment(9, "D1", "第一对角支", "first diagonal", "LAD", "LAD", "91750005", True),
        Segment(10, "D2", "第二对角支", "second diagonal", "LAD", "LAD", "91751009", True),
        Segment(11, "pLCx", "左回旋支近段", "proximal LCx", "LCX", "LCX", "52433000", True),
        Segment(12, "OM1", "第一钝缘支", "first obtuse marginal", "LCX", "LCX", "91754001", True),
        Segment(13, "LCx", "左回旋支中远段", "mid to distal LCx", "LCX", "LCX", "6511003", True),
        Segment(14, "OM2", "第二钝缘支", "second obtuse marginal", "LCX", "LCX", "91755000", True),
        Segment(15, "L-PDA", "左后降支", "left posterior descending artery", "LCX", "LCX", "91760001", False),
        Segment(16, "R-PLB", "右后侧支", "right posterolateral branch", "RCA", "RCA", "91761002", True),
        Segment(17, "RI", "中间支", "ramus intermedius", "RI", "LCX", "244252004", True),
        Segment(18, "L-PLB", "左后侧支", "left posterolateral branch", "LCX", "LCX", "57823005", False),
        Segment(0, "other", "其他分支", "other branch", "other", None, None, False),
    )
}

VESSEL_ZH: dict[Vessel, str] = {
    "LM": "左主干", "LAD": "左前降支", "LCX": "左回旋支", "RCA": "右冠状动脉", "RI": "中间支", "other": "其他分支",
}  # fmt: skip
VESSEL_EN: dict[Vessel, str] = {
    "LM": "left main", "LAD": "left anterior descending artery", "LCX": "left circumflex artery", "RCA": "right coronary artery",
    "RI": "ramus intermedius", "other": "other branch",
}  # fmt: skip
SIDE_BRANCHES: frozenset[SegmentName] = frozenset({"R-PDA", "D1", "D2", "OM1", "OM2", "L-PDA", "R-PLB", "RI", "L-PLB", "other"})
"""Names that a whole branch can have; the others are parts of a trunk."""
MAIN_VESSELS: tuple[Vessel, ...] = ("LAD", "LCX", "RCA")

if set(SEGMENTS) != set(get_args(SegmentName)):
    raise AssertionError("the segment table and SegmentName differ")


def can_be_called(vessel: Vessel, name: SegmentName, *, whole: bool) -> bool:
    """Whether a person may give a name: a trunk's own parts to a part of it; to a whole branch any name.

    Args:
        vessel: of the branch as it is named now.
        name: the new name.
        whole: the branch is renamed as a whole; a trunk's name then makes it that trunk.
    """
    return whole or name in SIDE_BRANCHES or SEGMENTS[name].vessel == vessel
