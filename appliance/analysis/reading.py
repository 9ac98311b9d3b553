"""Images to volumes: a series of files, a folder or zip with several series, or one NIfTI file.

VOL-014  the source does not exist, or holds nothing that can be read    VOL-016  the zip archive cannot be unpacked
VOL-015  the NIfTI file cannot be read as one volume                     VOL-017  the series is too large
                                                                         VOL-018  too many voxels hold no value (NaN)
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from appliance.analysis.acceptance import is_calcium_scan, judge, judge_geometry, warn, warn_geometry, warn_valueless
from appliance.analysis.nifti import without_value
from appliance.analysis.pixels import HIGHEST_HU, LOWEST_HU, read_hu
from appliance.analysis.slices import SliceHeader, lenient, read_headers
from appliance.analysis.stack import Stack, distance_to_diastole, main_phase, split_phases, stack_slices
from appliance.errors import DeclinedError, Reason, VolumeError
from appliance.study import StudyHeader
from appliance.volume import Geometry, Volume

__all__ = [
    "SeriesImages",
    "SeriesSource",
    "SliceHeader",
    "StudyInput",
    "read_headers",
    "read_nifti",
    "read_series",
    "read_source",
    "read_study",
]

READERS = 4
"""Threads that decode; the waiting is for the disk and for decoders that let others run."""
MOST_VOXELS = 1 << 30
"""2 GiB; a CCTA has a tenth of that. A header that claims more is wrong, or worse."""
MOST_VALUELESS = 0.4
"""Outside a round field of view a NIfTI file may hold NaN: a fifth of the volume; more than twice that is no whole scan."""
MOST_FILES = 20_000
MOST_BYTES = 16 << 30
"""Of a zip archive when unpacked."""


@dataclass(frozen=True)
class SeriesImages:
    """One series as a volume.

    Attributes:
        volume: HU, z from feet to head.
        header: identification.
        sop_instances: (SOP class UID, SOP instance UID) of the slices, in the order of z; empty for NIfTI.
        warnings: what is unusual about the series.
    """

    volume: Volume
    header: StudyHeader
    sop_instances: tuple[tuple[str, str], ...]
    warnings: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class SeriesSource:
    """A series that can be read when it is needed.

    Attributes:
        header: identification.
        slices: headers of its slices.
        keep: what must live as long as the files are needed (an unpacked archive).
    """

    header: StudyHeader
    slices: tuple[SliceHeader, ...]
    keep: object = None

    @property
    def sop_instances(self) -> tuple[tuple[str, str], ...]:
        """(SOP class UID, SOP instance UID) of its images, each once, whether of one frame or many."""
        return tuple(dict.fromkeys((each.sop_class_uid, each.sop_instance_uid) for each in self.slices))

    def read(self) -> SeriesImages:
        """The volume.

        Raises:
            VolumeError: the pixels cannot be read.
        """
        return _read_stack(stack_slices(self.slices))


@dataclass(frozen=True)
class StudyInput:
    """What the analysis looks at: the main CCTA volume, further phases, and a calcium scan where there is one.

    ``main_source`` is where the main volume was read from, so that another phase can take its place; None where there is no other.
    """

    main: SeriesImages
    phases: tuple[SeriesSource, ...] = ()
    calcium: SeriesSource | None = None
    main_source: SeriesSource | None = None

    def holding(self, sop_instances: Sequence[tuple[str, str]]) -> SeriesImages:
        """Of the main volume and the phases, the one made of these instances; the main volume where none is."""
        wanted = {instance for _, instance in sop_instances}
        if wanted == {instance for _, instance in self.main.sop_instances}:
            return self.main
        same = (phase for phase in self.phases if {each.sop_instance_uid for each in phase.slices} == wanted)
        source = next(same, None)
        return self.main if source is None else source.read()


def read_series(paths: Sequence[Path]) -> SeriesImages:
    """Read the files of one series as a volume; of several phases the one to analyse.

    Args:
        paths: all files of the series, in any order.

    Raises:
        VolumeError: the files cannot be read, or do not make one regular volume.
    """
    headers = [header for header in read_headers(paths) if header.rows > 0]
    if not headers:
        raise VolumeError("VOL-014", zh="没有可读取的影像", en="there are no images to read")
    return _read_stack(stack_slices(main_phase(headers)))


def read_phases(paths: Sequence[Path]) -> StudyInput:
    """Read the files of one series: the phase that its header recommends as main volume, others where it holds several.

    Raises:
        VolumeError: as ``read_series``.
    """
    headers = [header for header in read_headers(paths) if header.rows > 0]
    if not headers:
        raise VolumeError("VOL-014", zh="没有可读取的影像", en="there are no images to read")
    main = main_phase(headers)
    others = [part for part in split_phases(headers) if part != main]
    if not others:
        return StudyInput(main=_read_stack(stack_slices(main)))
    return StudyInput(
        main=_read_stack(stack_slices(main)),
        phases=tuple(SeriesSource(part[0].study, tuple(part)) for part in others),
        main_source=SeriesSource(main[0].study, tuple(main)),
    )


def read_study(paths: Sequence[Path], *, main_series: str | None = None) -> StudyInput:
    """Read the files of one study, of several series: as ``read_source``; ``main_series`` says which series is the main one.

    Raises:
        DeclinedError: no series may be analysed; the reason is that of the largest one.
        VolumeError: nothing can be read.
    """
    return _read_study(paths, main_series=main_series)


def read_source(path: Path) -> StudyInput:
    """Read a study from a folder or zip of DICOM files (any depth, several series), or from one NIfTI file.

    The main series is, of those that may be analysed, the one with most slices, and of several such the phase nearest to 75 %.

    Raises:
        DeclinedError: no series may be analysed; the reason is that of the largest one.
        VolumeError: nothing can be read.
    """
    if path.is_dir():
        return _read_study(sorted(each for each in path.rglob("*") if each.is_file()))
    if path.name.lower().endswith((".nii", ".nii.gz")):
        images = read_nifti(path)
        reason = judge_geometry(images.volume.geometry)
        if reason is not None:
            raise _declined(reason)
        return StudyInput(main=images)
    if path.is_file() and zipfile.is_zipfile(path):
        folder = tempfile.TemporaryDirectory(prefix="coronet-")
        return _read_study(_unpack(path, Path(folder.name)), keep=folder)
    if path.is_file():
        return _read_study([path])
    raise VolumeError("VOL-014", zh=f"找不到影像来源 {path.name}", en=f"there is no image source {path.name}")


def _read_study(paths: Sequence[Path], *, keep: object = None, main_series: str | None = None) -> StudyInput:
    sources = _series(_readable(paths), keep)
    if not sources:
        raise VolumeError("VOL-014", zh="其中没有可读取的 DICOM 影像", en="it holds no DICOM images that can be read")
    judged = [(source, judge(source.slices)) for source in sources]
    accepted = [source for source, reason in judged if reason is None]
    if not accepted:
        raise _declined(max(((len(source.slices), reason) for source, reason in judged if reason is not None), key=lambda each: each[0])[1])
    accepted.sort(
        key=lambda source: (
            source.header.series_uid != main_series,
            -len(source.slices),
            distance_to_diastole(source.header.phase_percent),
            source.header.series_uid,  # so that the order of the files never decides
        )
    )
    scans = (source for source in sources if is_calcium_scan(source.slices))
    calcium = max(scans, key=lambda source: (len(source.slices), source.header.series_uid), default=None)
    return StudyInput(main=accepted[0].read(), phases=tuple(accepted[1:]), calcium=calcium, main_source=accepted[0])


def _declined(reason: Reason) -> DeclinedError:
    return DeclinedError(reason.code, zh=reason.zh, en=reason.en)


def _readable(paths: Sequence[Path]) -> list[SliceHeader]:
    """Headers of the files that are DICOM images; licences, reports and damaged files are passed over (a lost slice makes a gap)."""
    headers = []
    for path in paths:
        try:
            headers.extend(read_headers([path]))
        except VolumeError:
            continue
    return [header for header in headers if header.rows > 0]


def _series(headers: Sequence[SliceHeader], keep: object) -> list[SeriesSource]:
    """Headers sorted into series, and series into phases."""
    series: dict[str, list[SliceHeader]] = {}
    for header in headers:
        series.setdefault(header.study.series_uid, []).append(header)
    return [SeriesSource(phase[0].study, tuple(phase), keep) for slices in series.values() for phase in split_phases(slices)]


def _read_stack(stack: Stack) -> SeriesImages:
    """Decode the slices into one array and turn it so that z runs from feet to head."""
    if np.prod(stack.geometry.shape, dtype=np.int64) > MOST_VOXELS:
        raise VolumeError("VOL-017", zh="影像过大,超出处理能力", en="the series is too large to be read")
    voxels = np.empty(stack.geometry.shape, np.int16)
    places: dict[Path, list[int]] = {}
    for index, header in enumerate(stack.slices):
        places.setdefault(header.path, []).append(index)

    def fill(item: tuple[Path, list[int]]) -> None:
        path, indices = item
        frames = [stack.slices[index].frame for index in indices]
        if frames[0] is None:
            voxels[indices[0]] = _checked(read_hu(path), voxels, path)[0]
            return
        # Frames not in this stack (another phase) are decoded with the rest; the file says how many there are.
        decoded = _checked(read_hu(path, frames=_frames_of(path)), voxels, path)
        for index, frame in zip(indices, frames, strict=True):
            voxels[index] = decoded[frame or 0]

    with lenient(), ThreadPoolExecutor(READERS) as pool:
        list(pool.map(fill, places.items()))
    volume = _feet_to_head(Volume(voxels, stack.geometry))
    upward = volume.geometry.direction[2, 2] * stack.geometry.direction[2, 2] > 0
    slices = stack.slices if upward else stack.slices[::-1]
    instances = tuple(dict.fromkeys((each.sop_class_uid, each.sop_instance_uid) for each in slices))
    return SeriesImages(volume, slices[len(slices) // 2].study, instances, warn(stack.slices))


def _checked(decoded: NDArray[np.int16], voxels: NDArray[np.int16], path: Path) -> NDArray[np.int16]:
    if decoded.shape[1:] != voxels.shape[1:]:
        raise VolumeError("VOL-003", zh="各层影像的矩阵不一致", en="the slices differ in matrix", file=path.name)
    return decoded


def _frames_of(path: Path) -> int:
    return len(read_headers([path]))


def _feet_to_head(volume: Volume) -> Volume:
    """Axes turned and flipped so that x, y and z increase towards the patient's left, back and head; the axial order of axes is kept."""
    volume = _rows_across(volume)
    geometry, voxels = volume.geometry, volume.voxels
    signs = np.where(np.diag(geometry.direction) < 0, -1, 1)
    if (signs == 1).all():
        return volume
    last = np.where(signs[::-1] < 0, np.asarray(geometry.shape) - 1, 0)
    origin = geometry.to_points(last)
    flipped = np.ascontiguousarray(voxels[tuple(slice(None, None, int(sign)) for sign in signs[::-1])])
    turned = Geometry(
        shape=geometry.shape,
        spacing=geometry.spacing,
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=geometry.direction * signs[None, :],
    )
    return Volume(flipped, turned)


