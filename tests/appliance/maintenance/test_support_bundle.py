"""The support bundle names no patient, even where the log does; the factory reset leaves nothing."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest

from appliance.__main__ import main
from appliance.archive.archive import open_archive
from appliance.archive.instance_files import hold_lock
from appliance.archive.orders import Order
from appliance.errors import MaintenanceError
from appliance.maintenance.reset import MARK, finish_reset, reset, reset_pending
from appliance.maintenance.support_bundle import Scrubber
from tests.appliance.archive.fakes import make_dataset
from tests.appliance.maintenance.machine import in_child, killed_at
from tests.appliance.workflow.world import World


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A box that has received a study, with people, an audit trail, settings with a secret, and a log that says too much."""
    folder = tmp_path / "box"
    world = World(folder)
    world.push(1, 2)
    world.intake().step()
    world.archive.users.add(name="周技师", role="radiographer", pin="1357")
    world.archive.audit.record(actor="u", action="approved", study=world.study().key)
    world.archive.components.report("printer", ready=False, detail="Wang^XiaoDong waits")
    (tmp_path / "coronet.toml").write_text(
        f'data = "{folder}"\n[receiver]\nminimum_free_bytes = 0\n[web]\nprivate_key = "/etc/coronet/web.key"\n'
    )
    image = make_dataset(number=1)
    lines = [
        {"level": "INFO", "message": "study k1 is queued"},
        {"level": "ERROR", "message": f"could not send {image.PatientName} ({image.PatientID}) {image.SOPInstanceUID}"},
        {"level": "ERROR", "message": f"a folder called {image.StudyInstanceUID}.7.8 of 周技师, wang"},
    ]
    (tmp_path / "log").write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
    world.close()
    return tmp_path


def make(box: Path) -> dict[str, str]:
    out = box / "support.tar.gz"
    arguments = ["support-bundle", "--settings", str(box / "coronet.toml"), "--out", str(out), "--log", str(box / "log")]
    assert main(arguments) == 0
    with tarfile.open(out) as archive:
        return {entry.name: archive.extractfile(entry).read().decode() for entry in archive}  # type: ignore[union-attr]


def test_no_name_number_or_uid_is_in_the_bundle(box: Path) -> None:
    image = make_dataset(number=1)
    secrets = [
        str(image.PatientName),
        str(image.PatientID),
        str(image.SOPInstanceUID),
        str(image.SeriesInstanceUID),
        "周技师",
        "1357",
        "web.key",
    ]
    secrets += [part for part in str(image.PatientName).replace("=", "^").split("^") if part]
    files = make(box)
    for name, text in files.items():
        for secret in secrets:
            assert secret.lower() not in text.lower(), f"{secret} in {name}"
    # the test itself is worth something: the same words are in what the bundle was made from
    assert all(secret in (box / "log").read_text() for secret in (str(image.PatientID), str(image.SOPInstanceUID)))


PLANTED = {
    "header": "Ou^Yang=欧^阳",
    "order": "Zhuge^Kong Ming",
    "found": "Sima^Xiang Ru",
    "pseudonym": "MRN-990017",
    "user": "慕容 复",
}


def test_names_that_stand_anywhere_in_the_database_are_found_however_they_are_written(box: Path) -> None:
    """Every table that can hold an identity, and the ways in which a log may spell it."""
    archive = open_archive(box / "box")
    order = Order(study_uid="1.2.9", patient_id="990021", patient_name=PLANTED["order"], accession_number="ACC-5521")
    archive.orders.keep([order])
    archive.users.add(name=PLANTED["user"], role="physician", pin="8642")
    with archive.database.transaction() as connection:
        connection.execute("INSERT INTO pseudonyms VALUES ('research', ?, 'CORONET-7')", (PLANTED["pseudonym"],))
        header = msgspec.json.encode({"patient_name": PLANTED["header"], "patient_birth_date": "19480229"})
        connection.execute("UPDATE studies SET header = ?", (header,))
    archive.close()
    messages = [
        "欧阳 waits", "欧^阳", "Ou Yang", "yang, ou", "born 1948-02-29", "Kong Ming ZHUGE", "ACC-5521 of 990021",
        "MRN-990017 is CORONET-7", "慕容复 signed in", "1.2.9.4.5.6.7",
    ]  # fmt: skip
    lines = [json.dumps({"MESSAGE": message}) for message in messages]
    lines += [json.dumps({"MESSAGE": list(message.encode())}) for message in messages]
    lines += messages
    (box / "log").write_text("\n".join(lines), "utf-8")
    text = make(box)["coronet-support/log.jsonl"]
    for secret in (
        "欧",
        "阳",
        "Ou",
        "Yang",
        "Zhuge",
        "Kong",
        "Ming",
        "1948",
        "5521",
        "990021",
        "990017",
        "CORONET-7",
        "慕容",
        "复",
        "1.2.9",
    ):
        assert secret.lower() not in text.lower(), secret
    assert text.count("\n") == len(lines), "and no line of the log is lost"
    assert text.count(" waits") == text.count(" signed in") == 3, "what is no name stays"


