"""A box in memory behind the API: its update, which a test moves on, and its set-up."""

from __future__ import annotations

import msgspec

from appliance.api.messages import ApplianceInfo, Reason, SelfTestInfo, ServiceReply, Session, SetUpRequest, UpdateInfo, UpdateWish
from appliance.errors import WorkflowError

NOTES_ZH = "1. 左主干混合斑块的识别更准确\n2. 分析速度提高三成\n3. 修正:断电后首次登录偶尔变慢"
NOTES_EN = "1. Mixed plaque of the left main is found more often\n2. The analysis takes a third less time\n3. Mended: a slow first sign-in"
BAD_TITLE = "settings file coronet.toml: Expected `str` matching regex"


class MemoryBox:
    """Implements `appliance.api.box_routes.BoxPort`."""

    def __init__(self, *, new: bool = False) -> None:
        self.now = UpdateInfo(installed="0.1.0", available=True)
        self.wishes: list[tuple[str, UpdateWish]] = []
        self.new = new
        self.set_ups: list[SetUpRequest] = []
        self.refuse: Reason | None = None
        self.code = ""
        self.test = SelfTestInfo()
        self.reply = ServiceReply(zh="已添加 孙工,PIN 码 048213,请立即记下", en="Sun was added. The PIN is 048213: write it down now")

    def info(self) -> ApplianceInfo:
        roles = ("engineer",)
        return ApplianceInfo(
            institution="示范医院", version="0.1.0", update_roles=roles, set_up=self.new, badge_reader=False, service_code=self.code
        )

    def move(self, **changes: object) -> None:
        """The updater has gone on."""
        self.now = msgspec.structs.replace(self.now, **changes)

    def found(self) -> None:
        """A good update is on the stick."""
        self.move(state="offered", version="0.2.0", notes_zh=NOTES_ZH, notes_en=NOTES_EN)

    def update(self, session: Session) -> UpdateInfo:
        return msgspec.structs.replace(self.now, may=session.role == "engineer")

    def order_update(self, *, session: Session, wish: UpdateWish, command: str) -> UpdateInfo:
        if session.role != "engineer":
            raise WorkflowError("WF-104", zh="您的角色无权更新系统", en="your role may not update the box", kind="forbidden")
        if command not in {each for each, _wish in self.wishes}:
            self.wishes.append((command, wish))
            after = {"look": "looking", "install": "installing", "restart": "restarting", "dismiss": "idle"}
            self.move(state=after[wish], reason=None)
        return self.update(session)

    def self_test(self, session: Session) -> SelfTestInfo:
        return self.test

    def start_self_test(self, session: Session) -> SelfTestInfo:
        self.test = SelfTestInfo(running=True)
        return self.test

    def service(self, command: str) -> ServiceReply:
        if self.refuse is not None:
            raise WorkflowError(self.refuse.code, zh=self.refuse.zh, en=self.refuse.en)
        return self.reply

    def set_up(self, wanted: SetUpRequest) -> bool:
        if self.refuse is not None:
            raise WorkflowError(self.refuse.code, zh=self.refuse.zh, en=self.refuse.en)
        self.set_ups.append(wanted)
        return True
