"""Sentences for single findings, in Chinese and English.

Findings name the measured per cent; it is cut, not rounded, so that the number never leaves the band that its grade names (the bands are
half-open on the unrounded value, SCCT 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.anatomy import VESSEL_EN, VESSEL_ZH
from appliance.findings import (
    Bridge,
    Calcium,
    Findings,
    Graft,
    HighRiskFeature,
    Lesion,
    Quality,
    Stent,
    score_parts,
    whole_percent,
    whole_score,
)
from appliance.report.phrases import (
    CALCIUM_CATEGORIES,
    CALCIUM_SEVERE,
    ENTERED_EXCEPTIONS,
    ENTERED_GRAFTS,
    GRADE_BANDS,
    GRAFT_KINDS,
    GRAFT_STATES,
    HIGH_RISK,
    IN_STENT,
    ISCHAEMIA,
    NO_PERCENTILE,
    NOT_ASSESSABLE,
    PLAQUES,
    QUALITY_SCORES,
    UNREADABLE,
    VARIANTS,
    Phrase,
    degree_unknown,
)
from appliance.report.regions import Region, in_order, length_mm, lesion_segments, name_segments, region_of, span_segments
from appliance.study import Approval, StudyHeader

HIGH_RISK_COUNT = 2
"""Features that make a plaque a high-risk plaque (CAD-RADS 2.0)."""

DEEP_BRIDGE_MM = 1.0
"""Depth from which a bridge is called deep."""

SMALLEST_GRADED_MM = 1.5
"""Reference diameter from which a vessel counts for CAD-RADS 2.0."""


def about_percent(value: float) -> Phrase:
    """A stenosis in whole per cent, cut: 'about 49%' for 49.9; 'less than 1%' below one."""
    if 0 < value < 1:
        return Phrase("不足 1%", "less than 1%")
    return Phrase(f"约 {whole_percent(value)}%", f"about {whole_percent(value)}%")


def correction(approval: Approval | None) -> Phrase:
    """Who corrected a grade, as far as is known: a physician answers for it only after a physician's approval."""
    if approval is not None and approval.final:
        return Phrase("医师修正", "corrected by the physician")
    return Phrase("人工修正", "corrected by a reader")


def capital(sentence: str) -> str:
    """The sentence with a capital first letter."""
    return sentence[:1].upper() + sentence[1:]


def technique(header: StudyHeader, findings: Findings) -> Phrase | None:
    """How the series was made; None where the images say nothing about it."""
    series = findings.series
    kvp = header.kvp if series is None or series.kvp is None else series.kvp
    phase = header.phase_percent if series is None or series.phase_percent is None else series.phase_percent
    zh, en = [], []
    if kvp:
        zh.append(f"管电压 {kvp:.0f} kVp")
        en.append(f"{kvp:.0f} kVp")
    if phase is not None:
        zh.append(f"重建期相 {phase:.0f}%")
        en.append(f"reconstructed at {phase:.0f}% of the R-R interval")
    if series is not None:
        x, _, z = series.spacing_mm
        zh.append(f"共 {series.slices} 层,层间距 {z:.2f} mm,像素 {x:.2f} mm")
        en.append(f"{series.slices} slices at {z:.2f} mm increment, {x:.2f} mm pixels")
    if header.contrast_agent:
        zh.append(f"对比剂 {header.contrast_agent}")
        if header.contrast_agent.isascii():
            en.append(f"contrast agent {header.contrast_agent}")
    if not zh:
        return None
    return Phrase(f"冠状动脉 CT 血管成像,{','.join(zh)}。", f"Coronary CT angiography, {', '.join(en)}.")


def image_quality(quality: Quality) -> list[Phrase]:
    """Score, measurements in the aorta, coverage."""
    zh, en = [], []
    if quality.aorta_mean_hu is not None:
        zh.append(f"主动脉 CT 值 {quality.aorta_mean_hu:.0f} HU")
        en.append(f"aortic attenuation {quality.aorta_mean_hu:.0f} HU")
    if quality.aorta_noise_hu is not None:
        zh.append(f"噪声 {quality.aorta_noise_hu:.0f} HU")
        en.append(f"noise {quality.aorta_noise_hu:.0f} HU")
    if quality.cnr is not None:
        zh.append(f"对比噪声比 {quality.cnr:.0f}")
        en.append(f"contrast-to-noise ratio {quality.cnr:.0f}")
    score = QUALITY_SCORES[quality.score]
    sentences = [
        Phrase(
            ",".join([f"{score.zh}({quality.score}/5)", *zh]) + "。",
            "; ".join([f"{score.en} ({quality.score}/5)", *([", ".join(en)] if en else [])]) + ".",
        )
    ]
    if not quality.coverage_complete:
        sentences.append(Phrase("扫描范围未完整包括冠状动脉。", "The scan does not cover the coronary arteries completely."))
    return sentences


