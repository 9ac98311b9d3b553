"""A tiny real model: class 1 and the clipped value wherever its one channel is above 100."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.inference.catalog import ModelCatalog

THRESHOLD_SHA256 = "1dc1a07b8e341cb8c8b9950d1a36ce9edfad2bccf1e4a4bc4e061a57521abca9"

CATALOG = f"""
[[model]]
name = "threshold"
version = "1"
file = "threshold.onnx"
sha256 = "{THRESHOLD_SHA256}"
purpose = "test"
spacing_mm = 1.0
multiple = 4
tile = [16, 16, 16]
classes = ["low", "high"]
channels = [{{ name = "value", unit = "1", low = 0.0, high = 255.0, padding = 0.0 }}]

[[model.outputs]]
name = "classes"
role = "classes"

[[model.outputs]]
name = "share"
role = "share"

[[model.outputs]]
name = "check"
role = "check"
"""


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    shutil.copy(Path(__file__).parent / "data" / "threshold.onnx", tmp_path)
    path = tmp_path / "catalog.toml"
    path.write_text(CATALOG, encoding="utf-8")
    return path


@pytest.fixture
def catalog(catalog_file: Path) -> ModelCatalog:
    return ModelCatalog.load(catalog_file)
