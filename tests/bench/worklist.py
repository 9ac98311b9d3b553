"""Listing, sorting and searching 100,000 studies, as the kiosk and the command line do it."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

import msgspec

from appliance.archive.archive import Archive, open_archive
from appliance.archive.found import write_study
from appliance.archive.search import PageQuery
from appliance.archive.studies import study_key
from appliance.study import StudyHeader

STUDIES = 100_000
PAGE = 50
REPEATS = 7
FAMILY, GIVEN = "王李张刘陈杨黄赵吴周徐孙马朱胡", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华文建国"
LATIN = ("Wang", "Li", "Zhang", "Liu", "Chen", "Müller", "Smith", "Sato", "Kim", "Nguyen")

LOOKS: dict[str, tuple[PageQuery, int]] = {
    "first": (PageQuery(), 0),
    "last": (PageQuery(), STUDIES - PAGE),
    "chinese_name": (PageQuery(text="王小"), 0),
    "common_name": (PageQuery(text="wang"), 0),
    "patient_id": (PageQuery(text="p0012345"), 0),
    "accession": (PageQuery(accession="A0099999"), 0),
    "nobody": (PageQuery(text="zzzz"), 0),
    "state_and_date": (PageQuery(states=("draft", "failed"), from_date="20250301", to_date="20250401"), 0),
    "month": (PageQuery(from_date="20250301", to_date="20250331"), 2 * PAGE),
    "name_and_date": (PageQuery(text="李", from_date="20250301", to_date="20250331"), 0),
    "urgent": (PageQuery(urgent=True), 0),
}


def worklist_figures() -> dict[str, float]:
    """Median milliseconds of each look; ``worklist_100k_ms`` is that of the slowest one."""
    with tempfile.TemporaryDirectory(prefix="coronet-worklist-") as folder:
        archive = open_archive(Path(folder))
        fill(archive, STUDIES)
        figures = {f"worklist_100k_{name}_ms": look_ms(archive, query, offset) for name, (query, offset) in LOOKS.items()}
        archive.close()
    return {**figures, "worklist_100k_ms": max(figures.values())}


def look_ms(archive: Archive, query: PageQuery, offset: int) -> float:
    """Median milliseconds from the wish to the rows of one page with their total."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        page = archive.search.page(query, offset=offset, limit=PAGE)
        archive.studies.rows(page.keys)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def fill(archive: Archive, count: int) -> None:
    """Enter studies of made-up people, in one transaction."""
    made = random.Random(100)
    with archive.database.transaction() as connection:
        for number in range(count):
            header = header_of(number, made)
            key, at = study_key(header.study_uid), 1.7e9 + 300 * number
            state = made.choices(("delivered", "declined", "draft", "failed"), (94, 3, 2, 1))[0]
            urgent = made.random() < 0.01
            connection.execute(
                "INSERT INTO studies (key, study_uid, state, revision, generation, header, received_at, updated_at, images, urgent,"
                " attempts) VALUES (?, ?, ?, 1, 1, ?, ?, ?, 300, ?, 0)",
                (key, header.study_uid, state, msgspec.json.encode(header), at, at, int(urgent)),
            )
            write_study(connection, key=key, state=state, urgent=urgent, received_at=at, header=header)


def header_of(number: int, made: random.Random) -> StudyHeader:
    """A study of one of 70,000 people."""
    family, given = made.choice(LATIN), "".join(made.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(6))
    chinese = f"{made.choice(FAMILY)}^{made.choice(GIVEN)}{made.choice(GIVEN + '小东')}"
    return StudyHeader(
        study_uid=f"1.2.826.0.1.3680043.10.1999.100.{number}",
        series_uid=f"1.2.826.0.1.3680043.10.1999.100.{number}.1",
        patient_name=f"{family}^{given.capitalize()}={chinese}",
        patient_id=f"P{made.randrange(70_000):07d}",
        accession_number=f"A{number:07d}",
        study_date=f"2025{number % 12 + 1:02d}{number % 28 + 1:02d}",
        study_time="120000",
        study_description="CORONARY CTA",
    )
