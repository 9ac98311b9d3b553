"""Choosing the engine of this machine, and saying why."""

from __future__ import annotations

import os
from typing import Literal

from appliance.errors import InferenceError
from appliance.inference.engine import Engine
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine

Wanted = Literal["auto", "openvino", "onnxruntime"]


def best_engine(*, wanted: Wanted = "auto", threads: int = 0) -> Engine:
    """The fastest engine that works here; ``describe()`` gives the reason.

    Args:
        wanted: ``auto``, or the one engine to use.
        threads: CPU threads; 0: as many as this process may use.

    Raises:
        InferenceError: INF-030 where the wanted engine does not work on this machine.
    """
    count = threads or len(os.sched_getaffinity(0))
    if wanted == "onnxruntime":
        return OnnxRuntimeEngine(threads=count, reason="Chosen in the settings.")
    try:
        from appliance.inference.openvino_engine import OpenVinoEngine

        reason = "Chosen in the settings." if wanted == "openvino" else "The fastest engine that works on this machine."
        return OpenVinoEngine(threads=count, reason=reason)
    except (ImportError, RuntimeError, OSError) as error:
        if wanted == "openvino":
            raise InferenceError(
                "INF-030", zh="OpenVINO 引擎无法在本机运行。", en=f"OpenVINO does not work on this machine: {error}"
            ) from error
        return OnnxRuntimeEngine(threads=count, reason=f"OpenVINO does not work on this machine: {error}")
