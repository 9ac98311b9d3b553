"""DIMSE status codes and printer states as sentences for a person, in both languages.

Sources: PS3.7 annex C (general), PS3.4 annex B.2.3 (storage), PS3.4 annex H.4 (print), PS3.3 C.13.9 (Printer Status Info).
"""

from __future__ import annotations

from appliance.errors import Reason

SUCCESS = 0x0000

GENERAL: dict[int, tuple[str, str]] = {
    0x0105: ("对方不支持所发送的属性", "no such attribute"),
    0x0106: ("对方不接受某个属性的取值", "an attribute has a value that the peer does not take"),
    0x0107: ("对方未识别部分属性", "the peer does not know some of the attributes"),
    0x0110: ("对方处理失败", "processing failure"),
    0x0111: ("SOP 实例重复", "duplicate SOP instance"),
    0x0112: ("对方没有该 SOP 实例", "no such SOP instance"),
    0x0115: ("参数无效", "invalid argument"),
    0x0116: ("部分属性值超出范围,对方已另行取值", "an attribute value was out of range, the peer used another"),
    0x0117: ("SOP 实例 UID 无效", "invalid SOP instance UID"),
    0x0118: ("对方不支持该 SOP 类", "no such SOP class"),
    0x0119: ("类与实例不符", "class and instance do not match"),
    0x0120: ("缺少必需的属性", "a required attribute is missing"),
    0x0122: ("对方不支持该 SOP 类", "SOP class not supported"),
    0x0123: ("对方不支持该操作", "no such action"),
    0x0124: ("对方未授权", "not authorised"),
    0x0210: ("操作重复", "duplicate invocation"),
    0x0211: ("对方不支持该操作", "unrecognised operation"),
    0x0212: ("参数类型有误", "mistyped argument"),
    0x0213: ("对方资源不足", "resource limitation"),
}
STORAGE_WARNINGS: dict[int, tuple[str, str]] = {
    0xB000: ("对方修改了部分属性", "the peer coerced data elements"),
    0xB006: ("对方舍弃了部分属性", "the peer discarded elements"),
    0xB007: ("数据集与 SOP 类不完全相符", "the data set does not quite match its SOP class"),
}
PRINT_WARNINGS: dict[int, tuple[str, str]] = {
    0x0107: GENERAL[0x0107],
    0x0116: GENERAL[0x0116],
    0xB600: ("打印机不支持内存分配", "the printer does not support memory allocation"),
    0xB601: ("打印机不支持整套打印", "the printer does not support printing the session as a whole"),
    0xB602: ("胶片为空白页", "a film box holds no image (empty page)"),
    0xB603: ("胶片为空白页", "a film box holds no image (empty page)"),
    0xB604: ("打印机缩小了图像以适应胶片,图像已改变", "the printer demagnified the image to fit the film: the image was altered"),
    0xB605: ("密度超出打印机范围,已另行取值", "a density is outside the printer's range, another was used"),
    0xB609: ("打印机裁剪了图像以适应胶片,图像已改变", "the printer cropped the image to fit the film: the image was altered"),
    0xB60A: ("打印机抽样缩小了图像以适应胶片,图像已改变", "the printer decimated the image to fit the film: the image was altered"),
}
PRINT_FAILURES: dict[int, tuple[str, str]] = {
    0xC600: ("胶片会话中没有胶片", "the film session holds no film box"),
    0xC601: ("无法建立打印任务:打印队列已满", "no print job could be made: the print queue is full"),
    0xC602: ("无法建立打印任务:打印队列已满", "no print job could be made: the print queue is full"),
    0xC603: ("图像大于打印区域", "the image is larger than the image box"),
    0xC605: ("打印机内存不足", "the printer has too little memory to keep the image"),
    0xC613: ("图像合计大于打印区域", "the images together are larger than the image box"),
    0xC616: ("前一张胶片正在打印,请稍候", "a film box may not be printed while another is"),
}
PRINTER_STATES: dict[str, tuple[str, str]] = {
    "BAD RECEIVE MGZ": ("收片盒故障", "problem with the receive magazine"),
    "BAD SUPPLY MGZ": ("供片盒故障", "problem with the supply magazine"),
    "CALIBRATING": ("打印机正在校准", "the printer is calibrating"),
    "CALIBRATION ERR": ("打印机校准失败", "calibration failed"),
    "CHECK CHEMISTRY": ("请检查药液", "check the chemicals"),
    "CHECK SORTER": ("请检查分片器", "check the sorter"),
    "CHEMICALS EMPTY": ("药液已用完", "no chemicals"),
    "CHEMICALS LOW": ("药液不足", "chemicals are low"),
    "COVER OPEN": ("打印机盖未关", "a cover is open"),
    "ELEC CONFIG ERR": ("打印机配置有误", "the printer is not configured properly"),
    "ELEC DOWN": ("打印机电路故障", "the printer's electronics have failed"),
    "ELEC SW ERROR": ("打印机软件故障", "the printer's software has failed"),
    "EMPTY 8X10": ("8x10 胶片已用完", "no 8x10 film"),
    "EMPTY 10X12": ("10x12 胶片已用完", "no 10x12 film"),
    "EMPTY 11X14": ("11x14 胶片已用完", "no 11x14 film"),
    "EMPTY 14X14": ("14x14 胶片已用完", "no 14x14 film"),
    "EMPTY 14X17": ("14x17 胶片已用完", "no 14x17 film"),
    "FILM JAM": ("卡片", "film jam"),
    "FILM TRANSP ERR": ("走片故障", "film transport fault"),
    "FINISHER EMPTY": ("整理器耗材已用完", "the finisher is empty"),
    "FINISHER ERROR": ("整理器故障", "finisher fault"),
    "FINISHER LOW": ("整理器耗材不足", "the finisher is low"),
    "IMAGER CAL": ("成像器正在校准", "the imager is calibrating"),
    "IMAGER DOWN": ("成像器故障", "the imager is down"),
    "NO RECEIVE MGZ": ("未装收片盒", "no receive magazine"),
    "NO RIBBON": ("色带已用完", "no ribbon"),
    "NO SUPPLY MGZ": ("未装供片盒", "no supply magazine"),
    "CHECK PRINTER": ("请检查打印机", "check the printer"),
    "CHECK PROC": ("请检查洗片机", "check the processor"),
    "PRINTER DOWN": ("打印机停机", "the printer is down"),
    "PRINTER INIT": ("打印机正在初始化", "the printer is starting"),
    "PRINTER OFFLINE": ("打印机脱机", "the printer is offline"),
    "PROC DOWN": ("洗片机停机", "the processor is down"),
    "PROC INIT": ("洗片机正在初始化", "the processor is starting"),
    "PROC OVERFLOW FL": ("洗片机废液已满", "processor chemicals are approaching full"),
    "PROC OVERFLOW HI": ("洗片机废液已满", "processor chemicals are full"),
    "QUEUED": ("排队等候", "queued"),
    "RECEIVER FULL": ("收片盒已满", "the receive magazine is full"),
    "REQ MED NOT INST": ("未装所需胶片", "the requested film is not installed"),
    "REQ MED NOT AVAI": ("没有所需胶片", "the requested film is not available"),
    "RIBBON ERROR": ("色带故障", "ribbon fault"),
    "SUPPLY EMPTY": ("胶片已用完", "the printer is out of film"),
    "SUPPLY LOW": ("胶片不足", "the film supply is low"),
    "UNKNOWN": ("原因未知", "cause unknown"),
}
"""Defined terms of Printer Status Info and Execution Status Info."""


