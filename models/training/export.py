"""Export: averaged weights of a checkpoint -> ONNX file in models/weights, checked against torch; catalog entry; curve for the card."""

from __future__ import annotations

import hashlib
import tomllib
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.networks.blocks import parameter_count
from models.training.catalog_file import write_catalog
from models.training.checkpoint import Progress, load_checkpoint
from models.training.curves import Curve
from models.training.families import load_families
from models.training.task import Deployment, Task
from models.training.tasks import TASKS

OPSET = 17
FEWEST_POINTS = 2
MODELS = Path(__file__).resolve().parents[1]


def export_models(*, folder: Path, only: str | None = None, models: Path = MODELS) -> Iterator[str]:
    """Export every network that has a checkpoint under ``folder``; yields a line for each.

    The catalog in ``models`` keeps the entries of networks that were not exported now, and the figures of those that were
    are dropped: they belong to the earlier weights.
    """
    catalog = models / "catalog.toml"
    entries = {e["name"]: e for e in tomllib.loads(catalog.read_text(encoding="utf-8"))["model"]} if catalog.exists() else {}
    for name, task in TASKS.items():
        checkpoint = folder / name / "checkpoint.pt"
        if only not in (None, name) or not checkpoint.exists():
            continue
        progress, states = load_checkpoint(checkpoint)
        network = task.network()
        network.load_state_dict(states["average"])
        file = models / "weights" / f"{name}.onnx"
        difference = export_network(task.deployment, network, file=file)
        show_curve(folder / name, pictures=models / "cards" / "pictures")
        file.with_suffix(".int8.json").unlink(missing_ok=True)  # it belongs to the earlier weights (models.evaluation.quantised)
        entries[name] = make_entry(task, file, network, progress)
        size = f"{file.stat().st_size / 1e6:.1f} MB"
        yield f"{file.name}: {size}, {progress.samples_drawn} samples, differs from torch by {difference:.2g}"
    write_catalog(catalog, list(entries.values()))
    yield f"{catalog.name}: {', '.join(entries)}"


def show_curve(folder: Path, *, pictures: Path) -> Path | None:
    """Draw what the development patients said as a network learned, for its card; None where there are not two points yet."""
    curve = Curve(folder / "development.csv")
    if len({row["steps"] for row in curve.rows()}) < FEWEST_POINTS:
        return None
    pictures.mkdir(parents=True, exist_ok=True)
    picture = pictures / f"curve-{folder.name}.png"
    curve.draw(picture)
    return picture


def export_network(deployment: Deployment, network: nn.Module, *, file: Path) -> float:
    """Write the deployed graph as ONNX; returns the largest difference between ONNX Runtime and torch (see `_difference`)."""
    graph = deployment.graph(network).float().eval()
    example = deployment.example()
    names: tuple[str, ...] = graph.outputs
    free = {axis: f"axis{axis}" for axis in deployment.free_axes}
    kept = {o["name"]: 0 if o["role"] == "check" else o.get("axes", len(example.shape) - 2) for o in deployment.entry["outputs"]}
    outputs = {name: {0: "n"} | {axis + 1: text for axis, text in free.items() if axis < kept[name]} for name in names}
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own notes about its future
        torch.onnx.export(
            graph,
            (example,),
            file,
            input_names=["channels"],
            output_names=list(names),
            dynamic_axes={"channels": {0: "n"} | {axis + 2: text for axis, text in free.items()}, **outputs},
            opset_version=OPSET,
            dynamo=False,
        )
    return _difference(graph, example, file)


def make_entry(task: Task, file: Path, network: nn.Module, progress: Progress) -> dict[str, Any]:
    """The catalog entry of an exported network."""
    train = load_families()["train"]
    own = f"virtual patients, {progress.hospital_cases} labelled scans of a hospital"
    return {
        "name": task.name,
        "version": datetime.now(UTC).strftime("%Y.%m.%d.%H%M"),
        "file": f"weights/{file.name}",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "opset": OPSET,
        "parameters": parameter_count(network),
        "validated_on_patients": False,
        **task.deployment.entry,
        "training": {
            "data": own if progress.hospital_cases else "virtual patients only",
            "seeds": [train.first, train.last],
            "samples_drawn": progress.samples_drawn,
            "samples_rendered": progress.samples_rendered,
            "steps": progress.steps,
            "minutes": round(progress.minutes, 1),
            "sittings": progress.sittings,
            **({"began_with": progress.began_with} if progress.began_with else {}),
        },
        "figures": {},
    }


def _difference(graph: nn.Module, example: torch.Tensor, file: Path) -> float:
    """Largest difference of any output: share of the classes that differ, mean difference of shares (of 1) and of scores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = dict(zip(names, session.run(names, {"channels": example.numpy()}), strict=True))
    with torch.no_grad():
        truth = dict(zip(graph.outputs, graph(example), strict=True))
    worst = 0.0
    for name, values in given.items():
        if name == "check":
            continue
        other = truth[name].numpy()
        whole = np.abs(values.astype(np.float64) - other.astype(np.float64))
        unsure = values.dtype == np.uint8 and name.endswith("classes")
        worst = max(worst, float((whole > 0).mean() if unsure else whole.mean() / (255.0 if values.dtype == np.uint8 else 1.0)))
    return worst
