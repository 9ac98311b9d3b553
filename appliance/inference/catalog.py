"""The model catalog: which networks there are, what they take and give, and whether their files are the right ones.

A model is used only if its file has the SHA-256 that the catalog names; anything else is refused, never guessed.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import InferenceError

Role = Literal["classes", "share", "scores", "check"]
"""What an output holds: ``classes`` uint8 index into a class list; ``share`` uint8, 255 = 1; ``scores`` float32, a last axis of one value
per entry of the class list, in the units of the output's meaning; ``check`` one float per item."""


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input channel: its raw value range, and the value that stands where there is no image.

    Scaling is part of the graph: the caller passes raw values.
    """

    name: str
    unit: str
    low: float
    high: float
    padding: float


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output of the graph and what it holds.

    Attributes:
        axes: leading spatial axes of the input that the output keeps; None for all of them, 0 for one answer per item.
        classes: the output's own class list, or the names of the columns of ``scores``; empty for the model's.
    """

    name: str
    role: Role
    meaning: str = ""
    axes: int | None = None
    classes: tuple[str, ...] = ()


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A catalog entry.

    Attributes:
        spacing_mm: isotropic voxel size that the network was trained at; 0 where the input is no image.
        spatial: spatial axes of the input: 3 for a volume, 2 for a table, 1 for a sequence.
        many: whether several items may go in at once.
        tile: spatial shape (z, y, x) to run at, or None where any shape will do.
        largest_tile: a tile may grow up to this (in multiples of ``multiple``) where that leaves less to compute twice; None: it may not.
        multiple: each spatial axis must be a multiple of this.
        path: the file, absolute once the catalog is loaded.
    """

    name: str
    version: str
    file: str
    sha256: str
    purpose: str
    spacing_mm: float
    multiple: int
    channels: tuple[Channel, ...]
    classes: tuple[str, ...]
    outputs: tuple[Output, ...]
    spatial: int = 3
    many: bool = False
    tile: tuple[int, int, int] | None = None
    largest_tile: tuple[int, int, int] | None = None
    opset: int = 17
    parameters: int = 0
    validated_on_patients: bool = False
    training: dict[str, str | int | float | list[int]] = msgspec.field(default_factory=dict)
    figures: dict[str, str | int | float] = msgspec.field(default_factory=dict)
    path: Path = Path()

    def takes(self, spatial: tuple[int, ...]) -> bool:
        """Whether an input may have these spatial axes."""
        if self.tile is not None and self.largest_tile is None:
            return spatial == self.tile
        least, most = self.tile or (1,) * self.spatial, self.largest_tile or spatial
        in_reach = all(low <= size <= high for low, size, high in zip(least, spatial, most, strict=True))
        return in_reach and all(size % self.multiple == 0 for size in spatial)

    def verified_bytes(self) -> bytes:
        """The file's content.

        Raises:
            InferenceError: INF-002 where it is missing, INF-003 where it is not the file that the catalog names.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise InferenceError(
                "INF-002",
                zh=f"缺少模型文件：{self.name}（{self.file}）。",
                en=f"The file of model {self.name} ({self.file}) cannot be read.",
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise InferenceError(
                "INF-003",
                zh=f"模型文件 {self.file} 与目录记录不符，已拒绝使用。",
                en=f"The file of model {self.name} ({self.file}) is not the one the catalog names; it is not used.",
                expected=self.sha256,
                found=found,
            )
        return content


class _CatalogFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: tuple[Model, ...]


class ModelCatalog(Mapping[str, Model]):
    """The models by name; ``catalog["cor-seg"]``."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)

    @classmethod
    def load(cls, path: Path) -> ModelCatalog:
        """Read a catalog file; model files are looked for beside it.

        Raises:
            InferenceError: INF-001 where the file is missing or not a catalog.
        """
        try:
            content = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _CatalogFile)
        except (OSError, ValueError) as error:
            raise InferenceError("INF-001", zh=f"无法读取模型目录：{error}", en=f"The model catalog cannot be read: {error}") from error
        folder = path.resolve().parent
        return cls({model.name: msgspec.structs.replace(model, path=folder / model.file) for model in content.model})

    def __getitem__(self, name: str) -> Model:
        """The model of that name; InferenceError INF-004 where the catalog has none."""
        if name not in self._models:
            raise InferenceError(
                "INF-004", zh=f"模型目录中没有 {name}。", en=f"The model catalog has no model {name}.", known=sorted(self._models)
            )
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, name: object) -> bool:
        return name in self._models


def installed_catalog() -> Path:
    """The catalog that is installed beside the appliance."""
    return Path(__file__).resolve().parents[2] / "models" / "catalog.toml"
