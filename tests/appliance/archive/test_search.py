"""The search index: what people type, what peers ask, and what must not be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.archive.folding import fold, fold_name, phrase, terms, tokens
from appliance.archive.found import InstanceEntry
from appliance.archive.search import BATCH, Criterion, PageQuery
from tests.appliance.workflow.world import World


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory)
    yield world
    world.close()


def push(world: World, number: int, name: str, **changes: object) -> str:
    """A study of one image that has been sorted; its key."""
    uid = f"1.9.{number}"
    world.push(1, study=uid, series=f"{uid}.1", PatientName=name, PatientID=f"P-{number:03}", AccessionNumber=f"ACC{number}", **changes)
    world.intake().step()
    record = world.archive.studies.find(uid)
    assert record is not None
    return record.key


def found(world: World, **query: object) -> list[str]:
    page = world.archive.search.page(PageQuery(**query), offset=0, limit=50)  # type: ignore[arg-type]
    assert page.total == len(page.keys)
    return list(page.keys)


def settle(world: World, *keys: str, state: str = "declined") -> None:
    for key in keys:
        world.archive.studies.save(msgspec.structs.replace(world.archive.studies.get(key), state=state))  # type: ignore[arg-type]


def test_folding_keeps_what_people_type_and_drops_how_they_type_it() -> None:
    assert fold("ＡＣＣ－００１ \u3000x") == "acc-001 x"
    assert fold_name("Wang^XiaoDong=王^小东=おう^しょうとう").split("\n") == ["wang xiaodong", "wangxiaodong", "王小东", "おうしょうとう"]
    assert terms("  Wang^xiao ") == ["wang", "xiao"]
    assert phrase("w") is None
    assert phrase("王小") == '"x738b5c0f"'
    assert tokens("王小") == "x738b5c0f x738b x5c0f"
    assert tokens("ab\ncd").split() == ["x00610062", "x00630064"]


@pytest.mark.parametrize(
    "typed",
    ["王小东", "小东", "东", "WANG", "ｗａｎｇ", "xiaod", "wang xiaodong", "dong wang", "p-001", "P-００1", "acc1", "c1", "王 acc1"],
)
def test_any_part_in_any_script_case_and_width_finds_the_study(world: World, typed: str) -> None:
    key = push(world, 1, "Wang^XiaoDong=王^小东")
    push(world, 2, "Müller^Jürgen")
    assert found(world, text=typed) == [key]


def test_letters_beyond_ascii_and_case_folding(world: World) -> None:
    key = push(world, 2, "Müller^Jürgen^^^=ミュラー^ユルゲン")
    push(world, 1, "Wang^XiaoDong=王^小东")
    assert found(world, text="MÜLLER") == found(world, text="ﾐｭﾗｰ") == found(world, patient="jürgen") == [key]


@pytest.mark.parametrize("typed", ["王东", "wangx iaodongq", "acc2", '"', "*", "x0061", "wang OR jürgen"])
def test_what_is_not_there_is_not_found(world: World, typed: str) -> None:
    push(world, 1, "Wang^XiaoDong=王^小东")
    assert found(world, text=typed) == []


def test_patient_and_accession_are_looked_up_apart(world: World) -> None:
    one, two = push(world, 1, "ACC2^A"), push(world, 2, "B^B")
    assert found(world, patient="acc2") == [one]
    assert found(world, accession="acc2") == [two]


def test_urgent_first_then_the_newest_in_pages(world: World) -> None:
    keys = []
    for number in range(5):
        world.clock.pass_s(10)
        keys.append(push(world, number, "A^B", StudyDate=f"2026010{number + 1}"))
    world.archive.studies.save(msgspec.structs.replace(world.archive.studies.get(keys[1]), urgent=True))
    order = [keys[1], keys[4], keys[3], keys[2], keys[0]]
    assert found(world) == order
    second = world.archive.search.page(PageQuery(), offset=2, limit=2)
    assert (second.total, list(second.keys)) == (5, order[2:4])
    assert found(world, urgent=True) == [keys[1]]
    assert found(world, from_date="20260102", to_date="20260103") == [keys[1], keys[2]]


def test_the_state_follows_every_change_of_the_study(world: World) -> None:
    key = push(world, 1, "A^B")
    assert found(world, states=("receiving",)) == [key]
    settle(world, key, state="failed")
    assert found(world, states=("receiving",)) == []
    assert found(world, states=("failed", "declined")) == [key]


def test_a_changed_name_is_found_by_its_new_words_only(world: World) -> None:
    key = push(world, 1, "Wrong^Name")
    study = world.archive.studies.get(key)
    world.archive.studies.save(msgspec.structs.replace(study, header=msgspec.structs.replace(study.header, patient_name="Right^Name")))
    assert found(world, text="wrong") == []
    assert found(world, text="right") == [key]


def test_a_study_that_is_removed_is_not_found_by_its_words(world: World) -> None:
    key = push(world, 1, "Wang^A")
    with world.archive.database.transaction() as connection:
        connection.execute("DELETE FROM study_events")
        connection.execute("UPDATE instances SET study = NULL")
        connection.execute("DELETE FROM studies WHERE key = ?", (key,))
    assert found(world, text="wang") == []
    with world.archive.database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM found_words").fetchone()[0] == 0
        assert connection.execute("SELECT count(*) FROM found_instances").fetchone()[0] == 0


# -- what peers ask


def criterion(column: str, *values: str | None, kind: str = "is") -> Criterion:
    return Criterion(column, kind, values)  # type: ignore[arg-type]


def test_nothing_is_handed_out_while_images_arrive(world: World) -> None:
    key = push(world, 1, "A^B")
    assert [list(world.archive.search.find(level, [])) for level in ("patient", "study", "series", "instance")] == [[], [], [], []]  # type: ignore[arg-type]
    settle(world, key)
    assert [len(list(world.archive.search.find(level, []))) for level in ("patient", "study", "series", "instance")] == [1, 1, 1, 1]  # type: ignore[arg-type]


def test_conditions_of_every_kind(world: World) -> None:
    keys = [push(world, number, f"Name{number}^A", StudyDate=f"2026010{number}", SeriesDescription=f"[{number}]") for number in (1, 2, 3)]
    settle(world, *keys)
    search = world.archive.search

    def uids(*criteria: Criterion) -> list[str]:
        return [row["study_uid"] for row in search.find("study", criteria)]

    assert uids(criterion("study_uid", "1.9.1", "1.9.3")) == ["1.9.1", "1.9.3"]
    assert uids(criterion("patient_id", "P-0*", kind="like")) == ["1.9.1", "1.9.2", "1.9.3"]
    assert uids(criterion("patient_id", "P-00?", kind="like"), criterion("study_date", "20260102", None, kind="between")) == [
        "1.9.2",
        "1.9.3",
    ]
    assert uids(criterion("modalities", "CT", kind="has")) == ["1.9.1", "1.9.2", "1.9.3"]
    assert uids(criterion("modalities", "MR", kind="has")) == []
    assert [row["study_uid"] for row in search.find("series", [criterion("series_description", "[2]*", kind="like")])] == ["1.9.2"]


def test_counts_are_of_what_is_found(world: World) -> None:
    world.push(1, 2, study="1.9", series="1.9.1")
    world.push(1, study="1.9", series="1.9.2", Modality="SR")
    world.intake().step()
    key = world.study("1.9").key
    settle(world, key)
    names = ("modalities", "study_series", "study_instances")
    row = next(iter(world.archive.search.find("study", [], counted=names)))
    assert (sorted(row["modalities"].split(",")), row["study_series"], row["study_instances"]) == (["CT", "SR"], 2, 3)
    series = {row["series_uid"]: row["series_instances"] for row in world.archive.search.find("series", [], counted=("series_instances",))}
    assert series == {"1.9.1": 2, "1.9.2": 1}
    patient = next(iter(world.archive.search.find("patient", [], counted=("patient_studies", "patient_series", "patient_instances"))))
    assert (patient["patient_studies"], patient["patient_series"], patient["patient_instances"]) == (1, 2, 3)


def test_results_are_found_only_while_their_release_stands(world: World) -> None:
    key = push(world, 1, "A^B")
    result = InstanceEntry(
        "1.7.7", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.1.2.1", "1.7", "drafts/x/1.dcm", modality="SR", result=True
    )
    world.archive.found.replace_results([result], study=key)
    settle(world, key, state="draft")
    assert [each.sop_instance_uid for each in world.archive.search.instances([])] == ["1.9.1.1.1"]
    settle(world, key, state="delivered")
    found_now = {each.sop_instance_uid: each.path for each in world.archive.search.instances([])}
    assert found_now["1.7.7"] == world.data / "drafts/x/1.dcm"
    assert found_now["1.9.1.1.1"].exists()
    assert [row["modalities"] for row in world.archive.search.find("study", [], counted=("modalities",))] in (["CT,SR"], ["SR,CT"])
    world.archive.found.replace_results([], study=key)
    assert [each.sop_instance_uid for each in world.archive.search.instances([])] == ["1.9.1.1.1"]


def test_answers_longer_than_a_batch_come_whole_and_once(world: World) -> None:
    key = push(world, 1, "A^B")
    settle(world, key)
    more = [InstanceEntry(f"1.8.{number}", "1.2", "1.2.840.10008.1.2.1", "1.9.1.1", "x") for number in range(2 * BATCH + 5)]
    world.archive.found.add(more, study=key)
    uids = [row["sop_instance_uid"] for row in world.archive.search.find("instance", [])]
    assert len(uids) == len(set(uids)) == 2 * BATCH + 6
    assert [row["sop_instance_uid"] for row in world.archive.search.find("instance", [], offset=3)] == uids[3:]
    assert world.archive.search.count("instance", []) == 2 * BATCH + 6
