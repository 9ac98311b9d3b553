"""The analyst against a real archive: claims, results, failures, crashes, orders to stop, late images, releases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import AnalysisError, ArchiveError, InferenceError, Reason
from appliance.findings import Findings
from appliance.settings import DestinationSettings, PrinterSettings, Settings
from appliance.study import Approval
from appliance.workflow.analyst import (
    CRASHED,
    EXIT_ENGINE,
    EXIT_FAULT,
    EXIT_SELF_TEST,
    EXIT_STOPPED,
    FAULT,
    MAXIMUM_ATTEMPTS,
    Analyst,
    Stopped,
    run_analyst,
)
from appliance.workflow.states import Facts
from tests.appliance.archive.fakes import make_archive
from tests.appliance.workflow.world import NO_CONTRAST, PaperDrafts, World, findings
from tests.peers.waiting import wait_until

SETTINGS = Settings(
    destination=(DestinationSettings(name="PACS", host="127.0.0.1", port=104, ae_title="PACS"),),
    printer=(PrinterSettings(name="film", host="127.0.0.1", port=105, ae_title="FILM"),),
)
APPROVAL = Approval(user_id="u1", user_name="陈医师", role="physician", at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


def analyst(world: World, drafts: PaperDrafts, settings: Settings = SETTINGS) -> Analyst:
    return Analyst(archive=world.archive, machine=world.machine, drafts=drafts, settings=settings)


def work_one(analyst: Analyst) -> int | None:
    job = analyst.take()
    assert job is not None
    return analyst.work(job)


def raising(error: BaseException) -> Callable[[Any], None]:
    def before(_progress: Any) -> None:
        raise error

    return before


def test_a_queued_study_becomes_a_draft(world: World) -> None:
    key = world.queued().key
    drafts = PaperDrafts()
    assert work_one(analyst(world, drafts)) is None
    study = world.study()
    assert (study.state, study.cad_rads, study.attempts, study.progress) == ("draft", "CAD-RADS 3/P1", 0, None)
    assert study.draft is not None
    assert Findings.read(world.archive.drafts / study.draft / "findings.json") == findings()
    assert analyst(world, drafts).take() is None
    assert key in study.draft


def test_urgent_studies_come_first_then_the_oldest(world: World) -> None:
    import msgspec

    world.queued("1.2.3")
    world.clock.pass_s(1)
    world.queued("1.2.4")
    world.clock.pass_s(1)
    last = world.queued("1.2.5")
    world.archive.studies.save(msgspec.structs.replace(last, urgent=True))
    taken = []
    for _ in range(3):
        job = analyst(world, PaperDrafts()).take()
        assert job is not None
        taken.append(job.study.study_uid)
    assert taken == ["1.2.5", "1.2.3", "1.2.4"]


def test_a_declined_study_shows_its_reason(world: World) -> None:
    world.queued()
    work_one(analyst(world, PaperDrafts(found=findings("declined", reason=NO_CONTRAST))))
    assert (world.study().state, world.study().reason) == ("declined", NO_CONTRAST)


def test_a_typed_failure_is_shown_and_ends_nothing(world: World) -> None:
    world.queued()
    error = AnalysisError("ANA-007", zh="未找到冠状动脉开口", en="no ostium was found")
    assert work_one(analyst(world, PaperDrafts(before=raising(error)))) is None
    assert (world.study().state, world.study().reason) == ("failed", error.reason)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (InferenceError("INF-020", zh="输出无效", en="NaN"), EXIT_ENGINE, Reason("INF-020", "输出无效", "NaN")),
        (ZeroDivisionError(), EXIT_FAULT, FAULT),
        (MemoryError(), EXIT_FAULT, FAULT),
    ],
)
def test_what_may_have_hurt_the_engine_ends_the_process_and_the_study_gets_three_tries(
    world: World, error: BaseException, status: int, reason: Reason
) -> None:
    world.queued()
    for attempt in range(1, MAXIMUM_ATTEMPTS + 1):
        assert world.study().state == "queued"
        assert work_one(analyst(world, PaperDrafts(before=raising(error)))) == status
        assert world.study().attempts == attempt
    assert (world.study().state, world.study().reason) == ("failed", reason)


def test_a_study_left_by_a_dead_analyst_is_taken_again_and_at_last_given_up(world: World) -> None:
    world.queued()
    for _ in range(MAXIMUM_ATTEMPTS):
        fresh = analyst(world, PaperDrafts())
        fresh.resume()
        assert fresh.take() is not None, "and now the process dies"
    last = analyst(world, PaperDrafts())
    last.resume()
    assert (world.study().state, world.study().reason) == ("failed", CRASHED)
    assert last.take() is None


def test_a_person_can_retry_a_failed_study_with_new_attempts(world: World) -> None:
    world.queued()
    work_one(analyst(world, PaperDrafts(before=raising(AnalysisError("ANA-007", zh="错", en="wrong")))))
    world.machine.apply(world.study().key, "retried", actor="u1")
    work_one(analyst(world, PaperDrafts()))
    assert (world.study().state, world.study().reason) == ("draft", None)


def test_an_order_to_stop_puts_the_study_back_without_counting_against_it(world: World) -> None:
    world.queued()
    with pytest.raises(Stopped):
        work_one(analyst(world, PaperDrafts(before=raising(Stopped()))))
    assert (world.study().state, world.study().attempts) == ("queued", 0)


def test_images_that_come_during_the_analysis_end_it_and_its_result_is_dropped(world: World) -> None:
    world.queued()

    def late(progress: Any) -> None:
        progress("segment", 0.2)
        world.push(5)
        world.intake().step()
        world.clock.pass_s(1)
        progress("segment", 0.3)
        pytest.fail("the analysis should have been ended")

    assert work_one(analyst(world, PaperDrafts(before=late))) is None
    study = world.study()
    assert (study.state, study.generation, study.draft) == ("receiving", 2, None)


def test_images_that_come_after_the_last_progress_report_drop_the_result_too(world: World) -> None:
    world.queued()

    def late(_progress: Any) -> None:
        world.push(5)
        world.intake().step()

    work_one(analyst(world, PaperDrafts(before=late)))
    assert (world.study().state, world.study().generation, world.study().draft) == ("receiving", 2, None)


def test_progress_is_noted_at_most_twice_a_second_and_at_each_stage(world: World) -> None:
    world.queued()
    seen: list[tuple[str | None, float | None]] = []

    def advance(progress: Any) -> None:
        before = world.archive.studies.last_event()
        for step in range(100):
            progress("segment", step / 100)
            world.clock.pass_s(0.01)
        seen.append((world.study().stage, world.study().progress))
        progress("lesions", 0.9)
        seen.append((world.study().stage, world.study().progress))
        assert world.archive.studies.last_event() - before <= 4

    work_one(analyst(world, PaperDrafts(before=advance)))
    assert seen[0] == ("segment", pytest.approx(0.5, abs=0.02))
    assert seen[1] == ("lesions", 0.9)


def test_a_draft_that_was_whole_before_the_crash_is_not_made_twice(world: World) -> None:
    study = world.queued()
    drafts = PaperDrafts()
    work_one(analyst(world, drafts))
    first = world.study()
    # as if the process had died after the folder and before the commit
    import msgspec

    world.archive.studies.save(msgspec.structs.replace(first, state="analysing", revision=study.revision, draft=None, attempts=1))
    fresh = analyst(world, drafts)
    fresh.resume()
    work_one(fresh)
    assert world.study().draft == first.draft
    assert world.study().state == "draft"


# -- release


def approved(world: World) -> str:
    world.queued()
    work_one(analyst(world, PaperDrafts()))
    key = world.study().key
    world.machine.apply(key, "approved", facts=Facts(approval=APPROVAL), actor="u1")
    world.machine.apply(key, "window_closed")
    return key


def test_an_approved_study_is_released_before_the_next_one_is_analysed(world: World) -> None:
    key = approved(world)
    world.queued("1.2.4")
    assert work_one(analyst(world, PaperDrafts())) is None
    assert world.study().state == "delivering"
    assert world.study("1.2.4").state == "queued"
    rows = world.archive.outbox.of_study(key)
    assert [(row.destination, row.kind, row.purpose, len(row.files)) for row in rows] == [
        ("PACS", "store", "results", 2),
        ("film", "print", "results", 1),
    ]
    assert all((world.data / file.path).is_file() for row in rows for file in row.files)


def test_without_destinations_a_release_is_delivered_at_once(world: World) -> None:
    key = approved(world)
    work_one(analyst(world, PaperDrafts(), Settings()))
    assert world.study().state == "delivered"
    assert world.archive.outbox.of_study(key) == []


def test_a_release_that_cannot_be_made_becomes_a_draft_again_with_the_reason(world: World) -> None:
    approved(world)
    error = AnalysisError("ANA-009", zh="错", en="wrong")
    work_one(analyst(world, PaperDrafts(before=raising(error))))
    study = world.study()
    assert (study.state, study.reason, study.approval) == ("draft", error.reason, None)


def test_a_release_that_ends_the_process_is_tried_three_times(world: World) -> None:
    approved(world)
    for _ in range(MAXIMUM_ATTEMPTS):
        assert work_one(analyst(world, PaperDrafts(before=raising(ZeroDivisionError())))) == EXIT_FAULT
    assert (world.study().state, world.study().reason) == ("draft", FAULT)


def test_images_that_come_during_the_release_void_it(world: World) -> None:
    key = approved(world)

    def late(_progress: Any) -> None:
        world.push(5)
        world.intake().step()

    work_one(analyst(world, PaperDrafts(before=late)))
    assert (world.study().state, world.study().approval) == ("receiving", None)
    assert world.archive.outbox.of_study(key) == []


# -- the process


def test_a_failed_self_test_ends_the_process_and_is_shown(world: World) -> None:
    class Broken(PaperDrafts):
        def self_test(self) -> str:
            raise InferenceError("INF-050", zh="自检失败", en="the golden case failed")

    assert analyst(world, Broken()).run(threading.Event()) == EXIT_SELF_TEST
    component = world.archive.components.get("analyst")
    assert not component.ready
    assert component.reason is not None
    assert component.reason.code == "INF-050"


def test_it_works_until_told_to_stop(world: World) -> None:
    world.queued()
    stop = threading.Event()
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(analyst(world, PaperDrafts()).run(stop)))
    thread.start()
    wait_until(lambda: world.study().state == "draft", timeout_s=30)
    assert world.archive.components.get("analyst").ready
    assert world.archive.components.get("analyst").detail == "paper"
    stop.set()
    thread.join(30)
    assert statuses == [EXIT_STOPPED]
    assert not world.archive.components.get("analyst").ready


PROCESS = """
import sys, time
from pathlib import Path
from appliance.settings import Settings
from appliance.workflow.analyst import run_analyst
from tests.appliance.archive.fakes import make_archive
from tests.appliance.workflow.world import PaperDrafts

