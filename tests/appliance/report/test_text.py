"""The report's sentences, word for word, for hand-written findings."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from appliance.analysis.cadrads import with_category
from appliance.analysis.quality import with_not_taken
from appliance.anatomy import Dominance
from appliance.comparison import summary
from appliance.findings import Entered, Findings, Graft, InStent, OtherSeries, Stent, Variant, VariantName
from appliance.report.text import write_report
from appliance.study import DRAFT_NOTICE, NOT_VALIDATED_NOTICE, ReportText
from tests.appliance.report.studies import (
    CORRECTED,
    DECLINED,
    FAILED,
    GOOD,
    HEADER,
    KINDS,
    NORMAL,
    NOT_READABLE,
    OCCLUSION,
    PHYSICIAN,
    RADIOGRAPHER,
    SEVERAL,
    TREE,
    lesion,
)


def sentences(report: ReportText, heading: str) -> tuple[str, ...]:
    return next(section.sentences for section in (*report.zh, *report.en) if section.heading == heading)


def whole(report: ReportText, language: str) -> str:
    return "\n".join(sentence for section in getattr(report, language) for sentence in section.sentences)


def test_sections_stand_in_the_reporting_order() -> None:
    report = write_report(HEADER, SEVERAL)
    assert [section.heading for section in report.zh] == [
        "检查技术与图像质量",
        "起源、走行与优势型",
        "钙化积分",
        "左主干",
        "左前降支及对角支",
        "左回旋支及钝缘支",
        "右冠状动脉及其分支",
        "斑块定量",
        "心腔、心肌、心包及心外结构",
        "印象",
    ]
    assert len(report.zh) == len(report.en)


def test_technique_and_quality_give_what_was_measured() -> None:
    report = write_report(HEADER, NORMAL)
    assert sentences(report, "检查技术与图像质量") == (
        "冠状动脉 CT 血管成像，管电压 120 kVp，重建期相 75%，共 280 层，层间距 0.50 mm，像素 0.39 mm，对比剂 碘海醇 350。",
        "图像质量良好（4/5），主动脉 CT 值 432 HU，噪声 22 HU，对比噪声比 18。",
    )
    assert sentences(report, "Technique and image quality") == (
        "Coronary CT angiography, 120 kVp, reconstructed at 75% of the R-R interval, 280 slices at 0.50 mm increment, 0.39 mm pixels.",
        "Good image quality (4/5); aortic attenuation 432 HU, noise 22 HU, contrast-to-noise ratio 18.",
    )


def test_a_site_that_reports_by_the_older_bands_says_so() -> None:
    """A plaque of 72 % is moderate there, beside a CAD-RADS 4A."""
    plaque = lesion(0, 1, "pLAD", (10, 20, 30), 72.0, "moderate", "mixed")
    found = with_category(msgspec.structs.replace(NORMAL, lesions=(plaque,), bands="cn2011"))
    report = write_report(HEADER, Findings.from_json(found.to_json()))
    assert "狭窄程度按较早的中国共识（2011）分级：中度 50–74%，重度 75–99%；CAD-RADS 按其自身分级。" in sentences(
        report, "检查技术与图像质量"
    )
    assert "管腔中度狭窄" in whole(report, "zh")
    assert "CAD-RADS 4A/" in whole(report, "en")
    assert "older Chinese consensus" not in whole(write_report(HEADER, NORMAL), "en")


def test_findings_name_the_percentage_and_high_risk_features() -> None:
    report = write_report(HEADER, SEVERAL)
    assert sentences(report, "左前降支及对角支") == (
        (
            "左前降支近段可见混合斑块，长约 12 mm，管腔中度狭窄约 62%（面积狭窄约 86%，最小管腔直径 1.1 mm）。"
            "见斑块内低密度成分（<30 HU）、正性重构，提示高危斑块。"
        ),
        "左前降支中段可见钙化斑块，长约 10 mm，未致管腔狭窄。",
        "左前降支中段局部走行于心肌内（心肌桥，深在型），肌桥深约 2.1 mm，壁冠状动脉长约 18 mm。",
        "肌桥段管腔受压不按斑块狭窄分级。",
        "其余追踪节段（左前降支远段及第一对角支）未检出斑块及管腔狭窄。",
    )
    assert sentences(report, "Left anterior descending artery and diagonals") == (
        (
            "Mixed plaque in the proximal LAD, about 12 mm long, with moderate stenosis of about 62% "
            "(about 86% by area, minimum lumen diameter 1.1 mm). "
            "Low attenuation (<30 HU) and positive remodelling suggest a high-risk plaque."
        ),
        "Calcified plaque in the mid LAD, about 10 mm long, with no stenosis.",
        "Myocardial bridge of the mid LAD (deep), about 18 mm long and 2.1 mm deep.",
        "Compression under a myocardial bridge is not graded as plaque.",
        "No plaque or stenosis detected in the other traced segments (distal LAD and first diagonal).",
    )


def test_a_percentage_never_leaves_its_band() -> None:
    """49.9 % is mild: it must not be written as 50 %."""
    assert sentences(write_report(HEADER, SEVERAL), "左回旋支及钝缘支")[0] == (
        "左回旋支中远段可见非钙化斑块，长约 10 mm，管腔轻度狭窄约 49%（面积狭窄约 74%，最小管腔直径 1.5 mm）。见点状钙化。"
    )


def test_impression_gives_bands_only_and_the_worst_first() -> None:
    report = write_report(HEADER, SEVERAL)
    assert sentences(report, "印象") == (
        "CT 所见提示：",
        "1. 右冠状动脉近段及中段混合斑块，管腔重度狭窄。",
        "2. 左前降支近段混合斑块，管腔中度狭窄，伴高危斑块特征。",
        "3. 左回旋支中远段非钙化斑块，管腔轻度狭窄。",
        "4. 左前降支中段钙化斑块，未致管腔狭窄。",
        "5. 右冠状动脉远段支架影，支架内评价受限。",
        "6. 左前降支中段心肌桥。",
        "7. 冠状动脉钙化积分 256，中度钙化。",
        "CAD-RADS 4A/P2/HRP/S。",
        "建议结合临床，考虑有创冠状动脉造影或功能学检查。",
    )
    assert sentences(report, "Impression") == (
        "CT shows:",
        "1. Mixed plaque in the proximal and mid RCA, severe stenosis.",
        "2. Mixed plaque in the proximal LAD, moderate stenosis, with high-risk plaque features.",
        "3. Non-calcified plaque in the mid to distal LCx, mild stenosis.",
        "4. Calcified plaque in the mid LAD, without stenosis.",
        "5. Stent in the distal RCA, lumen inside not assessable.",
        "6. Myocardial bridge of the mid LAD.",
        "7. Agatston score 256, moderate calcification.",
        "CAD-RADS 4A/P2/HRP/S.",
        "Consider invasive coronary angiography or a functional test.",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_impression_is_last_and_holds_no_percentage(kind: str) -> None:
    report = write_report(HEADER, KINDS[kind])
    assert report.zh[-1].heading == "印象"
    assert report.en[-1].heading == "Impression"
    assert "%" not in "".join((*report.zh[-1].sentences, *report.en[-1].sentences))


def test_beyond_an_occlusion_nothing_is_called_clear() -> None:
    report = write_report(HEADER, OCCLUSION)
    assert sentences(report, "右冠状动脉及其分支") == (
        "右冠状动脉中段可见非钙化斑块，长约 20 mm，管腔闭塞。",
        "其余追踪节段（右冠状动脉近段）未检出斑块及管腔狭窄。",
        "闭塞以远可追踪到右冠状动脉远段、右后降支及右后侧支。",
    )


def test_what_was_not_seen_is_never_called_normal() -> None:
    report = write_report(HEADER, NOT_READABLE)
    assert sentences(report, "左回旋支及钝缘支") == ("左回旋支未能追踪，未作评价。",)
    assert sentences(report, "右冠状动脉及其分支") == (
        "右冠状动脉中段及远段因运动伪影不能评价。",
        "右冠状动脉近段、右后降支及右后侧支未检出斑块及管腔狭窄。",
    )
    assert sentences(report, "Impression") == (
        "CT shows:",
        "1. No plaque or stenosis detected in the coronary segments that were traced and assessable.",
        "2. The mid and distal RCA are not assessable because of motion artefact.",
        "3. The left circumflex artery was not traced and not assessed.",
        "CAD-RADS N.",
        "The coronary arteries could not be fully assessed; another test is recommended.",
    )
    assert "扫描范围未完整包括冠状动脉。" in whole(report, "zh")


@pytest.mark.parametrize("name", get_args(VariantName))
def test_every_variant_has_words_in_both_languages_and_stands_in_the_impression(name: VariantName) -> None:
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, variants=(Variant(name=name, branch=1),)))
    origin, impression = sentences(report, "起源、走行与优势型"), sentences(report, "印象")
    words = origin[-2]
    assert any(words in item for item in impression)
    english = next(section.sentences for section in report.en if section.heading == "Origin, course and dominance")[-2]
    assert english.isascii()
    assert english[0].isupper()


def test_a_course_is_named_with_its_artery() -> None:
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, variants=(Variant(name="interarterial_course", branch=3),)))
    assert "右冠状动脉走行于主动脉与肺动脉之间。" in sentences(report, "起源、走行与优势型")


@pytest.mark.parametrize(
    ("inside", "zh", "en"),
    [
        ("patent", "未见明确再狭窄", "no clear in-stent restenosis"),
        ("narrowed", "提示再狭窄 ≥50%", "suggesting restenosis of 50% or more"),
        ("occluded", "提示闭塞", "suggesting occlusion"),
    ],
)
def test_what_is_said_of_the_inside_of_a_stent(inside: InStent, zh: str, en: str) -> None:
    stent = Stent(branch=3, start=165, end=205, assessable=True, diameter_mm=3.5, inside=inside)
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, stents=(stent,)))
    (found,) = [item for item in sentences(report, "右冠状动脉及其分支") if "支架影" in item]
    assert zh in found
    assert "直径约 3.5 mm" in found
    english = whole(report, "en")
    assert en in english
    assert "3.5 mm wide" in english
    assert (zh in "".join(sentences(report, "印象"))) == (inside != "patent")


def test_calcium_without_a_known_artery_and_without_a_percentile_is_said() -> None:
    assert SEVERAL.calcium is not None
    calcium = msgspec.structs.replace(SEVERAL.calcium, unassigned=12.4, percentile_reason="no_reference_table")
    report = write_report(HEADER, msgspec.structs.replace(SEVERAL, calcium=calcium))
    assert "血管归属未明 12" in sentences(report, "钙化积分")[0]
    assert "未安装有出处的人群参考表\uff0c不给出年龄性别百分位。" in sentences(report, "钙化积分")
    english = next(section.sentences for section in report.en if section.heading == "Calcium score")
    assert "artery unknown 12" in english[0]
    assert english[-1].startswith("No percentile for age and sex is given")


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("no_calcium_series", "未提供平扫钙化积分序列\uff0c未计算钙化积分。"),
        ("not_measured", "有平扫钙化积分序列\uff0c但未计算钙化积分。"),
        ("kvp_not_120", "平扫序列管电压不是 120 kVp\uff0c积分阈值不适用\uff0c未计算钙化积分。"),
        ("kvp_unknown", "平扫序列未注明管电压\uff0c未计算钙化积分。"),
        ("not_registered", "平扫序列与增强序列不能配准\uff0c未计算钙化积分。"),
        ("not_readable", "平扫序列无法读取\uff0c未计算钙化积分。"),
        (None, "未得出钙化积分。"),
    ],
)
def test_why_there_is_no_calcium_score(reason: str | None, sentence: str) -> None:
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, calcium_reason=reason))
    assert sentences(report, "钙化积分") == (sentence,)


def test_a_shoulder_of_three_points_does_not_name_the_next_segment() -> None:
    near, over = (
        lesion(0, 1, "pLAD", (30, 40, 53), 55.0, "moderate", "mixed"),
        lesion(0, 1, "pLAD", (30, 40, 54), 55.0, "moderate", "mixed"),
    )
    reports = [write_report(HEADER, msgspec.structs.replace(NORMAL, lesions=(item,))) for item in (near, over)]
    assert [sentences(report, "Impression")[1] for report in reports] == [
        "1. Mixed plaque in the proximal LAD, moderate stenosis.",
        "1. Mixed plaque in the proximal and mid LAD, moderate stenosis.",
    ]


def test_a_small_vessel_does_not_count_for_cad_rads() -> None:
    small = msgspec.structs.replace(lesion(0, 4, "D1", (30, 40, 50), 55.0, "moderate", "mixed"), reference_diameter_mm=1.4)
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, lesions=(small,)))
    assert sentences(report, "左前降支及对角支")[0].endswith("该处参考管径小于 1.5 mm\uff0c不计入 CAD-RADS 分类。")


def test_a_branch_outside_the_model_is_called_by_its_vessel() -> None:
    extra = msgspec.structs.replace(TREE[4], id=9, segments=((0, 60, "other"),))
    found = msgspec.structs.replace(lesion(0, 4, "D1", (30, 40, 50), 55.0, "moderate", "mixed"), branch=9, segment="other")
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, branches=(*TREE, extra), lesions=(found,)))
    assert sentences(report, "左前降支及对角支")[0].startswith("左前降支其他分支可见混合斑块")
    assert sentences(report, "Impression")[1] == "1. Mixed plaque in the other LAD branch, moderate stenosis."


@pytest.mark.parametrize(
    ("dominance", "absent", "heading", "sentence"),
    [
        ("right", "LCx", "左回旋支及钝缘支", "左回旋支中远段未追踪到\uff0c可能细小或缺如。"),
        ("left", "LCx", "左回旋支及钝缘支", "左回旋支中远段未能追踪\uff0c未作评价。"),
        ("left", "dRCA", "右冠状动脉及其分支", "右冠状动脉远段未追踪到\uff0c可能细小或缺如。"),
        ("right", "dRCA", "右冠状动脉及其分支", "右冠状动脉远段未能追踪\uff0c未作评价。"),
    ],
)
def test_a_segment_that_many_hearts_lack_is_told_apart(dominance: Dominance, absent: str, heading: str, sentence: str) -> None:
    branches = tuple(
        msgspec.structs.replace(branch, segments=tuple(part for part in branch.segments if part[2] != absent)) for branch in TREE
    )
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, branches=branches, dominance=dominance))
    assert sentences(report, heading)[-1] == sentence
    assert ("未作评价" in "".join(sentences(report, "印象"))) == ("未作评价" in sentence)


def test_no_tree_at_all_gives_no_findings() -> None:
    bare = msgspec.structs.replace(NORMAL, branches=(), dominance=None, dominance_reason="not_traced", cad_rads=None, cad_rads_reason="x")
    report = write_report(HEADER, bare)
    assert "未检出斑块" not in whole(report, "zh")
    assert "No plaque" not in whole(report, "en")
    assert sentences(report, "印象") == (
        "CT 所见提示：",
        "1. 未能追踪冠状动脉，不能作出诊断所见。",
        "2. 左主干、左前降支、左回旋支、右冠状动脉未能追踪，未作评价。",
        "未得出 CAD-RADS 分类。",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_ai_never_speaks_of_chambers_nor_calls_an_origin_normal(kind: str) -> None:
    text = whole(write_report(HEADER, KINDS[kind]), "zh")
    assert "正常" not in text
    if KINDS[kind].status == "analysed":
        assert "心腔、心肌、瓣膜、心包及心外结构不在 AI 分析范围内，须由医师阅片评价。" in text
        assert "AI 仅提示部分起源及走行异常，须由医师核对。" in text


@pytest.mark.parametrize(
    ("approval", "zh", "en"),
    [
        (None, "人工修正", "corrected by a reader"),
        (RADIOGRAPHER, "人工修正", "corrected by a reader"),
        (PHYSICIAN, "医师修正", "corrected by the physician"),
    ],
)
def test_a_corrected_grade_stands_beside_the_measurement(approval: object, zh: str, en: str) -> None:
    report = write_report(HEADER, CORRECTED, approval=approval)  # type: ignore[arg-type]
    assert sentences(report, "左前降支及对角支")[0] == f"左前降支近段可见混合斑块，长约 12 mm，管腔重度狭窄（{zh}；AI 测量约 62%）。"
    assert sentences(report, "印象")[1] == f"1. 左前降支近段混合斑块，管腔重度狭窄（{zh}）。"
    assert sentences(report, "Impression")[1] == f"1. Mixed plaque in the proximal LAD, severe stenosis ({en})."


@pytest.mark.parametrize(
    ("findings", "state", "reason"),
    [
        (DECLINED, "本次检查未作 AI 冠状动脉分析。", "原因：没有动脉期对比剂：主动脉平均 45 HU（DEC-004）。"),
        (FAILED, "AI 分析未能完成。", "原因：未找到主动脉根部（ANA-002）。"),
    ],
)
def test_declined_and_failed_studies_give_the_reason_and_no_findings(findings: Findings, state: str, reason: str) -> None:
    report = write_report(HEADER, findings)
    assert [section.heading for section in report.zh] == ["分析状态", "印象"]
    assert report.zh[0].sentences == (state, reason)
    assert report.zh[1].sentences == ("无 AI 所见；须由医师直接阅片。",)


def test_unmeasured_percentage_and_tiny_percentage() -> None:
    lesions = (lesion(0, 1, "pLAD", (20, 32, 44), None, "mild", "mixed"), lesion(1, 1, "mLAD", (80, 90, 100), 0.4, "minimal", "calcified"))
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, lesions=lesions))
    assert sentences(report, "左前降支及对角支")[:2] == (
        "左前降支近段可见混合斑块，长约 12 mm，管腔轻度狭窄（狭窄率未能测量）。",
        "左前降支中段可见钙化斑块，长约 10 mm，管腔轻微狭窄不足 1%（面积狭窄不足 1%，最小管腔直径 3.0 mm）。",
    )


def test_a_gap_that_tracing_closed_is_told() -> None:
    repaired = msgspec.structs.replace(TREE[3], repaired=((100, 112),))
    findings = msgspec.structs.replace(NORMAL, branches=(*TREE[:3], repaired, *TREE[4:]))
    text = whole(write_report(HEADER, findings), "zh")
    assert "右冠状动脉中段管腔显示中断约 6 mm，中心线由算法连接，请核对原始图像。" in text


def test_category_above_n_warns_of_unassessed_segments() -> None:
    findings = msgspec.structs.replace(OCCLUSION, quality=NOT_READABLE.quality)
    assert sentences(write_report(HEADER, findings), "印象")[-1] == "部分节段不能评价，上述分类不能排除该处病变。"


@pytest.mark.parametrize(
    ("agatston", "words"), [(0.0, "0，未检出钙化"), (0.2, "1（LAD 1），极轻度钙化"), (400.4, "400（LAD 400），中度钙化")]
)
def test_calcium_categories(agatston: float, words: str) -> None:
    assert SEVERAL.calcium is not None
    calcium = msgspec.structs.replace(SEVERAL.calcium, agatston=agatston, vessels={"LAD": agatston})
    report = write_report(HEADER, msgspec.structs.replace(SEVERAL, calcium=calcium))
    assert sentences(report, "钙化积分")[0] == f"Agatston 积分总分 {words}。"


def test_notices_follow_approval_and_validation() -> None:
    assert write_report(HEADER, NORMAL).notices == (DRAFT_NOTICE, NOT_VALIDATED_NOTICE)
    assert write_report(HEADER, NORMAL, approval=RADIOGRAPHER).notices == (DRAFT_NOTICE, NOT_VALIDATED_NOTICE)
    assert write_report(HEADER, NORMAL, approval=PHYSICIAN).notices == (NOT_VALIDATED_NOTICE,)


def test_title_names_the_institution() -> None:
    report = write_report(HEADER, NORMAL, institution="Example Hospital")
    assert (report.title_zh, report.title_en) == (
        "Example Hospital 冠状动脉 CT 血管成像报告",
        "Example Hospital Coronary CT angiography report",
    )
    assert write_report(HEADER, NORMAL).title_zh == "示范医院 冠状动脉 CT 血管成像报告"


def test_a_plaque_whose_degree_could_not_be_measured_is_not_said_to_be_without_stenosis() -> None:
    first, *others = SEVERAL.lesions
    unread = msgspec.structs.replace(
        first, diameter_stenosis_percent=None, diameter_stenosis_percent_reason="not_assessable", grade="none", grade_source="measured"
    )
    report = write_report(HEADER, msgspec.structs.replace(SEVERAL, lesions=(unread,)))
    assert others
    assert "狭窄程度无法评价" in whole(report, "zh")
    assert "未致管腔狭窄" not in whole(report, "zh")
    assert "degree of stenosis not assessable" in whole(report, "en")
    assert "without stenosis" not in whole(report, "en")


def test_grafts_are_reported_in_a_section_of_their_own_and_in_the_impression() -> None:
    graft = Graft(
        id=0, kind="venous", origin="aorta", target="mLAD", points_mm=((0.0, 0.0, 0.0), (0.0, 0.0, 0.5)), lumen_diameter_mm=3.44,
        patency="patent", confidence=0.8, target_branch=SEVERAL.lesions[0].branch, target_index=10_000,
    )  # fmt: skip
    found = msgspec.structs.replace(SEVERAL, grafts=(graft,), entered=Entered(ischaemia="I+"))
    text = write_report(HEADER, found)
    for sections, heading, wanted in (
        (text.zh, "旁路移植血管", ("静脉桥", "吻合于左前降支中段", "3.4 mm", "通畅", "手术记录", "不计入 CAD-RADS")),
        (text.en, "Bypass grafts", ("vein graft", "to the mid LAD", "3.4 mm", "patent", "operation record", "not counted for CAD-RADS")),
    ):
        body = next(" ".join(section.sentences) for section in sections if section.heading == heading)
        assert all(part in body for part in wanted), body
    impression = " ".join(text.en[-1].sentences)
    assert "vein graft" in impression
    assert "ischaemia on functional assessment (I+)" in impression
    rejected = write_report(HEADER, msgspec.structs.replace(found, entered=Entered(grafts=False)))
    assert "not counted for CAD-RADS" not in whole(rejected, "en"), "it is counted then"
    assert "vein graft" not in whole(rejected, "en")
    assert "listed as a coronary branch without a name" in whole(rejected, "en")
    assert "列为未命名的冠状动脉分支" in whole(rejected, "zh")


@pytest.mark.parametrize(
    ("entered", "zh", "en"),
    [
        (Entered(grafts=True), "医师录入：有旁路移植血管（G）。", "Entered by the physician: there is a bypass graft (G)."),
        (Entered(grafts=False), "医师录入：无旁路移植血管（不加 G）。", "Entered by the physician: there is no bypass graft (no G)."),
        (
            Entered(exceptions=True),
            "医师录入：有非动脉粥样硬化病变（E）。",
            "Entered by the physician: disease other than atherosclerosis (E).",
        ),
    ],
)
def test_modifiers_that_a_physician_entered_are_told_from_those_that_the_software_saw(entered: Entered, zh: str, en: str) -> None:
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, entered=entered))
    assert zh in sentences(report, "印象")
    assert en in sentences(report, "Impression")
    assert "录入" not in whole(write_report(HEADER, NORMAL), "zh")


def test_a_corrected_dominance_is_said() -> None:
    found = msgspec.structs.replace(SEVERAL, dominance="left", dominance_source="corrected")
    origin = " ".join(write_report(HEADER, found).en[1].sentences)
    assert "Left-dominant circulation." in origin
    assert "corrected by a reader" in origin


@pytest.mark.parametrize("taken", [True, False])
def test_another_phase_that_was_read_is_told_and_which_artery_it_showed_better(taken: bool) -> None:
    series = OtherSeries(series_uid="1.9", role="phase", phase_percent=40.0, read=True)
    branches = tuple(msgspec.structs.replace(each, series_uid="1.9") if taken and each.vessel == "RCA" else each for each in TREE)
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, branches=branches, other_series=(series,)))
    zh = "右冠状动脉在主期相不能完全评价，改在另一期相（40%）测量。" if taken else "另行分析了期相（40%），未见更好显示。"
    en = (
        "The RCA was measured in another phase (40%), as the main phase cannot be read everywhere there."
        if taken
        else "Another phase (40%) was read too; it shows no more."
    )
    assert zh in sentences(report, "检查技术与图像质量")
    assert en in sentences(report, "Technique and image quality")


def test_an_artery_that_comes_alone_from_another_phase_is_named_in_its_section_too() -> None:
    series = OtherSeries(series_uid="1.9", role="phase", phase_percent=40.0, read=True)
    branches = tuple(msgspec.structs.replace(each, series_uid="1.9") if each.vessel in ("LM", "LAD") else each for each in TREE)
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, branches=branches, other_series=(series,)))
    assert "左主干、前降支在主期相不能完全评价，改在另一期相（40%）测量。" in sentences(report, "检查技术与图像质量")
    said = [each.heading for each in report.zh if "在另一期相（40%）测量。" in each.sentences]
    assert said == ["左主干", "左前降支及对角支"]
    english = [each.heading for each in report.en if "Measured in another phase (40%)." in each.sentences]
    assert len(english) == 2


def test_a_phase_that_shows_more_and_could_not_be_used_is_not_said_to_show_no_more() -> None:
    series = OtherSeries(series_uid="1.9", role="phase", phase_percent=40.0, read=True)
    quality = with_not_taken(GOOD, (("LAD", "shorter"),), 40.0)
    report = write_report(HEADER, msgspec.structs.replace(NORMAL, quality=quality, other_series=(series,)))
    assert "另行分析了期相（40%），未采用。" in sentences(report, "检查技术与图像质量")
    told = " ".join(sentences(report, "Technique and image quality"))
    assert "Another phase (40%) was read too; nothing was taken from it." in told
    assert "another phase 40% shows more of the LAD, which is not followed as far there: the main phase was kept" in told


def test_what_changed_since_an_earlier_examination_is_told_with_who_answered_for_it() -> None:
    before = msgspec.structs.replace(
        SEVERAL,
        lesions=(lesion(0, 1, "pLAD", (20, 32, 44), 40.0, "mild", "mixed"), lesion(1, 1, "mLAD", (80, 90, 100), 0.0, "none", "calcified")),
    )
    assert before.calcium is not None
    before = msgspec.structs.replace(before, calcium=msgspec.structs.replace(before.calcium, agatston=200.2))
    earlier = summary(before, study_date="20250301", final=False)
    report = write_report(HEADER, msgspec.structs.replace(SEVERAL, earlier=earlier))
    assert sentences(report, "与既往检查比较") == (
        "与本机 2025-03-01 的检查比较，该次结果未经医师终审、由未经临床验证的模型分析。",
        "CAD-RADS 既往 4A/P2/HRP/S，本次 4A/P2/HRP/S。",
        "Agatston 积分既往 200，本次 256（+56）。",
        "新发斑块：左回旋支中远段、右冠状动脉近段及中段。",
        "进展：左前降支近段（轻度→中度）。",
        "狭窄程度无变化：左前降支中段。",
        "狭窄程度相差一级可在 CT 测量误差之内，须由医师对照两次图像判断。",
    )
    assert sentences(report, "Comparison with an earlier examination")[2:5] == (
        "Agatston score 200 earlier, 256 now (+56).",
        "New plaque: mid to distal LCx and proximal and mid RCA.",
        "Progressed: proximal LAD (mild to moderate).",
    )
    assert any(
        "与 2025-03-01 检查比较：左回旋支中远段、右冠状动脉近段及中段新发斑块；左前降支近段进展。" in each
        for each in sentences(report, "印象")
    )
    assert "Comparison" not in whole(write_report(HEADER, SEVERAL), "en")
