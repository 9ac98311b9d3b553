"""Export: averaged weights of a checkpoint -> ONNX file in models/weights, its catalog entry, checked against torch."""

from __future__ import annotations

import hashlib
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.networks import cor_seg, heart_loc
from models.networks.blocks import parameter_count
from models.networks.deployed import DeployedCorSeg, DeployedHeartLoc
from models.training.catalog_file import write_catalog
from models.training.checkpoint import Progress, load_checkpoint
from models.training.families import load_families
from models.training.tasks import TASKS

OPSET = 17
MODELS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Deployment:
    """How a network is exported: its deployed graph, and the fixed part of its catalog entry."""

    graph: Callable[[nn.Module], nn.Module]
    sample_shape: tuple[int, int, int]
    entry: dict[str, Any]


DEPLOYMENTS = {
    "heart-loc": Deployment(
        graph=DeployedHeartLoc,
        sample_shape=(48, 64, 64),
        entry={
            "purpose": "heart chambers and great vessels in a whole scan; the soft masks that cor-seg takes",
            "spacing_mm": heart_loc.SPACING_MM,
            "multiple": heart_loc.MULTIPLE,
            "classes": list(heart_loc.CLASSES),
            "channels": [{"name": "hu", "unit": "HU", "low": heart_loc.HU_RANGE[0], "high": heart_loc.HU_RANGE[1], "padding": -1000.0}],
            "outputs": [
                {"name": "classes", "role": "classes", "meaning": "structure of each voxel"},
                {"name": "inside_pericardium", "role": "share", "meaning": "probability of any structure"},
                {"name": "blood_pool", "role": "share", "meaning": "probability of chambers, aorta, pulmonary artery"},
                {"name": "check", "role": "check", "meaning": "mean absolute score"},
            ],
        },
    ),
    "cor-seg": Deployment(
        graph=DeployedCorSeg,
        sample_shape=(96, 96, 96),
        entry={
            "purpose": "coronary lumen, wall and plaque, calcium, and cardiac veins",
            "spacing_mm": cor_seg.SPACING_MM,
            "multiple": cor_seg.MULTIPLE,
            "tile": [96, 96, 96],
            "classes": list(cor_seg.CLASSES),
            "channels": [
                {"name": "hu", "unit": "HU", "low": cor_seg.HU_RANGE[0], "high": cor_seg.HU_RANGE[1], "padding": -1000.0},
                {"name": "inside_pericardium", "unit": "1/255", "low": 0.0, "high": 255.0, "padding": 0.0},
                {"name": "blood_pool", "unit": "1/255", "low": 0.0, "high": 255.0, "padding": 0.0},
            ],
            "outputs": [
                {"name": "classes", "role": "classes", "meaning": "class of each voxel"},
                {"name": "coronary", "role": "share", "meaning": "1 - p(none) - p(cardiac_vein)"},
                {"name": "check", "role": "check", "meaning": "mean absolute score"},
            ],
        },
    ),
}


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
        difference = export_network(DEPLOYMENTS[name], network, channels=len(DEPLOYMENTS[name].entry["channels"]), file=file)
        entries[name] = make_entry(name, file, network, progress)
        size = f"{file.stat().st_size / 1e6:.1f} MB"
        yield f"{file.name}: {size}, {progress.samples_drawn} samples, differs from torch in {difference:.2g} of the voxels"
    write_catalog(catalog, list(entries.values()))
    yield f"{catalog.name}: {', '.join(entries)}"


def export_network(deployment: Deployment, network: nn.Module, *, channels: int, file: Path) -> float:
    """Write the deployed graph as ONNX; returns the share of voxels whose class differs between ONNX Runtime and torch."""
    graph = deployment.graph(network).float().eval()
    example = _example(channels, deployment.sample_shape)
    names: tuple[str, ...] = graph.outputs
    dynamic = {0: "n"} | ({} if "tile" in deployment.entry else {2: "z", 3: "y", 4: "x"})
    outputs = {name: ({0: "n"} if name == "check" else {axis - (axis > 1): text for axis, text in dynamic.items()}) for name in names}
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own notes about its future
        torch.onnx.export(
            graph,
            (example,),
            file,
            input_names=["channels"],
            output_names=list(names),
            dynamic_axes={"channels": dynamic, **outputs},
            opset_version=OPSET,
            dynamo=False,
        )
    return _difference(graph, example, file)


def make_entry(name: str, file: Path, network: nn.Module, progress: Progress) -> dict[str, Any]:
    """The catalog entry of an exported network."""
    train = load_families()["train"]
    return {
        "name": name,
        "version": datetime.now(UTC).strftime("%Y.%m.%d.%H%M"),
        "file": f"weights/{file.name}",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "opset": OPSET,
        "parameters": parameter_count(network),
        "validated_on_patients": False,
        **DEPLOYMENTS[name].entry,
        "training": {
            "data": "virtual patients only",
            "seeds": [train.first, train.last],
            "samples_drawn": progress.samples_drawn,
            "samples_rendered": progress.samples_rendered,
            "steps": progress.steps,
            "minutes": round(progress.minutes, 1),
            "sittings": progress.sittings,
        },
        "figures": {},
    }


def _example(channels: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Smooth blobs of plausible attenuation, so that the comparison meets every class."""
    rng = np.random.default_rng(7)
    coarse = torch.from_numpy(rng.normal(150.0, 250.0, (1, channels, *(size // 8 for size in shape)))).float()
    return nn.functional.interpolate(coarse, size=shape, mode="trilinear")


def _difference(graph: nn.Module, example: torch.Tensor, file: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    classes = session.run(["classes"], {"channels": example.numpy()})[0]
    with torch.no_grad():
        truth = graph(example)[0].numpy()
    return float((classes != truth).mean())
