"""Virtual scans as DICOM files: a coronary CT angiogram (one phase or several), the calcium scan before it, and what else a scanner sends.

Headers follow PS3.3 A.3 (CT Image IOD) with the attributes a coronary scan carries. All persons and places are invented.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from models.phantom.motion import as_seen
from models.phantom.phases import at_phase
from models.phantom.render import render
from models.phantom.scan import calcium_scan, phase_scan, undisturbed
from models.phantom.truth import truth
from models.phantom.types import FloatArray, Patient, Scan, Vector

UID_ROOT = "2.25."
IMPLEMENTATION = UID("2.25.302151840112853470211560194825710921347")
KINDS = ("ccta", "calcium", "scout", "lung", "abdomen")
CALCIUM_FOV_MM = 220.0
#: Width of a scout and of routine scans: what the patient's grid holds.
CHEST_MM = 232.0


@dataclass(frozen=True)
class Kind:
    """What the header of one kind of series says, and how it is made."""

    description: str
    protocol: str
    body_part: str
    kernel: str
    image_type: tuple[str, ...]
    contrast: bool
    gated: bool
    thickness: float


HEADERS = {
    "ccta": Kind("CorCTA 0.5 75%", "CoronaryCTA", "HEART", "", ("ORIGINAL", "PRIMARY", "AXIAL"), True, True, 0.5),
    "calcium": Kind("CaScore 3.0 75%", "CaScoring", "HEART", "CARDIAC_CA", ("ORIGINAL", "PRIMARY", "AXIAL"), False, True, 3.0),
    "scout": Kind("Scout", "CoronaryCTA", "CHEST", "T20s", ("ORIGINAL", "PRIMARY", "LOCALIZER"), False, False, 1.0),
    "lung": Kind("Chest Lung 1.0", "ChestRoutine", "CHEST", "B70f", ("ORIGINAL", "PRIMARY", "AXIAL"), False, False, 1.0),
    "abdomen": Kind("Abdomen Portal 5.0", "AbdomenRoutine", "ABDOMEN", "B30f", ("ORIGINAL", "PRIMARY", "AXIAL"), True, False, 5.0),
}
KERNELS = {"cardiac-smooth": "CARDIAC_A", "cardiac-standard": "CARDIAC_B", "cardiac-sharp": "CARDIAC_SHARP"}


def write_series(
    patient: Patient,
    scan: Scan,
    directory: Path,
    *,
    kind: str = "ccta",
    slices: int = 280,
    rows: int = 512,
    pixel_mm: float | None = None,
    missing: tuple[int, ...] = (),
    study: str = "",
    series_number: int = 3,
    seed: int = 0,
    own_geometry: bool = False,
) -> list[Path]:
    """Write one series into `directory` and, for a CCTA or a calcium scan, its exact truth as `truth.json`; returns the image files.

    Args:
        patient: whom to scan.
        scan: how.
        directory: made if absent; files are named by instance number.
        kind: one of `KINDS`. 'calcium' is the scan without contrast medium that goes before `scan`.
        slices: number of slices (a scout has one image). A CCTA covers the heart; if `slices` at 0.5 mm are too few for that they are
            centred on it. A calcium scan has no more slices than the heart needs.
        rows: rows and columns.
        pixel_mm: pixel spacing; for a CCTA by default fitted to the heart, at most 0.45 mm at 512 rows.
        missing: indices of slices to leave out.
        study: text that tells studies of one patient apart; the same text gives the same study UID.
        series_number: series number; part of the series UID.
        seed: noise seed; part of the series and instance UIDs.
        own_geometry: take increment, field of view and missing ends of a CCTA from `scan`, and as many slices as the heart needs;
            otherwise 0.5 mm, a field of view fitted to the heart, and `slices`.

    Raises:
        ValueError: `kind` is unknown.
    """
    if kind not in HEADERS:
        raise ValueError(f"unknown kind of series: {kind!r}")
    directory.mkdir(parents=True, exist_ok=True)
    header = HEADERS[kind]
    if kind == "calcium":
        scan = calcium_scan(scan)
    if kind == "calcium" or own_geometry:
        header = replace(
            header, thickness=scan.slice_thickness_mm, description=header.description.replace("3.0", f"{scan.slice_thickness_mm:g}")
        )
    volume, origin, spacing = _pixels(patient, scan, kind, slices, rows, pixel_mm, seed, own_geometry=own_geometry)
    options = f"{patient.seed}/{scan.seed}/{study}/{kind}/{series_number}/{slices}/{rows}/{pixel_mm}/{missing}/{seed}/{own_geometry}"
    options += f"/{scan.phase_percent:g}"
    base = _common(patient, scan, header, study, options, series_number, spacing[2] if len(volume) > 1 else header.thickness)
    files = []
    for index in range(len(volume)):
        if index in missing:
            continue
        position = (origin[0], origin[1], origin[2] + index * spacing[2])
        image = _image(base, header, volume[index], index, position, spacing, options)
        path = directory / f"{index + 1:04d}.dcm"
        image.save_as(path, enforce_file_format=True)
        files.append(path)
    if kind in ("ccta", "calcium"):
        facts = truth(as_seen(patient, scan)) | {
            "scan": _scan_facts(scan),
            "series_uid": str(base.SeriesInstanceUID),
            "study_uid": str(base.StudyInstanceUID),
        }
        (directory / "truth.json").write_text(json.dumps(facts, ensure_ascii=False))
    return files


def write_phases(
    patient: Patient, scan: Scan, directory: Path, *, phases: tuple[float, ...], slices: int = 280, rows: int = 512, study: str = "",
    own_geometry: bool = False,
) -> list[Path]:  # fmt: skip
    """Write one CCTA series per phase (percent of the R-R interval) into folders of `directory` named by the phase.

    All belong to one study and one frame of reference. The heart contracts and its vessels move as the phase says
    (`models.phantom.phases`, `phase_scan`); each folder holds that phase's own truth.
    """
    files = []
    for number, phase in enumerate(phases):
        files += write_series(
            at_phase(patient, phase), phase_scan(scan, phase), directory / f"phase-{phase:g}", slices=slices, rows=rows, study=study,
            series_number=3 + number, seed=number, own_geometry=own_geometry,
        )  # fmt: skip
    return files


def uid(*parts: str) -> UID:
    """A UID under 2.25 that depends only on the given texts."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
    number = int.from_bytes(digest, "big") & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
    return UID(f"{UID_ROOT}{number}")


