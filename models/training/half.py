"""FP16 copies of all networks as files, to look into; the box makes its own when it builds engines (`appliance.inference.onnx_copies`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from appliance.inference.catalog import ModelCatalog
from appliance.inference.onnx_copies import half_copy


def make_half_copies(catalog: ModelCatalog, *, folder: Path) -> Iterator[Path]:
    """Write ``<name>.fp16.onnx`` for each model into ``folder``, with float32 inputs and outputs; yields the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for model in catalog.values():
        file = folder / f"{model.name}.fp16.onnx"
        file.write_bytes(half_copy(model.verified_bytes()))
        yield file
