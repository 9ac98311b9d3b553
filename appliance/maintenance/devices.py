"""Each device of the settings tried once, by the same code that the daemon serves it with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from appliance.hardware.badges import BadgeReader
from appliance.hardware.gpu import Gpu, NvmlProbe
from appliance.hardware.keeper import Device
from appliance.hardware.panel import Light, Lights, Panel
from appliance.hardware.ups import Ups, UpsClient
from appliance.settings import Settings

Trial = Callable[[], str]


def device_checks(settings: Settings) -> dict[str, Trial | None]:
    """Part -> a trial that returns what the device says of itself or raises HardwareError; None for one that the settings do not name."""
    panel, badge, ups, gpu = settings.panel, settings.badge, settings.ups, settings.gpu
    devices: dict[str, Device | None] = {"panel": None, "badge": None, "ups": None, "gpu": None}
    if panel.device is not None:
        shine = Lights(Light.ON, Light.ON, Light.ON, Light.ON)
        devices["panel"] = Panel(device=panel.device, baud=panel.baud, lights=lambda: shine, pressed=lambda _button, _action: None)
    if badge.device is not None:
        devices["badge"] = BadgeReader(device=badge.device, baud=badge.baud, kind=badge.format, read=lambda _badge: None)
    if ups.name is not None:
        connect = partial(UpsClient, host=ups.host, port=ups.port, name=ups.name)
        devices["ups"] = Ups(connect=connect, changed=lambda _state: None)
    if gpu.watch:
        devices["gpu"] = Gpu(probe=NvmlProbe, maximum_celsius=gpu.maximum_celsius)
    return {part: None if device is None else partial(_try, device) for part, device in devices.items()}


def _try(device: Device) -> str:
    """Serve it until it says that it is ready, then stop."""
    stop = threading.Event()
    said: list[str] = []

    def ready(description: str) -> None:
        said.append(description)
        stop.set()

    device.serve(stop, ready=ready)
    return said[0]
