"""Our own engine for the benchmark: TensorRT, or TensorRT for RTX, through the product's own builder and cache."""

from __future__ import annotations

from pathlib import Path

from appliance.inference.catalog import Model
from appliance.inference.cuda.driver import Driver
from appliance.inference.cuda.network import DeviceNetwork
from appliance.inference.engine_cache import EngineCache
from appliance.inference.tensorrt_engine import engine_for
from appliance.inference.tensorrt_library import open_library
from appliance.inference.tensorrt_network import TensorRtNetwork
from appliance.inference.tensorrt_shapes import shapes_of

CACHE = Path("build/engines")


def tensorrt_network(driver: Driver, model: Model) -> DeviceNetwork:
    """The model on the card; whatever TensorRT says where it cannot is raised."""
    library = open_library()
    device = driver.device
    entry = engine_for(library, model, device.capability, cache=EngineCache(CACHE), device=f"{device.name}, driver {device.driver}")
    return TensorRtNetwork(library=library, driver=driver, model=model, plan=entry.plan, shapes=shapes_of(model))