def store_reason(status: int) -> Reason | None:
    """What a C-STORE status other than success means; None for success."""
    if status == SUCCESS:
        return None
    if status in STORAGE_WARNINGS:
        zh, en = STORAGE_WARNINGS[status]
        return Reason(f"DCM-{status:04X}", zh=f"已接收,但{zh}", en=f"accepted, but {en}")
    if status & 0xFF00 == 0xA700:
        zh, en = "对方存储空间或资源不足", "the peer is out of resources (disk full?)"
    elif status & 0xFF00 == 0xA900:
        zh, en = "数据集与 SOP 类不符", "the data set does not match its SOP class"
    elif status & 0xF000 == 0xC000:
        zh, en = "对方无法理解该影像", "the peer cannot understand the instance"
    else:
        zh, en = GENERAL.get(status, ("对方拒绝,原因不明", "refused for an unknown cause"))
    return Reason(f"DCM-{status:04X}", zh=f"{zh}(状态 {status:04X})", en=f"{en} (status {status:04X})")


def store_accepted(status: int) -> bool:
    """True for success and for the warnings of the storage service, with which the instance is kept."""
    return status == SUCCESS or status in STORAGE_WARNINGS


def print_warning(status: int) -> Reason | None:
    """What a warning status of a print operation means; None if the status is no warning."""
    if status in PRINT_WARNINGS:
        zh, en = PRINT_WARNINGS[status]
    elif status & 0xF000 == 0xB000:
        zh, en = "打印机给出警告", "the printer gave a warning"
    else:
        return None
    return Reason(f"DCM-{status:04X}", zh=f"{zh}(状态 {status:04X})", en=f"{en} (status {status:04X})")


def print_failure(status: int) -> tuple[str, str]:
    """What a failure status of a print operation means, (zh, en)."""
    zh, en = PRINT_FAILURES.get(status) or GENERAL.get(status) or ("打印机拒绝,原因不明", "refused for an unknown cause")
    return f"{zh}(状态 {status:04X})", f"{en} (status {status:04X})"


def printer_state(info: str) -> tuple[str, str]:
    """What a Printer Status Info or Execution Status Info means, (zh, en); makers' own terms come through as they are."""
    if not info:
        return PRINTER_STATES["UNKNOWN"]
    return PRINTER_STATES.get(info.strip().upper(), (info, info))
