"""``make demo``: a virtual CT pushes one study; it comes back as key views, findings, report, approval, films and objects in a PACS.

Real peers on loopback: Orthanc (PACS), DCMTK's dcmprscp (film printer), the kiosk in a real window, touched with the pointer. Everything
that a person would want to see is left in the output folder; the exit status is 1, with the cause, if any step failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from appliance.commands.progress import ProgressBar
from tests.demo.box import PHYSICIAN_PIN, Client, appliance, box
from tests.demo.outcome import check_pacs, check_printer, collect, compare_with_truth, write_times
from tests.kiosk.window import KioskWindow
from tests.peers.dcmtk import dcmprscp
from tests.peers.orthanc import orthanc

SEED = 11
SIZE = (1920, 1080)


class Story:
    """Prints the steps with the time that has passed."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, text: str) -> None:
        sys.stdout.write(f"[{time.monotonic() - self._start:6.1f} s] {text}\n")
        sys.stdout.flush()


def main() -> int:
    """Run the demo; 0 if every step succeeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo")
    parser.add_argument("--out", type=Path, default=Path("demo-output"))
    parser.add_argument("--seed", type=int, default=SEED, help="which virtual patient")
    parser.add_argument("--slices", type=int, default=280)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="coronet-demo-") as folder:
        try:
            run(options, Path(folder))
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the demo's result
            traceback.print_exc()
            for log in Path(folder).rglob("*.log"):
                shutil.copy2(log, options.out / log.name)
            sys.stderr.write(f"\nThe demo failed: {error}\nLogs are in {options.out}\n")
            return 1
    return 0


def run(options: argparse.Namespace, folder: Path) -> None:
    """The story from top to bottom."""
    story, out, times = Story(), options.out, dict[str, float]()
    images = folder / "scanner"
    story(appliance("simulate-ct", "--seed", str(options.seed), "--slices", str(options.slices), "--out", str(images)).strip())
    with ExitStack() as stack:
        pacs = stack.enter_context(orthanc(folder / "orthanc"))
        printer = stack.enter_context(dcmprscp(folder / "printer"))
        story("PACS (Orthanc) and film printer (dcmprscp) are up")
        appliance_box = stack.enter_context(box(folder / "box", printer=printer, pacs_port=pacs.port))
        screen = stack.enter_context(KioskWindow(socket=appliance_box.socket, folder=folder, size=SIZE, display=os.environ.get("DISPLAY")))
        story("the appliance receives; the kiosk shows the sign-in")
        client = appliance_box.client()
        sign_in(screen, out)
        began = time.monotonic()
        story(appliance("simulate-ct", "--files", str(images), "--to", f"CORONET@127.0.0.1:{appliance_box.port}").strip().splitlines()[-1])
        pushed = time.monotonic()
        times["push"] = pushed - began
        key = wait_for_draft(client, screen, out)
        times["last_image_to_draft"] = time.monotonic() - pushed
        story(f"the draft is on the kiosk {times['last_image_to_draft']:.1f} s after the last image")
        review(screen, key, out)
        approved = time.monotonic()
        story("approved with one tap; the undo window is open")
        client.wait_for({"delivered"}, timeout_s=180)
        times["approval_to_film_and_pacs"] = time.monotonic() - approved
        screen.wait(lambda seen: seen["state"] == "delivered", what="the delivery on the kiosk")
        screen.picture().save(out / "screen-5-delivered.png")
        detail = client.study(key)
        story(check_printer(printer, detail, out))
        story(check_pacs(pacs, detail, appliance_box.data, key))
        collect(appliance_box.data, key, detail, out)
    story(compare_with_truth(images / "truth.json", out / "findings.json", out / "truth.txt"))
    story(write_times(times, detail, out / "times.txt"))
    story(f"done: look into {out}")


def sign_in(screen: KioskWindow, out: Path) -> None:
    """Type the physician's PIN on the screen."""
    screen.picture().save(out / "screen-1-sign-in.png")
    screen.sign_in(PHYSICIAN_PIN)


def wait_for_draft(client: Client, screen: KioskWindow, out: Path) -> str:
    """Watch the analysis; returns the study's key. One photograph is taken when it is under way."""
    bar = ProgressBar(sys.stdout)
    pictures: list[Path] = []

    def seen(row: dict[str, Any]) -> None:
        if row["state"] == "analysing" and row["stage"]:
            bar(row["stage"], row["progress"] or 0.0)
            if not pictures and (row["progress"] or 0.0) > 0.2:
                pictures.append(out / "screen-2-analysing.png")
                screen.glance().save(pictures[0])

    row = client.wait_for({"draft"}, timeout_s=600, seen=seen)
    bar.close()
    key: str = row["key"]
    return key


def review(screen: KioskWindow, key: str, out: Path) -> None:
    """Open the study, look, approve with one tap."""
    screen.tap(f"study-{key}")
    screen.wait(lambda seen: "approve" in seen["widgets"], what="the review")
    screen.picture().save(out / "screen-3-review.png")
    screen.tap("approve")
    screen.wait(lambda seen: "undo" in seen["widgets"], what="the undo window")
    screen.glance().save(out / "screen-4-approved.png")


if __name__ == "__main__":
    try:
        status = main()
    except subprocess.SubprocessError as error:
        sys.stderr.write(f"The demo failed: {error}\n")
        status = 1
    sys.exit(status)
