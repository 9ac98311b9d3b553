"""Cases are worked out in processes of their own, with one thread each; one that breaks down leaves the others alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.evaluation.__main__ import chosen_seeds, place_for
from models.evaluation.cases import Case
from models.evaluation.runner import Job, run_jobs
from models.training.families import load_families


def work(job: Job) -> Case:
    if job.seed == 2:
        raise ZeroDivisionError
    return Case(job.seed, "as-drawn", conditions=(os.environ["NUMBA_NUM_THREADS"], str(os.getpid())))


def test_all_jobs_are_done_and_a_breakdown_is_not_hidden(tmp_path: Path) -> None:
    done: list[Case] = []
    jobs = [Job(seed, "development", tmp_path / "catalog.toml", tmp_path) for seed in (1, 2, 3)]
    with pytest.raises(ZeroDivisionError):
        run_jobs(jobs, workers=1, done=done.append, work=work)
    assert {case.seed for case in done} == {1, 3}
    assert {case.conditions[0] for case in done} == {"1"}
    assert str(os.getpid()) not in {case.conditions[1] for case in done}


def test_a_quick_check_is_three_patients_and_one_of_them_noisy() -> None:
    development = load_families()["development"]
    seeds = chosen_seeds(development, count=20, quick=True)
    assert seeds == [100000, 100001, 100060]
    assert development.design_of(seeds[-1]).name == "noisy"


def test_a_run_can_leave_out_the_first_ones() -> None:
    test = load_families()["test"]
    whole, rest = chosen_seeds(test, count=50), chosen_seeds(test, count=50, first=50)
    assert len(whole) == len(rest) == 50
    assert not set(whole) & set(rest)


def test_a_quick_check_never_takes_the_place_of_a_whole_run(tmp_path: Path) -> None:
    out = tmp_path / "evaluation.json"
    assert place_for(out, quick=True) == out
    out.write_text('{"quick": true}', encoding="utf-8")
    assert place_for(out, quick=True) == out
    out.write_text('{"quick": false}', encoding="utf-8")
    assert place_for(out, quick=True) == tmp_path / "evaluation-quick.json"
    assert place_for(out, quick=False) == out
