"""The words of the report: one table per thing that is named, each entry in Chinese and English.

Terms follow the Chinese reporting standard for coronary CT angiography (Chin J Radiol 2020;54:1044), the SCCT reporting guideline
(JCCT 2014;8:342) and CAD-RADS 2.0 (JCCT 2022;16:536); the sentences are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.anatomy import Dominance
from appliance.degrees import degree_unknown as degree_unknown
from appliance.findings import Grade, GraftKind, HighRiskFeature, InStent, Ischaemia, NotAssessableReason, PlaqueType, VariantName


@dataclass(frozen=True)
class Phrase:
    """The same words in Chinese and English."""

    zh: str
    en: str


TITLE = Phrase("冠状动脉 CT 血管成像报告", "Coronary CT angiography report")

GRADE_BANDS: dict[Grade, Phrase] = {
    "none": Phrase("未致管腔狭窄", "no stenosis"),
    "minimal": Phrase("管腔轻微狭窄", "minimal stenosis"),
    "mild": Phrase("管腔轻度狭窄", "mild stenosis"),
    "moderate": Phrase("管腔中度狭窄", "moderate stenosis"),
    "severe": Phrase("管腔重度狭窄", "severe stenosis"),
    "occluded": Phrase("管腔闭塞", "occlusion"),
}

OLDER_BANDS = Phrase(
    "狭窄程度按较早的中国共识(2011)分级:中度 50–74%,重度 75–99%;CAD-RADS 按其自身分级。",
    "Degrees of stenosis by the older Chinese consensus of 2011: moderate 50–74%, severe 75–99%; CAD-RADS keeps its own.",
)
"""Said where a site reports by that table: a degree of 72 % is then moderate beside CAD-RADS 4A."""

UNREADABLE = Phrase("狭窄程度无法评价", "degree of stenosis not assessable")

GRADE_NAMES: dict[Grade, Phrase] = {
    "none": Phrase("无狭窄", "none"),
    "minimal": Phrase("轻微", "minimal"),
    "mild": Phrase("轻度", "mild"),
    "moderate": Phrase("中度", "moderate"),
    "severe": Phrase("重度", "severe"),
    "occluded": Phrase("闭塞", "occluded"),
}

PLAQUES: dict[PlaqueType, Phrase] = {
    "calcified": Phrase("钙化斑块", "calcified plaque"),
    "mixed": Phrase("混合斑块", "mixed plaque"),
    "noncalcified": Phrase("非钙化斑块", "non-calcified plaque"),
}

HIGH_RISK: dict[HighRiskFeature, Phrase] = {
    "low_attenuation": Phrase("斑块内低密度成分(<30 HU)", "low attenuation (<30 HU)"),
    "positive_remodeling": Phrase("正性重构", "positive remodelling"),
    "spotty_calcification": Phrase("点状钙化", "spotty calcification"),
    "napkin_ring": Phrase("餐巾环征", "a napkin-ring sign"),
}

DOMINANCES: dict[Dominance, Phrase] = {
    "right": Phrase("呈右优势型。", "Right-dominant circulation."),
    "left": Phrase("呈左优势型。", "Left-dominant circulation."),
    "codominant": Phrase("呈均衡型。", "Co-dominant circulation."),
}

DOMINANCE_CORRECTED = Phrase("优势型经人工修正。", "Dominance as corrected by a reader.")

ISCHAEMIA: dict[Ischaemia, Phrase] = {
    "I+": Phrase("医师录入:功能学评估提示缺血(I+)。", "Entered by the physician: ischaemia on functional assessment (I+)."),
    "I-": Phrase("医师录入:功能学评估未提示缺血(I-)。", "Entered by the physician: no ischaemia on functional assessment (I-)."),
    "I±": Phrase("医师录入:功能学评估为临界(I±)。", "Entered by the physician: borderline functional assessment (I±)."),
}

ENTERED_GRAFTS: dict[bool, Phrase] = {
    True: Phrase("医师录入:有旁路移植血管(G)。", "Entered by the physician: there is a bypass graft (G)."),
    False: Phrase("医师录入:无旁路移植血管(不加 G)。", "Entered by the physician: there is no bypass graft (no G)."),
}
ENTERED_EXCEPTIONS: dict[bool, Phrase] = {
    True: Phrase("医师录入:有非动脉粥样硬化病变(E)。", "Entered by the physician: disease other than atherosclerosis (E)."),
    False: Phrase("医师录入:无非动脉粥样硬化病变(不加 E)。", "Entered by the physician: no disease other than atherosclerosis (no E)."),
}

NOT_ASSESSABLE: dict[NotAssessableReason, Phrase] = {
    "motion": Phrase("运动伪影", "motion artefact"),
    "noise": Phrase("图像噪声", "image noise"),
    "blooming": Phrase("钙化晕状伪影", "calcium blooming"),
    "stent": Phrase("支架伪影", "stent artefact"),
    "truncated": Phrase("扫描范围不全", "truncated coverage"),
}

QUALITY_SCORES: dict[int, Phrase] = {
    5: Phrase("图像质量优", "Excellent image quality"),
    4: Phrase("图像质量良好", "Good image quality"),
    3: Phrase("图像质量尚可", "Fair image quality"),
    2: Phrase("图像质量较差", "Poor image quality"),
    1: Phrase("图像质量不满足诊断", "Non-diagnostic image quality"),
}

ADVICE: dict[str, Phrase] = {
    "0": Phrase(
        "建议结合临床;如有胸痛,考虑非冠状动脉粥样硬化性原因。", "If symptomatic, consider causes other than coronary atherosclerosis."
    ),
    "1": Phrase(
        "建议结合临床,控制危险因素、预防性治疗;如有胸痛,考虑其他原因。",
        "Risk-factor control and preventive therapy; if symptomatic, consider other causes.",
    ),
    "2": Phrase("建议结合临床,控制危险因素并行预防性治疗。", "Risk-factor control and preventive therapy."),
    "3": Phrase(
        "建议结合临床,积极预防及药物治疗,必要时行功能学检查或 CT-FFR。",
        "Preventive and medical therapy; consider a functional test or CT-FFR.",
    ),
    "4A": Phrase(
        "建议结合临床,考虑有创冠状动脉造影或功能学检查。",
        "Consider invasive coronary angiography or a functional test.",
    ),
    "4B": Phrase("建议行有创冠状动脉造影。", "Invasive coronary angiography is recommended."),
    "5": Phrase(
        "建议行有创冠状动脉造影,必要时评估存活心肌。",
        "Consider invasive coronary angiography and, where appropriate, a viability assessment.",
    ),
    "N": Phrase(
        "本次检查不能完整评价冠状动脉,建议行其他检查。", "The coronary arteries could not be fully assessed; another test is recommended."
    ),
}

ADVICE_UNASSESSED = Phrase(
    "部分节段不能评价,上述分类不能排除该处病变。",
    "Some segments are not assessable; disease there is not excluded by this category.",
)

CALCIUM_CATEGORIES: tuple[tuple[int, Phrase], ...] = (
    (0, Phrase("未检出钙化", "no calcification detected")),
    (10, Phrase("极轻度钙化", "minimal calcification")),
    (100, Phrase("轻度钙化", "mild calcification")),
    (400, Phrase("中度钙化", "moderate calcification")),
)
"""Upper bounds of the whole-number score: 0, 1-10, 11-100, 101-400; above the last: ``CALCIUM_SEVERE``."""

CALCIUM_SEVERE = Phrase("重度钙化", "severe calcification")

NO_CALCIUM: dict[str, Phrase] = {
    "no_calcium_series": Phrase(
        "未提供平扫钙化积分序列,未计算钙化积分。", "There was no calcium-scoring series, so no calcium score was calculated."
    ),
    "not_measured": Phrase("有平扫钙化积分序列,但未计算钙化积分。", "A calcium-scoring series is present, but was not scored."),
    "kvp_not_120": Phrase(
        "平扫序列管电压不是 120 kVp,积分阈值不适用,未计算钙化积分。",
        "The calcium series was not made at 120 kVp, where the score's thresholds hold; no calcium score was calculated.",
    ),
    "kvp_unknown": Phrase(
        "平扫序列未注明管电压,未计算钙化积分。",
        "The calcium series does not state its tube voltage; no calcium score was calculated.",
    ),
    "not_registered": Phrase(
        "平扫序列与增强序列不能配准,未计算钙化积分。",
        "The calcium series could not be matched to the angiogram; no calcium score was calculated.",
    ),
    "not_readable": Phrase("平扫序列无法读取,未计算钙化积分。", "The calcium series could not be read; no calcium score was calculated."),
}
"""By the reason code in the findings."""

NO_PERCENTILE: dict[str, Phrase] = {
    "no_reference_table": Phrase(
        "未安装有出处的人群参考表,不给出年龄性别百分位。",
        "No percentile for age and sex is given: no population table with its source is installed.",
    ),
}
"""By the reason code in the findings."""

NO_CALCIUM_SCORE = Phrase("未得出钙化积分。", "No calcium score was obtained.")

NOT_BY_AI = Phrase(
    "心腔、心肌、瓣膜、心包及心外结构不在 AI 分析范围内,须由医师阅片评价。",
    "The cardiac chambers, myocardium, valves, pericardium and extracardiac structures are not assessed by the AI; "
    "a physician must read them.",
)

ORIGIN_NOT_BY_AI = Phrase(
    "AI 仅提示部分起源及走行异常,须由医师核对。",
    "The AI points out some anomalies of coronary origin and course only; a physician must check them.",
)

VARIANTS: dict[VariantName, Phrase] = {
    "separate_left_ostia": Phrase("左前降支与左回旋支分别开口于主动脉", "separate ostia of the LAD and the LCx from the aorta"),
    "lcx_from_right": Phrase("左回旋支起源于右侧(右冠状窦或右冠状动脉)", "origin of the LCx from the right sinus or the RCA"),
    "rca_from_left": Phrase("右冠状动脉起源于左冠状窦", "origin of the RCA from the left sinus"),
    "left_from_right": Phrase("左冠状动脉起源于右冠状窦", "origin of the left coronary artery from the right sinus"),
    "single_coronary": Phrase("单支冠状动脉(左、右冠状动脉共同开口)", "single coronary artery (left and right from one ostium)"),
    "interarterial_course": Phrase("走行于主动脉与肺动脉之间", "course between aorta and pulmonary artery"),
    "retroaortic_course": Phrase("走行于主动脉后方", "course behind the aorta"),
    "high_takeoff_left": Phrase("左冠状动脉高位开口(窦管交界水平附近或以上)", "high take-off of the left coronary artery"),
    "high_takeoff_right": Phrase("右冠状动脉高位开口(窦管交界水平附近或以上)", "high take-off of the RCA"),
}
"""Variants of origin and course, as they stand in a sentence."""

IN_STENT: dict[InStent, Phrase] = {
    "patent": Phrase("支架内对比剂充盈良好,未见明确再狭窄", "contrast fills the stent well, no clear in-stent restenosis"),
    "narrowed": Phrase("支架内对比剂充盈减少,提示再狭窄 ≥50%", "less contrast inside the stent, suggesting restenosis of 50% or more"),
    "occluded": Phrase("支架内未见对比剂充盈,提示闭塞", "no contrast inside the stent, suggesting occlusion"),
}

GRAFT_KINDS: dict[GraftKind, Phrase] = {
    "arterial": Phrase("动脉桥(自上方进入扫描范围,考虑乳内动脉)", "arterial graft (it enters the images from above: mammary artery?)"),
    "venous": Phrase("起自升主动脉的桥血管(考虑静脉桥)", "graft from the ascending aorta (vein graft?)"),
    "unknown": Phrase("旁路移植血管", "bypass graft"),
}
GRAFT_STATES: dict[str | None, Phrase] = {
    "patent": Phrase("追踪范围内对比剂充盈,管腔通畅", "filled with contrast as far as it was traced, patent"),
    "narrowed": Phrase("局部管腔较其余部分变细一半以上,提示狭窄", "at one place less than half as wide as elsewhere, suggesting stenosis"),
    "occluded": Phrase("未见对比剂充盈,提示闭塞", "no contrast inside, suggesting occlusion"),
    None: Phrase("管腔未能评价", "its lumen could not be assessed"),
}
"""By the graft's patency."""

