"""What people may ask of the box itself, behind the API: its update and, while it is new, its set-up."""

from __future__ import annotations

from appliance.errors import WorkflowError
from appliance.settings import PolicySettings
from appliance.study import Role
from appliance.workflow.self_test import SelfTest
from appliance.workflow.service_stick import ServiceStick
from appliance.workflow.set_up import SetUpDesk
from appliance.workflow.update_desk import UpdateDesk, Wish
from appliance.worklist import SelfTestInfo, ServiceReply, Session, SetUpRequest, UpdateInfo

_FROM: dict[str, tuple[Role, ...]] = {
    "engineer": ("engineer",),
    "physician": ("physician", "engineer"),
    "radiographer": ("radiographer", "physician", "engineer"),
}


def update_roles(policy: PolicySettings) -> tuple[Role, ...]:
    """Who may install updates, by the site's policy."""
    return _FROM[policy.update]


class BoxDesk:
    """See the module; the parts do the work."""

    def __init__(
        self, *, updates: UpdateDesk, set_up: SetUpDesk, stick: ServiceStick | None = None, self_test: SelfTest | None = None
    ) -> None:
        self._updates = updates
        self._set_up = set_up
        self._stick = stick
        self._self_test = self_test

    def update(self, session: Session) -> UpdateInfo:
        """See `UpdateDesk.update`."""
        return self._updates.update(session)

    def order_update(self, *, session: Session, wish: Wish, command: str) -> UpdateInfo:
        """See `UpdateDesk.order_update`."""
        return self._updates.order_update(session=session, wish=wish, command=command)

    def set_up(self, wanted: SetUpRequest) -> bool:
        """See `SetUpDesk.set_up`."""
        return self._set_up.set_up(wanted)

    def self_test(self, session: Session) -> SelfTestInfo:
        """See `SelfTest.info`."""
        return self._tester().info(session)

    def start_self_test(self, session: Session) -> SelfTestInfo:
        """See `SelfTest.start`."""
        return self._tester().start(session)

    def _tester(self) -> SelfTest:
        if self._self_test is None:
            raise WorkflowError("WF-105", zh="本机不支持自检", en="this box has no self-test", kind="not_found")
        return self._self_test

    def service(self, command: str) -> ServiceReply:
        """See `ServiceStick.carry_out`. Raises WorkflowError WF-105 where nobody could mount a stick (kind ``not_found``)."""
        if self._stick is None:
            raise WorkflowError("WF-105", zh="本机不支持从 U 盘维修", en="this box takes no orders from a stick", kind="not_found")
        return self._stick.carry_out(command)

    def service_code(self) -> str:
        """See `ServiceStick.code`; nothing while the box is new, where the set-up is the way in."""
        return "" if self._stick is None or self.new() else self._stick.code()

    def new(self) -> bool:
        """Whether the box wants to be set up."""
        return self._set_up.wanted()