VESSEL_NAMES = {"LAD": Phrase("前降支", "LAD"), "LCX": Phrase("回旋支", "LCx"), "RCA": Phrase("右冠状动脉", "RCA")}
VESSEL_GRADES = {
    4: Phrase("优", "excellent"),
    3: Phrase("良", "good"),
    2: Phrase("可", "moderate"),
    1: Phrase("不能诊断", "non-diagnostic"),
}


def vessel_quality(quality: Quality) -> list[Phrase]:
    """How well each artery is shown, where that was measured; and why this phase was taken."""
    sentences = []
    if quality.phase_choice == "header":
        sentences.append(Phrase("期相按影像标注选择。", "The phase was chosen by what the headers say."))
    if quality.vessels:
        zh = [f"{VESSEL_NAMES[each.vessel].zh}{VESSEL_GRADES[each.grade].zh}" for each in quality.vessels]
        en = [f"{VESSEL_NAMES[each.vessel].en} {VESSEL_GRADES[each.grade].en}" for each in quality.vessels]
        sentences.append(Phrase(f"各支显示质量:{'、'.join(zh)}。", f"Quality of each artery: {', '.join(en)}."))
    return sentences


def quality_warnings(quality: Quality) -> list[Phrase]:
    """One sentence with all warnings; none without any."""
    if not quality.warnings:
        return []
    zh = ";".join(warning.zh for warning in quality.warnings)
    en = "; ".join(warning.en for warning in quality.warnings)
    return [Phrase(f"注意:{zh}。", f"Note: {en}.")]


def not_assessable(quality: Quality, region: Region | None = None) -> list[Phrase]:
    """One sentence per reason, for the whole heart or one section."""
    sentences = []
    for reason, because in NOT_ASSESSABLE.items():
        names = in_order(
            item.segment for item in quality.not_assessable if item.reason == reason and (region is None or item.segment in region.segments)
        )
        if names:
            where = name_segments(names)
            verb = "is" if len(names) == 1 else "are"
            sentences.append(
                Phrase(f"{where.zh}因{because.zh}不能评价。", f"The {where.en} {verb} not assessable because of {because.en}.")
            )
    return sentences


def calcium_category(calcium: Calcium) -> Phrase:
    """Category of the Agatston score: 0, 1-10, 11-100, 101-400, > 400."""
    score = whole_score(calcium.agatston)
    return next((phrase for bound, phrase in CALCIUM_CATEGORIES if score <= bound), CALCIUM_SEVERE)


def calcium_score(calcium: Calcium) -> list[Phrase]:
    """Agatston score with its category, the vessels, volume and mass."""
    score, category = whole_score(calcium.agatston), calcium_category(calcium)
    named, parts = {"LM": "LM", "LAD": "LAD", "LCX": "LCx", "RCA": "RCA"}, score_parts(calcium)
    vessels = [f"{name} {parts[key]}" for key, name in named.items() if key in calcium.vessels]
    unknown = calcium.unassigned > 0
    zh = [*vessels, f"血管归属未明 {parts['unassigned']}"] if unknown else vessels
    en = [*vessels, f"artery unknown {parts['unassigned']}"] if unknown else vessels
    detail_zh = f"({'、'.join(zh)})" if vessels and score else ""
    detail_en = f" ({', '.join(en)})" if vessels and score else ""
    sentences = [
        Phrase(
            f"Agatston 积分总分 {score}{detail_zh},{category.zh}。",
            f"Total Agatston score {score}{detail_en}: {category.en}.",
        )
    ]
    if score:
        mass_zh = "" if calcium.mass_mg is None else f",钙化质量 {calcium.mass_mg:.1f} mg"
        mass_en = "" if calcium.mass_mg is None else f", mass {calcium.mass_mg:.1f} mg"
        sentences.append(
            Phrase(f"钙化体积 {calcium.volume_mm3:.0f} mm³{mass_zh}。", f"Calcium volume {calcium.volume_mm3:.0f} mm³{mass_en}.")
        )
        if calcium.percentile_reason in NO_PERCENTILE:
            sentences.append(NO_PERCENTILE[calcium.percentile_reason])
    return sentences