GRAFTS_NOT_ALL = Phrase(
    "闭塞的桥血管无对比剂,AI 不能显示;桥血管数目须结合手术记录核对。",
    "An occluded graft holds no contrast and is not seen by the AI; compare the number of grafts with the operation record.",
)

GRAFTS_REJECTED = Phrase(
    "软件认作桥血管的血管经医师否定;该血管现列为未命名的冠状动脉分支,须人工核对。",
    "A vessel that the software took for a bypass graft is none, says the physician; it is listed as a coronary branch without a name now: "
    "check it.",
)

BRIDGE_NOT_GRADED = Phrase("肌桥段管腔受压不按斑块狭窄分级。", "Compression under a myocardial bridge is not graded as plaque.")


class Headings:
    """Section headings in the reporting order."""

    TECHNIQUE = Phrase("检查技术与图像质量", "Technique and image quality")
    ORIGIN = Phrase("起源、走行与优势型", "Origin, course and dominance")
    CALCIUM = Phrase("钙化积分", "Calcium score")
    LM = Phrase("左主干", "Left main")
    LAD = Phrase("左前降支及对角支", "Left anterior descending artery and diagonals")
    LCX = Phrase("左回旋支及钝缘支", "Left circumflex artery and obtuse marginals")
    RI = Phrase("中间支", "Ramus intermedius")
    GRAFTS = Phrase("旁路移植血管", "Bypass grafts")
    RCA = Phrase("右冠状动脉及其分支", "Right coronary artery and branches")
    OTHER = Phrase("其他分支", "Other branches")
    PLAQUE = Phrase("斑块定量", "Plaque quantification")
    COMPARISON = Phrase("与既往检查比较", "Comparison with an earlier examination")
    EXTRACORONARY = Phrase("心腔、心肌、心包及心外结构", "Chambers, myocardium, pericardium and extracardiac structures")
    NOT_ANALYSED = Phrase("分析状态", "Analysis")
    IMPRESSION = Phrase("印象", "Impression")
