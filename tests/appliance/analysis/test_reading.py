"""Series, archives and single files to volumes: exact truth, real files, broken files."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedCTImageStorage,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from appliance.analysis.acceptance import judge
from appliance.analysis.pixels import LOWEST_HU, read_hu
from appliance.analysis.reading import read_headers, read_nifti, read_phases, read_series, read_source, read_study
from appliance.analysis.slices import phase_in_text
from appliance.errors import DeclinedError, VolumeError
from tests.peers.datasets import ROOT, ct_slice, save, write_series
from tests.peers.dcmtk import need

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[[str], list[Path]]:
    """Unpack one of the archives of test data; its DICOM files."""

    def unpacked(name: str) -> list[Path]:
        with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
            archive.extractall(tmp_path / name)
        return sorted(path for path in (tmp_path / name).iterdir() if path.name != "LICENSE")

    return unpacked


def ramp(index: int) -> NDArray[np.int16]:
    """Pixels that name their slice, row and column."""
    rows, columns = np.mgrid[:48, :64]
    return (index * 100 + rows * 3 - columns * 5 - 200).astype(np.int16)


def write_ramps(folder: Path, count: int, **changes: Any) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [save(ct_slice(index=index, pixels=ramp(index), **changes), folder / f"{index}.dcm") for index in range(count)]


# -- geometry


def test_voxels_and_geometry_of_an_axial_series(tmp_path: Path) -> None:
    images = read_series(write_ramps(tmp_path, 5)[::-1])
    geometry = images.volume.geometry
    assert geometry.shape == (5, 48, 64)
    assert geometry.spacing == pytest.approx((0.4, 0.4, 0.5))
    assert geometry.origin == pytest.approx((-10.0, -12.0, -100.0))
    assert np.array_equal(geometry.direction, np.eye(3))
    assert images.volume.voxels.flags["C_CONTIGUOUS"]
    assert images.volume.voxels.dtype == np.int16
    for index in range(5):
        assert np.array_equal(images.volume.voxels[index], ramp(index))
    assert [uid for _, uid in images.sop_instances] == [f"{ROOT}2.{index + 1}" for index in range(5)]


@pytest.mark.parametrize(
    "orientation",
    [
        [1, 0, 0, 0, 1, 0],
        [-1, 0, 0, 0, -1, 0],  # prone: both axes of the image are turned
        [1, 0, 0, 0, -1, 0],  # mirrored: the normal points to the feet
        [-1, 0, 0, 0, 1, 0],
    ],
)
def test_every_voxel_stays_where_it_lay_and_z_runs_from_feet_to_head(tmp_path: Path, orientation: list[int]) -> None:
    images = read_series(write_ramps(tmp_path, 5, ImageOrientationPatient=orientation))
    geometry, voxels = images.volume.geometry, images.volume.voxels
    assert np.allclose(geometry.direction, np.eye(3))
    for index, row, column in [(0, 0, 0), (4, 47, 63), (2, 10, 50)]:
        place = np.array([-10.0, -12.0, -100.0 + 0.5 * index])
        place = place + 0.4 * column * np.array(orientation[:3]) + 0.4 * row * np.array(orientation[3:])
        z, y, x = np.rint(geometry.to_index(place)).astype(int)
        assert voxels[z, y, x] == ramp(index)[row, column]
    assert [uid for _, uid in images.sop_instances] == [f"{ROOT}2.{index + 1}" for index in range(5)]


def test_oblique_axial_keeps_its_direction(tmp_path: Path) -> None:
    angle = np.radians(10)
    orientation = [1, 0, 0, 0, np.cos(angle), np.sin(angle)]
    normal = np.cross(orientation[:3], orientation[3:])
    paths = [
        save(
            ct_slice(
                index=index,
                ImageOrientationPatient=[float(f"{value:.8f}") for value in orientation],
                ImagePositionPatient=[float(f"{value:.6f}") for value in np.array([-10.0, -12.0, -100.0]) + index * 0.5 * normal],
            ),
            tmp_path / f"{index}.dcm",
        )
        for index in range(4)
    ]
    geometry = read_series(paths).volume.geometry
    assert np.allclose(geometry.direction[:, 2], normal, atol=1e-6)
    assert np.linalg.det(geometry.direction) == pytest.approx(1.0)


def test_slope_intercept_and_unsigned_storage(tmp_path: Path) -> None:
    stored = (ramp(0).astype(np.int32) + 1500).astype(np.uint16)
    paths = [
        save(
            ct_slice(index=index, pixels=stored.view(np.int16), PixelRepresentation=0, RescaleIntercept="-1024", RescaleSlope="1"),
            tmp_path / f"{index}",
        )
        for index in range(2)
    ]
    assert np.array_equal(read_series(paths).volume.voxels[0], np.maximum(stored.astype(int) - 1024, -1024))
    halves = [
        save(ct_slice(index=index, pixels=ramp(0), RescaleSlope="0.5", RescaleIntercept="10"), tmp_path / f"h{index}") for index in range(2)
    ]
    assert np.array_equal(read_series(halves).volume.voxels[0], np.rint(ramp(0) * 0.5 + 10))


def test_twelve_bits_in_sixteen_with_rubbish_above(tmp_path: Path) -> None:
    """The four unused bits hold an overlay, as old equipment does it."""
    values = np.arange(-1000, -1000 + 48 * 64, dtype=np.int16).reshape(48, 64) % 2048 - 1024
    stored = ((values.astype(np.int32) & 0x0FFF) | 0x5000).astype(np.uint16).view(np.int16)
    path = save(ct_slice(pixels=stored, BitsStored=12, HighBit=11), tmp_path / "a")
    assert np.array_equal(read_hu(path)[0], values)


def test_padding_below_air_becomes_air(tmp_path: Path) -> None:
    pixels = np.full((48, 64), -3024, np.int16)
    assert (read_hu(save(ct_slice(pixels=pixels), tmp_path / "a")) == -1024).all()


# -- what must not become a volume


def broken(tmp_path: Path, *, changes: dict[int, dict[str, Any]] | None = None, leave_out: tuple[int, ...] = (), count: int = 6) -> str:
    """The code of the error that a series with changed or missing slices raises."""
    paths = [
        save(ct_slice(index=index, **(changes or {}).get(index, {})), tmp_path / f"{index}.dcm")
        for index in range(count)
        if index not in leave_out
    ]
    with pytest.raises(VolumeError) as caught:
        read_series(paths)
    assert caught.value.zh
    return caught.value.code


def test_a_missing_slice(tmp_path: Path) -> None:
    assert broken(tmp_path, leave_out=(3,)) == "VOL-006"


def test_one_slice_out_of_step(tmp_path: Path) -> None:
    assert broken(tmp_path, changes={3: {"ImagePositionPatient": [-10, -12, -98.3]}}) == "VOL-006"


def test_two_different_slices_at_one_place(tmp_path: Path) -> None:
    assert broken(tmp_path, changes={3: {"ImagePositionPatient": [-10, -12, -99.0]}}) == "VOL-005"


def test_a_tilted_gantry(tmp_path: Path) -> None:
    changes = {index: {"ImagePositionPatient": [-10, -12 + 0.1 * index, -100 + 0.5 * index]} for index in range(6)}
    assert broken(tmp_path, changes=changes) == "VOL-007"


def test_a_slice_of_another_orientation(tmp_path: Path) -> None:
    assert broken(tmp_path, changes={2: {"ImageOrientationPatient": [1, 0, 0, 0, 0.9962, 0.0872]}}) == "VOL-004"


def test_a_slice_of_another_pixel_size(tmp_path: Path) -> None:
    assert broken(tmp_path, changes={2: {"PixelSpacing": [0.5, 0.5]}}) == "VOL-003"


def test_a_slice_of_another_matrix(tmp_path: Path) -> None:
    assert broken(tmp_path, changes={2: {"pixels": np.zeros((20, 20), np.int16)}}) == "VOL-003"


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_slice_without_its_place(tmp_path: Path, keyword: str) -> None:
    assert broken(tmp_path, changes={2: {keyword: None}}) == "VOL-002"


def test_a_single_slice(tmp_path: Path) -> None:
    assert broken(tmp_path, count=1) == "VOL-008"


def test_pixels_that_are_not_hounsfield_units(tmp_path: Path) -> None:
    assert broken(tmp_path, changes={2: {"RescaleSlope": None}}) == "VOL-012"


def test_pixel_data_cut_short(tmp_path: Path) -> None:
    assert broken(tmp_path, changes={2: {"PixelData": b"\0" * 100}}) == "VOL-011"


def test_the_same_file_twice_counts_once(tmp_path: Path) -> None:
    paths = write_ramps(tmp_path, 4)
    assert read_series([*paths, paths[1]]).volume.geometry.shape[0] == 4


def test_positions_rounded_by_the_scanner_are_regular(tmp_path: Path) -> None:
    paths = [
        save(ct_slice(index=index, ImagePositionPatient=[-10, -12, round(-100 + index / 3, 2)]), tmp_path / f"{index}.dcm")
        for index in range(40)
    ]
    assert read_series(paths).volume.geometry.spacing[2] == pytest.approx(1 / 3, abs=1e-3)


# -- transfer syntaxes


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, JPEGLSLossless])
def test_lossless_syntaxes_that_pydicom_encodes(tmp_path: Path, syntax: str) -> None:
    path = save(ct_slice(pixels=ramp(3)), tmp_path / "a")
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "b")
    assert np.array_equal(read_hu(tmp_path / "b")[0], ramp(3))


@pytest.mark.parametrize(("tool", "options"), [("dcmcjpeg", ["+e1"]), ("dcmcjpeg", ["+el"]), ("dcmcjpls", []),
    ("dcmcrle", []), ("dcmconv", ["+tb"]),
                                               ("dcmconv", ["+ti"]), ("dcmconv", ["+td"])])  # fmt: skip
def test_syntaxes_that_dcmtk_encodes(tmp_path: Path, tool: str, options: list[str]) -> None:
    """JPEG lossless (both processes), JPEG-LS, RLE, big endian, implicit, deflated."""
    pixels = np.clip(ramp(3), -300, 1000).astype(np.int16)
    path = save(ct_slice(pixels=pixels), tmp_path / "a")
    subprocess.run([need(tool), *options, str(path), str(tmp_path / "b")], check=True, capture_output=True)
    assert pydicom.dcmread(tmp_path / "b").file_meta.TransferSyntaxUID != pydicom.dcmread(path).file_meta.TransferSyntaxUID
    assert np.array_equal(read_hu(tmp_path / "b")[0], pixels)


def test_a_syntax_without_decoder_is_named(tmp_path: Path) -> None:
    path = save(ct_slice(), tmp_path / "a")
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.save_as(tmp_path / "b")
    with pytest.raises(VolumeError, match="MPEG2") as caught:
        read_hu(tmp_path / "b")
    assert caught.value.code == "VOL-010"
    assert "MPEG2" in caught.value.zh


def test_htj2k_is_decodable() -> None:
    from pydicom.pixels.decoders.base import get_decoder

    assert get_decoder(HTJ2KLossless).is_available


def test_damaged_jpeg_2000(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(save(ct_slice(), tmp_path / "a"))
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.PixelData = dataset.PixelData[:60] + bytes(200)
    dataset.save_as(tmp_path / "b")
    with pytest.raises(VolumeError) as caught:
        read_hu(tmp_path / "b")
    assert caught.value.code == "VOL-011"


# -- multi-frame


def enhanced(tmp_path: Path, order: list[int], *, phases: tuple[float, ...] = (75.0,)) -> Path:
    """An Enhanced CT whose frames come in ``order``; slope and spacing in the shared groups, the intercept in those of the frame."""
    dataset: Any = ct_slice(SOPClassUID=EnhancedCTImageStorage, RescaleSlope=None, RescaleIntercept=None,
        PixelSpacing=None, SliceThickness=None,
                            ImagePositionPatient=None, ImageOrientationPatient=None, KVP=None, ConvolutionKernel=None,
                            SeriesDescription="multi")  # fmt: skip

    def group(**items: Any) -> Dataset:
        out = Dataset()
        for sequence, attributes in items.items():
            item = Dataset()
            for keyword, value in attributes.items():
                setattr(item, keyword, value)
            setattr(out, sequence, Sequence([item]))
        return out

    frames, pixels = [], []
    for phase in phases:
        for index in order:
            frames.append(
                group(
                    PlanePositionSequence={"ImagePositionPatient": [-10, -12, -100 + 0.5 * index]},
                    PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": -index, "RescaleType": "HU"},
                    CardiacSynchronizationSequence={"NominalPercentageOfCardiacPhase": phase},
                )
            )
            pixels.append(ramp(index) + index + int(phase) - 75)
    dataset.SharedFunctionalGroupsSequence = Sequence(
        [
            group(
                PixelMeasuresSequence={"PixelSpacing": [0.4, 0.4], "SliceThickness": 0.5},
                PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
                CTReconstructionSequence={"ConvolutionKernel": "Bv40"},
                CTXRayDetailsSequence={"KVP": 100},
                CTImageFrameTypeSequence={"FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]},
            )
        ]
    )
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = np.stack(pixels).astype("<i2").tobytes()
    return save(dataset, tmp_path / "enhanced.dcm")


def test_enhanced_ct_frames_in_any_order(tmp_path: Path) -> None:
    images = read_series([enhanced(tmp_path, [2, 0, 3, 1])])
    assert images.volume.geometry.shape == (4, 48, 64)
    assert images.volume.geometry.spacing == pytest.approx((0.4, 0.4, 0.5))
    for index in range(4):
        assert np.array_equal(images.volume.voxels[index], ramp(index))
    assert (images.header.phase_percent, images.header.kvp, images.header.kernel) == (75, 100, "Bv40")
    assert len(images.sop_instances) == 1


def test_enhanced_ct_of_two_phases_gives_the_diastolic_one(tmp_path: Path) -> None:
    images = read_series([enhanced(tmp_path, [0, 1, 2], phases=(40.0, 75.0))])
    assert images.header.phase_percent == 75
    assert np.array_equal(images.volume.voxels[1], ramp(1))


def test_the_legacy_converted_sample(unpack: Callable[[str], list[Path]]) -> None:
    """Truth by hand from dcmdump: three frames at 2.5 mm, pixels of 0.7 mm, first position (46.4649, 5.01881, -177.75)."""
    volume = read_series(unpack("legacy-enhanced")).volume
    assert volume.geometry.shape == (3, 38, 24)
    assert volume.geometry.spacing == pytest.approx((0.7, 0.7, 2.5))
    assert volume.geometry.origin == pytest.approx((46.4649, 5.01881, -177.75))


# -- real and odd series


def test_a_real_chest_series_becomes_a_volume(unpack: Callable[[str], list[Path]]) -> None:
    images = read_series(unpack("chest-ct-no-contrast"))
    assert images.volume.geometry.shape == (64, 64, 64)
    assert images.volume.geometry.spacing[2] == pytest.approx(5.0)
    air = images.volume.voxels[:, 0, 0]
    assert air.max() < -900
    assert images.header.kernel == "L"


def test_images_without_uids_are_read_by_their_place(unpack: Callable[[str], list[Path]]) -> None:
    images = read_series(unpack("empty-uids"))
    assert images.volume.geometry.shape == (20, 64, 64)
    assert images.header.series_uid == ""


def test_tilt_and_gaps_do_not_become_a_volume(unpack: Callable[[str], list[Path]]) -> None:
    with pytest.raises(VolumeError):
        read_series(unpack("tilt-and-gaps"))


# -- headers


@pytest.mark.parametrize(
    ("name", "expected"),
    [("chrX1", "Wang^XiaoDong=王^小東"), ("chrX2", "Wang^XiaoDong=王^小东"), ("chrH31", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrArab", "قباني^لنزار"),
     ("chrRuss", "Люкceмбypг"), ("chrGerm", "Äneas^Rüdiger")],
)  # fmt: skip
def test_names_in_every_character_set(name: str, expected: str) -> None:
    path = next(Path(each) for each in get_charset_files("*.dcm") if Path(each).stem == name)
    assert read_headers([path])[0].study.patient_name == expected


@pytest.mark.parametrize(
    ("charset", "written"),
    [
        ("ISO_IR 192", "Zhang^San=张^三".encode()),
        ("GB18030", "Zhang^San=张^三".encode("gb18030")),
        ("GBK", "Zhang^San=张^三".encode("gbk")),
        (["", "ISO 2022 IR 58"], b"Zhang^San=\x1b$)A\xd5\xc5^\x1b$)A\xc8\xfd"),  # PS3.5 annex K
    ],
)
def test_chinese_names_as_scanners_write_them(tmp_path: Path, charset: Any, written: bytes) -> None:
    path = save(ct_slice(SpecificCharacterSet=charset, PatientName="#" * len(written)), tmp_path / "a")
    path.write_bytes(path.read_bytes().replace(b"#" * len(written), written))
    header = read_headers([path])[0].study
    assert header.patient_name == "Zhang^San=张^三"
    assert header.display_name == "张三"


def test_the_whole_header(tmp_path: Path) -> None:
    dataset = ct_slice(
        NominalPercentageOfCardiacPhase=78.0, AccessionNumber="A7", InstitutionName="医院", ManufacturerModelName="M", ProtocolName="P"
    )
    slice_ = read_headers([save(dataset, tmp_path / "a")])[0]
    study = slice_.study
    assert (study.phase_percent, study.kvp, study.kernel, study.contrast_agent) == (78, 120, "Bv40d", "IODINE")
    assert (study.accession_number, study.institution, study.manufacturer_model, study.protocol) == ("A7", "医院", "M", "P")
    assert (slice_.rows, slice_.columns, slice_.pixel_spacing, slice_.thickness) == (48, 64, (0.4, 0.4), 0.5)
    assert slice_.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")


@pytest.mark.parametrize(
    ("text", "phase"),
    [("CorCTA 0.50 Bv40 75%", 75), ("BestDiast 78 %", 78), ("冠脉 40%", 40), ("CTA ASIR 50% 75%", 75), ("ASiR-V 40%",
        None), ("CCTA 35% 75%", None),
     ("0.5 mm", None), ("", None), ("200%", None), ("SS-Freeze 45.0%", 45), ("75% 75%", 75), ("心脏 75%", 75)],
)  # fmt: skip
def test_the_phase_in_a_description(text: str, phase: float | None) -> None:
    assert phase_in_text(text) == phase


def test_the_phase_from_trigger_time_and_interval(tmp_path: Path) -> None:
    path = save(ct_slice(SeriesDescription="CTA", TriggerTime="700", NominalInterval="1000"), tmp_path / "a")
    assert read_headers([path])[0].study.phase_percent == 70


# -- broken files


def nested(depth: int) -> Dataset:
    """A data set whose sequences lie ``depth`` deep."""
    dataset: Any = Dataset()
    for _ in range(depth):
        outer: Any = Dataset()
        outer.ReferencedStudySequence = Sequence([dataset])
        dataset = outer
    return dataset  # type: ignore[no-any-return]


def test_files_that_are_not_dicom(tmp_path: Path) -> None:
    for number, content in enumerate([b"", b"DICM", os.urandom(2000), bytes(128) + b"DICM" + os.urandom(500)]):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        with pytest.raises(VolumeError) as caught:
            read_series([path])
        assert caught.value.code in {"VOL-001", "VOL-014"}


def test_a_file_cut_at_every_length(tmp_path: Path) -> None:
    """Whatever is left of a file, reading it ends in a typed error or in its headers, never in another exception."""
    whole = save(ct_slice(), tmp_path / "whole").read_bytes()
    path = tmp_path / "cut"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        try:
            headers = read_headers([path])
        except VolumeError:
            continue
        assert len(headers) == 1


def test_a_nesting_bomb_does_not_bring_the_reader_down(tmp_path: Path) -> None:
    """Four thousand sequences of undefined length within one another."""
    open_item = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    good = save(ct_slice(), tmp_path / "good").read_bytes()
    at = good.index(b"\x08\x00\x16\x00UI")
    (tmp_path / "bomb").write_bytes(good[:at] + open_item * 4000)
    with pytest.raises(VolumeError) as caught:
        read_series([tmp_path / "bomb"])
    assert caught.value.code in {"VOL-001", "VOL-014"}


@pytest.mark.parametrize("name", ["CT_small.dcm", "badVR.dcm", "MR_small.dcm", "rtplan.dcm",
    "no_meta_group_length.dcm", "test-SR.dcm", "DICOMDIR", "JPGExtended.dcm", "JPEG-lossy.dcm", "JPEG2000.dcm",
    "no_meta.dcm", "meta_missing_tsyntax.dcm", "image_dfl.dcm", "waveform_ecg.dcm", "UN_sequence.dcm",
    "empty_charset_LEI.dcm", "nested_priv_SQ.dcm",
                                  "rtplan_truncated.dcm", "MR_truncated.dcm"])  # fmt: skip
def test_pydicoms_own_test_files_end_in_headers_or_a_typed_error(name: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} is not in the wheel")
    ends: list[object] = []
    for read in (lambda file: read_headers([file]), read_hu):
        try:
            ends.append(read(Path(str(path))))
        except VolumeError as error:
            ends.append(error.zh)
    assert len(ends) == 2
    assert all(len(end) > 0 for end in ends)  # type: ignore[arg-type]


def test_an_odd_value_is_read_without_a_warning_that_quotes_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(ct_slice(), tmp_path / "a")
    path.write_bytes(path.read_bytes().replace(b"20260101", b"Name^Vor"))
    caplog.clear()
    assert read_headers([path])[0].study.study_date == "Name^Vor"
    assert "Name" not in caplog.text


def test_rows_that_run_from_front_to_back_are_turned(tmp_path: Path) -> None:
    """Rows along y: the plain axial order of axes comes back, and every voxel stays where it lay."""
    paths = write_ramps(tmp_path, 4, ImageOrientationPatient=[0, 1, 0, -1, 0, 0])
    volume = read_series(paths).volume
    assert np.allclose(volume.geometry.direction, np.eye(3))
    place = np.array([-10.0, -12.0, -100.0 + 0.5 * 2]) + 0.4 * 50 * np.array([0, 1, 0]) + 0.4 * 10 * np.array([-1, 0, 0])
    z, y, x = np.rint(volume.geometry.to_index(place)).astype(int)
    assert volume.voxels[z, y, x] == ramp(2)[10, 50]


def test_images_askew_in_the_slice_are_declined(tmp_path: Path) -> None:
    half = float(np.sqrt(0.5))
    reason = judge(read_headers(ccta(tmp_path / "a", ImageOrientationPatient=[half, half, 0, -half, half, 0])))
    assert reason is not None
    assert reason.code == "DEC-011"


# -- sources


def ccta(folder: Path, *, count: int = 115, increment: float = 0.8, **changes: Any) -> list[Path]:
    """A series that is accepted, with as few files as that takes: 92 mm long, with a field of view of 160 mm."""
    return write_series(folder, count, pixels=np.zeros((40, 40), np.int16), PixelSpacing=[4.0, 4.0], increment=increment, **changes)


def test_a_folder_with_phases_calcium_scout_and_rubbish(tmp_path: Path) -> None:
    ccta(tmp_path / "a", SeriesDescription="CorCTA 40%", series_uid=ROOT + "40")
    ccta(tmp_path / "b", SeriesDescription="CorCTA 75%", series_uid=ROOT + "75")
    ccta(
        tmp_path / "c",
        SeriesDescription="CaScore 3.0",
        series_uid=ROOT + "3",
        count=40,
        increment=3.0,
        SliceThickness="3",
        ContrastBolusAgent=None,
    )
    write_series(tmp_path / "d", 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], series_uid=ROOT + "1")
    (tmp_path / "README.txt").write_text("no image")
    study = read_source(tmp_path)
    assert study.main.header.phase_percent == 75
    assert study.main.volume.geometry.shape == (115, 40, 40)
    assert [source.header.phase_percent for source in study.phases] == [40]
    assert study.phases[0].read().volume.geometry.shape == (115, 40, 40)
    assert study.calcium is not None
    assert study.calcium.header.series_uid == ROOT + "3"
    named = read_study(sorted(each for each in tmp_path.rglob("*") if each.is_file()), main_series=ROOT + "40")
    assert named.main.header.phase_percent == 40
    assert [source.header.phase_percent for source in named.phases] == [75]


def test_one_series_of_two_phases(tmp_path: Path) -> None:
    for phase in (45, 75):
        ccta(tmp_path / f"{phase}", SeriesDescription="CTA", NominalPercentageOfCardiacPhase=float(phase), SeriesInstanceUID=ROOT + "7")
    study = read_source(tmp_path)
    assert (study.main.header.phase_percent, study.main.volume.geometry.shape[0]) == (75, 115)
    assert [source.header.phase_percent for source in study.phases] == [45]


def test_the_longest_series_is_the_main_one(tmp_path: Path) -> None:
    ccta(tmp_path / "a", count=115, SeriesDescription="75%", series_uid=ROOT + "1")
    ccta(tmp_path / "b", count=116, SeriesDescription="CTA", series_uid=ROOT + "2")
    assert read_source(tmp_path).main.volume.geometry.shape[0] == 116


def test_a_zip_whose_names_want_out(tmp_path: Path) -> None:
    paths = ccta(tmp_path / "series")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for number, path in enumerate(paths):
            archive.write(path, f"../../{number}.dcm")
        archive.writestr("LICENSE", "text")
    before = set(tmp_path.parent.iterdir())
    assert read_source(tmp_path / "study.zip").main.volume.geometry.shape[0] == 115
    assert set(tmp_path.parent.iterdir()) == before


def test_a_damaged_zip(tmp_path: Path) -> None:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(save(ct_slice(), tmp_path / "a"), "a")
    data = bytearray(path.read_bytes())
    data[300:400] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(VolumeError) as caught:
        read_source(path)
    assert caught.value.code == "VOL-016"


@pytest.mark.parametrize(("name", "code"), [("chest-ct-no-contrast", "DEC-004"), ("empty-uids", "DEC-013"),
    ("tilt-and-gaps", "DEC-005"),
                                            ("legacy-enhanced", "DEC-007")])  # fmt: skip
def test_archives_that_hold_no_coronary_study_are_declined(name: str, code: str) -> None:
    with pytest.raises(DeclinedError) as caught:
        read_source(DATA / f"{name}.zip")
    assert caught.value.code == code


def test_sources_with_nothing_in_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x")
    for source in ("empty", "text", "missing"):
        with pytest.raises(VolumeError) as caught:
            read_source(tmp_path / source)
        assert caught.value.code == "VOL-014"


def test_nifti_keeps_hu_and_place(tmp_path: Path) -> None:
    """Written with axes turned and mirrored; the truth is the point of each voxel."""
    voxels = np.random.default_rng(1).integers(-1000, 2000, (5, 6, 7)).astype(np.int16)
    image: Any = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((0.4, 0.5, 0.6))
    image.SetOrigin((3.0, -4.0, 50.0))
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    images = read_nifti(tmp_path / "a.nii.gz")
    geometry = images.volume.geometry
    assert np.allclose(geometry.direction, np.eye(3), atol=1e-6)
    for z, y, x in [(0, 0, 0), (4, 5, 6), (1, 2, 3)]:
        point = image.TransformIndexToPhysicalPoint((x, y, z))
        assert images.volume.voxels[tuple(np.rint(geometry.to_index(point)).astype(int))] == voxels[z, y, x]
    assert images.header.study_uid.startswith("2.25.")
    assert len(images.header.series_uid) <= 64
    assert read_nifti(tmp_path / "a.nii.gz").header == images.header


def test_nifti_of_floating_point_is_rounded(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.full((3, 3, 3), 99.6, np.float32))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii"))
    assert (read_nifti(tmp_path / "a.nii").volume.voxels == 100).all()


@pytest.mark.parametrize(("step", "slices", "code"), [(0.5, 200, None), (1.5, 80, "DEC-008"), (0.5, 100, "DEC-010")])
def test_a_nifti_passes_the_same_gate_as_far_as_it_tells(tmp_path: Path, step: float, slices: int, code: str | None) -> None:
    image: Any = SimpleITK.GetImageFromArray(np.zeros((slices, 32, 32), np.int16))
    image.SetSpacing((6.4, 6.4, step))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    if code is None:
        assert read_source(tmp_path / "a.nii.gz").main.volume.geometry.shape == (slices, 32, 32)
        return
    with pytest.raises(DeclinedError) as caught:
        read_source(tmp_path / "a.nii.gz")
    assert caught.value.code == code


@pytest.mark.parametrize(("name", "kind"), [("a.nii", np.float32), ("a.nii.gz", np.float64)])
def test_voxels_without_a_value_are_air_and_warned_of(tmp_path: Path, name: str, kind: Any) -> None:
    """The axes of the file are mirrored, so that a mask left in the file's order would show."""
    values = np.full((4, 10, 10), 40.0, kind)
    values[0, :5, :2] = np.nan
    values[1, 0, :2] = np.inf
    image: Any = SimpleITK.GetImageFromArray(values)
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, str(tmp_path / name))
    images = read_nifti(tmp_path / name)
    np.testing.assert_array_equal(images.volume.voxels, np.where(np.isfinite(values), 40, LOWEST_HU)[::-1, :, ::-1])
    assert [(reason.code, "3.0 %" in reason.en) for reason in images.warnings if reason.code == "DEC-058"] == [("DEC-058", True)]
    values[:2] = np.nan
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(tmp_path / "b.nii"))
    with pytest.raises(VolumeError) as caught:
        read_nifti(tmp_path / "b.nii")
    assert caught.value.code == "VOL-018"


