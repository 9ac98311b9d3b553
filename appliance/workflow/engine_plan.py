"""How this box uses its GPU, and what the screen says of it."""

from __future__ import annotations

from collections.abc import Callable

from appliance.errors import Reason
from appliance.inference.choose import NODES, GpuPlan
from appliance.inference.guarded import OnTrouble
from appliance.inference.tensorrt_engine import OnBuild
from appliance.settings import Settings

OnEngine = Callable[[bool, str, Reason | None], None]
"""Told whether the engine works as it should, a word on it, and why it does not."""
COMPONENT = "engine"
"""The row of the components in which the analyst says so."""
BUILD_STEP_PERCENT = 10


def gpu_plan(settings: Settings, *, on_build: OnBuild | None = None, on_trouble: OnTrouble | None = None) -> GpuPlan:
    """The plan that the settings ask for."""
    inference = settings.inference
    return GpuPlan(
        cache=inference.engines or settings.data / "engines",
        number=inference.gpu_number,
        on_build=on_build,
        on_trouble=on_trouble,
        nodes=NODES if inference.gpu == "auto" else (),
    )


def building(network: str, percent: int) -> Reason:
    """What the screen says while engines are built at the first start."""
    return Reason(
        code="INF-073",
        zh=f"首次启动：正在为本机 GPU 生成推理引擎（{network}，{percent} %），随后开始分析。",
        en=f"First start: engines are being built for this GPU ({network}, {percent} %); the analysis begins after that.",
    )
