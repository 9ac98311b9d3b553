"""What the demo leaves behind, and the proof that film and PACS have it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image

from appliance.findings import whole_percent
from tests.peers.dcmtk import PrintScp
from tests.peers.orthanc import Orthanc


def check_printer(printer: PrintScp, detail: dict[str, Any], out: Path) -> str:
    """Every film of the study came out of the printer; the pages as pictures.

    Raises:
        RuntimeError: no page, or pages are missing.
    """
    pages = printer.pages()
    printed = [row for row in detail["deliveries"] if row["kind"] == "print"]
    if not pages or any(row["state"] != "done" for row in printed):
        raise RuntimeError(f"the printer has {len(pages)} pages; deliveries: {printed}")
    folder = out / "films-from-the-printer"
    folder.mkdir()
    for number, path in enumerate(pages, start=1):
        page = pydicom.dcmread(path)
        grey = page.pixel_array.astype(np.float64) / (2**page.BitsStored - 1) * 255
        Image.fromarray(grey.astype(np.uint8)).save(folder / f"page-{number}.png")
    return f"the printer printed {len(pages)} films"


def check_pacs(pacs: Orthanc, detail: dict[str, Any], data: Path, key: str) -> str:
    """Every object that was released is in the PACS, and DICOM's validator finds no error in it.

    Raises:
        RuntimeError: an object is missing, or is not valid.
    """
    objects = released(data, key, detail) / "objects"
    wanted = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in sorted(objects.glob("*.dcm"))}
    missing = set(wanted) - {tags["SOPInstanceUID"] for tags in pacs.instances()}
    if missing or not wanted:
        raise RuntimeError(f"{len(missing)} of {len(wanted)} objects are missing in the PACS")
    for path in wanted.values():
        report = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60, check=False).stderr
        errors = [line for line in report.splitlines() if line.startswith("Error")]
        if errors:
            raise RuntimeError(f"{path.name}: {errors[0]}")
    return f"the PACS has all {len(wanted)} objects; dciodvfy finds no error in them"


def collect(data: Path, key: str, detail: dict[str, Any], out: Path) -> None:
    """Copy what people want to see."""
    folder = released(data, key, detail)
    draft = max((path for path in (data / "drafts" / key).iterdir() if not path.name.endswith("-release")), key=lambda path: path.name)
    shutil.copy2(folder / "findings.json", out / "findings.json")
    shutil.copy2(folder / "report.pdf", out / "report.pdf")
    shutil.copytree(draft / "key-views", out / "key-views")
    shutil.copytree(folder / "objects", out / "dicom-objects")
    shutil.copytree(folder / "film", out / "film")
    subprocess.run(["pdftoppm", "-r", "90", "-png", str(out / "report.pdf"), str(out / "report")], check=True, timeout=60)
    report = detail["report"]
    text = [report["title_zh"], *_sections(report["zh"]), "", report["title_en"], *_sections(report["en"]), "", *report["notices"]]
    (out / "report.txt").write_text("\n".join(text) + "\n", "utf-8")


def released(data: Path, key: str, detail: dict[str, Any]) -> Path:
    """The folder of the study's release.

    Raises:
        RuntimeError: there is none.
    """
    folders = sorted((data / "drafts" / key).glob("*-release"))
    if not folders:
        raise RuntimeError(f"study {key} in state {detail['row']['state']} has no release")
    return folders[-1]


def compare_with_truth(truth_path: Path, findings_path: Path, out: Path) -> str:
    """A table of true and found lesions: what the analysis got right and wrong on this one virtual patient."""
    truth, found = json.loads(truth_path.read_text("utf-8")), json.loads(findings_path.read_text("utf-8"))
    rows = ["true lesions (exact, from the virtual patient)"]
    rows += [f"  {_lesion(lesion)}" for lesion in truth["lesions"]] or ["  none"]
    rows += [f"found lesions: {found['cad_rads']['text']}"]
    rows += [f"  {_lesion(lesion)}" for lesion in found["lesions"]] or ["  none"]
    text = "\n".join(rows)
    out.write_text(text + "\n", "utf-8")
    return text


def write_times(times: dict[str, float], detail: dict[str, Any], out: Path) -> str:
    """The table of times, in seconds of wall clock."""
    stages = detail["findings"]["timing_s"]
    rows = [f"  {name:28} {seconds:7.2f} s" for name, seconds in {**stages, **times}.items()]
    text = "\n".join(["times", *rows])
    out.write_text(text + "\n", "utf-8")
    return text


def _sections(sections: list[dict[str, Any]]) -> list[str]:
    return [line for section in sections for line in (f"【{section['heading']}】", *section["sentences"])]


def _lesion(lesion: dict[str, Any]) -> str:
    percent = lesion["diameter_stenosis_percent"]
    return f"{lesion['segment']:6} {lesion['plaque_type']:12} {'?' if percent is None else whole_percent(percent):>4} %"