def lesion_sentence(findings: Findings, lesion: Lesion, *, corrected: Phrase) -> Phrase:
    """Where, what plaque, how long, how narrow in per cent; high-risk features; a corrected grade beside the measurement."""
    names = lesion_segments(findings, lesion)
    where = name_segments(names, vessel=lesion.vessel)
    plaque, band = PLAQUES[lesion.plaque_type], UNREADABLE if degree_unknown(lesion) else GRADE_BANDS[lesion.grade]
    degree = _degree(lesion, corrected)
    narrowest = Phrase("", "")
    if len(names) > 1 and lesion.grade != "none":
        at = name_segments((lesion.segment,), vessel=lesion.vessel)
        narrowest = Phrase(f",最窄处位于{at.zh}", f", narrowest in the {at.en}")
    features, small = high_risk_sentence(lesion.high_risk), _small_vessel(lesion)
    return Phrase(
        f"{where.zh}可见{plaque.zh},长约 {lesion.length_mm:.0f} mm,{band.zh}{degree.zh}{narrowest.zh}。{features.zh}{small.zh}",
        f"{capital(plaque.en)} in the {where.en}, about {lesion.length_mm:.0f} mm long, with {band.en}{degree.en}{narrowest.en}."
        + "".join(f" {sentence}" for sentence in (features.en, small.en) if sentence),
    )


def _small_vessel(lesion: Lesion) -> Phrase:
    """A vessel too small to count for CAD-RADS; empty for others."""
    if lesion.reference_diameter_mm is None or lesion.reference_diameter_mm >= SMALLEST_GRADED_MM:
        return Phrase("", "")
    return Phrase("该处参考管径小于 1.5 mm,不计入 CAD-RADS 分类。", "The reference diameter is below 1.5 mm: not counted for CAD-RADS.")


def _degree(lesion: Lesion, corrected: Phrase) -> Phrase:
    """What follows the band: per cent by diameter and by area and minimum lumen diameter, or the correction with what was measured."""
    percent = lesion.diameter_stenosis_percent
    if lesion.grade_source == "corrected":
        if percent is None:
            return Phrase(f"({corrected.zh})", f" ({corrected.en})")
        amount = about_percent(percent)
        return Phrase(f"({corrected.zh};AI 测量{amount.zh})", f" ({corrected.en}; AI measurement {amount.en})")
    if lesion.grade in ("none", "occluded"):
        return Phrase("", "")
    if percent is None:
        return Phrase("(狭窄率未能测量)", " (per cent not measurable)")
    area, diameter = lesion.area_stenosis_percent, lesion.minimum_lumen_diameter_mm
    zh, en = [], []
    if area is not None:
        zh.append(f"面积狭窄{about_percent(area).zh}")
        en.append(f"{about_percent(area).en} by area")
    if diameter is not None:
        zh.append(f"最小管腔直径 {diameter:.1f} mm")
        en.append(f"minimum lumen diameter {diameter:.1f} mm")
    narrow = Phrase(f"({','.join(zh)})", f" ({', '.join(en)})") if zh else Phrase("", "")
    amount = about_percent(percent)
    return Phrase(f"{amount.zh}{narrow.zh}", f" of {amount.en}{narrow.en}")


def high_risk_sentence(features: Sequence[HighRiskFeature]) -> Phrase:
    """The features seen; from two on they make a high-risk plaque. Empty where there is none."""
    if not features:
        return Phrase("", "")
    zh = "、".join(HIGH_RISK[feature].zh for feature in features)
    names = [HIGH_RISK[feature].en for feature in features]
    en = capital(names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1])
    if len(features) >= HIGH_RISK_COUNT:
        return Phrase(f"见{zh},提示高危斑块。", f"{en} suggest a high-risk plaque.")
    return Phrase(f"见{zh}。", f"{en} is seen.")


