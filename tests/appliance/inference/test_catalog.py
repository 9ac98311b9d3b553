"""The catalog refuses every file that is not the one it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import InferenceError
from appliance.inference.catalog import ModelCatalog, installed_catalog


def test_entry_is_read_and_its_file_verified(catalog: ModelCatalog) -> None:
    model = catalog["threshold"]
    assert model.tile == (16, 16, 16)
    assert model.channels[0].padding == 0.0
    assert not model.validated_on_patients
    assert model.verified_bytes() == model.path.read_bytes()
    assert list(catalog) == ["threshold", "sequence"]


def test_changed_file_is_refused(catalog: ModelCatalog) -> None:
    path = catalog["threshold"].path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InferenceError) as caught:
        catalog["threshold"].verified_bytes()
    assert caught.value.code == "INF-003"


def test_missing_file_is_refused(catalog: ModelCatalog) -> None:
    catalog["threshold"].path.unlink()
    with pytest.raises(InferenceError) as caught:
        catalog["threshold"].verified_bytes()
    assert caught.value.code == "INF-002"


def test_unknown_model_is_named(catalog: ModelCatalog) -> None:
    assert "other" not in catalog
    with pytest.raises(InferenceError, match=r"INF-004.*other"):
        catalog["other"]


@pytest.mark.parametrize("change", ["", "[[model]]\nname = 3", "not toml ["])
def test_unusable_catalog_is_refused(catalog_file: Path, change: str) -> None:
    catalog_file.write_text(change, encoding="utf-8")
    with pytest.raises(InferenceError, match="INF-001"):
        ModelCatalog.load(catalog_file)


def test_unknown_key_is_refused(catalog_file: Path) -> None:
    catalog_file.write_text(catalog_file.read_text(encoding="utf-8").replace("multiple", "multiples"), encoding="utf-8")
    with pytest.raises(InferenceError, match="multiple"):
        ModelCatalog.load(catalog_file)


def test_installed_models_are_whole() -> None:
    catalog = ModelCatalog.load(installed_catalog())
    assert {"heart-loc", "cor-seg"} <= set(catalog)
    for model in catalog.values():
        assert model.verified_bytes()
