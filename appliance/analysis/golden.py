"""The golden case: a fixed made-up input whose answer each model must give again before an engine may look at patients.

An engine that answers wrongly without an error is the worst case (a damaged driver, a wrong build, a faulty memory). The expected numbers
lie beside the weights, ``models/weights/golden.json``, written by ``python -m appliance doctor --record-golden`` on the reference engine.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.analysis.pipeline import Models
from appliance.errors import InferenceError
from appliance.inference.catalog import Model
from appliance.inference.engine import Session

DEFAULT_SIDE = 96
TOLERANCE = 0.02
"""Part of the voxels whose class may differ between engines and precisions (bf16 against f32)."""


class Golden(msgspec.Struct, frozen=True):
    """What a model answers to the golden input: how many voxels of each class, and the hash of the weights that said so."""

    sha256: str
    class_voxels: list[int]


def golden_path(models: Models) -> Path:
    """Where the expected answers lie."""
    return models.heart.model.path.parent / "golden.json"


def golden_input(model: Model) -> NDArray[np.float32]:
    """A made-up chest: bright ball (ventricle), bright tubes (vessels) in fat, lung around; (1, c, z, y, x) raw values, nothing random."""
    shape = model.tile or (DEFAULT_SIDE,) * 3
    z, y, x = (np.linspace(-1.0, 1.0, size, dtype=np.float32) for size in shape)
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    tube = np.hypot(y[None, :, None] - 0.55 - 0.1 * np.sin(4 * z)[:, None, None], x[None, None, :] + 0.2 * z[:, None, None])
    hu = np.where(radius < 0.9, -90.0, -820.0)
    hu = np.where(radius < 0.5, 100.0, hu)
    hu = np.where((radius < 0.38) | (tube < 0.05), 380.0, hu).astype(np.float32)
    inside = np.clip((0.85 - radius) * 8, 0, 1).astype(np.float32) * 255
    blood = np.clip((0.4 - radius) * 8, 0, 1).astype(np.float32) * 255
    channels = (hu, inside, blood)[: len(model.channels)]
    return np.stack(channels)[None]


def answer(session: Session) -> Golden:
    """Run the golden input.

    Raises:
        InferenceError: the engine fails or gives an output that must not be used.
    """
    model = session.model
    outputs = session.run(golden_input(model))
    counts = np.bincount(outputs["classes"].ravel(), minlength=len(model.classes))
    return Golden(sha256=model.sha256, class_voxels=[int(count) for count in counts])


def record(models: Models) -> Path:
    """Write the answers of these models on this engine as the expected ones."""
    path = golden_path(models)
    answers = {session.model.name: answer(session) for session in (models.heart, models.coronary)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(answers), indent=2) + b"\n")
    return path


def check_models(models: Models) -> None:
    """Refuse models whose answers are not the expected ones.

    Raises:
        InferenceError: INF-050 no expected answers for these weights, INF-051 another answer than expected.
    """
    try:
        expected = msgspec.json.decode(golden_path(models).read_bytes(), type=dict[str, Golden])
    except (OSError, msgspec.MsgspecError) as error:
        raise InferenceError("INF-050", zh="缺少模型自检数据。", en=f"The golden answers of the models cannot be read: {error}") from error
    for session in (models.heart, models.coronary):
        name = session.model.name
        wanted = expected.get(name)
        if wanted is None or wanted.sha256 != session.model.sha256:
            raise InferenceError("INF-050", zh=f"模型 {name} 没有自检数据。", en=f"These weights of model {name} have no golden answer.")
        found = np.asarray(answer(session).class_voxels)
        differing = np.abs(found - np.asarray(wanted.class_voxels)).sum() / max(found.sum(), 1)
        if differing > TOLERANCE:
            raise InferenceError(
                "INF-051",
                zh=f"模型 {name} 自检结果不符,已拒绝使用本机推理引擎。",
                en=f"Model {name} does not give its golden answer on this engine ({differing:.1%} of the voxels differ); it is not used.",
            )
