"""The structured report in Chinese and English, sections in the reporting order, the impression last.

Order and content follow the Chinese reporting standard (Chin J Radiol 2020;54:1044) and the SCCT reporting guideline (JCCT 2014;8:342).
What was not traced, not assessable or not analysed is said; nothing is called normal that was not seen.
"""

from __future__ import annotations

from appliance.anatomy import SEGMENTS, SegmentName
from appliance.findings import Findings, Lesion, is_bypassed, whole_parts
from appliance.punctuation import chinese_punctuation
from appliance.report.comparison_text import comparison
from appliance.report.impression import impression, untraced_sentence
from appliance.report.phase_text import other_phase, read_in
from appliance.report.phrases import (
    BRIDGE_NOT_GRADED,
    DOMINANCE_CORRECTED,
    DOMINANCES,
    GRAFTS_NOT_ALL,
    NO_CALCIUM,
    NO_CALCIUM_SCORE,
    NOT_BY_AI,
    OLDER_BANDS,
    ORIGIN_NOT_BY_AI,
    TITLE,
    Headings,
    Phrase,
)
from appliance.report.regions import (
    REGIONS,
    SEGMENT_ORDER,
    Region,
    beyond_occlusions,
    in_order,
    length_mm,
    lesion_segments,
    missing_trunks,
    name_segments,
    perhaps_absent,
    region_of,
    span_segments,
    traced_segments,
    unassessable,
)
from appliance.report.sentences import (
    bridge_sentence,
    bridges_of,
    calcium_score,
    correction,
    graft_sentence,
    image_quality,
    lesion_sentence,
    not_assessable,
    quality_warnings,
    stent_sentence,
    stents_of,
    technique,
    variant_sentences,
    vessel_quality,
)
from appliance.study import Approval, ReportSection, ReportText, StudyHeader, notices

Section = tuple[Phrase, list[Phrase]]


def write_report(header: StudyHeader, findings: Findings, *, approval: Approval | None = None, institution: str = "") -> ReportText:
    """The whole report of one study; deterministic.

    Args:
        header: identification of the study.
        findings: what was found; for a declined or failed study the report gives the reason and nothing else.
        approval: who approved, None for a draft.
        institution: name of the site, stands before the title; the images' institution if empty.
    """
    corrected = correction(approval)
    sections = _analysed(header, findings, corrected) if findings.status == "analysed" else _not_analysed(header, findings)
    site = institution or header.institution
    return ReportText(
        title_zh=f"{site} {TITLE.zh}".strip(),
        title_en=f"{site} {TITLE.en}".strip() if site.isascii() else TITLE.en,
        zh=tuple(
            ReportSection(heading=heading.zh, sentences=tuple(chinese_punctuation(item.zh) for item in items))
            for heading, items in sections
        ),
        en=tuple(ReportSection(heading=heading.en, sentences=tuple(item.en for item in items)) for heading, items in sections),
        notices=notices(approval=approval, validated_on_patients=findings.validated_on_patients),
    )


def _analysed(header: StudyHeader, findings: Findings, corrected: Phrase) -> list[Section]:
    coronary = [(region.heading, _region(findings, region, corrected)) for region in REGIONS]
    return [
        (Headings.TECHNIQUE, _technique_and_quality(header, findings)),
        (Headings.ORIGIN, _origin(findings)),
        (Headings.CALCIUM, _calcium(findings)),
        *((heading, sentences) for heading, sentences in coronary if sentences),
        *_grafts(findings),
        *_plaque(findings),
        *_compared(findings),
        (Headings.EXTRACORONARY, [NOT_BY_AI]),
        (Headings.IMPRESSION, impression(findings, corrected=corrected)),
    ]


def _not_analysed(header: StudyHeader, findings: Findings) -> list[Section]:
    """The short report of a declined or failed study."""
    if findings.status == "declined":
        state = Phrase("本次检查未作 AI 冠状动脉分析。", "This study was not analysed by the AI.")
    else:
        state = Phrase("AI 分析未能完成。", "The AI analysis could not be completed.")
    sentences = [state]
    if findings.reason is not None:
        reason = findings.reason
        sentences.append(Phrase(f"原因:{reason.zh.rstrip('。')}({reason.code})。", f"Reason: {reason.en.rstrip('.')} ({reason.code})."))
    made = technique(header, findings)
    conclusion = Phrase("无 AI 所见;须由医师直接阅片。", "There are no AI findings; a physician must read the images.")
    return [
        *([(Headings.TECHNIQUE, [made])] if made is not None and findings.series is not None else []),
        (Headings.NOT_ANALYSED, sentences),
        (Headings.IMPRESSION, [conclusion]),
    ]