def _scan_facts(scan: Scan) -> dict[str, Any]:
    return {
        "kvp": scan.kvp,
        "vessel_hu": round(scan.vessel_hu, 2),
        "noise_hu": round(scan.noise_hu, 2),
        "psf_sigma_in_plane_mm": round(scan.psf_sigma_mm[0], 4),
        "psf_sigma_z_mm": round(scan.psf_sigma_mm[1], 4),
        "phase_percent": scan.phase_percent,
        "kernel": scan.kernel,
        "contrast": scan.contrast,
        "heart_rate": scan.heart_rate,
        "motion_mm": {vessel: round(mm, 3) for vessel, mm in scan.motion_mm.items()},
        "steps": [{"z_mm": round(s.z_mm, 3), "shift_mm": [round(v, 3) for v in s.shift_mm]} for s in scan.steps],
        "ghost": scan.ghost is not None,
        "streaks": round(scan.streaks, 3),
        "metal": list(scan.metal),
        "reconstruction": scan.reconstruction,
    }


def heart_view(patient: Patient, rows: int, pixel_mm: float | None, slices: int) -> tuple[Vector, float]:
    """Origin (mm) and pixel spacing of a field of view around the whole heart."""
    lo, hi = _extent(patient)
    centre = 0.5 * (lo + hi)
    wanted = max(float((hi - lo)[:2].max()) + 50.0, 175.0) / rows
    pixel = pixel_mm if pixel_mm is not None else float(np.round(np.clip(wanted, 0.34 * 512 / rows, 0.45 * 512 / rows), 4))
    half = 0.5 * (rows - 1) * pixel
    middle = centre[2] + 3.0
    return (float(centre[0] - half), float(centre[1] - half), float(np.round(middle - 0.25 * (slices - 1), 1))), pixel


def _extent(patient: Patient) -> tuple[FloatArray, FloatArray]:
    """The corners (mm) of a box around heart and coronaries."""
    lo, hi = np.asarray(patient.heart_box[0]), np.asarray(patient.heart_box[1])
    for b in patient.branches:
        lo, hi = np.minimum(lo, b.points_mm.min(0)), np.maximum(hi, b.points_mm.max(0))
    return lo, hi


