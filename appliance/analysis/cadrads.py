"""Segment scores and CAD-RADS 2.0.

Sources: categories, CAD-RADS 2.0 (JCCT 2022;16:536); segment involvement and segment stenosis score over 16 segments (Min et al., JACC
2007;50:1161). Each rule stands in one table; the degrees of stenosis in `degrees`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from appliance.anatomy import SEGMENTS, SegmentName, Territory, Vessel
from appliance.degrees import Bands as Bands
from appliance.degrees import cad_rads_grade, involved_segments
from appliance.degrees import grade_of as grade_of
from appliance.errors import AnalysisError
from appliance.findings import (
    GRADES,
    Branch,
    CadRads,
    Entered,
    Findings,
    Grade,
    Graft,
    InStent,
    Lesion,
    NotAssessable,
    Quality,
    Stent,
    VariantName,
    is_bypassed,
)
from appliance.trunks import missing_trunks

Category = Literal["0", "1", "2", "3", "4A", "4B", "5", "N"]
Burden = Literal["P1", "P2", "P3", "P4"]

CATEGORY: dict[Grade, Category] = {
    "none": "1",  # plaque without narrowing
    "minimal": "1",
    "mild": "2",
    "moderate": "3",
    "severe": "4A",
    "occluded": "5",
}
"""99 % is still 4A: 5 is total occlusion. What counts as one is measured (`lesion_degree`): no lumen, or thin blood behind."""
BURDEN_BY_CALCIUM: tuple[tuple[int, Burden], ...] = ((1000, "P4"), (301, "P3"), (101, "P2"), (1, "P1"))
BURDEN_BY_SIS: tuple[tuple[int, Burden], ...] = ((8, "P4"), (5, "P3"), (3, "P2"), (1, "P1"))
STENOSIS_SCORE: dict[Grade, int] = {"none": 1, "minimal": 1, "mild": 1, "moderate": 2, "severe": 3, "occluded": 3}
MODIFIER_ORDER = ("N", "HRP", "I+", "I-", "I±", "S", "G", "E")
SMALLEST_GRADED_MM = 1.5
EXCEPTIONAL: frozenset[VariantName] = frozenset({"interarterial_course"})
"""Variants that make the modifier E: disease that is no atherosclerosis."""
IN_STENT: dict[InStent, Grade] = {"patent": "none", "narrowed": "moderate", "occluded": "occluded"}
"""Least degree that the blood inside a stent stands for, and that of a graft."""
THREE_VESSELS: frozenset[Territory] = frozenset({"LAD", "LCX", "RCA"})
_SCORED_SEGMENTS = frozenset(name for name, segment in SEGMENTS.items() if segment.scored)

UNREADABLE = "not_assessable"
"""Reason of a lesion without a degree: the image does not let it be read."""


def territory_of(vessel: Vessel, segment: SegmentName) -> Territory | None:
    """LM, LAD, LCX or RCA: branches count to their parent vessel, a ramus to the LCX (SYNTAX)."""
    folded: dict[Vessel, Territory] = {"LM": "LM", "LAD": "LAD", "LCX": "LCX", "RI": "LCX", "RCA": "RCA"}
    return SEGMENTS[segment].territory or folded.get(vessel)


def segment_scores(lesions: Sequence[Lesion], branches: Sequence[Branch]) -> tuple[int, int]:
    """Segment involvement score 0-16 and segment stenosis score 0-48.

    A plaque involves every scored segment that it reaches into; its degree counts where its minimum lies, elsewhere as plaque only.
    """
    by_id = {branch.id: branch for branch in branches}
    worst: dict[SegmentName, int] = {}
    for lesion in lesions:
        for name in _SCORED_SEGMENTS.intersection(involved_segments(lesion, by_id.get(lesion.branch))):
            value = STENOSIS_SCORE[cad_rads_grade(lesion)] if name == lesion.segment else 1
            worst[name] = max(worst.get(name, 0), value)
    return len(worst), sum(worst.values())


def plaque_burden(involvement: int) -> Burden | None:
    """P by segment involvement: <= 2 P1, 3-4 P2, 5-7 P3, >= 8 P4; None without plaque."""
    for least, burden in BURDEN_BY_SIS:
        if involvement >= least:
            return burden
    return None


def burden_of(involvement: int, *, agatston: float | None, stented: bool) -> Burden | None:
    """P by the calcium score where there is one, by segment involvement where there is none.

    Segment involvement also counts where a stent hides calcium, and where plaque is seen though the calcium score is 0: the two scales are
    never mixed.
    """
    if agatston is None or stented or not _scores(agatston):
        return plaque_burden(involvement)
    return next(burden for least, burden in BURDEN_BY_CALCIUM if round(agatston) >= least)


def _scores(agatston: float | None) -> bool:
    """Whether there is a calcium score of 1 or more, in whole numbers."""
    return agatston is not None and round(agatston) >= 1


def cad_rads(
    lesions: Sequence[Lesion],
    branches: Sequence[Branch],
    *,
    not_assessable: Sequence[NotAssessable] = (),
    untraced: Sequence[SegmentName] = (),
    stents: Sequence[Stent] = (),
    grafts: Sequence[Graft] = (),
    grafted: bool = False,
    exceptions: bool = False,
    agatston: float | None = None,
    ischaemia: str | None = None,
) -> CadRads:
    """The patient's category with plaque burden and modifiers.

    Args:
        lesions: all plaques; those in vessels under 1.5 mm reference diameter do not set the category; half or more on a
            branch without a name makes N until a person has graded it.
        branches: the branches that the lesions lie on.
        not_assessable: segments that cannot be read; with less than 50 % elsewhere the category is N.
        untraced: parts of main vessels that were not followed (``trunks.missing_trunks``): nothing is known of them, which is not the
            same as nothing wrong with them.
        stents: any makes modifier S.
        grafts: any makes modifier G; what a patent graft goes around does not count, what is wrong with a graft does.
        grafted: modifier G without a graft that was recognised.
        exceptions: non-atherosclerotic disease, modifier E.
        agatston: calcium score, None where there is none.
        ischaemia: I+, I- or I± as a physician entered it; never derived.
    """
    graded = [lesion for lesion in lesions if _counts(lesion)]
    supplied = [lesion for lesion in graded if not is_bypassed(lesion, grafts)]
    category = _category(supplied, [*_in_stents(stents, branches), *_in_grafts(grafts)])
    if category == "0" and graded:
        category = "1"
    if category == "0" and _scores(agatston):
        category = "1"  # calcium is plaque, wherever it was seen
    modifiers: list[str] = []
    if not_assessable or untraced or any(_undecided(lesion) for lesion in lesions):
        if category in ("0", "1", "2"):
            category = "N"
        else:
            modifiers.append("N")
    plaques = seen_plaques(lesions)
    if any(len(set(lesion.high_risk)) >= 2 for lesion in plaques):
        modifiers.append("HRP")
    if ischaemia is not None:
        modifiers.append(ischaemia)
    if stents:
        modifiers.append("S")
    if grafts or grafted:
        modifiers.append("G")
    if exceptions:
        modifiers.append("E")
    involvement, _ = segment_scores(plaques, branches)
    plaque = involvement or len(plaques[:1])  # plaque in an unscored segment (L-PDA, L-PLB) is plaque all the same
    burden = burden_of(plaque, agatston=agatston, stented=bool(stents))
    ordered = tuple(sorted(modifiers, key=MODIFIER_ORDER.index))
    text = "CAD-RADS " + "/".join([category, *([burden] if burden else []), *ordered])
    return CadRads(
        category=category,
        plaque_burden=burden,
        modifiers=ordered,
        text=text,
        plaque_burden_reason=None if burden else "no_plaque",
    )


def seen_plaques(lesions: Sequence[Lesion]) -> list[Lesion]:
    """The plaques that count for both segment scores, plaque burden and HRP: in vessels of 1.5 mm and more.

    A plaque whose degree cannot be read is plaque all the same (SIS counts segments with plaque, of whatever degree); what may be no artery
    is none until a person has graded it.
    """
    return [lesion for lesion in lesions if _is_large(lesion) and not _perhaps_no_artery(lesion)]


def _counts(lesion: Lesion) -> bool:
    """Whether a lesion may set the category: not in a vessel under 1.5 mm, and not where it waits for a person."""
    return _is_large(lesion) and not _undecided(lesion)


def _is_large(lesion: Lesion) -> bool:
    return lesion.reference_diameter_mm is None or lesion.reference_diameter_mm >= SMALLEST_GRADED_MM


def _undecided(lesion: Lesion) -> bool:
    """A measured narrowing of half or more on a branch that has no name in the 18-segment model, or a plaque whose degree cannot be read.

    The first may be a conus or marginal branch, a misnamed main branch, or no artery at all; in the second the vessel moved. Neither a
    degree nor the all-clear follows, so both are treated as not assessable until a person has set the degree.
    """
    return (lesion.diameter_stenosis_percent_reason == UNREADABLE and lesion.grade_source == "measured") or _perhaps_no_artery(lesion)


def _perhaps_no_artery(lesion: Lesion) -> bool:
    narrowed = GRADES.index(cad_rads_grade(lesion)) >= GRADES.index("moderate")
    return lesion.segment == "other" and narrowed and lesion.grade_source == "measured"


def _category(lesions: Sequence[Lesion], stents: Sequence[tuple[Territory | None, Grade]] = ()) -> Category:
    degrees = [*((territory_of(lesion.vessel, lesion.segment), cad_rads_grade(lesion)) for lesion in lesions), *stents]
    if not degrees:
        return "0"
    worst = max((grade for _, grade in degrees), key=GRADES.index)
    if worst == "occluded":
        return "5"
    tight = {territory for territory, grade in degrees if grade == "severe"}
    left_main = any(territory == "LM" and GRADES.index(grade) >= GRADES.index("moderate") for territory, grade in degrees)
    if left_main or tight >= THREE_VESSELS:
        return "4B"
    return CATEGORY[worst]


def _in_stents(stents: Sequence[Stent], branches: Sequence[Branch]) -> list[tuple[Territory | None, Grade]]:
    """The least degree that each readable stent stands for, with its artery: a device is never no disease at all."""
    by_id = {branch.id: branch for branch in branches}
    degrees = []
    for stent in stents:
        branch = by_id.get(stent.branch)
        if branch is not None and stent.assessable:
            degrees.append((territory_of(branch.vessel, branch.segment_at(stent.start)), IN_STENT[stent.inside or "patent"]))
    return degrees


def _in_grafts(grafts: Sequence[Graft]) -> list[tuple[Territory | None, Grade]]:
    """The degree of each narrowed or closed graft, with the artery that it feeds."""
    return [
        (None if graft.target is None else SEGMENTS[graft.target].territory, IN_STENT[graft.patency])
        for graft in grafts
        if graft.patency in ("narrowed", "occluded")
    ]


def apply_corrections(findings: Findings, corrections: Mapping[int, Grade]) -> Findings:
    """The findings with a person's grades in place of the measured ones, and scores and CAD-RADS that follow from them.

    The measured percentages stay as they are; ``grade_source`` of a corrected lesion becomes ``corrected``. A lesion that is not in
    ``corrections`` keeps what it has.

    Raises:
        AnalysisError: ANA-701 if a lesion does not exist, ANA-702 if the findings hold no analysis.
    """
    if findings.cad_rads is None:
        raise AnalysisError("ANA-702", zh="该检查没有可修改的分析结果", en="the study has no analysis to correct")
    unknown = set(corrections) - {lesion.id for lesion in findings.lesions}
    if unknown:
        raise AnalysisError("ANA-701", zh="要修改的病变不存在", en="the lesion to correct does not exist", lesions=sorted(unknown))
    lesions = tuple(
        msgspec.structs.replace(lesion, grade=corrections[lesion.id], grade_source="corrected") if lesion.id in corrections else lesion
        for lesion in findings.lesions
    )
    return with_category(msgspec.structs.replace(findings, lesions=lesions))


def enter(findings: Findings, entered: Entered) -> Findings:
    """The findings with what a physician entered, in place of what was entered before; CAD-RADS follows.

    Raises:
        AnalysisError: ANA-702 if the findings hold no analysis.
    """
    if findings.cad_rads is None:
        raise AnalysisError("ANA-702", zh="该检查没有可修改的分析结果", en="the study has no analysis to correct")
    return with_category(msgspec.structs.replace(findings, entered=entered))


def with_category(findings: Findings) -> Findings:
    """The findings with scores and CAD-RADS that follow from everything else in them, and from what was entered."""
    involvement, stenosis = segment_scores(seen_plaques(findings.lesions), findings.branches)
    entered = findings.entered
    unusual = any(variant.name in EXCEPTIONAL for variant in findings.variants)
    return msgspec.structs.replace(
        findings,
        segment_involvement_score=involvement,
        segment_stenosis_score=stenosis,
        cad_rads=cad_rads(
            findings.lesions,
            findings.branches,
            not_assessable=_not_assessable(findings.quality),
            untraced=missing_trunks(findings.branches, findings.dominance, findings.grafts_that_count),
            stents=findings.stents,
            grafts=findings.grafts_that_count,
            grafted=bool(entered.grafts),
            exceptions=unusual if entered.exceptions is None else entered.exceptions,
            agatston=None if findings.calcium is None else findings.calcium.agatston,
            ischaemia=entered.ischaemia,
        ),
    )


def _not_assessable(quality: Quality | None) -> tuple[NotAssessable, ...]:
    return quality.not_assessable if quality is not None else ()
