"""What a version on trial is waited for, and what not."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from appliance.errors import UpdateError
from appliance.maintenance.trial import LIMIT_S, HopelessError, proofs
from appliance.settings import Settings
from tests.appliance.maintenance.test_updater import Box, Release, pytestmark, release

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
