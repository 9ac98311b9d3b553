"""When a study is complete, what is chosen, and what happens to images that are late, strange or of other series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from appliance.archive.studies import StudyRecord
from appliance.settings import DestinationSettings, ReceiverSettings, TitleSettings
from appliance.study import Approval
from appliance.workflow.intake import NOT_ASKED_FOR, UNREADABLE, Verdict, choose
from appliance.workflow.states import Facts
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.workflow.world import NO_CONTRAST, TOO_FEW, World, examine

PACS = DestinationSettings(name="PACS", host="127.0.0.1", port=104, ae_title="PACS", send=("source", "results"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


def test_a_whole_released_quiet_series_is_queued(world: World) -> None:
    intake, association = world.intake(), world.associate()
    world.push(association=association)
    intake.step()
    assert world.study().state == "receiving"
    assert world.study().images == 4
    world.clock.pass_s(10)
    intake.step()
    assert world.study().state == "receiving", "the association is still open"
    world.release(association)
    intake.step()
    study = world.study()
    assert (study.state, study.main_series) == ("queued", "1.2.3.1")
    assert study.header.display_name == "王小东"


@pytest.mark.parametrize(
    ("titles", "state", "relayed"),
    [(("A",), "queued", 4), (("R",), "declined", 4), (("K",), "declined", 0), (("R", "A"), "queued", 4), (("", "K"), "queued", 4)],
)
def test_what_happens_to_images_is_said_by_the_title_that_they_were_sent_to(
    world: World, titles: tuple[str, ...], state: str, relayed: int
) -> None:
    """Analysed and relayed, relayed only, or kept only; with several titles the most that any of them asks for."""
    settings = ReceiverSettings(
        ae_title="A", ae=(TitleSettings(title="R", workflow="relay"), TitleSettings(title="K", workflow="archive-only"))
    )
    intake = world.intake(router=world.router(PACS), workflow_of=settings.workflow_of)
    for number in range(1, 5):
        title = titles[number % len(titles)]
        association = world.spool.association_opened(peer="127.0.0.1", calling_ae="CT1", called_ae=title) if title else None
        world.push(number, association=association)
        if association is not None:
            world.release(association)
    intake.step()
    world.clock.pass_s(10)
    intake.step()
    study = world.study()
    assert (study.state, study.reason) == (state, None if state == "queued" else NOT_ASKED_FOR)
    assert sum(len(row.files) for row in world.archive.outbox.of_study(study.key)) == relayed


def test_it_must_have_been_quiet(world: World) -> None:
    intake = world.intake()
    world.push(1, 2, 3)
    intake.step()
    world.clock.pass_s(4.9)
    world.push(4)
    intake.step()
    world.clock.pass_s(4.9)
    intake.step()
    assert world.study().state == "receiving"
    world.clock.pass_s(0.2)
    intake.step()
    assert world.study().state == "queued"


def test_an_incomplete_series_is_waited_for_and_then_judged_as_it_is(world: World) -> None:
    intake = world.intake()
    world.push(1, 2)
    intake.step()
    world.clock.pass_s(59)
    intake.step()
    assert world.study().state == "receiving"
    world.clock.pass_s(1)
    intake.step()
    assert (world.study().state, world.study().reason) == ("declined", TOO_FEW)


def test_an_association_that_never_ends_does_not_hold_a_study_for_ever(world: World) -> None:
    intake = world.intake()
    world.push(association=world.associate())
    intake.step()
    world.clock.pass_s(60)
    intake.step()
    assert world.study().state == "queued"


def test_a_step_of_the_wall_clock_completes_nothing(world: World) -> None:
    intake = world.intake()
    world.push()
    intake.step()
    world.clock.wall_time += 86400
    intake.step()
    assert world.study().state == "receiving"


def test_after_a_restart_the_silence_begins_again(world: World) -> None:
    first = world.intake()
    world.push()
    first.step()
    world.clock.pass_s(4)
    second = world.intake()
    second.step()
    world.clock.pass_s(4)
    second.step()
    assert world.study().state == "receiving"
    world.clock.pass_s(1)
    second.step()
    assert world.study().state == "queued"


def test_the_series_with_most_slices_of_those_that_may_be_analysed_is_chosen() -> None:
    def verdict(uid: str, slices: int, *, ok: bool = True, complete: bool = True) -> Verdict:
        return Verdict(uid, reason=None if ok else NO_CONTRAST, complete=complete, slices=slices)

    series = [verdict("a", 200), verdict("b", 280), verdict("c", 500, ok=False), verdict("d", 600, complete=False), verdict("e", 280)]
    chosen = choose(series)
    assert chosen is not None
    assert chosen.series_uid == "b"
    assert choose(series[2:4]) is None
    assert choose([]) is None
    systole, diastole = (Verdict(uid, None, complete=True, slices=280, from_diastole=far) for uid, far in (("s", 35.0), ("d", 0.0)))
    assert choose([systole, diastole]) == diastole
    alike = [replace(diastole, series_uid=uid) for uid in ("1.9", "1.7", "1.8")]
    assert choose(alike) == choose(alike[::-1]) == alike[1], "whichever came first"


def test_a_scout_does_not_hold_up_the_series_that_follows(world: World) -> None:
    intake = world.intake()
    world.push(1, series="1.2.3.9")
    world.push()
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    assert (world.study().state, world.study().main_series, world.study().images) == ("queued", "1.2.3.1", 5)


def test_a_declined_study_is_opened_again_by_the_series_that_was_missing(world: World) -> None:
    intake = world.intake()
    world.push(1, series="1.2.3.9")
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    assert (world.study().state, world.study().reason) == ("declined", NO_CONTRAST)
    world.push()
    intake.step()
    assert (world.study().state, world.study().generation, world.study().reason) == ("receiving", 2, None)
    world.clock.pass_s(5)
    intake.step()
    assert world.study().state == "queued"


def test_a_late_image_of_the_analysed_series_opens_the_study_again_as_a_new_generation(world: World) -> None:
    study = world.queued()
    world.machine.apply(study.key, "claimed")
    intake = world.intake()
    world.push(5)
    intake.step()
    reopened = world.study()
    assert (reopened.state, reopened.generation, reopened.images) == ("receiving", 2, 5)
    assert reopened.draft is None


def test_an_image_of_another_series_is_kept_and_disturbs_nothing(world: World) -> None:
    study = world.queued()
    intake = world.intake()
    world.push(1, series="1.2.3.5")
    intake.step()
    after = world.study()
    assert (after.state, after.generation, after.images) == ("queued", study.generation, 5)


def test_an_image_that_comes_between_the_verdict_and_the_transition_begins_the_silence_anew(world: World) -> None:
    intake = world.intake()
    world.push()
    intake.step()
    world.clock.pass_s(5)
    asked = 0

    def late(series_uid: str, paths: list[Path]) -> Verdict:
        nonlocal asked
        asked += 1
        world.push(5)
        world.intake().step()  # the image is counted while the verdict is being made
        return Verdict(series_uid, reason=None, complete=True, slices=len(paths))

    intake._examine = late  # type: ignore[assignment]
    intake.step()
    assert (asked, world.study().state) == (1, "receiving")


def test_the_examination_does_not_wait_for_the_end_of_the_silence(world: World) -> None:
    asked: list[str] = []

    def note(series_uid: str, paths: list[Path]) -> Verdict:
        asked.append(series_uid)
        return examine(series_uid, paths)

    intake = world.intake(examine=note)
    world.push()
    intake.step()
    assert asked == []
    world.clock.pass_s(1.0)
    intake.step()
    assert (asked, world.study().state) == (["1.2.3.1"], "receiving")
    world.clock.pass_s(4.0)
    intake.step()
    assert (asked, world.study().state) == (["1.2.3.1"], "queued")


def test_studies_are_kept_apart(world: World) -> None:
    intake = world.intake()
    world.push(study="1.2.3", series="1.2.3.1")
    world.push(1, 2, study="1.2.4", series="1.2.4.1")
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    assert [world.study(uid).state for uid in ("1.2.3", "1.2.4")] == ["queued", "receiving"]


# -- strange images: nothing is lost, everything is visible


def nested(depth: int) -> bytes:
    """A sequence in a sequence in a sequence: more than Python's stack can hold. Explicit VR, undefined lengths."""
    open_ = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return open_ * depth


