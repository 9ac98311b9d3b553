"""``appliance doctor``: tries every part of the box and says in plain words, Chinese and English, what works and what does not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

import msgspec

from appliance.analysis.golden import check_models, record
from appliance.analysis.pipeline import Models
from appliance.build import software
from appliance.hardware.gpu import NvmlProbe
from appliance.inference.choose import GpuPlan, Wanted, default_plan
from appliance.maintenance.examination import Finding, examine, good, worst
from appliance.maintenance.gpu_examination import examine_gpu
from appliance.settings import Settings, load_settings
from appliance.workflow.engine_plan import gpu_plan

MARKS = {"good": "✓", "absent": "–", "bad": "✗"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, help="of the box; without them only engine, models and golden case are tried")
    parser.add_argument("--gpu", action="store_true", help="what the networks run on here, and why: card, driver, libraries, built engines")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object")
    parser.add_argument("--engine", choices=["auto", "tensorrt", "openvino", "onnxruntime"], help="instead of that of the settings")
    parser.add_argument(
        "--record-golden", action="store_true", help="for developers, after new weights: take today's answers as the expected ones"
    )


def run(options: argparse.Namespace) -> int:
    """0 if everything that should work does, 1 otherwise."""
    if options.gpu:
        return _tell(options, _gpu(options))
    if options.settings is None:
        return _models_only(options)
    settings = load_settings(options.settings)
    return _tell(options, examine(settings, models=lambda: _models(settings, options.engine)))


def _tell(options: argparse.Namespace, findings: list[Finding]) -> int:
    build = software()
    if options.json:
        report = {"version": build.version, "commit": build.commit, "state": worst(findings), "parts": findings}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    else:
        sys.stdout.write(f"coronet {build.version} ({build.commit[:12]})\n" + "".join(_line(each) for each in findings))
    return 0 if worst(findings) == "good" else 1


def _gpu(options: argparse.Namespace) -> list[Finding]:
    settings = load_settings(options.settings) if options.settings else Settings()
    plan = gpu_plan(settings) if options.settings else default_plan()
    engine = cast("Wanted", options.engine or settings.analysis.engine)

    def load(gpu: GpuPlan) -> Models:
        return Models.load(catalog=settings.analysis.catalog, engine=engine, int8=settings.inference.quantised, gpu=gpu)

    return examine_gpu(plan, models=load, probe=lambda: NvmlProbe(index=plan.number))


def _line(finding: Finding) -> str:
    code = f" [{finding.code}]" if finding.code else ""
    return f"{MARKS[finding.state]} {finding.part}: {finding.zh} / {finding.en}{code}\n"


def _models(settings: Settings, engine: str | None) -> Finding:
    models = Models.load(
        catalog=settings.analysis.catalog,
        engine=cast("Wanted", engine or settings.analysis.engine),
        int8=settings.inference.quantised,
        gpu=gpu_plan(settings),
    )
    check_models(models)
    count = len(models.model_infos)
    name = models.engine.describe()
    return good("models", f"{count} 个模型,基准病例通过({name})", f"{count} models, golden case passed ({name})")


def _models_only(options: argparse.Namespace) -> int:
    """Raises an InferenceError, which the command line prints, where the models are not good."""
    build = software()
    models = Models.load(engine=options.engine or "auto")
    sys.stdout.write(f"coronet {build.version} ({build.commit[:12]})\n{models.engine.describe()}\n")
    for info in models.model_infos:
        patients = "validated on patients" if info.validated_on_patients else "not validated on patients"
        sys.stdout.write(f"model {info.name} {info.version} {info.sha256[:12]}: {patients}\n")
    if options.record_golden:
        sys.stdout.write(f"recorded {record(models).name}\n")
    check_models(models)
    sys.stdout.write("golden case: passed\n")
    return 0
