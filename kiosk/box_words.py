"""The words of the update and of the first set-up, in Chinese and English."""

from __future__ import annotations

from appliance.api.messages import UpdateState, UpdateWish
from kiosk.words import Words

UPDATE = Words("系统更新", "System update")
UPDATE_INSTALLED = Words("当前版本", "Installed version")
UPDATE_VERSION = Words("版本 {version}", "Version {version}")
UPDATE_STICK = Words("U 盘已插入", "Stick plugged in")
UPDATE_NO_STICK = Words("未插入 U 盘", "No stick plugged in")
UPDATE_NOTES = Words("更新内容", "What is new")
UPDATE_NOT_HERE = Words("本机不支持从 U 盘更新系统", "This box cannot be updated from a stick")
UPDATE_STATE: dict[UpdateState, Words] = {
    "idle": Words("从 U 盘更新", "Update from a stick"),
    "looking": Words("正在检查 U 盘…", "Checking the stick…"),
    "offered": Words("可以安装", "Ready to install"),
    "installing": Words("正在写入…", "Writing…"),
    "installed": Words("已写入,等待空闲时重启", "Written, restarts at a quiet moment"),
    "restarting": Words("正在重启…", "Restarting…"),
    "trying": Words("新版本自检中…", "The new version proves itself…"),
    "returning": Words("自检未通过,正在恢复原版本…", "Not proved, going back…"),
    "good": Words("更新完成", "Update complete"),
    "back": Words("已自动恢复原版本", "Back on the old version by itself"),
    "refused": Words("此更新包不能安装", "This update is not taken"),
    "failed": Words("安装未完成", "Not installed"),
}
UPDATE_HELP: dict[UpdateState, Words] = {
    "idle": Words(
        "插入存有更新包的 U 盘,然后点“检查 U 盘”。检查期间不写入任何数据。",
        "Plug in the stick with the update, then check it. Nothing is written while it is checked.",
    ),
    "looking": Words("逐字节核对签名、机型和版本,请勿拔出 U 盘。", "Signature, machine, version, every byte. Leave the stick in."),
    "offered": Words(
        "安装写入另一系统分区,不影响接收和审核;重启选在空闲时进行。",
        "It is written to the other slot; receiving and review go on. The restart waits for a quiet moment.",
    ),
    "installing": Words("接收和审核照常进行,请勿拔出 U 盘。", "Receiving and review go on. Leave the stick in."),
    "installed": Words("即将重启,约需两分钟;可以拔出 U 盘。", "It restarts in a moment and takes two minutes. The stick can be taken out."),
    "trying": Words(
        "服务、接收、屏幕和基准病例须全部通过;否则自动恢复原版本。",
        "Service, receiver, screen and the golden case must pass, or the box goes back by itself.",
    ),
    "good": Words("新版本已通过自检,运行正常。", "The new version has proved itself."),
}
UPDATE_WAITS_FOR = Words("等待结束:{parts}", "Waiting for: {parts}")
UPDATE_WAITING = {
    "receiving": Words("影像接收", "images that arrive"),
    "analysis": Words("正在进行的分析", "a running analysis"),
    "delivery": Words("正在发送的结果", "results on their way"),
}
UPDATE_WISH: dict[UpdateWish, Words] = {
    "look": Words("检查 U 盘", "Check the stick"),
    "install": Words("安装", "Install"),
    "restart": Words("立即重启", "Restart now"),
    "dismiss": Words("知道了", "Close"),
}
SELF_TEST = Words("自检", "Self-test")
SELF_TEST_RUNNING = Words("自检进行中,最长约一分钟…", "The self-test takes up to a minute…")
SELF_TEST_GOOD = Words("自检通过", "Self-test passed")
SELF_TEST_BAD = Words("自检:{count} 项异常", "Self-test: {count} parts do not work")
SELF_TEST_PART = {
    "disk": Words("磁盘", "disk"), "database": Words("数据库", "database"), "models": Words("模型", "models"),
    "receiver": Words("接收", "receiver"), "clock": Words("时钟", "clock"), "units": Words("系统服务", "system units"),
    "display": Words("显示器", "display"), "panel": Words("前面板", "front panel"), "badge": Words("读卡器", "badge reader"),
    "ups": Words("UPS", "UPS"), "gpu": Words("GPU", "GPU"), "destination": Words("发送目标", "destination"),
    "printer": Words("打印机", "printer"),
}  # fmt: skip
UPDATE_LATER = Words("暂不安装", "Not now")
STEP_CHECKED = Words("已核对", "Checked")
STEP_WRITTEN = Words("已写入", "Written")
STEP_RESTARTED = Words("已重启", "Restarted")
STEP_PROVED = Words("已通过自检", "Proved")

