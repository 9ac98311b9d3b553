"""What goes when the disk fills, what must stay, and that a removal is safe at every point: see ``appliance/archive/retention.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.archive.files import sync_folder
from appliance.archive.priors import FoundPrior
from appliance.archive.removals import Sweeper
from appliance.archive.retention import DAY_S, Retention, Room, room_of
from appliance.archive.studies import study_key
from appliance.errors import ArchiveError, Reason
from appliance.settings import RetentionSettings
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.workflow.world import World

GIB = 1 << 30
IMAGES = 2
"""Images of each study here; retention does not ask whether a series is whole."""


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory / "data")
    yield world
    world.close()


class Disk:
    """A disk of 100 GiB of which so much is in use; every removed image gives its share back at once."""

    def __init__(self, world: World, used: float) -> None:
        self._archive = world.archive
        self._used = int(used * GIB)

    def __call__(self) -> Room:
        return Room(total=100 * GIB, free=100 * GIB - self._used)


def retention(world: World, *, used: float = 0, refuse_below: int = 0, **settings: Any) -> Retention:
    return world.archive.retention(RetentionSettings(**settings), refuse_below=refuse_below, room=Disk(world, used))


def delivered(world: World, number: int, *, archived: bool = True, state: str = "delivered", gib: float = 1.0) -> str:
    """A study whose images and results have gone out; in the books each has ``gib`` GiB."""
    study, series = f"1.2.3.{number}", f"1.2.3.{number}.1"
    world.push(*range(1, IMAGES + 1), study=study, series=series)
    world.intake().step()
    key = study_key(study)
    archive = world.archive
    with archive.database.transaction() as connection:
        connection.execute("UPDATE instances SET bytes = ?, relayed = 1 WHERE study = ?", (int(gib * GIB / IMAGES), key))
        archive.studies.save(msgspec.structs.replace(archive.studies.get(key), state=state, main_series=series))  # type: ignore[arg-type]
        connection.execute("UPDATE studies SET received_at = ? WHERE key = ?", (number, key))
    paths = [archive.relative(image.path) for image in archive.index.of_study(key)]
    if archived:
        row = archive.outbox.add(study=key, generation=1, destination="PACS", kind="store", purpose="source", description="", files=paths)
        archive.outbox.done(row)
    world.clock.pass_s(1)
    return key


def with_images(world: World, *keys: str) -> list[str]:
    return [key for key in keys if world.archive.studies.get(key).images]


def test_the_oldest_go_first_and_only_as_many_as_needed(world: World) -> None:
    keys = [delivered(world, number) for number in (3, 1, 2)]
    world.clock.pass_s(3 * DAY_S)
    assert retention(world, used=86, high_watermark=0.85, low_watermark=0.845).step() == 2
    assert with_images(world, *keys) == [keys[0]]


def test_nothing_goes_below_the_high_watermark(world: World) -> None:
    delivered(world, 1)
    world.clock.pass_s(30 * DAY_S)
    assert retention(world, used=84.9).step() == 0


def test_what_waits_to_be_unlinked_counts_as_free(world: World) -> None:
    keys = [delivered(world, number) for number in (1, 2, 3, 4)]
    world.clock.pass_s(3 * DAY_S)
    keeper = retention(world, used=86, high_watermark=0.85, low_watermark=0.845)
    assert [keeper.step(), keeper.step()] == [2, 0]
    assert len(with_images(world, *keys)) == 2


@pytest.mark.parametrize("state", ["receiving", "queued", "analysing", "draft", "approving", "approved", "delivering", "failed"])
def test_a_study_in_work_or_waiting_for_a_person_stays(world: World, state: str) -> None:
    key = delivered(world, 1, state=state)
    world.clock.pass_s(400 * DAY_S)
    keeper = retention(world, used=99)
    assert keeper.step() == 0
    assert keeper.kept(world.archive.studies.get(key)) == "in_work"


def test_a_study_with_an_open_outbox_row_stays(world: World) -> None:
    key = delivered(world, 1)
    world.archive.outbox.add(study=key, generation=1, destination="PACS", kind="store", purpose="results", description="", files=["a"])
    world.clock.pass_s(400 * DAY_S)
    keeper = retention(world, used=99)
    assert keeper.step() == 0
    assert keeper.kept(world.archive.studies.get(key)) == "undelivered"


def test_images_that_no_archive_took_stay_unless_the_site_says_they_are_copies(world: World) -> None:
    key = delivered(world, 1, archived=False)
    world.clock.pass_s(400 * DAY_S)
    assert retention(world, used=99).step() == 0
    assert retention(world, used=99).kept(world.archive.studies.get(key)) == "not_archived"
    assert retention(world, used=99, images_must_be_archived=False).step() == 1


@pytest.mark.parametrize(
    ("treatment", "destination", "goes"),
    [
        (None, "PACS", True),
        (b'{"pseudonymise":false}', "PACS", True),
        (b'{"pseudonymise":true}', "PACS", False),
        (None, "RESEARCH", False),
    ],
)
def test_only_an_unaltered_copy_in_the_long_term_archive_counts(
    world: World, treatment: bytes | None, destination: str, goes: bool
) -> None:
    delivered(world, 1)
    with world.archive.database.transaction() as connection:
        connection.execute("UPDATE outbox SET treatment = ?, destination = ?", (treatment, destination))
    world.clock.pass_s(400 * DAY_S)
    keeper = world.archive.retention(RetentionSettings(), room=Disk(world, 99), archive_name="PACS")
    assert keeper.step() == goes


def test_one_image_that_the_archive_did_not_take_keeps_the_study(world: World) -> None:
    key = delivered(world, 1)
    world.push(9, study="1.2.3.1", series="1.2.3.1.7")
    world.intake().step()
    world.clock.pass_s(400 * DAY_S)
    keeper = retention(world, used=99)
    with world.archive.database.transaction() as connection:
        connection.execute("UPDATE instances SET relayed = 0 WHERE series_uid = '1.2.3.1.7'")
    assert keeper.kept(world.archive.studies.get(key)) == "undelivered"  # intake has not enlisted it yet
    with world.archive.database.transaction() as connection:
        connection.execute("UPDATE instances SET relayed = 1")
    assert keeper.kept(world.archive.studies.get(key)) == "not_archived"
    assert keeper.step() == 0


def test_images_of_an_open_association_stay(world: World) -> None:
    association = world.associate()
    world.push(1, 2, study="1.2.3.1", series="1.2.3.1.1", association=association)
    key = delivered(world, 1)
    world.clock.pass_s(400 * DAY_S)
    assert retention(world, used=99).step() == 0
    world.release(association)
    assert retention(world, used=99).step() == 1
    assert with_images(world, key) == []


def test_a_protected_study_stays_until_it_is_released(world: World) -> None:
    key = delivered(world, 1)
    world.clock.pass_s(400 * DAY_S)
    keeper = retention(world, used=99)
    keeper.protect(key, actor="u1")
    assert keeper.step() == 0
    keeper.protect(key, actor="u1", protected=False)
    assert keeper.step() == 1
    assert [entry.action for entry in world.archive.audit.entries(study=key)][-3:] == ["protect", "unprotect", "images-removed"]


def test_recent_studies_stay_even_if_the_disk_is_full_and_the_operator_is_told_why(world: World) -> None:
    delivered(world, 1)
    delivered(world, 2, state="draft")
    keeper = retention(world, used=99, refuse_below=2 * GIB)
    assert keeper.step() == 0
    said = world.archive.components.get("disk")
    assert not said.ready
    assert said.reason is not None
    assert said.reason.code == "ARC-051"
    assert "too recent 1" in said.reason.en
    assert "处理中或待审核 1" in said.reason.zh


def test_the_operator_hears_that_the_disk_is_nearly_full_and_that_it_is_not_any_more(world: World) -> None:
    delivered(world, 1, archived=False)
    world.clock.pass_s(3 * DAY_S)
    retention(world, used=90).step()
    reason = world.archive.components.get("disk").reason
    assert reason is not None
    assert reason.code == "ARC-050"
    retention(world, used=10).step()
    assert world.archive.components.get("disk").ready


def test_a_person_may_remove_but_not_what_must_be_kept(world: World) -> None:
    key, other = delivered(world, 1), delivered(world, 2, state="draft")
    keeper = retention(world)
    assert keeper.remove(key, actor="u1") == GIB
    with pytest.raises(ArchiveError) as raised:
        keeper.remove(other, actor="u1")
    assert raised.value.details["kept"] == "in_work"
    entry = world.archive.audit.entries(study=key)[-1]
    assert (entry.actor, entry.action, entry.details) == ("u1", "images-removed", {"images": IMAGES, "bytes": GIB, "why": "person"})
    assert world.archive.audit.verify() is None


# -- by age, and clocks


def test_by_age_images_go_first_and_results_later(world: World) -> None:
    key = delivered(world, 1)
    draft = world.archive.drafts / key / "g1-r1"
    draft.mkdir(parents=True)
    (draft / "findings.json").write_text("{}")
    archive = world.archive
    archive.studies.save(msgspec.structs.replace(archive.studies.get(key), draft=f"{key}/g1-r1"))
    keeper = retention(world, images_days=10, results_days=20)
    world.clock.pass_s(3700)
    assert keeper.step() == 0
    world.clock.pass_s(11 * DAY_S)
    assert keeper.step() == 1
    assert not with_images(world, key)
    assert draft.exists()
    world.clock.pass_s(21 * DAY_S)
    assert keeper.step() == 1
    assert archive.studies.get(key).draft is None
    assert not draft.exists()
    assert [entry.action for entry in archive.audit.entries(study=key)][-2:] == ["images-removed", "results-removed"]


def test_a_step_of_the_clock_removes_nothing_by_age_for_an_hour(world: World) -> None:
    key = delivered(world, 1)
    keeper = retention(world, images_days=10)
    world.clock.pass_s(3700)
    assert keeper.step() == 0
    world.clock.wall_time += 3650 * DAY_S  # somebody, or a broken time server, sets the clock ten years ahead
    assert keeper.step() == 0
    world.clock.pass_s(1800)
    assert keeper.step() == 0
    world.clock.wall_time -= 3650 * DAY_S  # and back
    assert keeper.step() == 0
    world.clock.pass_s(7200)
    assert keeper.step() == 0
    assert with_images(world, key)


def test_after_a_start_nothing_goes_by_age_for_an_hour(world: World) -> None:
    delivered(world, 1)
    world.clock.pass_s(100 * DAY_S)
    keeper = retention(world, images_days=10)
    assert keeper.step() == 0
    world.clock.pass_s(3600)
    assert keeper.step() == 1


# -- files follow rows


def test_the_files_follow_and_what_was_removed_can_be_received_again(world: World) -> None:
    key = delivered(world, 1)
    paths = [image.path for image in world.archive.index.of_study(key)]
    retention(world).remove(key, actor="u1")
    assert all(path.exists() for path in paths)
    sweeper = Sweeper(database=world.archive.database, spool=world.spool)
    assert sweeper.finish() == IMAGES
    assert not any(path.exists() for path in paths)
    world.push(*range(1, IMAGES + 1), study="1.2.3.1", series="1.2.3.1.1")
    world.intake().step()
    again = world.archive.studies.get(key)
    assert (again.state, again.generation, again.images) == ("receiving", 2, IMAGES)
    assert all(path.exists() for path in paths)


def test_an_image_that_comes_again_before_its_file_is_removed_is_not_lost(world: World) -> None:
    key = delivered(world, 1)
    retention(world).remove(key, actor="u1")
    world.push(*range(1, IMAGES + 1), study="1.2.3.1", series="1.2.3.1.1")  # acknowledged
    Sweeper(database=world.archive.database, spool=world.spool).finish()
    world.intake().step()
    images = world.archive.index.of_study(key)
    assert len(images) == IMAGES
    assert all(image.path.exists() for image in images)
    found = world.spool.recover()
    assert (found.adopted, found.missing) == (0, ())


def test_after_a_crash_between_row_and_file_nothing_comes_back_as_a_new_study(world: World) -> None:
    key = delivered(world, 1)
    retention(world).remove(key, actor="u1")
    world.spool.close()  # killed here: rows gone, files there
    again = World(world.data, clock=world.clock)
    Sweeper(database=again.archive.database, spool=again.spool).finish()
    found = again.spool.recover()
    assert (found.adopted, found.missing) == (0, ())
    again.intake().step()
    assert again.archive.studies.get(key).images == 0
    assert not list((world.data / "spool").glob("*/*.dcm"))
    again.archive.close()
    world.spool = again.spool


def test_a_removal_that_the_power_cut_undid_is_still_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is shortened only after the folders are on the disk."""
    key = delivered(world, 1)
    retention(world).remove(key, actor="u1")
    order: list[str] = []
    monkeypatch.setattr("appliance.archive.removals.sync_folder", lambda folder: (order.append("folder"), sync_folder(folder)))
    sweeper = Sweeper(database=world.archive.database, spool=world.spool)
    listed = sweeper._removals.done
    monkeypatch.setattr(sweeper._removals, "done", lambda rows: (order.append("list"), listed(rows)))
    sweeper.finish()
    assert order[-1] == "list"
    assert order.count("folder") >= 1


