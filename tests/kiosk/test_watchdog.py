"""The watchdog is fed by frames and by nothing else."""

from __future__ import annotations

from kiosk.watchdog import Watchdog


class Loop:
    """A clock and a notify socket that remember."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[str] = []

    def __call__(self) -> float:
        return self.now


def test_ready_once_the_first_frame_stands_then_fed_three_times_per_period() -> None:
    loop = Loop()
    watchdog = Watchdog(clock=loop, notify=loop.said.append, environment={"WATCHDOG_USEC": "6000000"})
    watchdog.frame()
    assert loop.said == [], "the first frame is yet to be drawn, which can take longer than the watchdog waits"
    loop.now += 40
    for _ in range(25):
        watchdog.frame()
        loop.now += 0.25
    assert loop.said == ["READY=1"] + ["WATCHDOG=1"] * 4


def test_without_systemd_it_is_harmless() -> None:
    loop = Loop()
    watchdog = Watchdog(clock=loop, environment={})
    watchdog.frame()
    loop.now += 5
    watchdog.frame()