SERVICE_CODE = Words("维修码\n{code}", "Service code\n{code}")
SERVICE_HELP = Words(
    "为此维修码签名的指令存于 U 盘,可添加人员或清除全部数据", "A signed order for this code on a stick adds a person or erases the box"
)
SERVICE_READ = Words("读取维修 U 盘", "Read service stick")
SERVICE_READING = Words("正在核对 U 盘…", "Checking the stick…")

RECOVERY_HELP = Words("请输入恢复密钥(48 位数字)", "Enter the recovery key (48 digits)")
RECOVERY_SENDING = Words("正在验证,可能需要几分钟…", "Checking, which may take minutes…")
RECOVERY_GROUP = Words("第 {group} 组有误,请重新输入", "Group {group} is mistyped. Enter it again")
RECOVERY_SHORT = Words("恢复密钥共 48 位", "A recovery key has 48 digits")
RECOVERY_ENTER = Words("解锁", "Unlock")
RECOVERED = Words("已解锁,正在重启…", "Unlocked. The box restarts…")
RECOVERED_WITHOUT_TPM = Words("已解锁,正在重启… TPM 未接收密钥", "Unlocked, it restarts… The TPM took no key")

SET_UP = Words("首次设置", "First set-up")
SET_UP_STEP = Words("第 {step} 步,共 {steps} 步", "Step {step} of {steps}")
SET_UP_STEP_NAME = {
    "site": Words("语言与医院", "Language and hospital"),
    "dicom": Words("DICOM 连接", "DICOM connections"),
    "network": Words("网络与时间", "Network and clock"),
    "person": Words("第一位用户", "First person"),
    "check": Words("核对", "Check"),
}
SET_UP_NEXT = Words("下一步", "Next")
SET_UP_BACK = Words("上一步", "Back")
SET_UP_FINISH = Words("保存并重启", "Save and restart")
SET_UP_SENDING = Words("正在检查并保存…", "Checking and saving…")
SET_UP_DONE = Words("设置已保存,正在重启…", "Saved. The box restarts…")
SET_UP_DONE_HERE = Words("设置已保存,请重新启动本机服务", "Saved. Start the service again")
SET_UP_CHECK = Words("请核对,保存后可登录并运行自检。", "Check it all. After the restart sign in and run the self-test.")
SET_UP_LANGUAGE = Words("语言", "Language")
SET_UP_INSTITUTION = Words("医院名称", "Hospital")
SET_UP_INSTITUTION_HINT = Words("用于报告和胶片;中文名可稍后写入设置文件", "As it stands on reports and films")
SET_UP_AE_TITLE = Words("本机 AE 标题", "Our AE title")
SET_UP_PORT = Words("本机端口", "Our port")
SET_UP_ARCHIVE = Words("PACS 地址", "PACS address")
SET_UP_PRINTER = Words("胶片打印机地址", "Film printer address")
SET_UP_NONE = Words("没有则留空", "empty: none")
SET_UP_PEER_PORT = Words("端口", "Port")
SET_UP_PEER_TITLE = Words("AE 标题", "AE title")
SET_UP_ADDRESS = Words("本机 IP 地址/前缀", "Our IP address/prefix")
SET_UP_DHCP = Words("留空则用 DHCP", "empty: DHCP")
SET_UP_GATEWAY = Words("网关", "Gateway")
SET_UP_DNS = Words("DNS 服务器", "Name server")
SET_UP_NTP = Words("时间服务器", "Time server")
SET_UP_CLOCK = Words("当前时间", "Time now")
SET_UP_CLOCK_HINT = Words("例如 2026-11-23 09:30;正确则留空", "YYYY-MM-DD HH:MM; empty: it is right")
SET_UP_TIME_ZONE = Words("时区", "Time zone")
SET_UP_USER = Words("姓名", "Name")
SET_UP_ROLE = Words("角色", "Role")
SET_UP_PIN = Words("PIN 码", "PIN")
SET_UP_PIN_HINT = Words("4 至 12 位数字", "4 to 12 digits")
SET_UP_PIN_AGAIN = Words("再次输入 PIN 码", "PIN once more")
SET_UP_BAD_TITLE = Words("请输入本机 AE 标题", "Our AE title is missing")
SET_UP_BAD_PEER = Words("请输入对方的 AE 标题", "The peer's AE title is missing")
SET_UP_BAD_PORT = Words("端口须为 1 至 65535", "A port is 1 to 65535")
SET_UP_BAD_PREFIX = Words("IP 地址须带前缀长度,例如 192.0.2.5/24", "The address needs a prefix length, e.g. 192.0.2.5/24")
SET_UP_BAD_ADDRESS = Words("地址格式有误", "That is no address")
SET_UP_BAD_CLOCK = Words("时间格式:2026-11-23 08:30", "The time as in 2026-11-23 08:30")
SET_UP_BAD_USER = Words("请输入姓名", "The name is missing")
SET_UP_PINS_DIFFER = Words("两次输入的 PIN 码不同", "The two PINs differ")
