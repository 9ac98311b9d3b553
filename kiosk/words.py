"""Every word of the kiosk in Chinese and English, so that a translator reads one file (and `box_words`: update and set-up)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.api.messages import ErrorReply, Grade, Ischaemia, Reason, SegmentName, StudyState
from appliance.comparison import Change
from appliance.findings import HighRiskFeature, NotAssessableReason, PlaqueType
from appliance.punctuation import chinese_punctuation

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Words:
    """A sentence in both languages; ``say`` gives the one that is spoken, with its blanks filled in."""

    zh: str
    en: str

    def say(self, language: Language, **blanks: object) -> str:
        """The sentence in ``language``, ``{names}`` replaced by ``blanks``."""
        sentence = self.zh if language == "zh" else self.en
        said = sentence.format(**blanks) if blanks else sentence
        return chinese_punctuation(said) if language == "zh" else said


def words_of(error: ErrorReply | Reason) -> Words:
    """The sentence of an error or reason, with its code for the service engineer."""
    return Words(f"{error.zh.rstrip('。')}({error.code})", f"{sentence_case(error.en.rstrip('.'))} ({error.code})")


def sentence_case(english: str) -> str:
    """Reasons begin small, as they also stand inside log lines; on a screen they begin large, but never a name such as ``pRCA``."""
    first = english.partition(" ")[0]
    return english[:1].upper() + english[1:] if first.isalpha() and first.islower() else english


APPLIANCE = Words("冠脉 CT 智能后处理", "Coronary CT post-processing")
LANGUAGE_NAME = Words("中文", "English")
SWITCH_LANGUAGE = Words("English", "中文")

SIGN_IN = Words("登录", "Sign in")
ENTER_PIN = Words("请输入 PIN 码", "Enter your PIN")
LOCKED = Words("已锁定,请重新输入 PIN 码", "Locked. Enter your PIN to go on")
CHECKING_PIN = Words("正在验证…", "Checking…")
PIN_TOO_SHORT = Words("PIN 码至少 4 位", "A PIN has at least 4 digits")
SESSION_ENDED = Words("登录已失效,请重新登录", "The session has ended, sign in again")
SIGN_OUT = Words("退出", "Sign out")
ERASE = Words("删除", "Erase")

WORKLIST = Words("检查列表", "Worklist")
EMPTY_LIST = Words(
    "暂无检查。CT 发送的冠脉增强序列会自动出现在这里。", "No studies yet. Coronary series sent by the CT appear here by themselves."
)
EMPTY_TAB = Words("此分类下没有检查", "No studies in this group")
TAB_ALL = Words("全部", "All")
TAB_REVIEW = Words("待审核", "To review")
TAB_WORKING = Words("处理中", "Processing")
TAB_DONE = Words("已完成", "Done")
TAB_TROUBLE = Words("异常", "Needs attention")
URGENT = Words("急", "STAT")
RETRY = Words("重试", "Retry")
REANALYSE = Words("重新分析", "Redo")
IMAGES = Words("{count} 幅", "{count} images")
SEARCH = Words("搜索", "Search")
SEARCH_HINT = Words("姓名、患者号或检查号", "Name, patient ID or accession")
SEARCHING = Words("正在查找…", "Searching…")
NOTHING_FOUND = Words("没有符合条件的检查", "No study matches")
PAGE = Words("第 {first}–{last} 项,共 {total} 项", "{first}–{last} of {total}")
KEYBOARD_DONE = Words("收起", "Hide")
KEYBOARD_SPACE = Words("空格", "Space")
ANY_DATE = Words("不限日期", "Any date")
TODAY = Words("今天", "Today")
WEEK = Words("7 天", "7 days")
MONTH = Words("30 天", "30 days")
ONLY_URGENT = Words("仅急诊", "STAT only")
OPEN_STUDY = Words("打开", "Open")
PROTECT = Words("长期保留", "Keep")
UNPROTECT = Words("取消保留", "Do not keep")
KEPT = Words("保留", "Kept")
PROTECTED = Words("长期保留,不会自动清除", "kept, never removed by itself")
ACCESSION = Words("检查号", "Accession")
STUDY_TIME = Words("检查时间", "Study time")
DESCRIPTION = Words("检查项目", "Description")
IMAGES_LABEL = Words("影像", "Images")
IMAGES_REMOVED = Words("已清除(已归档)", "removed here (archived)")
PRIORS = Words("既往检查", "Earlier examinations")
PRIOR_STATE = {
    "found": Words("在 {source},尚未调取", "on {source}, not fetched yet"),
    "fetched": Words("已从 {source} 调取", "fetched from {source}"),
    "failed": Words("在 {source},调取失败", "on {source}, could not be fetched"),
}
PRIOR_HERE = Words("本机", "here")
TROUBLES = Words("系统提示", "What needs attention")
MORE_TROUBLES = Words(" … 另有 {count} 项,点此查看", " … {count} more, tap to see")
SENT = Words("已发 {count}/{files}", "sent {count}/{files}")
ACCEPTED = Words("已接收 {count}", "accepted {count}")
COMMITTED = Words("已承诺存储 {count}", "committed {count}")
LEFT_OUT = Words("未发(脱敏规则){count}", "left out {count}")
COLUMN_PATIENT = Words("患者", "Patient")
COLUMN_RECEIVED = Words("接收时间", "Received")
COLUMN_STATE = Words("状态", "State")
COLUMN_RESULT = Words("结果", "Result")
UNNAMED = Words("(无姓名)", "(no name)")

RECEIVER = Words("接收", "Receiver")
ANALYST = Words("分析", "Analysis")
ENGINE = Words("引擎 {name}", "Engine {name}")
DISK = Words("磁盘余 {percent}%", "Disk {percent}% free")

BACK = Words("返回", "Back")
ALL_VESSELS = Words("全部", "All")
LESIONS = Words("病变", "Lesions")
NO_LESIONS = Words("未见斑块及狭窄", "No plaque and no stenosis")
NO_LESIONS_HERE = Words("该血管未见斑块及狭窄", "No plaque and no stenosis in this vessel")
LENGTH = Words("长 {mm}\u00a0mm", "{mm}\u00a0mm")
AREA = Words("面积狭窄 {percent}", "{percent} by area")
CORRECTED = Words("已修改", "corrected")
NOT_MEASURED = Words("未测量", "not measured")
QUALITY = Words("图像质量 {score}/5", "Quality {score}/5")
DOMINANCE = {
    "right": Words("右优势型", "Right dominant"),
    "left": Words("左优势型", "Left dominant"),
    "codominant": Words("均衡型", "Codominant"),
}
EDIT = Words("修正命名 / 优势型 / 修饰符", "Correct names, dominance, modifiers")
EDIT_TITLE = Words("修正", "Corrections")
EDIT_TABS = {
    "names": Words("血管命名", "Vessel names"),
    "dominance": Words("优势型", "Dominance"),
    "modifiers": Words("CAD-RADS 修饰符", "CAD-RADS modifiers"),
}
EDIT_PLACE_HINT = Words("先在左侧选择血管或节段", "Choose a vessel or segment on the left")
EDIT_NAME_HINT = Words(
    "为“{what}”选择名称;病变、积分、优势型与 CAD-RADS 随之重算(• 已有同名)",
    "Choose a name for {what}; lesions, scores, dominance and CAD-RADS follow (• in use elsewhere)",
)
NAME_REFUSED = Words(
    "{name} 是{trunk}主干的一段,不能用于{here}的一段。若整支命名有误,请选择该血管的“整支”一行。",
    "{name} belongs to the {trunk}, not to the {here}. If the whole vessel is misnamed, choose its row 'whole vessel'.",
)
WHOLE_VESSEL = Words("{vessel} 整支", "{vessel}, whole vessel")
AS_WHOLE = Words("整支作为 {vessel}", "whole vessel as {vessel}")
NAME_SURE = Words("把握 {percent}%", "{percent}% sure")
NARROWING = Words("狭窄 {percent}", "{percent} stenosis")
SHORT_NAME: dict[SegmentName, str] = {
    "OM1": "1st marginal", "OM2": "2nd marginal", "D1": "1st diagonal", "D2": "2nd diagonal", "L-PDA": "left PDA", "L-PLB": "left PLB",
    "R-PDA": "right PDA", "R-PLB": "right PLB", "RI": "ramus", "LCx": "mid/distal LCx", "other": "no name",
}  # fmt: skip
"""English names that fit a key; the others are short themselves."""
NO_NAME = Words("其他", "Other")
RENAMED = Words("已改名为 {name}", "Named {name} now")
EDIT_DOMINANCE_HINT = Words("选择优势型;之后改名不再改变它", "Choose the dominance; later renaming leaves it")
BY_NAMES = Words("按命名推定", "By the names")
DOMINANCE_BY_NAMES = Words("目前:{dominance}", "now: {dominance}")
DOMINANCE_BY_PERSON = Words("撤销人工选择", "take the choice back")
DOMINANCE_UNKNOWN = Words("未确定", "not determined")
EDIT_MODIFIERS_HINT = Words(
    "由医师录入;AI 不推断 I,仅提示 G 与 E", "Entered by a physician; the AI never derives I and only proposes G and E"
)
PHYSICIANS_ONLY = Words("仅医师可录入修饰符", "Only a physician may enter modifiers")
ISCHAEMIA_TITLE = Words("I · 缺血(CT-FFR 或负荷灌注)", "I · ischaemia (CT-FFR or stress perfusion)")
ISCHAEMIA: dict[Ischaemia | None, tuple[Words, Words]] = {
    None: (Words("无", "None"), Words("未做", "not tested")),
    "I+": (Words("I+", "I+"), Words("FFR ≤0.75", "FFR ≤0.75")),
    "I±": (Words("I±", "I±"), Words("0.76–0.80", "0.76–0.80")),
    "I-": (Words("I-", "I-"), Words("FFR >0.80", "FFR >0.80")),
}
GRAFTS_TITLE = Words("G · 旁路移植血管", "G · bypass graft")
EXCEPTIONS_TITLE = Words("E · 非动脉粥样硬化病变", "E · disease other than atherosclerosis")
ENTERED = {None: Words("自动", "Automatic"), True: Words("有", "Present"), False: Words("无", "Absent")}
GRAFTS_MEAN = {None: Words("按 AI 识别", "as recognised"), True: Words("加 G", "adds G"), False: Words("去除 G", "removes G")}
EXCEPTIONS_MEAN = {None: Words("按 AI 识别", "as recognised"), True: Words("加 E", "adds E"), False: Words("去除 E", "removes E")}
DOMINANCE_MEANS = {
    "right": Words("后降支来自右冠", "PDA from the RCA"),
    "left": Words("后降支来自回旋支", "PDA from the LCx"),
    "codominant": Words("两侧共同供血", "from both sides"),
}
GRAFTS = Words("桥血管 {count}", "Grafts {count}")
NOT_ASSESSABLE = Words("{segment}:无法评价({reason})", "{segment}: not assessable ({reason})")
COMPARED = Words("与 {date} 比较:", "Compared with {date}: ")
COMPARED_UNSIGNED = Words("与 {date} 比较(该次未经医师终审):", "Compared with {date} (never approved by a physician): ")
COMPARED_CALCIUM = Words("钙化积分 {before} → {now} ({change})", "calcium score {before} → {now} ({change})")
CHANGE: dict[Change, Words] = {
    "new": Words("新发 {segments}", "new {segments}"),
    "progressed": Words("进展 {segments}", "progressed {segments}"),
    "regressed": Words("减轻 {segments}", "less {segments}"),
    "not_seen_now": Words("本次未检出 {segments}", "not found now {segments}"),
    "unchanged": Words("无变化 {segments}", "unchanged {segments}"),
    "not_comparable": Words("无法比较 {segments}", "not compared {segments}"),
}
OTHER_PHASE = Words(
    "{vessels}:在另一期相{percent}测量(主期相不能完全评价)",
    "{vessels}: measured in another phase {percent} (not all of it readable in the main one)",
)
IMPRESSION = Words("报告印象", "Impression")
FULL_REPORT = Words("报告全文", "Full report")
CLOSE = Words("关闭", "Close")
NO_REPORT = Words("尚无报告", "No report yet")
LOADING = Words("正在读取…", "Loading…")
LOADING_PICTURE = Words("正在读取图像…", "Loading picture…")
NO_PICTURES = Words("没有该血管的图像", "No pictures of this vessel")
PICTURE_FAILED = Words("图像无法读取", "The picture cannot be read")
PHASE = Words("{percent}% 期相", "{percent}% phase")

CHANGE_GRADE = Words("修改狭窄程度", "Change the degree of stenosis")
MEASURED = Words("测量值 {percent}%", "Measured {percent}%")
MEASURED_SHORT = Words("测 {percent}", "was {percent}")
CANCEL = Words("取消", "Cancel")
SAVING = Words("正在保存…", "Saving…")

APPROVE_RELEASE = Words("放行胶片与图像", "Release films and images")
APPROVE_SIGN = Words("审核签发", "Approve and sign")
RELEASE_MEANS = Words("打印胶片并存入 PACS;报告仍为草稿", "Prints films and stores to PACS; the report stays a draft")
SIGN_MEANS = Words("报告定稿,打印胶片并存入 PACS", "Finalises the report, prints films and stores to PACS")
MAY_NOT_APPROVE = Words("您的账号无放行权限,请由医师审核", "Your account may not release; ask a physician")
CONFIRMING = Words("正在提交…", "Submitting…")
UNDO = Words("撤销", "Undo")
UNDO_BAR_RELEASE = Words("已放行,{seconds} 秒后打印并发送", "Released. Printing and sending in {seconds} s")
UNDO_BAR_SIGN = Words("已签发,{seconds} 秒后打印并发送", "Signed. Printing and sending in {seconds} s")
APPROVED_BY = Words("{name} · {time}", "{name} · {time}")
RELEASED_TITLE = Words("已放行(报告为草稿)", "Released (report is a draft)")
SIGNED_TITLE = Words("已签发(报告定稿)", "Signed (final report)")
DELIVERIES = Words("发送", "Deliveries")
NO_DELIVERIES = Words("正在生成胶片与 DICOM 对象…", "Making films and DICOM objects…")
DELIVERY_STATE = {
    "pending": Words("等待", "Waiting"),
    "sending": Words("发送中", "Sending"),
    "done": Words("完成", "Done"),
    "retrying": Words("将重试", "Will retry"),
}
ATTEMPTS = Words("第 {count} 次", "attempt {count}")
HELD = Words("不会自动重试,请确认后重发", "Held: send again if it shall go")
SEND_AGAIN = Words("立即重发", "Send again now")
SEND_AGAIN_TO = Words("再次发送到 {name}", "Send once more to {name}")
SEND_AGAIN_TO_ALL = Words("再次发送到全部", "Send once more to all")
NEXT_ATTEMPT = Words("{seconds} 秒后重试", "again in {seconds} s")

CONNECTING = Words("正在连接主机…", "Connecting to the appliance…")
BOOT_FAULT = {
    "BOX-001": Words("无法建立数据分区,请联系维修人员", "The data partition cannot be made. Call the service engineer"),
    "BOX-002": Words("启动分区不可用,无法保存密钥,请联系维修人员", "No boot partition for the key. Call the service engineer"),
    "BOX-003": Words("数据分区内容未知,已保持原样,请联系维修人员", "The data partition holds something unknown. Call the service engineer"),
    "BOX-004": Words("数据分区的文件系统损坏,请联系维修人员", "The files of the data partition are damaged. Call the service engineer"),
    "BOX-005": Words("数据分区无法解锁,请联系维修人员", "No key opens the data partition. Call the service engineer"),
}
"""What stopped the start of the box before the appliance came up (``open-data`` in the image)."""
DISCONNECTED = Words("与主机失去连接,正在重新连接 · 数据为 {age} 前", "Connection lost, reconnecting · data from {age} ago")
SECONDS = Words("{count} 秒", "{count} s")
MINUTES = Words("{count} 分钟", "{count} min")
COMMAND_LOST = Words("操作未得到确认,请查看当前状态", "The command was not confirmed, look at the state now")
OFFLINE_TAP = Words("未连接,暂不能操作", "Not connected, commands are off")
GRADE_CHANGED = Words("{segment} 已改为{grade}", "{segment} changed to {grade}")
UNDONE = Words("已撤销,可继续修改", "Undone, the draft can be changed")

ROLE = {
    "radiographer": Words("技师", "Radiographer"),
    "physician": Words("医师", "Physician"),
    "engineer": Words("工程师", "Engineer"),
}
SEX = {"M": Words("男", "M"), "F": Words("女", "F"), "O": Words("其他", "O")}
AGE_UNIT = {"Y": Words("岁", " y"), "M": Words("月", " mo"), "W": Words("周", " wk"), "D": Words("天", " d")}

STATE: dict[StudyState, Words] = {
    "receiving": Words("正在接收", "Receiving"),
    "queued": Words("排队等待分析", "Waiting for analysis"),
    "analysing": Words("正在分析", "Analysing"),
    "draft": Words("待审核", "To review"),
    "approving": Words("已放行(可撤销)", "Released (can be undone)"),
    "approved": Words("正在生成胶片", "Making films"),
    "delivering": Words("正在发送", "Sending"),
    "delivered": Words("已完成", "Delivered"),
    "declined": Words("未分析", "Not analysed"),
    "failed": Words("分析失败", "Analysis failed"),
}

STAGE = {
    "read": Words("读取图像", "Reading images"),
    "quality": Words("评价质量", "Judging quality"),
    "phases": Words("选择期相", "Choosing the phase"),
    "locate": Words("定位心脏", "Locating the heart"),
    "segment": Words("分割冠状动脉", "Segmenting coronaries"),
    "centrelines": Words("提取中心线", "Tracing centrelines"),
    "repair": Words("修补断点", "Bridging gaps"),
    "naming": Words("血管命名", "Naming vessels"),
    "name": Words("血管命名", "Naming vessels"),
    "measure": Words("测量血管与斑块", "Measuring vessels and plaque"),
    "lumen": Words("测量管腔", "Measuring lumen"),
    "lesions": Words("检出病变", "Finding lesions"),
    "plaque": Words("分析斑块", "Analysing plaque"),
    "cadrads": Words("CAD-RADS 分级", "CAD-RADS grading"),
    "cad_rads": Words("CAD-RADS 分级", "CAD-RADS grading"),
    "describe": Words("支架、肌桥与可评价性", "Stents, bridges, what can be read"),
    "second_phase": Words("查看另一期相", "Looking at another phase"),
    "calcium": Words("计算钙化积分", "Scoring calcium"),
    "imaging": Words("生成关键图像", "Making key views"),
    "key_views": Words("生成关键图像", "Making key views"),
    "pictures": Words("生成关键图像", "Making key views"),
    "report": Words("撰写报告", "Writing the report"),
}

GRADE: dict[Grade, Words] = {
    "none": Words("无狭窄", "None"),
    "minimal": Words("轻微", "Minimal"),
    "mild": Words("轻度", "Mild"),
    "moderate": Words("中度", "Moderate"),
    "severe": Words("重度", "Severe"),
    "occluded": Words("闭塞", "Occluded"),
}
# SCCT 2014 bands; the older Chinese consensus (2011) where the site keeps to it.
BANDS: dict[str, dict[Grade, str]] = {
    "scct": {"none": "0%", "minimal": "1–24%", "mild": "25–49%", "moderate": "50–69%", "severe": "70–99%", "occluded": "100%"},
    "cn2011": {"none": "0%", "minimal": "1–24%", "mild": "25–49%", "moderate": "50–74%", "severe": "75–99%", "occluded": "100%"},
}
PLAQUE: dict[PlaqueType, Words] = {
    "calcified": Words("钙化斑块", "Calcified plaque"),
    "mixed": Words("混合斑块", "Mixed plaque"),
    "noncalcified": Words("非钙化斑块", "Non-calcified plaque"),
}
HIGH_RISK: dict[HighRiskFeature, Words] = {
    "low_attenuation": Words("低密度", "low attenuation"),
    "positive_remodeling": Words("正性重构", "positive remodelling"),
    "spotty_calcification": Words("点状钙化", "spotty calcification"),
    "napkin_ring": Words("餐巾环征", "napkin ring"),
}
DEGREE_UNKNOWN = Words("程度无法评价", "degree not assessable")
NOT_ASSESSABLE_REASON: dict[NotAssessableReason, Words] = {
    "motion": Words("运动伪影", "motion"),
    "noise": Words("噪声", "noise"),
    "blooming": Words("钙化伪影", "blooming"),
    "stent": Words("支架", "stent"),
    "truncated": Words("未包全", "truncated"),
}

NOTHING = Words("", "")
LIST_COMMA = Words("、", ", ")
OR_BADGE = Words("请输入 PIN 码,或刷胸卡", "Enter your PIN, or show your badge")