def bridge_sentence(findings: Findings, bridge: Bridge) -> Phrase:
    """Place, tunnelled length and depth, and whether that is superficial or deep (1 mm, Chinese reporting standard)."""
    branch = findings.branch(bridge.branch)
    where = name_segments(span_segments(branch, bridge.start, bridge.end), vessel=branch.vessel)
    length = length_mm(branch, bridge.start, bridge.end)
    kind = Phrase("深在型", "deep") if bridge.depth_mm >= DEEP_BRIDGE_MM else Phrase("表浅型", "superficial")
    return Phrase(
        f"{where.zh}局部走行于心肌内(心肌桥,{kind.zh}),肌桥深约 {bridge.depth_mm:.1f} mm,壁冠状动脉长约 {length:.0f} mm。",
        f"Myocardial bridge of the {where.en} ({kind.en}), about {length:.0f} mm long and {bridge.depth_mm:.1f} mm deep.",
    )


def stent_sentence(findings: Findings, stent: Stent) -> Phrase:
    """Place, length, diameter, and what can be said of the lumen inside."""
    branch = findings.branch(stent.branch)
    where = name_segments(span_segments(branch, stent.start, stent.end), vessel=branch.vessel)
    length = length_mm(branch, stent.start, stent.end)
    width = stent.diameter_mm
    size = Phrase("", "") if width is None else Phrase(f",直径约 {width:.1f} mm", f", {width:.1f} mm wide")
    plaque_inside = any(
        lesion.branch == stent.branch and lesion.start < stent.end and lesion.end > stent.start for lesion in findings.lesions
    )
    if not stent.assessable:
        state = Phrase("支架内管腔评价受限", "the lumen inside is not assessable")
    elif stent.inside is not None:
        state = IN_STENT[stent.inside]
    elif plaque_inside:
        state = Phrase("支架内管腔可评价,所见如上", "the lumen inside is assessable, findings as above")
    else:
        state = Phrase("支架内未检出管腔狭窄", "no in-stent narrowing detected")
    return Phrase(
        f"{where.zh}见支架影,长约 {length:.0f} mm{size.zh},{state.zh}。",
        f"Stent in the {where.en}, about {length:.0f} mm long{size.en}; {state.en}.",
    )


def graft_sentence(graft: Graft) -> Phrase:
    """What kind of graft goes where, its calibre and whether blood passes."""
    kind, state = GRAFT_KINDS[graft.kind], GRAFT_STATES[graft.patency]
    target = Phrase(",远端吻合口所在血管未确定", ", its target not determined")
    if graft.target is not None:
        where = name_segments((graft.target,))
        target = Phrase(f",吻合于{where.zh}", f" to the {where.en}")
    width = graft.lumen_diameter_mm
    size = Phrase("", "") if width is None else Phrase(f",管径约 {width:.1f} mm", f", about {width:.1f} mm wide")
    return Phrase(f"{kind.zh}{target.zh}{size.zh};{state.zh}。", f"{capital(kind.en)}{target.en}{size.en}; {state.en}.")


def entered_by_person(findings: Findings) -> list[Phrase]:
    """What of the category a physician entered: no reader must take it for what the software saw."""
    entered = findings.entered
    return [
        *([] if entered.ischaemia is None else [ISCHAEMIA[entered.ischaemia]]),
        *([] if entered.grafts is None else [ENTERED_GRAFTS[entered.grafts]]),
        *([] if entered.exceptions is None else [ENTERED_EXCEPTIONS[entered.exceptions]]),
    ]


def variant_sentences(findings: Findings) -> list[Phrase]:
    """Each variant of origin or course that the tree shows; a course is named with its artery."""
    sentences = []
    for variant in findings.variants:
        words = VARIANTS[variant.name]
        if variant.name.endswith("_course"):
            vessel = findings.branch(variant.branch).vessel
            words = Phrase(f"{VESSEL_ZH[vessel]}{words.zh}", f"{words.en} ({VESSEL_EN[vessel]})")
        sentences.append(Phrase(f"{words.zh}。", f"{capital(words.en)}."))
    return sentences


def stents_of(findings: Findings, region: Region) -> list[Stent]:
    """The stents of a section, by where they begin."""
    return [stent for stent in findings.stents if _begins_in(findings, stent.branch, stent.start, region)]


def bridges_of(findings: Findings, region: Region) -> list[Bridge]:
    """The bridges of a section, by where they begin."""
    return [bridge for bridge in findings.bridges if _begins_in(findings, bridge.branch, bridge.start, region)]


def _begins_in(findings: Findings, branch_id: int, start: int, region: Region) -> bool:
    branch = findings.branch(branch_id)
    return region_of(branch.segment_at(start), branch.vessel) is region