def test_an_oblique_nifti_keeps_its_direction_up_to_a_limit(tmp_path: Path) -> None:
    """Tilted by 15 degrees about x it is read, and points stay where they were; by 40 degrees it is declined."""
    for degrees in (15, 40):
        angle = np.radians(degrees)
        image: Any = SimpleITK.GetImageFromArray(np.random.default_rng(2).integers(-900, 900, (190, 40, 40)).astype(np.int16))
        image.SetSpacing((4.0, 4.2, 0.6))
        image.SetDirection((1, 0, 0, 0, np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle)))
        SimpleITK.WriteImage(image, str(tmp_path / f"{degrees}.nii.gz"))
    images = read_source(tmp_path / "15.nii.gz").main
    tilted: Any = SimpleITK.ReadImage(str(tmp_path / "15.nii.gz"))
    point = tilted.TransformIndexToPhysicalPoint((3, 30, 100))
    index = np.rint(images.volume.geometry.to_index(point)).astype(int)
    assert images.volume.voxels[tuple(index)] == tilted.GetPixel(3, 30, 100)
    assert {"DEC-052", "DEC-057"} <= {reason.code for reason in images.warnings}
    with pytest.raises(DeclinedError) as caught:
        read_source(tmp_path / "40.nii.gz")
    assert caught.value.code == "DEC-011"