def _range(patient: Patient, scan: Scan, rows: int, fov_mm: float) -> tuple[Vector, Vector, int]:
    """Origin, spacing and number of slices that cover the heart with the scan's own increment, less what the scan misses."""
    lo, hi = _extent(patient)
    pixel = float(np.round(fov_mm / rows, 4))
    half = 0.5 * (rows - 1) * pixel
    centre = 0.5 * (lo + hi)
    bottom = float(np.round(lo[2] - 6.0 * (scan.cut_mm[0] <= 0.0) + scan.cut_mm[0], 1))
    top = hi[2] + 8.0 * (scan.cut_mm[1] <= 0.0) - scan.cut_mm[1]
    count = max(2, int((top - bottom) / scan.increment_mm) + 1)
    return (float(centre[0] - half), float(centre[1] - half), bottom), (pixel, pixel, scan.increment_mm), count


def _pixels(
    patient: Patient, scan: Scan, kind: str, slices: int, rows: int, pixel_mm: float | None, seed: int, *, own_geometry: bool
) -> tuple[FloatArray, Vector, Vector]:
    """Volume (z, y, x), origin and spacing of a series."""
    if kind == "calcium" or (kind == "ccta" and own_geometry):
        fov = pixel_mm * rows if pixel_mm is not None else (scan.fov_mm or CALCIUM_FOV_MM)
        origin, spacing, count = _range(patient, scan, rows, fov)
        shape = (min(count, slices) if kind == "calcium" else count, rows, rows)
        return render(patient, scan, origin=origin, spacing=spacing, shape=shape, seed=seed).hu, origin, spacing
    if kind == "ccta":
        origin, pixel = heart_view(patient, rows, pixel_mm, slices)
        spacing = (pixel, pixel, 0.5)
        return render(patient, scan, origin=origin, spacing=spacing, shape=(slices, rows, rows), seed=seed).hu, origin, spacing
    return _scout(patient, scan, rows) if kind == "scout" else _routine(patient, scan, kind, slices, rows, seed)


def _scout(patient: Patient, scan: Scan, rows: int) -> tuple[FloatArray, Vector, Vector]:
    """A frontal projection of the chest."""
    grid = patient.grid
    pixel = CHEST_MM / rows
    corner = (grid.origin[0] + 2.0, grid.origin[1] + 2.0, grid.origin[2])
    coarse = render(patient, undisturbed(scan), origin=corner, spacing=(pixel, 4.0, pixel), shape=(rows, 58, rows), noise=False)
    shadow = (coarse.hu.astype(np.float32) + 1000.0).sum(1)[::-1]
    image = np.clip(shadow / shadow.max() * 1600.0 - 700.0, -1024, 3071).astype(np.int16)
    return image[None], (corner[0], grid.origin[1], grid.origin[2] + pixel * (rows - 1)), (pixel, pixel, 1.0)


def _routine(patient: Patient, scan: Scan, kind: str, slices: int, rows: int, seed: int) -> tuple[FloatArray, Vector, Vector]:
    """A routine scan of chest or abdomen on the same table: not gated, other contrast, other slices."""
    grid = patient.grid
    quiet = replace(
        undisturbed(scan), vessel_hu=60.0 if kind == "lung" else 140.0, right_heart_hu=60.0, vein_hu=60.0, kernel="cardiac-sharp",
        edge_enhancement=0.0,
    )  # fmt: skip
    if kind == "lung":
        quiet = replace(quiet, noise_hu=70.0, psf_sigma_mm=(0.25, 0.4))
    pixel = CHEST_MM / rows
    start = (grid.origin[0] + 2.0, grid.origin[1] + 2.0, grid.origin[2] + 1.0)
    spacing = (pixel, pixel, HEADERS[kind].thickness)
    return render(patient, quiet, origin=start, spacing=spacing, shape=(slices, rows, rows), seed=seed).hu, start, spacing


