"""Which images a draft says it was made from: those of every series that something in it rests on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from appliance.analysis.reading import SeriesSource, StudyInput, read_headers
from appliance.findings import OtherSeries
from appliance.workflow.draft import further_sources
from appliance.workflow.draft_folder import read_draft
from tests.appliance.report.studies import NORMAL, SEVERAL
from tests.peers.datasets import ROOT, write_series

COUNT = 4


def series(folder: Path, number: int) -> SeriesSource:
    paths = write_series(folder / str(number), COUNT, pixels=np.zeros((8, 8), np.int16), series_uid=f"{ROOT}{number}")
    headers = read_headers(paths)
    return SeriesSource(headers[0].study, tuple(headers))


def phase(source: SeriesSource, *, read: bool) -> OtherSeries:
    return OtherSeries(series_uid=source.header.series_uid, role="phase", phase_percent=40.0, read=read)


def test_a_scored_calcium_scan_and_a_phase_that_was_read_are_sources_and_others_are_not(tmp_path: Path) -> None:
    main, read, unread, calcium = (series(tmp_path, number) for number in range(4))
    study = StudyInput(main=main.read(), phases=(read, unread), calcium=calcium, main_source=main)
    assert SEVERAL.calcium is not None
    scored = msgspec.structs.replace(SEVERAL.calcium, series_uid=calcium.header.series_uid)
    findings = msgspec.structs.replace(NORMAL, other_series=(phase(read, read=True), phase(unread, read=False)), calcium=scored)
    named = further_sources(study, findings)
    assert named == tuple((each.header.series_uid, each.sop_instances) for each in (read, calcium))
    assert len(set(named[0][1])) == COUNT
    assert further_sources(study, msgspec.structs.replace(findings, calcium=None, other_series=())) == ()


def test_a_draft_of_an_earlier_version_has_its_main_series_alone(tmp_path: Path) -> None:
    (tmp_path / "findings.json").write_bytes(NORMAL.to_json())
    for name, text in (
        ("header", '{"study_uid": "1", "series_uid": "2"}'),
        ("source", '[["1.2", "3"]]'),
        ("report", '{"title_zh": "", "title_en": "", "zh": [], "en": [], "notices": []}'),
    ):
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    (tmp_path / "key-views").mkdir()
    (tmp_path / "key-views" / "index.json").write_text("[]", encoding="utf-8")
    assert read_draft(tmp_path).further == ()
    (tmp_path / "further.json").write_text('[["7", [["1.2", "8"]]]]', encoding="utf-8")
    assert read_draft(tmp_path).further == (("7", (("1.2", "8"),)),)
