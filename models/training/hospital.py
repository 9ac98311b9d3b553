"""A hospital's own labelled scans, made ready for training: which files belong together, and each case on the networks' grid.

Layouts that are understood, as the two public sets are laid out, and a plain one:

- ImageCAS: ``<case>.img.nii.gz`` beside ``<case>.label.nii.gz``, in any sub-folder.
- ASOCA: ``<cohort>/CTCA/<case>.nrrd`` and ``<cohort>/Annotations/<case>.nrrd``.
- plain: a folder per case with ``image`` (a folder of DICOM) or ``image.nii.gz`` or ``image.nrrd``, and ``label.nii.gz`` or ``label.nrrd``.

A label map needs to mark no more than the coronary arteries: every value but 0 means 'coronary' (ImageCAS, ASOCA). No other public set of
files is needed or downloaded; nothing leaves the machine, and the case names are never written into a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from appliance.analysis.aorta import blood_hu
from appliance.analysis.grids import interpolate_to
from appliance.analysis.locate import locate
from appliance.analysis.reading import read_source
from appliance.inference.engine import Session
from appliance.volume import Geometry, Volume

Kind = Literal["train", "development", "test"]

_FILES = (".nii.gz", ".nii", ".nrrd")
_LABEL_SUFFIXES = tuple(f"label{suffix}" for suffix in _FILES)
_LOWEST_HU, _HIGHEST_HU = -1024, 3071
_LIKENESS_MM = 0.1


class HospitalDataError(ValueError):
    """A folder or file that cannot be trained on; says which and why."""


@dataclass(frozen=True)
class HospitalCase:
    """Image and label map of one patient."""

    name: str
    image: Path
    label: Path

    @property
    def kind(self) -> Kind:
        """Family by the digest of the name, always the same: 70 % train, 10 % development, 20 % test."""
        tenth = hashlib.sha256(self.name.encode()).digest()[0] % 10
        return "train" if tenth < 7 else "development" if tenth < 8 else "test"


@dataclass(frozen=True)
class PreparedCase:
    """A case on the fine grid of 0.5 mm round its heart.

    Attributes:
        hu: int16 (z, y, x). coronary: True where the label map marks a coronary artery.
        blood_hu: attenuation of blood in the aorta.
        origin: LPS of voxel (0, 0, 0). coarse, coarse_origin: the locator's structures at 3 mm and where they begin.
    """

    hu: NDArray[np.int16]
    coronary: NDArray[np.bool_]
    origin: NDArray[np.float64]
    coarse: NDArray[np.uint8]
    coarse_origin: NDArray[np.float64]
    blood_hu: float


def find_cases(folder: Path) -> list[HospitalCase]:
    """All cases below a folder, in the order of their names.

    Raises:
        HospitalDataError: no case is there, or an image has no label map.
    """
    cases = {case.name: case for case in (*_pairs(folder), *_asoca(folder), *_plain(folder))}
    if not cases:
        raise HospitalDataError(
            f"{folder}: no case found; looked for <case>.img.nii.gz with <case>.label.nii.gz, CTCA/ with Annotations/, and folders with "
            "image and label"
        )
    for case in cases.values():
        if not case.label.exists():
            raise HospitalDataError(f"{case.image}: its label map {case.label.name} is missing")
    return [cases[name] for name in sorted(cases)]


def _pairs(folder: Path) -> Iterator[HospitalCase]:
    for image in folder.rglob("*.img.nii.gz"):
        stem = image.name.removesuffix(".img.nii.gz")
        yield HospitalCase(_name(folder, image.with_name(stem)), image, image.with_name(f"{stem}.label.nii.gz"))


def _asoca(folder: Path) -> Iterator[HospitalCase]:
    for image in folder.rglob("CTCA/*"):
        if image.name.endswith(_FILES):
            stem = image.name.split(".")[0]
            yield HospitalCase(_name(folder, image.parent.parent / stem), image, image.parent.parent / "Annotations" / image.name)


def _plain(folder: Path) -> Iterator[HospitalCase]:
    for label in folder.rglob("label.*"):
        if label.name in _LABEL_SUFFIXES:
            images = [path for path in label.parent.iterdir() if path.name == "image" or path.name in {f"image{end}" for end in _FILES}]
            if len(images) != 1:
                raise HospitalDataError(f"{label.parent}: {len(images)} images beside the label map, not one")
            yield HospitalCase(_name(folder, label.parent), images[0], label)


def _name(folder: Path, place: Path) -> str:
    return str(place.relative_to(folder)) if place != folder else place.name


def prepare(case: HospitalCase, *, heart: Session, store: Path) -> Path:
    """Bring a case onto the networks' grid once, and keep it in ``store`` under a digest of its name; returns the file.

    Raises:
        HospitalDataError: the label map does not lie on the image, or marks nothing within the heart's box.
        CoronetError: the image cannot be read, or shows no heart.
    """
    path = store / f"{hashlib.sha256(case.name.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        return path
    volume = read_volume(case.image)
    located = locate(volume, session=heart)
    fine, coarse = located.heart.roi, located.heart.structures
    label = read_label(case.label, volume.geometry)
    marked = interpolate_to(label, volume.geometry, fine) > 127
    if not marked.any():
        raise HospitalDataError(f"{case.label}: nothing is marked within the heart")
    store.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        hu=interpolate_to(volume.voxels, volume.geometry, fine),
        coronary=np.packbits(marked),
        origin=np.asarray(fine.origin),
        coarse=coarse.labels,
        coarse_origin=np.asarray(coarse.geometry.origin),
        blood_hu=np.float64(blood_hu(volume, located.heart)),
    )
    partial.replace(path)
    return path


def load_prepared(path: Path) -> PreparedCase:
    """Read what `prepare` wrote."""
    with np.load(path) as stored:
        hu = stored["hu"]
        coronary = np.unpackbits(stored["coronary"], count=hu.size).astype(np.bool_).reshape(hu.shape)
        return PreparedCase(hu, coronary, stored["origin"], stored["coarse"], stored["coarse_origin"], float(stored["blood_hu"]))


def read_volume(path: Path) -> Volume:
    """A CT volume from a folder of DICOM, NIfTI or NRRD, its axes along the patient's.

    Raises:
        HospitalDataError: the file cannot be read. CoronetError: the DICOM series is no volume.
    """
    if path.is_dir():
        return read_source(path).main.volume
    image = _straightened(_read(path), SimpleITK.sitkLinear, _LOWEST_HU)
    values = np.clip(np.rint(np.nan_to_num(_values(image).astype(np.float32), nan=_LOWEST_HU)), _LOWEST_HU, _HIGHEST_HU)
    return Volume(np.ascontiguousarray(values.astype(np.int16)), _geometry(image))


def read_label(path: Path, geometry: Geometry) -> NDArray[np.uint8]:
    """255 where a label map marks something, on the grid of its image.

    Raises:
        HospitalDataError: it cannot be read, or lies on another grid.
    """
    image = _straightened(_read(path), SimpleITK.sitkNearestNeighbor, 0)
    if not _geometry(image).same_grid(geometry, _LIKENESS_MM):
        raise HospitalDataError(f"{path}: the label map does not lie on the grid of its image")
    return np.where(_values(image) > 0, 255, 0).astype(np.uint8)


def _read(path: Path) -> Any:
    itk: Any = SimpleITK
    try:
        image = itk.ReadImage(str(path))
    except RuntimeError as error:
        raise HospitalDataError(f"{path}: cannot be read as an image") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise HospitalDataError(f"{path}: not one three-dimensional volume")
    return itk.DICOMOrient(image, "LPS")


def _straightened(image: Any, interpolator: int, fill: float) -> Any:
    """The image on axes along the patient's: most are already, the others are resampled."""
    itk: Any = SimpleITK
    if np.allclose(np.asarray(image.GetDirection()).reshape(3, 3), np.eye(3), atol=1e-3):
        image.SetDirection(tuple(np.eye(3).ravel()))
        return image
    size, spacing = np.asarray(image.GetSize()), np.asarray(image.GetSpacing())
    corners = np.array(
        [image.TransformContinuousIndexToPhysicalPoint(list((np.array(c) * (size - 1)).astype(float))) for c in np.ndindex(2, 2, 2)]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    count = [int(n) for n in np.ceil((high - low) / spacing) + 1]
    return itk.Resample(
        image, count, itk.Transform(), interpolator, tuple(low), tuple(spacing), tuple(np.eye(3).ravel()), fill, image.GetPixelID()
    )


def _values(image: Any) -> NDArray[Any]:
    itk: Any = SimpleITK
    values: NDArray[Any] = itk.GetArrayFromImage(image)
    return values


def _geometry(image: Any) -> Geometry:
    nx, ny, nz = image.GetSize()
    sx, sy, sz = image.GetSpacing()
    ox, oy, oz = image.GetOrigin()
    return Geometry(shape=(nz, ny, nx), spacing=(sx, sy, sz), origin=(ox, oy, oz))