def test_files_in_quarantine_are_never_removed(world: World) -> None:
    key = delivered(world, 1)
    image = world.archive.index.of_study(key)[0]
    world.archive.index.quarantine(image.id, problem=Reason("X", "x", "x"), study=key)
    retention(world).remove(key, actor="u1")
    Sweeper(database=world.archive.database, spool=world.spool).finish()
    assert image.path.exists()
    assert [each.id for each in world.archive.index.quarantined()] == [image.id]


# -- refusing early


def test_a_new_association_is_refused_before_its_first_image_and_one_under_way_goes_on(world: World) -> None:
    world.spool.close()
    free = world.archive.data.stat() and room_of(world.data).free
    roomy = world.archive.spool(minimum_free_bytes=0, series_reserve_bytes=0)
    association = roomy.association_opened(peer="127.0.0.1", calling_ae="CT", called_ae="CORONET")
    roomy.close()
    tight = world.archive.spool(minimum_free_bytes=free // 2, series_reserve_bytes=free)
    world.spool = tight
    with pytest.raises(ArchiveError) as raised:
        tight.association_opened(peer="127.0.0.1", calling_ae="CT", called_ae="CORONET")
    assert raised.value.details["status"] == 0xA700
    dataset = make_dataset()
    part10 = encode(dataset)
    stored = tight.store(
        sop_class_uid=str(dataset.SOPClassUID), sop_instance_uid=str(dataset.SOPInstanceUID), transfer_syntax_uid="1.2.840.10008.1.2.1",
        part10=part10, association=association,
    )  # fmt: skip
    assert stored == "stored"


def test_a_fetched_earlier_examination_goes_too_for_it_is_where_it_came_from(world: World) -> None:
    current = delivered(world, 2)
    prior = delivered(world, 1, archived=False, state="declined")
    kept = retention(world, used=99).kept(world.archive.studies.get(prior))
    found = FoundPrior(study_uid="1.2.3.1", study_date="20200101", description="CCTA", modalities="CT")
    world.archive.priors.found(current, [found], source="PACS")
    assert (kept, retention(world, used=99).kept(world.archive.studies.get(prior))) == ("not_archived", "not_archived")
    world.archive.priors.settle(current, "1.2.3.1", reason=None)
    assert retention(world, used=99).kept(world.archive.studies.get(prior)) is None
