"""``make bench``: one 280-slice study through the whole appliance; every figure is measured in this run.

Writes one flat object of numbers, each with its unit in its name:

    study_cpu_s          wall-clock seconds from the last image received to the draft, on the CPU engine
    stage_<name>_cpu_s   likewise, of each stage
    findings_cpu_s       likewise, of everything between the segmentation and the pictures, the calcium score of the study included
    peak_rss_mib         sum of the largest resident sizes of the appliance's processes
    receive_img_s        images a second that the virtual CT got acknowledged
    raw_write_img_s      the same images a second written to the same disk with one flush each, for scale

and those of ``tests.bench.sending``, ``tests.bench.networks`` and ``tests.bench.worklist``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.networks import network_figures
from tests.bench.receiving import receiving_figures
from tests.bench.sending import sending_figures
from tests.bench.worklist import worklist_figures
from tests.demo.box import Box, appliance, box
from tests.demo.box import Client as ApiClient
from tests.peers.dcmtk import storescu

NOT_FINDINGS = ("read", "locate", "quality", "phases", "segment", "key_views", "report", "total")
"""Stages before the vessels are segmented and after everything is measured."""


def main() -> int:
    """Run all measurements."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--studies", type=int, default=3, help="studies to push one after the other; the median counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="coronet-bench-") as name:
        figures = receiving_figures(Path(name) / "receiving") | sending_figures(Path(name) / "sending")
        figures |= measure(Path(name), options.seed, options.studies) | network_figures() | worklist_figures()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    for key, value in sorted(figures.items()):
        sys.stdout.write(f"{key:32} {value:10.3f}\n")
    return 0


def measure(folder: Path, seed: int, studies: int) -> dict[str, float]:
    """Push studies of one virtual patient one after the other; medians over them."""
    runs: list[dict[str, float]] = []
    with box(folder / "box") as appliance_box:
        client = appliance_box.client()
        for number in range(studies):
            images = folder / f"scan-{number}"
            appliance("simulate-ct", "--seed", str(seed), "--calcium", "--study", f"bench-{number}", "--out", str(images))
            runs.append(one_study(appliance_box, client, sorted(images.rglob("*.dcm")), number + 1))
        peak = peak_rss_mib(appliance_box.process.pid)
    names = sorted(set().union(*runs))
    figures = {name: statistics.median(run[name] for run in runs if name in run) for name in names}
    return {**figures, "peak_rss_mib": peak, "raw_write_img_s": raw_write_img_s(folder, sorted((folder / "scan-0").glob("*.dcm")))}


def one_study(appliance_box: Box, client: ApiClient, files: list[Path], studies_so_far: int) -> dict[str, float]:
    """Figures of one study."""
    began = time.monotonic()
    pushed = storescu(appliance_box.port, files, "--max-pdu", "131072")
    if pushed.returncode != 0:
        raise RuntimeError(f"storescu: {pushed.stderr}")
    received = time.monotonic()
    deadline = received + 900
    while sum(row["state"] == "draft" for row in client.rows()) < studies_so_far:
        bad = [row for row in client.rows() if row["state"] in {"declined", "failed"}]
        if bad or time.monotonic() > deadline:
            raise RuntimeError(f"no draft: {[row['reason'] for row in bad]}")
        time.sleep(0.05)
    done = time.monotonic()
    newest = max(client.rows(), key=lambda row: row["received_at"])
    stages: dict[str, float] = client.study(newest["key"])["findings"]["timing_s"]
    figures = {f"stage_{name}_cpu_s": seconds for name, seconds in stages.items()}
    figures["findings_cpu_s"] = sum(seconds for name, seconds in stages.items() if name not in NOT_FINDINGS)
    return {**figures, "study_cpu_s": done - received, "receive_img_s": len(files) / (received - began)}


def peak_rss_mib(pid: int) -> float:
    """Largest resident sizes of a process and its descendants, added up."""
    total = 0.0
    for process in [pid, *_descendants(pid)]:
        status = Path(f"/proc/{process}/status").read_text()
        total += float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024
    return total


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            children += [int(child), *_descendants(int(child))]
    return children


def raw_write_img_s(folder: Path, files: list[Path]) -> float:
    """Images a second written and flushed one by one without any network or index."""
    contents = [path.read_bytes() for path in files]
    target = folder / "raw"
    target.mkdir()
    began = time.monotonic()
    for number, content in enumerate(contents):
        with (target / f"{number}.dcm").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return len(contents) / (time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
