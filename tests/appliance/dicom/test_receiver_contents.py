"""What a CT sends: every class, every transfer syntax, every character set, kept as sent and read back right."""

from __future__ import annotations

import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_charset_files
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from appliance.analysis.pixels import read_hu
from appliance.dicom.syntaxes import STORAGE_CLASSES, TRANSFER_SYNTAXES
from appliance.workflow.headers import read_identity
from tests.appliance.dicom.conftest import Door, StartDoor
from tests.peers import dcmtk
from tests.peers.datasets import ROOT, ct_slice, encode, save
from tests.peers.parrot import CT_IMAGE, EXPLICIT, Parrot

NAMES = {
    "chrArab.dcm": "قباني^لنزار",
    "chrFren.dcm": "Buc^Jérôme",
    "chrGerm.dcm": "Äneas^Rüdiger",
    "chrGreek.dcm": "Διονυσιος",
    "chrH31.dcm": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32.dcm": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw.dcm": "שרון^דבורה",
    "chrI2.dcm": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrRuss.dcm": "Люкceмбypг",
    "chrX1.dcm": "Wang^XiaoDong=王^小東",
    "chrX2.dcm": "Wang^XiaoDong=王^小东",
}
"""PS3.5 annexes H to K and the ISO 8859 parts; pydicom's files, whose truth stands in the standard's own examples."""


def test_the_names_of_the_classes_are_those_of_the_standard() -> None:
    """PS3.6 annex A; so no UID is mistyped."""
    assert {uid: UID(uid).name.removesuffix(" Storage") for uid in STORAGE_CLASSES} == STORAGE_CLASSES
    assert all(UID(uid).is_transfer_syntax for uid in TRANSFER_SYNTAXES)


@pytest.mark.parametrize("first", range(0, len(STORAGE_CLASSES), 20))
def test_every_class_is_taken_and_kept(door: Door, first: int) -> None:
    classes = list(STORAGE_CLASSES)[first : first + 20]
    contexts = tuple((2 * number + 1, sop_class, (EXPLICIT,)) for number, sop_class in enumerate(classes))
    with Parrot(door.port) as parrot:
        parrot.associate(contexts=contexts)
        for context, sop_class, _ in contexts:
            uid = f"{ROOT}88.{first}.{context}"
            dataset = encode(ct_slice(SOPClassUID=sop_class, SOPInstanceUID=uid))
            assert parrot.store(dataset, sop_class=sop_class, sop_instance=uid, context=context, message_id=context) == (0x0000, "")
    assert {row["sop_class_uid"] for row in door.instances()} == set(classes)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_every_transfer_syntax_is_negotiated_and_recorded(door: Door, syntax: str) -> None:
    """The data set as the syntax has it (implicit, big endian, deflated) or with pixels as they came."""
    dataset = ct_slice()
    dataset.PixelData = bytes(range(256)) * 4
    encoded = _encoded(dataset, UID(syntax))
    with Parrot(door.port) as parrot:
        parrot.associate(contexts=((1, CT_IMAGE, (syntax,)),))
        assert parrot.store(encoded, sop_instance=str(dataset.SOPInstanceUID)) == (0x0000, "")
    row = door.instances()[0]
    kept = door.spool.path(str(dataset.SOPInstanceUID))
    assert row["transfer_syntax_uid"] == syntax == pydicom.dcmread(kept, stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert kept.read_bytes().endswith(encoded)


def _encoded(dataset: pydicom.Dataset, syntax: UID) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(buffer, dataset)
    if syntax != pydicom.uid.DeflatedExplicitVRLittleEndian:
        return buffer.getvalue()
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(buffer.getvalue()) + squeeze.flush()


@pytest.mark.parametrize(("tool", "options"), [("dcmcjpeg", ["+e1"]), ("dcmcjpeg", ["+el"]), ("dcmcjpls", []), ("dcmcrle", [])])
def test_images_that_dcmtk_compresses_are_stored_as_sent_and_decoded_when_read(
    door: Door, tmp_path: Path, tool: str, options: list[str]
) -> None:
    plain, compressed = save(ct_slice(), tmp_path / "plain.dcm"), tmp_path / "compressed.dcm"
    dcmtk._run([dcmtk.need(tool), *options, str(plain), str(compressed)]).check_returncode()
    original = pydicom.dcmread(compressed)
    result = dcmtk.storescu(door.port, [compressed], "-xf", str(dcmtk.storescu_profile(tmp_path, [compressed])), "All")
    assert result.returncode == 0, result.stderr
    kept = door.spool.path(str(ct_slice().SOPInstanceUID))
    assert pydicom.dcmread(kept).PixelData == original.PixelData
    assert (read_hu(kept) == read_hu(plain)).all()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_character_set_is_kept_and_read(door: Door, name: str) -> None:
    path = Path(get_charset_files(name)[0])
    dataset = pydicom.dcmread(path)
    raw = dataset.get_item("PatientName").value
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT_IMAGE, f"{ROOT}77.{len(name)}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}77", f"{ROOT}77.1"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, dataset.file_meta.TransferSyntaxUID.is_implicit_VR
    write_dataset(buffer, dataset)
    with Parrot(door.port) as parrot:
        parrot.associate(contexts=((1, CT_IMAGE, (str(dataset.file_meta.TransferSyntaxUID),)),))
        assert parrot.store(buffer.getvalue(), sop_instance=dataset.SOPInstanceUID) == (0x0000, "")
    kept = door.spool.path(dataset.SOPInstanceUID)
    assert raw in kept.read_bytes()
    assert read_identity(kept).patient_name == NAMES[name]


def test_the_chinese_name_is_what_people_see(door: Door, tmp_path: Path) -> None:
    """GB18030 and GBK as domestic scanners write them, and UTF-8."""
    for number, charset in enumerate(("GB18030", "GBK", "ISO_IR 192")):
        dataset = ct_slice(SOPInstanceUID=f"{ROOT}78.{number + 1}")
        dataset.SpecificCharacterSet = charset
        dataset.PatientName = "Ouyang^Zhenhua=欧阳^震华"
        assert dcmtk.storescu(door.port, [save(dataset, tmp_path / f"{number}.dcm")], "-xe").returncode == 0
        assert read_identity(door.spool.path(dataset.SOPInstanceUID)).display_name == "欧阳震华"


def test_an_instance_larger_than_the_journal_takes_is_kept_all_the_same(start_door: StartDoor, tmp_path: Path) -> None:
    """An enhanced CT of many frames goes past the journal; memory for it comes only as it arrives."""
    door = start_door()
    before = door.receiver.free_budget
    dataset = ct_slice()
    dataset.PixelData = bytes(12 << 20)
    sent = save(dataset, tmp_path / "large.dcm", transfer_syntax=ExplicitVRLittleEndian)
    assert dcmtk.storescu(door.port, [sent], "-xe").returncode == 0
    assert door.instances()[0]["bytes"] > 12 << 20
    door.wait_idle()
    assert door.receiver.free_budget == before
