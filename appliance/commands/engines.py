"""``appliance engines build|list``: TensorRT engines ahead of time, as the image build makes them; RTX's library needs no GPU for it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.errors import InferenceError
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.engine_cache import EngineCache, Entry
from appliance.inference.tensorrt_engine import engine_for
from appliance.inference.tensorrt_library import capability_text, open_library, parse_capability

SUPPORTED = ("8.0", "8.6", "8.9", "12.0")
"""Compute capabilities of the cards that a box may have: A100/A30, RTX A2000 to A6000, RTX Ada, RTX Blackwell."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("action", choices=["build", "list"])
    parser.add_argument("--capability", nargs="+", default=list(SUPPORTED), metavar="X.Y", help="compute capabilities to build for")
    parser.add_argument("--model", nargs="+", help="only these networks")
    parser.add_argument("--catalog", type=Path, default=installed_catalog())
    parser.add_argument("--out", type=Path, required=True, help="folder of the engines")


def run(options: argparse.Namespace) -> int:
    """0 if every engine is there, whole and without float32 convolutions; 1 otherwise, with each fault told."""
    return _list(options.out) if options.action == "list" else _build(options)


def _list(folder: Path) -> int:
    faults = 0
    for path, kept in EngineCache(folder).entries():
        faults += isinstance(kept, str)
        sys.stdout.write(f"{path.name}: {kept if isinstance(kept, str) else f'{kept.bytes} bytes, {len(kept.layers.layers)} layers'}\n")
    return 1 if faults else 0


def _build(options: argparse.Namespace) -> int:
    try:
        capabilities = [parse_capability(text) for text in options.capability]
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    library, cache, catalog = open_library(), EngineCache(options.out), ModelCatalog.load(options.catalog)
    faults = 0
    for name in options.model or catalog:
        for capability in capabilities:
            try:
                entry = engine_for(library, catalog[name], capability, cache=cache, ahead=True)
            except InferenceError as error:
                faults += 1
                sys.stderr.write(f"{name} {capability_text(capability)}: {error.code}\n{error.zh}\n{error.en}\n")
                continue
            faults += bool(entry.kept.layers.float_convolutions()) or not entry.kept.layers.convolutions
            sys.stdout.write(_line(entry))
    return 1 if faults else 0


def _line(entry: Entry) -> str:
    kept, layers = entry.kept, entry.kept.layers
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(layers.precisions().items()))
    slow = layers.float_convolutions()
    complaint = f", in float32: {', '.join(slow)}" if slow else ""
    how = f"built in {kept.seconds:.1f} s" if entry.built_now else "was there"
    return f"{kept.key.file_name}: {how}, {kept.bytes / 1e6:.1f} MB, {len(layers.layers)} layers, convolutions {kinds}{complaint}\n"