def test_what_an_engineer_needs_is_there(box: Path) -> None:
    files = {name.rpartition("/")[2]: text for name, text in make(box).items()}
    assert json.loads(files["counts.json"])["studies"] == {"receiving": 1}
    assert json.loads(files["counts.json"])["actions"] == {"approved": 1}
    assert {part["part"] for part in json.loads(files["examination.json"])} >= {"disk", "database", "receiver", "clock"}
    assert json.loads(files["settings.json"])["receiver"]["port"] == 11112
    assert "study k1 is queued" in files["log.jsonl"]
    assert "could not send [removed]" in files["log.jsonl"]


def test_the_scrubber_knows_parts_of_names_and_the_shape_of_uids() -> None:
    scrub = Scrubber(["Wang^XiaoDong=王^小东", "P-77", "19700101", "", "^"])
    assert scrub("xiaodong WANG 小东 P-77 born 19700101 1.2.840.10008.1.2") == " ".join(["[removed]"] * 3 + ["born"] + ["[removed]"] * 2)
    assert scrub("port 11112, 3.0.4 and 192.0.2.10 stay") == "port 11112, 3.0.4 and 192.0.2.10 stay"


# -- factory reset


def test_nothing_is_left(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (box / "profiles").mkdir()
    (box / "profiles/x.toml").write_text("x")
    other = box / "not-ours"
    other.write_text("stays")
    monkeypatch.setattr(sys, "stdin", io.StringIO("ERASE\n"))
    assert main(["factory-reset", "--settings", str(box / "coronet.toml")]) == 0
    assert list((box / "box").iterdir()) == []
    assert sorted(path.name for path in box.iterdir()) == ["box", "log", "not-ours"]


@pytest.mark.parametrize("typed", ["", "erase", "yes", "ERASE all"])
def test_without_the_word_nothing_happens(box: Path, typed: str) -> None:
    before = sorted(path.name for path in (box / "box").rglob("*"))
    with pytest.raises(MaintenanceError, match="MNT-030"):
        reset(box / "box", site=[], confirmation=typed)
    assert sorted(path.name for path in (box / "box").rglob("*")) == before


def test_a_running_daemon_and_a_folder_of_others_are_left_alone(box: Path) -> None:
    held = hold_lock(box / "box/daemon.lock", what="daemon")
    with pytest.raises(MaintenanceError, match="MNT-031"):
        reset(box / "box", site=[], confirmation="ERASE")
    held.close()
    home = box / "home"
    home.mkdir()
    (home / "letters").write_text("dear")
    with pytest.raises(MaintenanceError, match="MNT-032"):
        reset(home, site=[], confirmation="ERASE")
    assert (home / "letters").exists()


def test_wherever_the_power_is_cut_the_next_start_erases_the_rest_and_the_site(box: Path) -> None:
    """Before system calls that change the disk, from the first to the last; what is left then is what the daemon finds at its start."""
    (box / "profiles").mkdir()
    (box / "profiles/x.toml").write_text("x")
    site = [box / "coronet.toml", box / "profiles"]

    def erase(folder: Path) -> int:
        reset(folder / "box", site=[folder / path.name for path in site], confirmation="ERASE")
        return 0

    kept = box.with_name("kept")
    shutil.copytree(box, kept)
    with killed_at(None) as calls:
        erase(box)
    cut = 0
    for number in sorted({1, 2, 3, *range(4, calls[0], max(1, calls[0] // 8)), calls[0] - 1, calls[0]}):
        shutil.rmtree(box)
        shutil.copytree(kept, box)

        def killed(at: int = number) -> int:
            with killed_at(at):
                return erase(box)

        assert in_child(killed) == "killed"
        cut += finish_reset(box / "box")
        if not (box / "coronet.toml").exists():
            assert list((box / "box").iterdir()) == []
            assert not (box / "profiles").exists()
        else:
            assert (box / "box/coronet.db").exists(), "nothing was begun yet"
            assert not reset_pending(box / "box")
    assert cut >= 5


def test_a_reset_that_was_cut_off_can_be_finished(box: Path) -> None:
    (box / "box" / MARK).touch()
    (box / "box/coronet.db").unlink()
    assert reset_pending(box / "box")
    reset(box / "box", site=[], confirmation="ERASE")
    assert not reset_pending(box / "box")
    assert list((box / "box").iterdir()) == []
