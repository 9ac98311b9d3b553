"""A study from files to findings, pictures, report and objects, by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from appliance.degrees import Bands, grade_of
from appliance.findings import Findings, Lesion
from appliance.geometry import arc_length
from appliance.inference.catalog import ModelCatalog, installed_catalog

pytestmark = pytest.mark.timeout(900)


def analyze(study: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance", "analyze", str(study), "--out", str(out), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)


@pytest.fixture(scope="session")
def analysed(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("analysed") / "out"
    done = analyze(scan, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_findings_are_whole_and_name_what_made_them(analysed: Path) -> None:
    findings = Findings.read(analysed / "findings.json")
    assert findings.status == "analysed"
    installed = ModelCatalog.load(installed_catalog())
    assert {"heart-loc", "cor-seg"} <= set(installed)
    assert {(model.name, model.sha256) for model in findings.models} == {(model.name, model.sha256) for model in installed.values()}
    assert not findings.validated_on_patients
    assert findings.series is not None
    assert findings.series.slices == 280
    assert findings.cad_rads is not None
    assert findings.timing_s["total"] == pytest.approx(sum(v for k, v in findings.timing_s.items() if k != "total"), abs=0.05)


def graded(lesion: Lesion, *, bands: Bands) -> Lesion:
    percent = lesion.diameter_stenosis_percent
    return lesion if percent is None else msgspec.structs.replace(lesion, grade=grade_of(percent, bands=bands))


def test_the_same_study_gives_the_same_file_and_a_site_s_own_bands_change_degrees_alone(analysed: Path, scan: Path, tmp_path: Path) -> None:
    """Analysed again, by a site that reports by the older Chinese bands: byte for byte the same, apart from times and those degrees."""
    settings = tmp_path / "coronet.toml"
    settings.write_text('[policy]\nstenosis_bands = "cn2011"\n', encoding="utf-8")
    done = analyze(scan, tmp_path / "out", "--settings", str(settings))
    assert done.returncode == 0, done.stdout + done.stderr
    first, again = (Findings.read(folder / "findings.json") for folder in (analysed, tmp_path / "out"))
    assert (first.bands, again.bands) == ("scct", "cn2011")
    assert again.lesions == tuple(graded(lesion, bands="cn2011") for lesion in first.lesions)
    # the commit is that of the working tree, and may have moved between the two runs
    same = msgspec.structs.replace(again, bands="scct", timing_s=first.timing_s, software=first.software, lesions=first.lesions)
    assert same.to_json() == first.to_json()
    assert "older Chinese consensus" in (tmp_path / "out" / "report.json").read_text(encoding="utf-8")


def test_every_null_says_why(analysed: Path) -> None:
    def nulls(value: object, path: str) -> list[str]:
        if isinstance(value, dict):
            missing = [f"{path}.{k}" for k, v in value.items() if v is None and k != "reason" and f"{k}_reason" not in value]
            return missing + [each for k, v in value.items() for each in nulls(v, f"{path}.{k}")]
        if isinstance(value, list):
            return [each for i, v in enumerate(value) for each in nulls(v, f"{path}[{i}]")]
        return []

    assert nulls(json.loads((analysed / "findings.json").read_bytes()), "$") == []


def test_branches_keep_the_contract(analysed: Path) -> None:
    findings = Findings.read(analysed / "findings.json")
    assert {"LAD", "LCX", "RCA"} <= {branch.vessel for branch in findings.branches}
    for branch in findings.branches:
        points = np.asarray(branch.points_mm)
        assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() <= 0.5 + 1e-6
        assert [start for start, _, _ in branch.segments] == [0, *(end for _, end, _ in branch.segments[:-1])]
        assert branch.segments[-1][1] == len(points) == len(branch.lumen_diameter_mm) == len(branch.vessel_diameter_mm)
        if branch.parent is not None:
            parent = findings.branch(branch.parent)
            assert branch.parent_index is not None
            assert np.linalg.norm(points[0] - parent.points_mm[branch.parent_index]) < 3.0
    for lesion in findings.lesions:
        assert 0 <= lesion.start <= lesion.minimum <= lesion.end < len(findings.branch(lesion.branch).points_mm)


@pytest.mark.parametrize("vessel", ["LAD", "LCX", "RCA"])
def test_most_of_each_main_vessel_is_found_where_it_truly_is(analysed: Path, scan: Path, vessel: str) -> None:
    truth = json.loads((scan / "truth.json").read_bytes())
    findings = Findings.read(analysed / "findings.json")
    true = np.concatenate([b["points_mm"] for b in truth["branches"] if b["vessel"] == vessel])
    found = np.concatenate([b.points_mm for b in findings.branches])
    near = np.sqrt(((true[:, None] - found[None]) ** 2).sum(axis=2).min(axis=1)) < 1.5
    assert near.mean() > 0.6, f"{near.mean():.0%} of {arc_length(true)[-1]:.0f} mm"


def test_pictures_report_and_objects_are_there(analysed: Path) -> None:
    index = json.loads((analysed / "key-views" / "index.json").read_bytes())
    kinds = {view["kind"] for view in index}
    assert {"vr_heart", "vr_tree", "cpr", "scpr", "section", "mip"} <= kinds
    for view in index:
        with Image.open(analysed / "key-views" / f"{view['id']}.png") as image:
            assert np.asarray(image).std() > 5, view["id"]
    assert (analysed / "report.pdf").read_bytes().startswith(b"%PDF")
    assert list((analysed / "objects").glob("*.dcm"))
    assert len(list(analysed.glob("film/*/page-*.png"))) >= 2


def test_objects_are_valid_dicom(analysed: Path) -> None:
    for path in sorted((analysed / "objects").glob("*.dcm")):
        report = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60, check=False).stderr
        assert [line for line in report.splitlines() if line.startswith("Error")] == [], path.name


def test_an_output_folder_with_something_in_it_is_left_alone(scan: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert analyze(scan, tmp_path).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_zip_with_missing_slices_is_declined_with_a_reason(scan: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.zip"
    with zipfile.ZipFile(study, "w") as archive:
        for path in sorted(scan.glob("*.dcm")):
            if path.stem not in {"0100", "0101", "0102"}:
                archive.write(path, path.name)
    done = analyze(study, tmp_path / "out")
    findings = Findings.read(tmp_path / "out" / "findings.json")
    assert done.returncode in {1, 3}
    assert findings.status in {"declined", "failed"}
    assert findings.reason is not None
    assert findings.reason.zh
    assert findings.reason.zh in done.stdout


def test_something_that_is_no_study_gets_a_clear_message(tmp_path: Path) -> None:
    noise = tmp_path / "noise.dcm"
    noise.write_bytes(b"not an image" * 100)
    done = analyze(noise, tmp_path / "out")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert Findings.read(tmp_path / "out" / "findings.json").reason is not None