def _rows_across(volume: Volume) -> Volume:
    """Rows and columns exchanged where the rows run from front to back."""
    geometry, direction = volume.geometry, volume.geometry.direction
    if abs(direction[0, 0]) >= abs(direction[0, 1]):
        return volume
    (nz, ny, nx), (x, y, z) = geometry.shape, geometry.spacing
    turned = Geometry((nz, nx, ny), (y, x, z), geometry.origin, direction[:, [1, 0, 2]])
    return Volume(np.ascontiguousarray(volume.voxels.transpose(0, 2, 1)), turned)


def read_nifti(path: Path) -> SeriesImages:
    """Read a NIfTI file of HU; its axes are turned to LPS. The UIDs come from its content, so that the same file is the same study.

    Raises:
        VolumeError: VOL-015, VOL-018.
    """
    itk: Any = SimpleITK
    try:
        image = itk.ReadImage(str(path))
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or min(image.GetSize()) < 2:
            raise VolumeError(
                "VOL-015", zh="NIfTI 文件不是单个三维容积", en="the NIfTI file is not one three-dimensional volume", file=path.name
            )
        bad = without_value(path)
        if bad is not None:
            mask = itk.GetImageFromArray(bad.astype(np.uint8))
            mask.CopyInformation(image)
            bad = itk.GetArrayFromImage(itk.DICOMOrient(mask, "LPS")) > 0
        image = itk.DICOMOrient(image, "LPS")
        values = itk.GetArrayFromImage(image)
        digest = hashlib.sha256(path.read_bytes()).digest()
    except (RuntimeError, OSError) as error:
        raise VolumeError("VOL-015", zh="NIfTI 文件无法读取", en="the NIfTI file cannot be read", file=path.name) from error
    valueless = 0.0 if bad is None else float(bad.mean())
    if valueless > MOST_VALUELESS:
        percent = f"{100 * valueless:.0f}"
        raise VolumeError("VOL-018", zh=f"{percent}% 的体素没有数值", en=f"{percent} % of the voxels hold no value", file=path.name)
    if bad is not None:
        values[bad] = LOWEST_HU
    if values.dtype.kind == "f":
        values = np.rint(values)
    nx, ny, nz = image.GetSize()
    sx, sy, sz = image.GetSpacing()
    ox, oy, oz = image.GetOrigin()
    direction = np.asarray(image.GetDirection(), np.float64).reshape(3, 3)
    geometry = Geometry(shape=(nz, ny, nx), spacing=(sx, sy, sz), origin=(ox, oy, oz), direction=direction)
    uids = [f"2.25.{int.from_bytes(digest[at : at + 15], 'big')}" for at in (0, 15)]
    voxels = np.ascontiguousarray(np.clip(values, LOWEST_HU, HIGHEST_HU).astype(np.int16))
    warnings = (*warn_geometry(geometry), *warn_valueless(valueless))
    return SeriesImages(Volume(voxels, geometry), StudyHeader(study_uid=uids[0], series_uid=uids[1]), (), warnings)


def _unpack(path: Path, folder: Path) -> list[Path]:
    """Members under numbered names: what a member is called in the archive goes nowhere near the file system."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > MOST_BYTES:
                raise VolumeError("VOL-016", zh="压缩包过大", en="the archive is too large", file=path.name)
            unpacked = []
            for number, member in enumerate(members):
                target = folder / f"{number:05d}"
                with archive.open(member) as source, target.open("wb") as file:
                    while chunk := source.read(1 << 20):
                        file.write(chunk)
                unpacked.append(target)
            return unpacked
    except (zipfile.BadZipFile, RuntimeError, OSError, NotImplementedError) as error:
        raise VolumeError("VOL-016", zh="压缩包无法解开(损坏或加密)", en="the archive cannot be unpacked", file=path.name) from error
