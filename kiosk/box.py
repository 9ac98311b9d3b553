"""The desk of the box itself: its update, and its set-up at the first start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from appliance.api.messages import SelfTestInfo, ServiceReply, SetUpPeer, SetUpReply, SetUpRequest, UpdateInfo
from kiosk import actions, words
from kiosk.exchange import BoxAsk, ClientPort, FetchSelfTest, FetchUpdate, SendService, SendSetUp, SendWish, StartSelfTest
from kiosk.set_up_fields import FIELDS, STEPS, first_values, fits
from kiosk.state import KioskState, Service, SettingUp, Updating
from kiosk.words import Words

REFRESH_S = 1.0


class BoxDesk:
    """Acts on ``state.updating`` and ``state.setting_up``."""

    def __init__(
        self,
        *,
        state: KioskState,
        client: ClientPort,
        clock: Callable[[], float],
        new_key: Callable[[], str],
        say: Callable[..., None],
        may_command: Callable[[], bool],
    ) -> None:
        self._state = state
        self._client = client
        self._clock = clock
        self._new_key = new_key
        self._say = say
        self._may_command = may_command
        self.doers: Mapping[type[actions.Action], Callable[[Any], None]] = {
            actions.OpenUpdate: self._open_update,
            actions.OrderUpdate: self._order_update,
            actions.ChooseField: self._choose_field,
            actions.ChooseValue: self._choose_value,
            actions.TurnStep: self._turn,
            actions.FinishSetUp: self._finish,
            actions.ReadServiceStick: self._read_service_stick,
            actions.RunSelfTest: self._run_self_test,
        }
        self.typing: Mapping[type[actions.Action], Callable[[SettingUp, Any], None]] = {
            actions.TypeText: self._type,
            actions.EraseText: self._erase,
            actions.ShowKeyboard: self._hide_keyboard,
        }

    def act(self, action: actions.Action) -> None:
        """Carry out a wish, if its screen is open."""
        setting_up = self._state.setting_up
        if type(action) in self.typing:
            if setting_up is not None and not setting_up.sending:
                self.typing[type(action)](setting_up, action)
        else:
            self.doers[type(action)](action)

    def tick(self) -> None:
        """Ask again while the update screen is open; begin a set-up where the appliance wants one."""
        state = self._state
        if state.session is not None:
            state.service = Service()  # a PIN that was shown is gone with the first who signs in
        if state.info.set_up and state.session is None and state.setting_up is None:
            state.setting_up = SettingUp(values=first_values(state.language))
        if not state.info.set_up and state.setting_up is not None and state.online:
            state.setting_up = None
        open_now = state.updating if state.screen == "update" and state.online else None
        if open_now is not None and not open_now.asking and self._clock() - open_now.asked_at >= REFRESH_S:
            self._ask(open_now)
            if open_now.test is not None and open_now.test.running:
                self._client.send(FetchSelfTest())

    # the update

    def _open_update(self, _action: actions.OpenUpdate) -> None:
        session = self._state.session
        if session is not None and session.role in self._state.info.update_roles:
            self._state.updating, self._state.screen = Updating(), "update"
            self._ask(self._state.updating)

    def _ask(self, updating: Updating) -> None:
        updating.asking, updating.asked_at = True, self._clock()
        self._client.send(FetchUpdate())

    def _order_update(self, action: actions.OrderUpdate) -> None:
        updating = self._state.updating
        if updating is not None and not updating.pending and self._may_command():
            updating.pending = True
            self._client.send(SendWish(wish=action.wish, command=self._new_key()))

    # the set-up

    def _choose_field(self, action: actions.ChooseField) -> None:
        if self._state.setting_up is not None and action.field in FIELDS:
            self._state.setting_up.field = action.field

    def _choose_value(self, action: actions.ChooseValue) -> None:
        setting_up = self._state.setting_up
        if setting_up is None or setting_up.sending:
            return
        setting_up.values[action.field] = action.value
        setting_up.error = None
        if action.field == "language" and action.value in ("zh", "en"):
            self._state.language = "zh" if action.value == "zh" else "en"

    def _type(self, setting_up: SettingUp, action: actions.TypeText) -> None:
        field = FIELDS.get(setting_up.field)
        if field is None:
            return
        # a plugged-in keyboard tells which key it was, not whether shift was held: names and titles are capitals, addresses are not
        text = action.text.lower() if field.small else action.text.upper()
        if action.text.isascii() and len(setting_up.values[field.id]) < field.longest and field.takes(text):
            setting_up.values[field.id] += text
            setting_up.error = None

    def _erase(self, setting_up: SettingUp, _action: actions.EraseText) -> None:
        if setting_up.field:
            setting_up.values[setting_up.field] = setting_up.values[setting_up.field][:-1]

    def _hide_keyboard(self, setting_up: SettingUp, _action: actions.ShowKeyboard) -> None:
        setting_up.field = ""

    def _turn(self, action: actions.TurnStep) -> None:
        setting_up = self._state.setting_up
        if setting_up is None or setting_up.sending:
            return
        fault = fits(STEPS[setting_up.step], setting_up.values) if action.step > 0 else None
        setting_up.error = fault
        if fault is None:
            setting_up.step = min(max(setting_up.step + action.step, 0), len(STEPS) - 1)
            setting_up.field = ""

    def _finish(self, _action: actions.FinishSetUp) -> None:
        setting_up = self._state.setting_up
        if setting_up is not None and not setting_up.sending and setting_up.restarts is None and self._may_command():
            setting_up.sending, setting_up.error = True, None
            self._client.send(SendSetUp(wanted=_request(setting_up.values)))

    def _run_self_test(self, _action: actions.RunSelfTest) -> None:
        updating = self._state.updating
        if updating is not None and (updating.test is None or not updating.test.running) and self._may_command():
            updating.test = SelfTestInfo(running=True)
            self._client.send(StartSelfTest(command=self._new_key()))

    # the service engineer's stick

    def _read_service_stick(self, _action: actions.ReadServiceStick) -> None:
        state = self._state
        if state.session is None and state.info.service_code and not state.service.pending and self._may_command():
            state.service = Service(pending=True)
            self._client.send(SendService(command=self._new_key()))

    # what the appliance says

    def take(self, ask: BoxAsk, value: object) -> None:
        """An answer."""
        self._over(ask)
        if isinstance(value, UpdateInfo) and self._state.updating is not None:
            self._state.updating.info = value
        if isinstance(value, SetUpReply) and self._state.setting_up is not None:
            self._state.setting_up.restarts = value.restarts
        if isinstance(value, SelfTestInfo) and self._state.updating is not None:
            self._state.updating.test = value
        if isinstance(value, ServiceReply):
            self._state.service = Service(said=Words(value.zh, value.en))

    def refused(self, ask: BoxAsk, why: Words) -> None:
        """The appliance said no."""
        self._over(ask)
        if isinstance(ask, SendSetUp) and self._state.setting_up is not None:
            self._state.setting_up.error = why
        elif isinstance(ask, SendService):
            self._state.service = Service(said=why, error=True)
        elif isinstance(ask, StartSelfTest) and self._state.updating is not None:
            self._state.updating.test = None
            self._say(why, error=True)
        elif isinstance(ask, SendWish):
            self._say(why, error=True)

    def lost(self, ask: BoxAsk) -> None:
        """No answer came."""
        self._over(ask)
        if isinstance(ask, SendSetUp) and self._state.setting_up is not None:
            self._state.setting_up.error = words.COMMAND_LOST
        elif isinstance(ask, SendService):
            self._state.service = Service(said=words.COMMAND_LOST, error=True)
        elif isinstance(ask, SendWish):
            self._say(words.COMMAND_LOST, error=True)

    def _over(self, ask: BoxAsk) -> None:
        updating, setting_up = self._state.updating, self._state.setting_up
        if updating is not None:
            updating.asking = updating.asking and not isinstance(ask, FetchUpdate)
            updating.pending = updating.pending and not isinstance(ask, SendWish)
        if setting_up is not None and isinstance(ask, SendSetUp):
            setting_up.sending = False


def _request(values: Mapping[str, str]) -> SetUpRequest:
    """The message of what was typed; every field was checked when its step was left."""
    archive = SetUpPeer(host=values["archive_host"], port=int(values["archive_port"] or 104), ae_title=values["archive_title"])
    printer = SetUpPeer(host=values["printer_host"], port=int(values["printer_port"] or 104), ae_title=values["printer_title"])
    return SetUpRequest(
        language="zh" if values["language"] == "zh" else "en",
        institution=values["institution"].strip(),
        ae_title=values["ae_title"].strip(),
        port=int(values["port"]),
        address=values["address"],
        gateway=values["gateway"],
        dns=values["dns"],
        ntp=values["ntp"],
        time_zone=values["time_zone"],
        clock=values["clock"],
        archive=archive,
        printer=printer,
        user=values["user"].strip(),
        role="engineer" if values["role"] == "engineer" else "physician",
        pin=values["pin"],
    )