@pytest.mark.parametrize(
    ("dataset", "code"),
    [
        (make_dataset(StudyInstanceUID=""), "WF-011"),
        (make_dataset(SeriesInstanceUID=""), "WF-011"),
    ],
)
def test_an_image_without_study_or_series_is_put_aside(world: World, dataset: Dataset, code: str) -> None:
    world.push_bytes(encode(dataset), "1.2.3.1.1")
    world.intake().step()
    (image,) = world.archive.index.quarantined()
    assert image.problem is not None
    assert image.problem.code == code
    assert image.path.exists()
    assert world.archive.studies.latest(limit=9) == []


@pytest.mark.parametrize("damage", ["bomb", "noise", "truncated", "no-prefix"])
def test_a_file_that_cannot_be_read_is_put_aside_and_stops_nothing(world: World, damage: str) -> None:
    whole = encode(make_dataset())
    meta_end = 144 + int.from_bytes(whole[140:144], "little")
    damaged = {
        "bomb": whole[:meta_end] + nested(100_000),
        "noise": whole[:meta_end] + bytes(range(256)) * 8,
        "truncated": whole[: meta_end + 3],
        "no-prefix": b"MZ" * 400,
    }[damage]
    world.push_bytes(damaged, "1.2.9.9.9")
    world.push()
    intake = world.intake()
    intake.step()
    assert [image.sop_instance_uid for image in world.archive.index.quarantined()] == ["1.2.9.9.9"]
    assert world.archive.index.quarantined()[0].path.read_bytes() == damaged
    assert world.study().images == 4
    assert world.archive.index.unsorted(limit=9) == []