def wait(progress):
    progress("segment", 0.5)
    while sys.argv[2] == "slow":
        time.sleep(0.01)

sys.exit(run_analyst(make_archive(Path(sys.argv[1])), drafts=PaperDrafts(before=wait), settings=Settings()))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_real_process_that_is_killed_or_stopped_leaves_a_study_that_goes_on(world: World, number: signal.Signals) -> None:
    world.queued()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROCESS, str(world.data)]
    process = subprocess.Popen([*command, "slow"], env=environment)
    wait_until(lambda: world.study().progress == 0.5, timeout_s=60)
    process.send_signal(number)
    assert process.wait(30) == (EXIT_STOPPED if number == signal.SIGTERM else -signal.SIGKILL)
    assert world.study().state == ("queued" if number == signal.SIGTERM else "analysing")
    assert world.study().attempts == (0 if number == signal.SIGTERM else 1)

    second = subprocess.Popen([*command, "quick"], env=environment)
    wait_until(lambda: world.study().state == "draft", timeout_s=60)
    second.terminate()
    assert second.wait(30) == EXIT_STOPPED


def test_two_analysts_do_not_work_on_one_archive(world: World) -> None:
    from appliance.archive.instance_files import hold_lock

    held = hold_lock(world.data / "analyst.lock", what="analyst")
    other = make_archive(world.data)
    with pytest.raises(ArchiveError, match="ARC-003"):
        run_analyst(other, drafts=PaperDrafts(), settings=SETTINGS)
    held.close()
    other.close()
