"""``appliance analyze STUDY --out DIR``: a folder or zip of DICOM, or one NIfTI, to findings, pictures, report and DICOM objects."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

from appliance.analysis.pipeline import Models, not_analysed
from appliance.analysis.reading import read_source
from appliance.commands.progress import ProgressBar
from appliance.errors import CoronetError, DeclinedError
from appliance.findings import Findings, Status, whole_percent
from appliance.settings import PrinterSettings, Settings, load_settings
from appliance.workflow.draft import make_draft, preview_release
from appliance.workflow.draft_folder import read_draft
from appliance.workflow.engine_plan import gpu_plan

EXIT = {"analysed": 0, "failed": 1, "declined": 3}
PAGE = PrinterSettings(name="film", host="localhost", port=104, ae_title="FILM")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("study", type=Path, help="folder or zip of DICOM with one or several series, or one NIfTI file")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist, or be empty")
    parser.add_argument("--settings", type=Path, help="settings file; defaults otherwise")
    parser.add_argument("--engine", choices=["auto", "tensorrt", "openvino", "onnxruntime"], help="inference engine")


def run(options: argparse.Namespace) -> int:
    """Exit status 0 analysed, 3 declined (findings.json gives the reason), 1 failed."""
    out: Path = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        sys.stderr.write(f"输出文件夹非空:{out}\nThe output folder is not empty: {out}\n")
        return 2
    settings = load_settings(options.settings) if options.settings else Settings()
    bar = ProgressBar()
    try:
        findings = _analyse(options, settings, out, bar)
    except CoronetError as error:
        status: Status = "declined" if isinstance(error, DeclinedError) else "failed"
        findings = not_analysed(status, error.reason)
        out.mkdir(parents=True, exist_ok=True)
        (out / "findings.json").write_bytes(findings.to_json())
    finally:
        bar.close()
    _print(findings, out)
    return EXIT[findings.status]


def _analyse(options: argparse.Namespace, settings: Settings, out: Path, bar: ProgressBar) -> Findings:
    start = time.perf_counter()
    bar("read", 0.0)
    study = read_source(options.study)
    seconds = time.perf_counter() - start
    wanted = options.engine or settings.analysis.engine
    gpu = gpu_plan(settings) if options.settings else None
    models = Models.load(
        catalog=settings.analysis.catalog, engine=wanted, threads=settings.analysis.threads, int8=settings.inference.quantised, gpu=gpu
    )
    if out.exists():
        out.rmdir()
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f"{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    findings = make_draft(study, draft, models=models, settings=settings, progress=bar, timing={"read": round(seconds, 3)})
    printer = settings.printer[0] if settings.printer else PAGE
    preview_release(read_draft(draft), draft, printer=printer, institution=settings.policy.institution, now=datetime.now().astimezone())
    draft.rename(out)
    return findings


def _print(findings: Findings, out: Path) -> None:
    write = sys.stdout.write
    if findings.reason is not None:
        write(f"{findings.status}: {findings.reason.code}\n{findings.reason.zh}\n{findings.reason.en}\n")
    if findings.cad_rads is not None:
        write(f"{findings.cad_rads.text}\n")
    for lesion in findings.lesions:
        percent = "?" if lesion.diameter_stenosis_percent is None else f"{whole_percent(lesion.diameter_stenosis_percent)} %"
        write(f"  {lesion.segment:6} {lesion.plaque_type:12} {percent:>5} {lesion.grade}\n")
    write("".join(f"  {name:12} {seconds:7.2f} s\n" for name, seconds in findings.timing_s.items()))
    write(f"{out / 'findings.json'}\n")