def _technique_and_quality(header: StudyHeader, findings: Findings) -> list[Phrase]:
    made = technique(header, findings)
    sentences = [] if made is None else [made]
    if findings.bands == "cn2011":
        sentences.append(OLDER_BANDS)
    if findings.quality is None:
        return [*sentences, Phrase("图像质量未能评定。", "Image quality could not be rated.")]
    quality = findings.quality
    shown = [*image_quality(quality), *vessel_quality(quality), *other_phase(findings)]
    return [*sentences, *shown, *quality_warnings(quality), *not_assessable(quality)]


def _origin(findings: Findings) -> list[Phrase]:
    sentences = []
    traced = in_order(traced_segments(findings))
    if findings.dominance is None:
        sentences.append(Phrase("冠状动脉优势型未能判定。", "Coronary dominance could not be determined."))
    else:
        sentences.append(DOMINANCES[findings.dominance])
    if findings.dominance_source == "corrected":
        sentences.append(DOMINANCE_CORRECTED)
    if traced:
        names = name_segments(traced)
        sentences.append(Phrase(f"已追踪节段:{names.zh}。", f"Segments traced: {names.en}."))
    untraced = untraced_sentence(missing_trunks(findings))
    if untraced is not None:
        sentences.append(untraced)
    return [*sentences, *variant_sentences(findings), ORIGIN_NOT_BY_AI]


def _calcium(findings: Findings) -> list[Phrase]:
    if findings.calcium is not None:
        return calcium_score(findings.calcium)
    return [NO_CALCIUM.get(findings.calcium_reason or "", NO_CALCIUM_SCORE)]


def _region(findings: Findings, region: Region, corrected: Phrase) -> list[Phrase]:
    """The sentences of one section; none for a variant or extra branch that has nothing to say."""
    lesions = [lesion for lesion in findings.lesions if region_of(lesion.segment, lesion.vessel) is region]
    lesions.sort(key=lambda lesion: (SEGMENT_ORDER.index(lesion.segment), lesion.branch, lesion.start))
    sentences = _read_elsewhere(findings, region)
    sentences += [lesion_sentence(findings, lesion, corrected=corrected) for lesion in lesions]
    sentences += [stent_sentence(findings, stent) for stent in stents_of(findings, region)]
    bridges = bridges_of(findings, region)
    sentences += [bridge_sentence(findings, bridge) for bridge in bridges]
    sentences += [BRIDGE_NOT_GRADED] if bridges else []
    if findings.quality is not None:
        sentences += not_assessable(findings.quality, region)
    sentences += _clear_segments(findings, region, lesions)
    sentences += _beyond_occlusion(findings, region)
    sentences += _bridged_by_repair(findings, region)
    sentences += [_absent(name) for name in perhaps_absent(findings) if name in region.trunk]
    untraced = untraced_sentence(tuple(name for name in missing_trunks(findings) if name in region.trunk))
    return sentences if untraced is None else [*sentences, untraced]


def _read_elsewhere(findings: Findings, region: Region) -> list[Phrase]:
    """That a vessel was measured in another phase; nothing for the one that the report names."""
    trunks = [branch for branch in findings.branches if region_of(branch.name, branch.vessel) is region]
    said = (read_in(findings, uid) for uid in sorted({branch.series_uid for branch in trunks if branch.series_uid is not None}))
    return [phrase for phrase in said if phrase is not None]


def _absent(name: SegmentName) -> Phrase:
    segment = SEGMENTS[name]
    return Phrase(f"{segment.zh}未追踪到,可能细小或缺如。", f"The {segment.en} was not traced; it may be small or absent.")


def _clear_segments(findings: Findings, region: Region, lesions: list[Lesion]) -> list[Phrase]:
    """The traced, assessable segments of a section in which nothing was found."""
    with_lesion = {name for lesion in findings.lesions for name in lesion_segments(findings, lesion)}
    with_stent = {name for stent in findings.stents for name in span_segments(findings.branch(stent.branch), stent.start, stent.end)}
    silent = with_lesion | with_stent | unassessable(findings) | beyond_occlusions(findings)
    clear = [name for name in region.segments if name in traced_segments(findings) - silent]
    if not clear:
        return []
    where = name_segments(clear)
    if lesions:
        return [
            Phrase(
                f"其余追踪节段({where.zh})未检出斑块及管腔狭窄。",
                f"No plaque or stenosis detected in the other traced segments ({where.en}).",
            )
        ]
    return [Phrase(f"{where.zh}未检出斑块及管腔狭窄。", f"No plaque or stenosis detected in the {where.en}.")]