def _common(patient: Patient, scan: Scan, header: Kind, study: str, options: str, series_number: int, increment: float) -> Dataset:
    """Everything that all images of the series share."""
    key = f"{patient.seed}/{study}"
    rng = np.random.default_rng((patient.seed, 41))
    date = f"2026{int(rng.integers(1, 13)):02d}{int(rng.integers(1, 29)):02d}"
    minute = f"{int(rng.integers(8, 18)):02d}{int(rng.integers(60)):02d}"
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = list(header.image_type)
    ds.SOPClassUID = CTImageStorage
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = date
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = (f"{minute}{s:02d}" for s in (5, 31, 32, 33))
    ds.AccessionNumber = f"V{patient.seed:07d}"[:16]
    ds.Modality = "CT"
    ds.Manufacturer = "Coronet Virtual CT"
    ds.InstitutionName = "虚拟医院"
    ds.ReferringPhysicianName = ""
    ds.StationName = "VCT1"
    ds.StudyDescription = "冠状动脉CTA" if header.gated else header.protocol
    ds.SeriesDescription = header.description.replace("75%", f"{scan.phase_percent:.0f}%")
    ds.ManufacturerModelName = "VirtualPatient 512"
    ds.PatientName = patient.name
    ds.PatientID = f"VP{patient.seed:06d}"
    ds.PatientBirthDate = f"{2026 - patient.age - 1}0615"
    ds.PatientSex = patient.sex
    ds.PatientAge = f"{patient.age:03d}Y"
    ds.PatientSize = "1.70" if patient.sex == "M" else "1.60"
    ds.PatientWeight = "70" if patient.sex == "M" else "58"
    if header.contrast:
        ds.ContrastBolusAgent = "Iopamidol 370"
        ds.ContrastBolusRoute = "IV"
    ds.BodyPartExamined = header.body_part
    ds.ScanOptions = "CARDIAC_GATED" if header.gated else "HELICAL_CT"
    ds.SliceThickness = _ds(header.thickness)
    ds.KVP = _ds(scan.kvp)
    ds.SpacingBetweenSlices = _ds(increment)
    ds.DataCollectionDiameter = "320"
    ds.DeviceSerialNumber = "0001"
    ds.SoftwareVersions = "1.0"
    ds.ProtocolName = header.protocol
    ds.GantryDetectorTilt = "0"
    ds.TableHeight = "150"
    ds.RotationDirection = "CW"
    ds.ExposureTime = "280"
    ds.XRayTubeCurrent = str(round(scan.ma))
    ds.Exposure = str(round(scan.ma * 0.28))
    ds.FilterType = "BODY"
    ds.GeneratorPower = "80"
    ds.FocalSpots = "0.9"
    ds.ConvolutionKernel = header.kernel or KERNELS[scan.kernel]
    ds.PatientPosition = "FFS"
    if header.gated:
        rate = round(scan.heart_rate)
        interval = 60000.0 / rate
        ds.HeartRate = rate
        ds.LowRRValue, ds.HighRRValue = round(interval * 0.95), round(interval * 1.05)
        ds.TriggerTime = _ds(interval * scan.phase_percent / 100.0)
        ds.NominalPercentageOfCardiacPhase = float(scan.phase_percent)
    ds.StudyInstanceUID = uid("study", key)
    ds.SeriesInstanceUID = uid("series", options)
    ds.StudyID = f"{patient.seed % 100000}"
    ds.SeriesNumber = str(series_number)
    ds.AcquisitionNumber = "1"
    ds.FrameOfReferenceUID = uid("frame", key)
    ds.PositionReferenceIndicator = ""
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.WindowCenter, ds.WindowWidth = ("200", "700") if header.gated else ("40", "400")
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
    return ds


def _image(
    base: Dataset, header: Kind, pixels: FloatArray, index: int, position: tuple[float, float, float],
    spacing: tuple[float, float, float], options: str,
) -> FileDataset:  # fmt: skip
    """One image of the series."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid("instance", options, str(index))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    ds = FileDataset("", pydicom.Dataset(base), file_meta=meta, preamble=b"\0" * 128)
    localizer = "LOCALIZER" in header.image_type
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.InstanceNumber = str(index + 1)
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelSpacing = [_ds(spacing[1]), _ds(spacing[0])]
    ds.ReconstructionDiameter = _ds(spacing[0] * pixels.shape[1])
    ds.ImagePositionPatient = [_ds(v) for v in position]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"] if localizer else ["1", "0", "0", "0", "1", "0"]
    ds.SliceLocation = _ds(position[2])
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
    ds["SmallestImagePixelValue"].VR = ds["LargestImagePixelValue"].VR = "SS"
    ds.PixelData = np.ascontiguousarray(pixels, "<i2").tobytes()
    return ds


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2)."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
