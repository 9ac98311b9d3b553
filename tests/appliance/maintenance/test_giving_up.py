"""What a version on trial is waited for, and what not."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path

import pytest

from appliance.build import installed_version
from appliance.errors import CoronetError, UpdateError
from appliance.maintenance.trial import LIMIT_S, HopelessError, proofs
from appliance.settings import Settings, load_settings
from tests.appliance.maintenance.test_updater import Box, Release, pytestmark, release
from tests.appliance.running import daemon

__all__ = ["pytestmark", "release"]


class HopelessBox(Box):
    """Its new version's service fails again and again; its clock goes on by a second at each look."""

    def __init__(self, folder: Path, release: Release) -> None:
        super().__init__(folder, release, works=False)
        self._clock = itertools.count(0.0, 1.0)

    def _proof(self) -> None:
        raise HopelessError("UPD-010", zh="新版本的服务多次启动失败", en="the service of the new version failed again and again")


def test_a_version_whose_service_failed_for_good_is_given_up_at_once(tmp_path: Path, release: Release) -> None:
    box = HopelessBox(tmp_path, release)
    box.until_rest()
    assert box.record.state == "back"
    assert box.record.reason is not None
    assert box.record.reason.code == "UPD-010"
    assert box.machine.status().booted == "A"
    assert next(box._clock) < LIMIT_S / 4


def test_a_unit_that_is_not_up_yet_is_waited_for_and_one_that_failed_is_not() -> None:
    def service(*, failed: bool) -> None:
        proofs(Settings(), version="0.2.0", active=lambda _unit: False, failed=lambda _unit: failed)[0].check()

    with pytest.raises(UpdateError) as waiting:
        service(failed=False)
    assert not isinstance(waiting.value, HopelessError)
    with pytest.raises(HopelessError):
        service(failed=True)


def test_each_thing_that_a_new_version_must_show_is_looked_at(tmp_path: Path) -> None:
    """A real daemon; only what systemd says of the units is given."""
    down: set[str] = set()

    def faults(version: str) -> list[str]:
        found = []
        for proof in proofs(settings, version=version, active=lambda unit: unit not in down, failed=lambda _unit: False):
            try:
                proof.check()
            except CoronetError as error:
                found.append(f"{proof.name} {error.code}")
        return found

    with daemon(tmp_path / "box", options=["--apart", "analyst"]) as running:
        settings = load_settings(tmp_path / "box" / "coronet.toml")
        assert faults(installed_version()) == []
        assert faults("9.9.9") == ["service UPD-010"], "the former version still answers"
        down |= {"coronet-kiosk.service", "coronet-analyst.service"}
        assert faults(installed_version()) == ["kiosk UPD-012", "golden UPD-013"]
        down.clear()
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
        assert faults(installed_version()) == ["service UPD-010", "receiver UPD-011"]