def test_a_study_finds_the_phase_that_was_used_again(tmp_path: Path) -> None:
    for phase in (45, 75):
        ccta(tmp_path / f"{phase}", SeriesDescription="CTA", NominalPercentageOfCardiacPhase=float(phase), SeriesInstanceUID=ROOT + "7")
    study = read_phases(sorted(tmp_path.rglob("*.dcm")))
    assert study.main.header.phase_percent == 75
    assert study.main_source is not None
    other = study.phases[0].read()
    assert study.holding(other.sop_instances).header.phase_percent == 45
    assert study.holding(study.main.sop_instances) is study.main
    assert study.holding(()) is study.main


def test_headers_that_claim_a_huge_matrix(tmp_path: Path) -> None:
    paths = [save(ct_slice(index=index, Rows=65535, Columns=65535), tmp_path / f"{index}") for index in range(3)]
    with pytest.raises(VolumeError) as caught:
        read_series(paths)
    assert caught.value.code == "VOL-017"


def test_a_nifti_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no")
    with pytest.raises(VolumeError) as caught:
        read_source(tmp_path / "a.nii.gz")
    assert caught.value.code == "VOL-015"


def test_implicit_files_read_the_same(tmp_path: Path) -> None:
    dataset = ct_slice(pixels=ramp(1))
    path = save(dataset, tmp_path / "a", transfer_syntax=ImplicitVRLittleEndian)
    assert np.array_equal(read_hu(path)[0], ramp(1))