def test_a_series_that_cannot_be_examined_is_declined_not_retried_for_ever(world: World) -> None:
    def fail(_uid: str, _paths: object) -> Verdict:
        raise ZeroDivisionError

    intake = world.intake(examine=fail)
    world.push()
    intake.step()
    world.clock.pass_s(60)
    intake.step()
    assert (world.study().state, world.study().reason) == ("declined", UNREADABLE)


# -- relay of the source images


def test_source_images_are_relayed_once_even_when_the_study_is_declined(world: World) -> None:
    intake = world.intake(router=world.router(PACS))
    world.push(1, series="1.2.3.9")
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    intake.step()
    (row,) = world.archive.outbox.of_study(world.study().key)
    assert (row.destination, row.purpose, row.kind) == ("PACS", "source", "store")
    assert [(world.data / file.path).exists() for file in row.files] == [True]

    world.push()  # the rest comes later: only the rest is relayed
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    assert [len(row.files) for row in world.archive.outbox.of_study(world.study().key)] == [1, 4]


def test_a_destination_that_gets_only_results_gets_no_source(world: World) -> None:
    only_results = DestinationSettings(name="R", host="127.0.0.1", port=104, ae_title="R")
    off = DestinationSettings(name="O", host="127.0.0.1", port=104, ae_title="O", send=("source",), enabled=False)
    intake = world.intake(router=world.router(only_results, off))
    world.push()
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    assert world.archive.outbox.of_study(world.study().key) == []


# -- series that come after the analysis began

ORIGINAL = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
DERIVED = {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}


def drafted(world: World) -> StudyRecord:
    """A study whose draft is there."""
    study = world.queued()
    world.machine.apply(study.key, "claimed")
    return world.machine.apply(study.key, "analysed", facts=Facts(draft=f"{study.key}/g0-r1", cad_rads="CAD-RADS 2"))


