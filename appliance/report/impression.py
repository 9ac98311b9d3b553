"""The impression: bands without per cent, numbered by severity, then CAD-RADS and advice.

The wording 'CT shows' (CT 所见提示) and the order follow the Chinese reporting standard (Chin J Radiol 2020;54:1044); category and advice
follow CAD-RADS 2.0 (JCCT 2022;16:536).
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.anatomy import SegmentName, Vessel
from appliance.findings import GRADES, Findings, Grade, Lesion, PlaqueType, whole_score
from appliance.report.comparison_text import in_impression
from appliance.report.phrases import (
    ADVICE,
    ADVICE_UNASSESSED,
    GRADE_BANDS,
    GRAFTS_REJECTED,
    IN_STENT,
    PLAQUES,
    UNREADABLE,
    Phrase,
    degree_unknown,
)
from appliance.report.regions import (
    REGIONS,
    in_order,
    lesion_segments,
    missing_trunks,
    name_segments,
    region_of,
    span_segments,
    unassessable,
)
from appliance.report.sentences import (
    HIGH_RISK_COUNT,
    calcium_category,
    capital,
    entered_by_person,
    graft_sentence,
    not_assessable,
    variant_sentences,
)


@dataclass(frozen=True)
class _Group:
    """Lesions that the impression names in one item."""

    region: int
    vessel: Vessel
    grade: Grade
    plaque_type: PlaqueType
    high_risk: bool
    corrected: bool
    unknown: bool = False


def impression(findings: Findings, *, corrected: Phrase) -> list[Phrase]:
    """The sentences of the impression of an analysed study."""
    items = _lesion_items(findings, corrected) or [_nothing_found(findings)]
    items += _bridges_and_stents(findings)
    items += [graft_sentence(graft) for graft in findings.grafts_that_count]
    items += [GRAFTS_REJECTED] if len(findings.grafts) > len(findings.grafts_that_count) else []
    items += variant_sentences(findings)
    if findings.quality is not None:
        items += not_assessable(findings.quality)
    untraced = untraced_sentence(missing_trunks(findings))
    if untraced is not None:
        items.append(untraced)
    if findings.calcium is not None:
        score, category = whole_score(findings.calcium.agatston), calcium_category(findings.calcium)
        items.append(Phrase(f"冠状动脉钙化积分 {score},{category.zh}。", f"Agatston score {score}, {category.en}."))
    items += in_impression(findings)
    numbered = [Phrase(f"{number}. {item.zh}", f"{number}. {item.en}") for number, item in enumerate(items, start=1)]
    return [Phrase("CT 所见提示:", "CT shows:"), *numbered, *_category(findings)]


def untraced_sentence(names: tuple[SegmentName, ...]) -> Phrase | None:
    """Trunk segments without centreline; a trunk that is missing as a whole is called by its name."""
    if not names:
        return None
    zh, en = [], []
    for region in REGIONS:
        missing = [name for name in names if name in region.trunk]
        if missing and len(missing) == len(region.trunk):
            zh.append(region.named_trunk.zh)
            en.append(region.named_trunk.en)
        elif missing:
            where = name_segments(missing)
            zh.append(where.zh)
            en.append(where.en)
    joined = en[0] if len(en) == 1 else ", ".join(en[:-1]) + " and " + en[-1]
    verb = "was" if len(en) == 1 and " and " not in en[0] else "were"
    return Phrase(f"{'、'.join(zh)}未能追踪,未作评价。", f"The {joined} {verb} not traced and not assessed.")


def _lesion_items(findings: Findings, corrected: Phrase) -> list[Phrase]:
    groups: dict[_Group, list[Lesion]] = {}
    for lesion in findings.lesions:
        groups.setdefault(_group(lesion), []).append(lesion)
    ranked = sorted(groups.items(), key=lambda item: (-GRADES.index(item[0].grade), item[0].region, item[0].plaque_type))
    return [_lesion_item(findings, group, lesions, corrected) for group, lesions in ranked]


def _group(lesion: Lesion) -> _Group:
    return _Group(
        region=REGIONS.index(region_of(lesion.segment, lesion.vessel)),
        vessel=lesion.vessel,
        grade=lesion.grade,
        plaque_type=lesion.plaque_type,
        high_risk=len(lesion.high_risk) >= HIGH_RISK_COUNT,
        corrected=lesion.grade_source == "corrected",
        unknown=degree_unknown(lesion),
    )


def _lesion_item(findings: Findings, group: _Group, lesions: list[Lesion], corrected: Phrase) -> Phrase:
    where = name_segments(in_order(name for lesion in lesions for name in lesion_segments(findings, lesion)), vessel=group.vessel)
    plaque, band = PLAQUES[group.plaque_type], UNREADABLE if group.unknown else GRADE_BANDS[group.grade]
    band_en = "without stenosis" if group.grade == "none" and not group.unknown else band.en
    risk = Phrase(",伴高危斑块特征", ", with high-risk plaque features") if group.high_risk else Phrase("", "")
    source = Phrase(f"({corrected.zh})", f" ({corrected.en})") if group.corrected else Phrase("", "")
    return Phrase(
        f"{where.zh}{plaque.zh},{band.zh}{source.zh}{risk.zh}。",
        f"{capital(plaque.en)} in the {where.en}, {band_en}{source.en}{risk.en}.",
    )


def _nothing_found(findings: Findings) -> Phrase:
    if not findings.branches:
        return Phrase("未能追踪冠状动脉,不能作出诊断所见。", "The coronary arteries were not traced; there are no findings.")
    if unassessable(findings) or missing_trunks(findings):
        return Phrase(
            "已追踪且可评价的冠状动脉节段内未检出斑块及管腔狭窄。",
            "No plaque or stenosis detected in the coronary segments that were traced and assessable.",
        )
    return Phrase("所追踪的冠状动脉节段内未检出斑块及管腔狭窄。", "No plaque or stenosis detected in the traced coronary segments.")


def _bridges_and_stents(findings: Findings) -> list[Phrase]:
    items = []
    for stent in findings.stents:
        branch = findings.branch(stent.branch)
        where = name_segments(span_segments(branch, stent.start, stent.end), vessel=branch.vessel)
        limited = Phrase("", "") if stent.assessable else Phrase(",支架内评价受限", ", lumen inside not assessable")
        if stent.inside in ("narrowed", "occluded"):
            inside = IN_STENT[stent.inside]
            limited = Phrase(f",{inside.zh}", f", {inside.en}")
        items.append(Phrase(f"{where.zh}支架影{limited.zh}。", f"Stent in the {where.en}{limited.en}."))
    for bridge in findings.bridges:
        branch = findings.branch(bridge.branch)
        where = name_segments(span_segments(branch, bridge.start, bridge.end), vessel=branch.vessel)
        items.append(Phrase(f"{where.zh}心肌桥。", f"Myocardial bridge of the {where.en}."))
    return items


def _category(findings: Findings) -> list[Phrase]:
    result = findings.cad_rads
    if result is None:
        return [Phrase("未得出 CAD-RADS 分类。", "No CAD-RADS category was derived.")]
    advice = [ADVICE[result.category]]
    if result.category != "N" and ("N" in result.modifiers or unassessable(findings) or missing_trunks(findings)):
        advice.append(ADVICE_UNASSESSED)
    return [Phrase(f"{result.text}。", f"{result.text}."), *entered_by_person(findings), *advice]