def _beyond_occlusion(findings: Findings, region: Region) -> list[Phrase]:
    """What can still be traced distal to an occlusion: nothing is claimed about it."""
    beyond = [name for name in region.segments if name in beyond_occlusions(findings)]
    if not beyond:
        return []
    where = name_segments(beyond)
    return [Phrase(f"闭塞以远可追踪到{where.zh}。", f"Distal to the occlusion, the {where.en} can be traced.")]


def _bridged_by_repair(findings: Findings, region: Region) -> list[Phrase]:
    """Gaps of the lumen that the tracing closed by itself: a reader must look there."""
    lengths: dict[SegmentName, float] = {}
    for branch in findings.branches:
        for start, end in branch.repaired:
            name = branch.segment_at(start)
            if region_of(name, branch.vessel) is region:
                lengths[name] = lengths.get(name, 0.0) + length_mm(branch, start, end)
    return [
        Phrase(
            f"{SEGMENTS[name].zh}管腔显示中断约 {length:.0f} mm,中心线由算法连接,请核对原始图像。",
            f"The lumen of the {SEGMENTS[name].en} is interrupted over about {length:.0f} mm and its centreline was joined "
            "by the algorithm; check the source images.",
        )
        for name, length in lengths.items()
    ]


def _grafts(findings: Findings) -> list[Section]:
    """The bypass grafts, and what they mean for the category; nothing without any."""
    grafts = findings.grafts_that_count
    if not grafts:
        return []
    sentences = [graft_sentence(graft) for graft in grafts]
    bypassed = in_order(lesion.segment for lesion in findings.lesions if is_bypassed(lesion, grafts))
    if bypassed:
        where = name_segments(bypassed)
        sentences.append(
            Phrase(
                f"{where.zh}的狭窄位于通畅桥血管吻合口以近,不计入 CAD-RADS 分类。",
                f"Narrowing of the {where.en} lies before the anastomosis of a patent graft: not counted for CAD-RADS.",
            )
        )
    return [(Headings.GRAFTS, [*sentences, GRAFTS_NOT_ALL])]


def _compared(findings: Findings) -> list[Section]:
    """What has changed since an earlier examination; nothing without one."""
    sentences = comparison(findings)
    return [(Headings.COMPARISON, sentences)] if sentences else []


def _plaque(findings: Findings) -> list[Section]:
    total = findings.plaque_total_mm3
    if total is None or not findings.lesions:
        return []
    whole = round(total.total)
    calcified, soft = whole_parts(whole, (total.calcified, total.noncalcified))
    classes = None if total.fibrofatty is None or total.fibrous is None else (total.low_attenuation, total.fibrofatty, total.fibrous)
    low, *firm = whole_parts(
        0 if soft == "<1" else int(soft), classes or (total.low_attenuation, total.noncalcified - total.low_attenuation)
    )
    shown = "<1" if whole == 0 and total.total > 0 else str(whole)
    sentences = [
        Phrase(
            f"斑块总体积 {shown} mm³,其中钙化 {calcified} mm³,非钙化 {soft} mm³(含低密度 {low} mm³)。",
            f"Total plaque volume {shown} mm³: calcified {calcified} mm³, non-calcified {soft} mm³ (of which low-attenuation {low} mm³).",
        )
    ]
    if classes is not None:
        sentences.append(
            Phrase(
                f"非钙化部分:低密度 {low} mm³,纤维脂肪 {firm[0]} mm³,纤维 {firm[1]} mm³(CT 值界限按管电压与管腔强化调整)。",
                f"Non-calcified parts: low-attenuation {low} mm³, fibro-fatty {firm[0]} mm³, fibrous {firm[1]} mm³ "
                "(attenuation limits set for tube voltage and lumen attenuation).",
            )
        )
    if findings.segment_involvement_score is not None and findings.segment_stenosis_score is not None:
        sis, sss = findings.segment_involvement_score, findings.segment_stenosis_score
        sentences.append(
            Phrase(f"节段受累积分(SIS){sis},节段狭窄积分(SSS){sss}。", f"Segment involvement score {sis}, segment stenosis score {sss}.")
        )
    return [(Headings.PLAQUE, sentences)]