def test_an_untouched_draft_is_made_again_with_a_later_phase(world: World) -> None:
    before = drafted(world)
    world.push(1, 2, series="1.2.3.2", **ORIGINAL)
    world.intake().step()
    after = world.study()
    assert (after.state, after.generation, after.draft) == ("receiving", before.generation + 1, None)


@pytest.mark.parametrize("state", ["queued", "analysing"])
def test_a_series_that_comes_before_the_draft_is_waited_for(world: World, state: str) -> None:
    study = world.queued()
    if state == "analysing":
        world.machine.apply(study.key, "claimed")
    world.push(1, series="1.2.3.2", **ORIGINAL)
    world.intake().step()
    assert world.study().state == "receiving"


@pytest.mark.parametrize("series", ["1.2.3.1", "1.2.3.2"])
def test_an_analysis_that_failed_is_tried_again_with_images_that_come_later(world: World, series: str) -> None:
    study = world.queued()
    world.machine.apply(study.key, "claimed")
    world.machine.apply(study.key, "analysis_failed", facts=Facts(reason=TOO_FEW))
    world.push(9, series=series, **ORIGINAL)
    world.intake().step()
    after = world.study()
    assert (after.state, after.generation, after.reason) == ("receiving", study.generation + 1, None)


def test_an_approval_does_not_hide_that_a_series_is_lacking(world: World) -> None:
    corrected = world.machine.apply(drafted(world).key, "corrected", facts=Facts(draft="x/g0-r2"), actor="u-1")
    world.push(1, series="1.2.3.2", **ORIGINAL)
    world.intake().step()
    approval = Approval(user_id="u", user_name="U", role="physician", at=datetime(2026, 11, 23, tzinfo=UTC))
    for event in ("approved", "undone", "approved", "window_closed", "released", "delivery_done"):
        after = world.machine.apply(corrected.key, event, facts=Facts(approval=approval))  # type: ignore[arg-type]
        assert after.reason is not None
        assert after.reason.code == "WF-015"


def test_a_corrected_draft_is_kept_and_marked(world: World) -> None:
    before = world.machine.apply(drafted(world).key, "corrected", facts=Facts(draft="x/g0-r2", cad_rads="CAD-RADS 3"), actor="u-1")
    world.push(1, series="1.2.3.2", **ORIGINAL)
    world.intake().step()
    after = world.study()
    assert (after.state, after.draft, after.revision, after.cad_rads) == ("draft", "x/g0-r2", before.revision, "CAD-RADS 3")
    assert after.reason is not None
    assert after.reason.code == "WF-015"
    again = world.machine.apply(after.key, "reanalysed", actor="u-1")
    assert (again.state, again.draft, again.reason, again.main_series) == ("queued", None, None, "1.2.3.1")


@pytest.mark.parametrize("last", ["approved", "window_closed", "released", "delivery_done"])
def test_what_a_physician_approved_is_never_changed_by_a_later_series(world: World, last: str) -> None:
    study = drafted(world)
    approval = Approval(user_id="u", user_name="U", role="physician", at=datetime(2026, 11, 23, tzinfo=UTC))
    for event in ("approved", "window_closed", "released", "delivery_done"):
        study = world.machine.apply(study.key, event, facts=Facts(approval=approval))  # type: ignore[arg-type]
        if event == last:
            break
    world.push(1, series="1.2.3.2", **ORIGINAL)
    world.intake().step()
    after = world.study()
    assert (after.state, after.draft, after.approval, after.generation) == (study.state, study.draft, approval, study.generation)
    assert after.reason is not None
    assert after.reason.code == "WF-015"


def test_what_a_console_makes_afterwards_changes_nothing(world: World) -> None:
    before = drafted(world)
    world.push(1, series="1.2.3.9", **DERIVED)
    world.push(2, series="1.2.3.10", SOPClassUID="1.2.840.10008.5.1.4.1.1.7", **ORIGINAL)
    world.intake().step()
    after = world.study()
    assert (after.state, after.draft, after.reason) == ("draft", before.draft, None)
