"""The golden case: a fixed made-up input whose answer each model must give again before an engine may look at patients.

An engine that answers wrongly without an error is the worst case (a damaged driver, a wrong build, a faulty memory). The expected numbers
lie beside the weights, ``models/weights/golden.json``, written by ``python -m appliance doctor --record-golden`` on the reference engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.analysis.pipeline import Models
from appliance.errors import InferenceError
from appliance.inference.catalog import Channel, Model, Output
from appliance.inference.engine import Session
from appliance.inference.tensorrt_engine import TensorRtEngine
from appliance.inference.whole import Image, Mask, Whole, WholeSession

DEFAULT_SIDE = 96
LONGEST_ROW = 64
TOLERANCE = 0.02
"""Part of the voxels whose class may differ between engines and precisions (bf16 against f32), and of the full range of a share."""
SCORE_TOLERANCE = 0.05
"""How far the mean of a score may move, as a part of its size or of 1, whichever is larger."""


class Golden(msgspec.Struct, frozen=True):
    """What a model answers to the golden input, and the hash of the weights that said so.

    Attributes:
        sha256: of the model's file.
        answers: per output: positions of each class, or the mean share, or the mean of each score.
    """

    sha256: str
    answers: dict[str, list[float]]


def golden_path(models: Models) -> Path:
    """Where the expected answers lie."""
    return models.heart.model.path.parent / "golden.json"


def golden_input(model: Model) -> NDArray[np.float32]:
    """Made-up input of a model, nothing random: raw values (1, c, *spatial).

    Channels of images hold a made-up chest: a bright ball (ventricle), bright tubes (vessels) in fat, lung around. All others hold waves
    over their range.
    """
    side = DEFAULT_SIDE if model.spatial == 3 else LONGEST_ROW
    shape = model.tile or (side // model.multiple * model.multiple,) * model.spatial
    images = _chest((shape[0], shape[1], shape[2])) if model.spatial == 3 else {}
    return np.stack([images[c.name] if c.name in images else _waves(shape, c, number) for number, c in enumerate(model.channels)])[None]


def _chest(shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
    z, y, x = (np.linspace(-1.0, 1.0, size, dtype=np.float32) for size in shape)
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    tube = np.hypot(y[None, :, None] - 0.55 - 0.1 * np.sin(4 * z)[:, None, None], x[None, None, :] + 0.2 * z[:, None, None])
    hu = np.where(radius < 0.9, -90.0, -820.0)
    hu = np.where(radius < 0.5, 100.0, hu)
    hu = np.where((radius < 0.38) | (tube < 0.05), 380.0, hu).astype(np.float32)
    inside = np.clip((0.85 - radius) * 8, 0, 1).astype(np.float32) * 255
    blood = np.clip((0.4 - radius) * 8, 0, 1).astype(np.float32) * 255
    return {"hu": hu, "inside_pericardium": inside, "blood_pool": blood}


def _waves(shape: tuple[int, ...], channel: Channel, number: int) -> NDArray[np.float32]:
    phase = sum(np.arange(size).reshape([-1 if a == axis else 1 for a in range(len(shape))]) * 0.3 for axis, size in enumerate(shape))
    wave = 0.5 + 0.5 * np.sin(phase + number)
    return np.asarray(channel.low + (channel.high - channel.low) * wave, np.float32)


def answer(session: Session) -> Golden:
    """Run the golden input.

    Raises:
        InferenceError: the engine fails or gives an output that must not be used.
    """
    model = session.model
    outputs = session.run(golden_input(model))
    return Golden(sha256=model.sha256, answers={o.name: _summary(o, model, outputs[o.name]) for o in model.outputs if o.role != "check"})


def _summary(output: Output, model: Model, values: NDArray[Any]) -> list[float]:
    if output.role == "classes":
        return [float(count) for count in np.bincount(values.ravel(), minlength=len(output.classes or model.classes))]
    columns = values.reshape(-1, values.shape[-1]) if output.role == "scores" else values.reshape(-1, 1)
    return [float(mean) for mean in columns.astype(np.float64).mean(axis=0).round(5)]


def record(models: Models) -> Path:
    """Write the answers of these models on this engine as the expected ones."""
    path = golden_path(models)
    answers = {name: answer(session) for name, session in models.sessions.items()}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(answers), indent=2) + b"\n")
    return path


def check_models(models: Models) -> None:
    """Refuse models whose answers are not the expected ones.

    A GPU that answers wrongly is left alone from then on; the processor, which takes over, must pass the same check.

    Raises:
        InferenceError: INF-050 no expected answers for these weights, INF-051 another answer than expected.
    """
    try:
        expected = msgspec.json.decode(golden_path(models).read_bytes(), type=dict[str, Golden])
    except (OSError, msgspec.MsgspecError) as error:
        raise InferenceError("INF-050", zh="缺少模型自检数据。", en=f"The golden answers of the models cannot be read: {error}") from error
    for name, session in models.sessions.items():
        wanted = expected.get(name)
        if wanted is None or wanted.sha256 != session.model.sha256:
            raise InferenceError("INF-050", zh=f"模型 {name} 没有自检数据。", en=f"These weights of model {name} have no golden answer.")
        try:
            _check(session, wanted)
        except InferenceError as error:
            if not isinstance(models.engine, TensorRtEngine) or models.engine.given_up:
                raise
            models.engine.give_up(error)
            _check(session, wanted)


def _check(session: Session, wanted: Golden) -> None:
    """Raises INF-051 where a session gives another answer than wanted, or another one to a whole volume than tile by tile."""
    model = session.model
    found = answer(session).answers
    for output in model.outputs:
        if output.role != "check" and not _agree(output, found[output.name], wanted.answers.get(output.name, [])):
            raise _other_answer(model, output)
    if not isinstance(session, WholeSession):
        return
    whole = golden_volume(model)
    segmented = session.whole_volume(whole)
    if segmented is None:
        return
    single = session.run(_as_tile(whole))
    for output in model.outputs:
        if output.role in ("classes", "share"):
            values = segmented.classes if output.role == "classes" else segmented.share
            if not _agree(output, _summary(output, model, values), _summary(output, model, single[output.name])):
                raise _other_answer(model, output)


def _other_answer(model: Model, output: Output) -> InferenceError:
    return InferenceError(
        "INF-051",
        zh=f"模型 {model.name} 自检结果不符,已拒绝使用本机推理引擎。",
        en=f"Model {model.name} does not give its golden answer ({output.name}) on this engine; it is not used.",
    )


def golden_volume(model: Model) -> Whole:
    """The golden input as a whole volume of the size of a tile, each voxel of which lies on the fine grid; other channels are constant."""
    given = golden_input(model)[0]
    z, y, x = (np.arange(size, dtype=np.float32) for size in given.shape[1:])
    image = Image(np.zeros(given.shape[1:], np.int16), (z, y, x))
    channels: list[str | Mask | float] = []
    for channel, values in zip(model.channels, given, strict=True):
        if channel.name == "hu":
            image = Image(np.rint(values).astype(np.int16), (z, y, x))
            channels.append("image")
        elif channel.unit == "1/255":
            channels.append(Mask(np.rint(values).astype(np.uint8), (z, y, x)))
        else:
            channels.append(float(values.flat[0]))
    return Whole(image=image, channels=tuple(channels), overlap=min(16, min(given.shape[1:]) // 2))


def _as_tile(whole: Whole) -> NDArray[np.float32]:
    """The volume as input of a single run."""
    arrays = [each.voxels if isinstance(each, Mask) else whole.image.voxels if each == "image" else each for each in whole.channels]
    return np.stack([np.broadcast_to(np.asarray(array, np.float32), whole.shape) for array in arrays])[None]


def _agree(output: Output, found: list[float], wanted: list[float]) -> bool:
    if len(found) != len(wanted):
        return False
    a, b = np.asarray(found), np.asarray(wanted)
    if output.role == "classes":
        return bool(np.abs(a - b).sum() <= TOLERANCE * max(a.sum(), 1.0))
    if output.role == "share":
        return bool((np.abs(a - b) <= 255 * TOLERANCE).all())
    return bool((np.abs(a - b) <= SCORE_TOLERANCE * np.maximum(np.abs(b), 1.0)).all())
