"""A short run of each campaign; ``python -m tests.faults`` runs them longer."""

from __future__ import annotations

import pytest

from tests.faults.crowd import SENDERS, crowd
from tests.faults.kills import kills
from tests.faults.power import power_cuts


def test_kill_9_at_steps_of_the_store_path_loses_nothing_that_was_acknowledged() -> None:
    tally = kills(every=2)
    assert tally.losses == []
    assert tally.tried["kills"] > 40
    assert tally.tried["images promised"] > 20


def test_kill_9_with_four_senders_at_once() -> None:
    tally = kills(every=23, threads=4)
    assert tally.losses == []
    assert tally.tried["kills"] > 3


def test_power_cuts_lose_nothing_that_was_acknowledged() -> None:
    tally = power_cuts(cuts=16)
    if tally.skipped:
        pytest.skip(tally.skipped)
    assert tally.losses == []
    assert tally.tried["cuts"] == 16
    assert tally.tried["images promised"] > 100


def test_the_campaign_would_find_a_flush_that_is_none() -> None:
    tally = power_cuts(cuts=12, forgetful=True)
    if tally.skipped:
        pytest.skip(tally.skipped)
    assert any("acknowledged and gone" in text or "not as sent" in text for text in tally.losses)


def test_twenty_senders_at_once_lose_nothing() -> None:
    tally = crowd(images=4)
    assert tally.losses == []
    assert tally.tried == {"senders": SENDERS, "images": 4 * SENDERS}
