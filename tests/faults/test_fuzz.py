"""A short run of the fuzzers, always the same inputs; longer as below.

python -m tests.faults pdus query files --pdus 100000 --queries 20000 --files 20000
"""

from __future__ import annotations

import random

import pytest

from tests.faults.clocks import clock_steps
from tests.faults.files import mutated_files
from tests.faults.keeping import kills_of_keeping
from tests.faults.mutations import mutate
from tests.faults.pages import damaged_pages, read_only
from tests.faults.pdus import mutated_pdus
from tests.faults.queries import mutated_queries


def test_mutated_pdus_are_answered_and_leave_nothing_behind() -> None:
    tally = mutated_pdus(pdus=400)
    assert tally.losses == []
    assert tally.tried["mutated PDUs"] >= 400
    assert tally.tried["statuses"] > 50
    assert tally.tried["aborts"] > 50


def test_mutated_queries_and_web_requests_are_answered_and_leave_nothing_behind() -> None:
    tally = mutated_queries(trials=60)
    assert tally.losses == []
    assert tally.tried["mutated"] >= 120
    assert tally.tried["final statuses"] > 20
    assert tally.tried["HTTP 400"] > 5
    assert tally.tried["honest questions"] == 8


def test_mutated_files_end_in_a_value_or_a_typed_error() -> None:
    tally = mutated_files(files=300)
    assert tally.losses == []
    assert tally.tried["mutated files"] == 300
    assert tally.tried["typed errors"] > 100


def test_damaged_databases_lose_no_image() -> None:
    tally = damaged_pages(trials=40)
    assert tally.losses == []
    assert sum(number for name, number in tally.tried.items() if name.startswith("ended as ARC")) > 20


def test_kill_9_within_retention_repair_snapshot_restore_and_export_leaves_all_or_nothing() -> None:
    tally = kills_of_keeping(every=11)
    assert tally.losses == []
    assert sum(tally.tried.values()) > 25


def test_steps_of_the_wall_clock_change_nothing() -> None:
    tally = clock_steps(scripts=4)
    assert tally.losses == []
    assert tally.tried["steps of the clock"] > 15


def test_a_disk_that_becomes_read_only_refuses_and_says_so() -> None:
    tally = read_only()
    if tally.skipped:
        pytest.skip(tally.skipped)
    assert tally.losses == []
    assert tally.tried["images refused"] == 10


def test_mutations_are_the_same_every_time() -> None:
    first = [mutate(bytes(range(256)), random.Random(f"seed {number}")) for number in range(50)]
    assert first == [mutate(bytes(range(256)), random.Random(f"seed {number}")) for number in range(50)]
    assert len(set(first)) > 40
