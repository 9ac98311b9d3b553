"""Two tiny real models.

``threshold``: class 1 and the clipped value wherever its one channel is above 100. ``sequence``: two rows of values, given back as scores
per position, as the number of the larger one, and as their means.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.inference.catalog import ModelCatalog

THRESHOLD_SHA256 = "1dc1a07b8e341cb8c8b9950d1a36ce9edfad2bccf1e4a4bc4e061a57521abca9"
SEQUENCE_SHA256 = "c3d259e93945d105c62857febe9f132c4a1783b251f7e17337913765169197d7"

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

[[model]]
name = "sequence"
version = "1"
file = "sequence.onnx"
sha256 = "{SEQUENCE_SHA256}"
purpose = "test"
spacing_mm = 0.0
multiple = 1
spatial = 1
many = true
classes = ["first", "second"]
channels = [
  {{ name = "a", unit = "1", low = 0.0, high = 1.0, padding = 0.0 }},
  {{ name = "b", unit = "1", low = 0.0, high = 1.0, padding = 0.0 }},
]

[[model.outputs]]
name = "along"
role = "scores"
axes = 1

[[model.outputs]]
name = "classes"
role = "classes"

[[model.outputs]]
name = "whole"
role = "scores"
axes = 0
classes = ["mean_a", "mean_b"]

[[model.outputs]]
name = "check"
role = "check"
"""


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    for name in ("threshold.onnx", "sequence.onnx"):
        shutil.copy(Path(__file__).parent / "data" / name, tmp_path)
    path = tmp_path / "catalog.toml"
    path.write_text(CATALOG, encoding="utf-8")
    return path


@pytest.fixture
def catalog(catalog_file: Path) -> ModelCatalog:
    return ModelCatalog.load(catalog_file)
