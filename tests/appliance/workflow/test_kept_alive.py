"""The analyst's watchdog: ready after the self-test, fed while idle and with progress, not while a study hangs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from appliance.findings import Earlier, Findings
from appliance.study import Approval
from appliance.workflow.analyst import Progress
from appliance.workflow.kept_alive import KeptAliveDrafts
from appliance.workflow.release import Released
from tests.appliance.workflow.world import findings
from tests.peers.waiting import wait_until


class Ear:
    """A service manager that remembers, with a short watchdog."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def notify(self, message: str) -> None:
        self.heard.append(message)

    def watchdog_s(self) -> float | None:
        return 0.01


class Drafts:
    """A draft maker that hangs until it is let go, then makes progress."""

    def __init__(self) -> None:
        self.hanging, self.go = threading.Event(), threading.Event()

    def self_test(self) -> str:
        return "engine"

    def draft(
        self, images: Sequence[Path], folder: Path, *, main_series: str | None, progress: Progress, earlier: Earlier | None = None
    ) -> Findings:
        self.hanging.set()
        assert self.go.wait(20)
        progress("segment", 0.5)
        return findings()

    def release(self, images: Sequence[Path], folder: Path, released: Path, *, approval: Approval, progress: Progress) -> Released:
        raise AssertionError("nothing is released here")


def test_fed_while_idle_and_with_progress_but_not_while_a_study_hangs(tmp_path: Path) -> None:
    ear, inner, stop = Ear(), Drafts(), threading.Event()
    drafts = KeptAliveDrafts(drafts=inner, notifier=ear)
    loop = threading.Thread(target=drafts.idle_loop, args=(stop,))
    loop.start()
    assert drafts.self_test() == "engine"
    assert "READY=1" in ear.heard
    wait_until(lambda: ear.heard.count("WATCHDOG=1") >= 3)
    seen: list[tuple[str, float]] = []
    work = threading.Thread(
        target=lambda: drafts.draft([], tmp_path, main_series=None, progress=lambda stage, fraction: seen.append((stage, fraction)))
    )
    work.start()
    assert inner.hanging.wait(20)
    stop.set()
    loop.join(20)  # the turn that had begun may still have fed it
    stop.clear()
    fed = len(ear.heard)
    again = threading.Thread(target=drafts.idle_loop, args=(stop,))
    again.start()
    again.join(0.3)  # thirty turns
    assert len(ear.heard) == fed
    inner.go.set()
    work.join(20)
    assert seen == [("segment", 0.5)]
    wait_until(lambda: len(ear.heard) > fed)
    stop.set()
    again.join(20)
