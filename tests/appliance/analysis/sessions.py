"""Two tiny real models in place of trained ones: their answers follow from the picture by a rule that a test can set up.

``ostia``: left = (HU - 1000) / 4 as a byte, right = 0. ``repair``: course = 255 above 200 HU; vessel = 1, but 0 where any voxel of the
cube is above 1500 HU.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from appliance.inference.catalog import Channel, Model, Output
from appliance.inference.engine import Session
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine

SIDE = 48
CHANNELS = {"ostia": ("hu", "aorta"), "repair": ("hu", "coronary", "near_end", "far_end")}
OUTPUTS = {
    "ostia": (Output(name="left", role="share"), Output(name="right", role="share")),
    "repair": (Output(name="course", role="share"), Output(name="vessel", role="scores", axes=0)),
}
SPACING_MM = {"ostia": 1.0, "repair": 0.5}


def tiny_session(name: str) -> Session:
    """A session of the model ``name``, ready to run."""
    path = Path(__file__).parent / "data" / f"bright_{name}.onnx"
    model = Model(
        name=name,
        version="1",
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        purpose="test",
        spacing_mm=SPACING_MM[name],
        multiple=8,
        many=True,
        tile=(SIDE, SIDE, SIDE),
        channels=tuple(Channel(name=c, unit="1", low=0.0, high=255.0, padding=0.0) for c in CHANNELS[name]),
        classes=("vessel",),
        outputs=(*OUTPUTS[name], Output(name="check", role="check")),
        path=path,
    )
    return OnnxRuntimeEngine(threads=1).load(model)
