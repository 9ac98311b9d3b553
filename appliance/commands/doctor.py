"""``appliance doctor``: says in plain words what works on this machine."""

from __future__ import annotations

import argparse
import sys

from appliance.analysis.golden import check_models, record
from appliance.analysis.pipeline import Models
from appliance.build import software


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--engine", choices=["auto", "openvino", "onnxruntime"], default="auto")
    parser.add_argument(
        "--record-golden", action="store_true", help="for developers, after new weights: take today's answers as the expected ones"
    )


def run(options: argparse.Namespace) -> int:
    """0 if the models are the catalog's and give their golden answers; an InferenceError, which the command line prints, otherwise."""
    build = software()
    models = Models.load(engine=options.engine)
    sys.stdout.write(f"coronet {build.version} ({build.commit[:12]})\n{models.engine.describe()}\n")
    for info in models.model_infos:
        patients = "validated on patients" if info.validated_on_patients else "not validated on patients"
        sys.stdout.write(f"model {info.name} {info.version} {info.sha256[:12]}: {patients}\n")
    if options.record_golden:
        sys.stdout.write(f"recorded {record(models).name}\n")
    check_models(models)
    sys.stdout.write("golden case: passed\n")
    return 0
