"""Media that leave the box: who may make them, what is on them, and that nothing half-written shows."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import pyzipper
from pydicom.fileset import FileSet
from pydicom.uid import ImplicitVRLittleEndian

from appliance.archive.studies import study_key
from appliance.archive.users import User
from appliance.errors import ArchiveError, WorkflowError
from appliance.workflow.dicomdir import Entry, write_dicomdir
from appliance.workflow.exporting import Exported, Permit, export_studies
from appliance.workflow.release import release_name
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.workflow.world import SLICES, World
from tests.peers.dcmtk import need

PASSPHRASE = "correct horse battery"  # noqa: S105 - of the test
STUDY, OTHER = "1.2.3", "1.2.4"


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory / "data")
    world.push(study=STUDY, series="1.2.3.1", InstanceNumber=None)
    world.push(1, 2, study=OTHER, series="1.2.4.1", PatientID="P-78", PatientName="Li^Na=李^娜", StudyDate="20260101", StudyID="7")
    world.intake().step()
    objects = world.archive.drafts / release_name(world.study(STUDY)) / "objects"
    objects.mkdir(parents=True)
    for number, sop_class in ((1, "1.2.840.10008.5.1.4.1.1.88.33"), (2, "1.2.840.10008.5.1.4.1.1.104.1"), (3, "1.2.840.10008.5.1.4.1.1.7")):
        dataset = make_dataset(study=STUDY, series="1.2.3.99", number=number, SOPClassUID=sop_class, Modality="SR")
        (objects / f"{number}.dcm").write_bytes(encode(dataset))
    (memory / "stick").mkdir()
    yield world
    world.close()


def export(world: World, *, keys: tuple[str, ...] = (STUDY, OTHER), **changes: Any) -> Exported:
    arguments: dict[str, Any] = {"what": ("source", "results"), "passphrase": PASSPHRASE, "actor": "service"}
    return export_studies(world.archive, [study_key(key) for key in keys], world.data.parent / "stick", **{**arguments, **changes})


def permit(reason: str = "for the patient", **changes: Any) -> Permit:
    return Permit(User(**{"id": "u1", "name": "Li", "role": "physician", "disabled": False, **changes}), reason)


def stick(world: World) -> list[str]:
    return sorted(path.name for path in (world.data.parent / "stick").iterdir())


def test_encrypted_is_the_rule_and_nothing_of_the_content_shows(world: World) -> None:
    done = export(world)
    assert (done.studies, done.files) == (2, SLICES + 2 + 3)
    assert stick(world) == [done.path.name]
    raw = done.path.read_bytes()
    assert b"DICM" not in raw
    assert "李".encode() not in raw
    with zipfile.ZipFile(done.path) as plain:
        assert all(info.flag_bits & 1 for info in plain.infolist())
        assert not any("P-77" in info.filename or "Wang" in info.filename for info in plain.infolist())
    with pyzipper.AESZipFile(done.path) as bundle:
        bundle.setpassword(b"wrong horse battery!")
        with pytest.raises(RuntimeError):
            bundle.read("DICOMDIR")


def test_the_encrypted_file_holds_a_whole_file_set(world: World, tmp_path: Path) -> None:
    done = export(world)
    with pyzipper.AESZipFile(done.path) as bundle:
        bundle.setpassword(PASSPHRASE.encode())
        bundle.extractall(tmp_path)
    assert len(FileSet(tmp_path / "DICOMDIR")) == done.files


def test_plain_media_are_a_folder_that_standard_software_reads(world: World) -> None:
    done = export(world, passphrase=None, permit=permit())
    files = FileSet(done.path / "DICOMDIR")
    assert len(files) == done.files
    assert set(files.find_values("PatientID")) == {"P-77", "P-78"}
    assert set(files.find_values("DirectoryRecordType")) >= {"IMAGE", "SR DOCUMENT", "ENCAP DOC"}
    assert "李^娜" in str(files.find(PatientID="P-78")[0].PatientName)
    assert {Path(instance.path) for instance in files} == {path for path in (done.path / "DICOM").rglob("*") if path.is_file()}
    dump = subprocess.run(
        [need("dcmdump"), "+P", "DirectoryRecordType", str(done.path / "DICOMDIR")], capture_output=True, text=True, check=True
    )
    assert dump.stdout.count("[IMAGE]") == SLICES + 2 + 1
    assert dump.stdout.count("[PATIENT]") == 2


def test_images_leave_byte_for_byte_as_they_came(world: World) -> None:
    done = export(world, passphrase=None, permit=permit(), what=("source",))
    kept = {
        hashlib.sha256(image.path.read_bytes()).hexdigest()
        for key in (STUDY, OTHER)
        for image in world.archive.index.of_study(study_key(key))
    }
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in (done.path / "DICOM").rglob("IM*")} == kept


def test_implicit_vr_is_rewritten_for_the_medium_with_the_same_values(world: World) -> None:
    dataset = make_dataset(study="1.2.5", series="1.2.5.1")
    part10 = io.BytesIO()
    whole = pydicom.dcmread(io.BytesIO(encode(dataset)))
    whole.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    whole.save_as(part10, enforce_file_format=True, implicit_vr=True, little_endian=True)
    world.push_bytes(part10.getvalue(), "1.2.5.1.1")
    world.intake().step()
    done = export(world, keys=("1.2.5",), passphrase=None, permit=permit())
    written = pydicom.dcmread(next((done.path / "DICOM").rglob("IM*")))
    assert written.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert {element.tag: element.value for element in written} == {element.tag: element.value for element in dataset}


@pytest.mark.parametrize(
    "refused",
    [None, permit(reason="  "), permit(role="engineer"), permit(disabled=True)],
    ids=["nobody", "no reason", "engineer", "disabled"],
)
def test_plain_media_need_somebody_who_may_and_a_reason(world: World, refused: Permit | None) -> None:
    with pytest.raises(WorkflowError) as raised:
        export(world, passphrase=None, permit=refused)
    assert raised.value.code == "WF-067"
    assert stick(world) == []


def test_a_weak_passphrase_is_refused(world: World) -> None:
    with pytest.raises(ArchiveError):
        export(world, passphrase="1234")  # noqa: S106
    assert stick(world) == []


def test_every_export_is_in_the_audit_trail_with_who_and_why(world: World) -> None:
    export(world, passphrase=None, permit=permit())
    export(world)
    for key in (STUDY, OTHER):
        entries = [entry for entry in world.archive.audit.entries(study=study_key(key)) if "export" in entry.action]
        assert [(entry.actor, entry.action, entry.details["encrypted"]) for entry in entries] == [
            ("u1", "export-begun", False),
            ("u1", "export", False),
            ("service", "export-begun", True),
            ("service", "export", True),
        ]
        assert entries[1].details["reason"] == "for the patient"


def test_an_export_that_breaks_off_leaves_nothing_but_its_trace(world: World) -> None:
    world.archive.index.of_study(study_key(OTHER))[-1].path.unlink()
    for arguments in ({}, {"passphrase": None, "permit": permit()}):
        with pytest.raises(WorkflowError) as raised:
            export(world, **arguments)
        assert raised.value.code == "WF-069"
        assert stick(world) == []
    assert world.archive.audit.entries(study=study_key(STUDY))[-1].action == "export-begun"


def test_what_a_killed_export_left_goes_with_the_next(world: World) -> None:
    left = world.data.parent / "stick" / ".coronet-20260101T000000Z.part"
    (left / "DICOM").mkdir(parents=True)
    done = export(world)
    assert stick(world) == [done.path.name]


def test_nothing_to_export(world: World) -> None:
    with pytest.raises(WorkflowError) as raised:
        export(world, keys=(OTHER,), what=("results",))
    assert raised.value.code == "WF-066"
    with pytest.raises(ArchiveError):
        export_studies(
            world.archive, ["no such study"], world.data.parent / "stick", what=("source",), passphrase=PASSPHRASE, actor="service"
        )


def test_a_directory_of_images_that_say_nothing(tmp_path: Path) -> None:
    """What the directory must name is filled in there, and every offset fits."""
    entries = []
    for number in range(1, 4):
        dataset = make_dataset(study=f"1.2.{number}", series=f"1.2.{number}.1", number=1, PatientID="", InstanceNumber=None)
        file_id = ("DICOM", f"IM{number:06d}")
        path = tmp_path / "/".join(file_id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(dataset))
        entries.append(Entry(pydicom.dcmread(path), file_id))
    write_dicomdir(entries, tmp_path / "DICOMDIR", file_set_id="TEST")
    files = FileSet(tmp_path / "DICOMDIR")
    assert [(instance.PatientID, instance.StudyID, instance.Modality) for instance in files] == [("UNKNOWN", "1", "CT")] * 3


FULL_STICK = """
import json, random, sys
from pathlib import Path
from appliance.errors import WorkflowError
from appliance.workflow.exporting import export_studies
from tests.appliance.workflow.world import World
from appliance.archive.studies import study_key
stick = Path(sys.argv[1])
world = World(Path(sys.argv[2]))
world.push(1, EncapsulatedDocument=random.Random(1).randbytes(100_000))
world.intake().step()
codes = []
for arguments in ({"passphrase": "correct horse battery"},):
    try:
        export_studies(world.archive, [study_key("1.2.3")], stick, what=("source",), actor="service", **arguments)
    except WorkflowError as error:
        codes.append(error.code)
print(json.dumps({"codes": codes, "left": [path.name for path in stick.iterdir()]}))
"""


def test_a_full_stick_ends_in_a_typed_failure_and_is_left_empty(tmp_path: Path) -> None:
    stick_folder, data = tmp_path / "stick", tmp_path / "data"
    stick_folder.mkdir()
    mount = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=16k none "$0" && exec "$@"',
        str(stick_folder),
    ]
    if subprocess.run([*mount, "true"], capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("this machine allows no mount namespaces")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*mount, sys.executable, "-c", FULL_STICK, str(stick_folder), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"codes": ["WF-069"], "left": []}
