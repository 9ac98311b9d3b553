"""``appliance studies`` and ``appliance token`` as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from appliance.__main__ import main
from appliance.archive.tokens import TokenStore
from tests.appliance.archive.fakes import make_archive
from tests.appliance.workflow.world import World

Type = Callable[..., str]


@pytest.fixture
def world(memory: Path) -> World:
    """A box with three studies, closed for the command line."""
    world = World(memory / "data")
    people = (("Wang^XiaoDong=王^小东", "20260101"), ("Müller^Jürgen", "20260201"), ("Li^Na=李^娜", "20260301"))
    for number, (name, date) in enumerate(people, start=1):
        world.clock.pass_s(60)
        world.push(
            1,
            study=f"1.9.{number}",
            series=f"1.9.{number}.1",
            PatientName=name,
            PatientID=f"P{number}",
            StudyDate=date,
            AccessionNumber=f"A{number}",
        )
        world.intake().step()
        world.archive.studies.save(msgspec.structs.replace(world.study(f"1.9.{number}"), state="declined", urgent=number == 1))
    (memory / "coronet.toml").write_text(f'data = "{world.data}"\n[retention]\nimages_must_be_archived = false\n')
    world.close()
    return world


@pytest.fixture
def typed(world: World, memory: Path, capfd: pytest.CaptureFixture[str]) -> Type:
    def run(command: str, *words: str, status: int = 0) -> str:
        assert main([command, "--settings", str(memory / "coronet.toml"), *words]) == status
        captured = capfd.readouterr()
        return captured.out if status == 0 else captured.err

    return run


def uids(answer: str) -> list[str]:
    return [study["header"]["study_uid"] for study in json.loads(answer)["studies"]]


def test_urgent_first_then_the_newest(typed: Type) -> None:
    assert uids(typed("studies", "--json")) == ["1.9.1", "1.9.3", "1.9.2"]
    assert uids(typed("studies", "--json", "--limit", "1", "--offset", "1")) == ["1.9.3"]
    assert uids(typed("studies", "--json", "--urgent")) == ["1.9.1"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--patient", "小东"), ["1.9.1"]),
        (("--patient", "ＭÜLLER"), ["1.9.2"]),
        (("--accession", "a3"), ["1.9.3"]),
        (("--date", "20260115-20260215"), ["1.9.2"]),
        (("--date", "20260301"), ["1.9.3"]),
        (("--date", "-20260201"), ["1.9.1", "1.9.2"]),
        (("--state", "failed", "--state", "draft"), []),
        (("--text", "p2 a2"), ["1.9.2"]),
    ],
)
def test_filters(typed: Type, options: tuple[str, ...], expected: list[str]) -> None:
    assert uids(typed("studies", "--json", *options)) == expected


def test_the_table_is_aligned_whatever_the_script(typed: Type) -> None:
    lines = typed("studies").splitlines()
    assert lines[-1] == "3 of 3"
    assert "王小东" in lines[1]
    # a Chinese character takes two columns of a terminal
    columns = [
        line.index(f"A{number}") + sum(ord(each) > 0x2E80 for each in line) for line, number in zip(lines[1:4], (1, 3, 2), strict=True)
    ]
    assert columns == [lines[0].index("accession")] * 3


def test_show_protect_delete(typed: Type, world: World) -> None:
    assert "小东" in typed("studies", "show", "1.9.1")
    typed("studies", "protect", "1.9.1")
    assert json.loads(typed("studies", "show", "1.9.1", "--json"))["protected"] is True
    assert "ARC-052" in typed("studies", "delete", "1.9.1", status=1)
    typed("studies", "unprotect", "1.9.1")
    assert json.loads(typed("studies", "show", "1.9.1", "--json"))["protected"] is False


def test_marking_urgent(typed: Type) -> None:
    typed("studies", "urgent", "1.9.2")
    typed("studies", "routine", "1.9.1")
    assert uids(typed("studies", "--json", "--urgent")) == ["1.9.2"]


def test_resend_says_how_many_rows_go_again(typed: Type) -> None:
    assert typed("studies", "resend", "1.9.2") == "0\n"


def test_what_a_destination_has_can_be_sent_there_again(typed: Type, world: World) -> None:
    with closing(make_archive(world.data)) as archive:
        key = archive.studies.latest(limit=1)[0].key
        (world.data / "a.dcm").touch()
        for name in ("PACS", "LAB"):
            number = archive.outbox.add(
                study=key, generation=1, destination=name, kind="store", purpose="source", description="", files=["a.dcm"]
            )
            archive.outbox.done(number)
    assert typed("studies", "resend", key, "--to", "LAB") == "1\n"
    with closing(make_archive(world.data)) as archive:
        assert [len(archive.outbox.waiting_for(name)) for name in ("PACS", "LAB")] == [0, 1]
    assert typed("studies", "resend", key, "--to", "all", "--command", "wish-0001") == "1\n"
    assert typed("studies", "resend", key, "--to", "all", "--command", "wish-0001") == "0\n", "the same wish is one wish"
    assert "ARC-012" in typed("studies", "resend", key, "--to", "LAB", "--command", "wish-0001", status=1)
    with closing(make_archive(world.data)) as archive:
        assert [len(archive.outbox.waiting_for(name)) for name in ("PACS", "LAB")] == [1, 1]
        entries = [entry.details for entry in archive.audit.entries(study=key) if entry.action == "send again"]
    assert entries == [{"rows": 1, "to": ["LAB"]}, {"rows": 1, "to": ["PACS"]}]
    assert "WF-091" in typed("studies", "resend", key, "--to", "NOBODY", status=1)


@pytest.mark.parametrize(("words", "code"), [(("show", "1.2.3"), "ARC-010"), (("show",), "ARC-010"), (("--date", "today"), "CFG-005")])
def test_what_cannot_be_done_is_said(typed: Type, words: tuple[str, ...], code: str) -> None:
    assert code in typed("studies", *words, status=1)


def test_a_token_is_shown_once_and_can_be_revoked(typed: Type, world: World, memory: Path) -> None:
    secret = typed("token", "add", "--name", "viewer").strip()
    listed = typed("token", "list")
    assert secret not in listed
    identifier = listed.split()[0]
    assert listed.split()[1:] == ["read", "viewer"]
    typed("token", "revoke", identifier)
    assert typed("token", "list").split()[1] == "-"
    reopened = World(memory / "data")
    assert reopened.archive.tokens.check(secret) is None
    assert isinstance(reopened.archive.tokens, TokenStore)
    reopened.close()
