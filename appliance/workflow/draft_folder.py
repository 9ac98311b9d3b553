"""The folder of a draft: it appears whole or not at all, and is read back from what is in it.

    findings.json            the contract of ARCHITECTURE.md, 'The findings file'
    header.json, source.json whose study it is, which instances of the main series it was made from
    further.json             the instances of the other series that were read: a calcium scan that was scored, another phase
    report.json, report.pdf  the report as text and as pages
    key-views/               index.json and a PNG per key view
    structures.npz           the heart's structures, to make the pictures again after a correction

A release has ``objects/`` (DICOM) and ``film/`` (pages, a folder per page size) beside findings and report.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from appliance.findings import Findings
from appliance.study import KeyView, ReportText, StudyHeader
from appliance.volume import Geometry, LabelMap

Source = tuple[tuple[str, str], ...]
"""(SOP class UID, SOP instance UID) of each source image."""
FurtherSource = tuple[tuple[str, Source], ...]
"""Series UID and images of each further series."""


@dataclass(frozen=True)
class Draft:
    """A draft read back from its folder."""

    folder: Path
    findings: Findings
    header: StudyHeader
    source: Source
    further: FurtherSource
    report: ReportText
    key_views: tuple[KeyView, ...]


def read_draft(folder: Path) -> Draft:
    """Read a draft back.

    Raises:
        OSError, msgspec.ValidationError: the folder is not a draft.
    """
    return Draft(
        folder=folder,
        findings=Findings.read(folder / "findings.json"),
        header=msgspec.json.decode((folder / "header.json").read_bytes(), type=StudyHeader),
        source=msgspec.json.decode((folder / "source.json").read_bytes(), type=Source),
        further=_read_further(folder / "further.json"),
        report=msgspec.json.decode((folder / "report.json").read_bytes(), type=ReportText),
        key_views=tuple(read_key_views(folder / "key-views")),
    )


def _read_further(path: Path) -> FurtherSource:
    """The further series; none in a draft that an earlier version made, which did not keep them."""
    return msgspec.json.decode(path.read_bytes(), type=FurtherSource) if path.exists() else ()


def write_key_views(views: Sequence[KeyView], folder: Path) -> None:
    """Write the pictures and their index into a new folder."""
    folder.mkdir()
    index = []
    for view in views:
        Image.fromarray(view.image).save(folder / f"{view.id}.png", compress_level=1)
        index.append({name: getattr(view, name) for name in KeyView.__dataclass_fields__ if name != "image"})
    (folder / "index.json").write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=2))


def read_key_views(folder: Path) -> Iterator[KeyView]:
    """The pictures in their order."""
    for entry in msgspec.json.decode((folder / "index.json").read_bytes()):
        with Image.open(folder / f"{entry['id']}.png") as picture:
            image = np.asarray(picture.convert("RGB"))
        pairs = {name: tuple(entry[name]) for name in ("pixel_spacing_mm", "window") if entry[name] is not None}
        yield KeyView(**{**entry, **pairs, "image": image})


def write_structures(structures: LabelMap, folder: Path) -> None:
    """Keep the structure map."""
    geometry = structures.geometry
    np.savez_compressed(
        folder / "structures.npz",
        labels=structures.labels,
        spacing=geometry.spacing,
        origin=geometry.origin,
        direction=geometry.direction,
    )


def read_structures(folder: Path) -> LabelMap:
    """The structure map again."""
    with np.load(folder / "structures.npz") as data:
        labels = data["labels"]
        z, y, x = labels.shape
        spacing, origin = (tuple(float(value) for value in data[name]) for name in ("spacing", "origin"))
        geometry = Geometry((z, y, x), (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), data["direction"])
    return LabelMap(labels, geometry)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes its name only when the block ends without an error, and is on the disk then."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    for path in sorted(part.rglob("*"), reverse=True):
        _flush(path)
    _flush(part)
    part.rename(folder)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
