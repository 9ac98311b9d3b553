"""What is screwed to the box, tied to what the box does: lights follow the state, power follows the UPS, faults go to the kiosk.

One worker of the daemon for each device that the settings name; each keeps its device going by itself (`appliance.hardware.keeper`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from functools import partial

from appliance.archive.archive import Archive
from appliance.archive.components import Component
from appliance.archive.redating import redate
from appliance.errors import ArchiveError, HardwareError, Reason
from appliance.hardware.badges import BadgeReader
from appliance.hardware.gpu import Gpu, NvmlProbe
from appliance.hardware.keeper import Device, Keeper
from appliance.hardware.panel import BUTTON_POWER, HELD, Light, Lights, Panel
from appliance.hardware.ups import Power, Ups, UpsClient, UpsLimits, UpsState, judge, order_power_off, power_reason
from appliance.settings import Settings, UpsSettings
from appliance.workflow.unit_watch import COMPONENT as UNITS
from appliance.workflow.unit_watch import watch_units

log = logging.getLogger(__name__)

POWER = "power"
"""Component: how the box is fed; its detail is one of `appliance.hardware.ups.Power`."""
DEVICES = ("panel", "badge", "ups", "gpu")
CLOCK = "clock"
ATTENTION = (*DEVICES, POWER, CLOCK, UNITS, "analyst", "query", "disk", "update")
OLDEST_CLOCK = 1_785_542_400.0
"""2026-08-01: no box with this software has lived before. A clock without a battery starts in 1970 or 2000."""
CLOCK_S = 60.0
DEAD_S = 60.0
"""So long a UPS that was on battery may be silent; a driver that is started anew is back sooner."""
CLOCK_FAULT = Reason(
    code="WF-083", zh="系统时钟错误,请校时;影像照常接收", en="the clock is wrong, set it; images are received all the same"
)

Work = Callable[[threading.Event], None]


class PowerGuard:
    """Follows the UPS: tells people, keeps new analyses back when the battery is low, switches off at its end.

    Args:
        archive: where the state of the power is told.
        limits: from when on it is low, and at its end.
        switch_off: orders the machine to stop; raises HardwareError.
    """

    def __init__(self, *, archive: Archive, limits: UpsLimits, switch_off: Callable[[], None]) -> None:
        self._archive = archive
        self._limits = limits
        self._switch_off = switch_off
        self._power: Power | None = None
        self._told: tuple[Power, str] | None = None
        self._ordered = False

    def changed(self, state: UpsState) -> None:
        """The UPS says this now; told about every two seconds."""
        self._take(judge(state, self._limits), state)

    def silent(self, seconds: float) -> None:
        """Nothing has been heard of the UPS for so long. Who was on battery then must take it for empty: there will be no other warning."""
        if seconds >= DEAD_S and self._power not in (None, "line"):
            self._take("end", UpsState(flags=frozenset()))

    def _take(self, power: Power, state: UpsState) -> None:
        reason = power_reason(power, state)
        told = (power, reason.code if reason else "")
        self._power = power
        if told != self._told:
            log.warning("power: %s", power)
            try:
                self._tell(power, reason)
                self._told = told
            except ArchiveError as error:  # a full disk keeps no box running until its battery is empty
                log.error("the state of the power is told later: %s", error)  # noqa: TRY400 - the typed error says it all
        if power != "end":
            self._ordered = False
        elif not self._ordered:
            self._switch_off()
            self._ordered = True

    def _tell(self, power: Power, reason: Reason | None) -> None:
        before = self._told[0] if self._told else "line"
        with self._archive.database.transaction():  # both or none
            self._archive.components.report(POWER, ready=reason is None, detail=power, reason=reason)
            if power != before:
                self._archive.audit.record(actor="coronet", action=f"power {power}")


def may_begin(power: Component) -> bool:
    """Whether a new analysis may be begun: not while the battery is low or at its end. A box without a UPS never said anything: it may."""
    return power.detail not in {"low", "end"}


def lights(archive: Archive) -> Lights:
    """What the panel shows of the state of the box."""
    get = archive.components.get
    receiving = bool(archive.studies.in_state("receiving"))
    analysing = bool(archive.studies.in_state("analysing"))
    power = get(POWER)
    safe_mode = get("safe-mode").reason is not None
    faults = [name for name in ATTENTION if get(name).reason is not None]
    low, battery = power.detail in {"low", "end"}, power.detail == "battery"
    received = get("receiver").ready
    return Lights(
        ready=Light.ON if received else Light.OFF,
        busy=Light.SLOW if receiving else Light.ON if analysing else Light.OFF,
        attention=Light.FAST if low else Light.SLOW if battery else Light.ON if faults else Light.OFF,
        fault=Light.FAST if not received else Light.SLOW if safe_mode else Light.OFF,
        alarm=low or not received,
    )


def box_workers(
    settings: Settings, *, archive: Archive, present_badge: Callable[[str], None], only: Collection[str] = DEVICES
) -> dict[str, Work]:
    """A worker for each device that the settings name and ``only`` allows, for the clock, and for the units."""
    report = archive.components.report
    devices: dict[str, Device] = {}
    switch_off = partial(_switch_off, archive, str(settings.ups.switch))
    if settings.panel.device is not None:
        devices["panel"] = Panel(
            device=settings.panel.device,
            baud=settings.panel.baud,
            lights=lambda: lights(archive),
            pressed=lambda button, action: _pressed(button, action, switch_off),
        )
    if settings.badge.device is not None:
        badge = settings.badge
        devices["badge"] = BadgeReader(device=settings.badge.device, baud=badge.baud, kind=badge.format, read=present_badge)
    if settings.ups.name is not None:
        guard = PowerGuard(archive=archive, limits=_limits(settings.ups), switch_off=switch_off)
        devices["ups"] = Ups(connect=partial(_connect, settings.ups), changed=guard.changed, silent=guard.silent)
    if settings.gpu.watch:
        devices["gpu"] = Gpu(probe=NvmlProbe, maximum_celsius=settings.gpu.maximum_celsius)
    for name in (*DEVICES, POWER):
        report(name, ready=True)  # what a device that is no longer named once said must not stay
    workers: dict[str, Work] = {
        name: Keeper(name=name, device=device, report=report).run for name, device in devices.items() if name in only
    }
    return {CLOCK: lambda stop: watch_clock(archive, stop), UNITS: lambda stop: watch_units(archive, stop), **workers}


def watch_clock(archive: Archive, stop: threading.Event) -> None:
    """Say when the clock cannot be right, once per change; put right what it has dated once it is.

    Nothing waits for it: every timer of ours runs on the monotonic clock.
    """
    told: bool | None = None
    while True:
        right = archive.clock.wall() >= OLDEST_CLOCK
        if right != told:
            if right and redate(archive.database, before=OLDEST_CLOCK, now=archive.clock.wall()):
                log.warning("the clock was wrong and is right now: what came meanwhile counts from now on")
            archive.components.report(CLOCK, ready=right, reason=None if right else CLOCK_FAULT)
            told = right
        if stop.wait(CLOCK_S):
            return


def _connect(ups: UpsSettings) -> UpsClient:
    return UpsClient(host=ups.host, port=ups.port, name=ups.name or "")


def _limits(ups: UpsSettings) -> UpsLimits:
    return UpsLimits(low_charge=ups.low_charge, end_charge=ups.end_charge, end_runtime_s=ups.end_runtime_s)


def _pressed(button: int, action: int, switch_off: Callable[[], None]) -> None:
    if (button, action) == (BUTTON_POWER, HELD):
        try:
            switch_off()
        except HardwareError as error:
            log.error("the panel's power button: %s", error)  # noqa: TRY400 - the typed error says it all


def _switch_off(archive: Archive, switch: str) -> None:
    """What is being analysed is queued again when systemd stops us, and goes on after the next start."""
    order_power_off(switch)
    try:
        archive.audit.record(actor="coronet", action="switch off")
    except ArchiveError as error:
        log.error("switching off is not in the audit trail: %s", error)  # noqa: TRY400 - the typed error says it all
