"""The study whose phases are looked at: what is exchanged, what is kept, and what the findings are told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from appliance.analysis.locate import Located
from appliance.analysis.phase_choice import Look, candidates, choose_phase, exchange
from appliance.analysis.quality import warnings
from appliance.analysis.reading import SeriesSource, StudyInput, read_headers
from appliance.analysis.second_look import further_phase
from appliance.analysis.stages import Heart
from appliance.findings import Quality
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from appliance.volume import Geometry, LabelMap
from tests.peers.datasets import ROOT, write_series

GRID = Geometry((4, 4, 4), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0))
NOWHERE = np.zeros(GRID.shape, np.uint8)
RULES = Quality(
    score=5, aorta_mean_hu=400.0, aorta_noise_hu=35.0, cnr=12.0, motion=None, coverage_complete=True, not_assessable=(),
    motion_reason="not_measured",
)  # fmt: skip
LOOK = Look(
    located=Located(Heart(LabelMap(NOWHERE, GRID), GRID), NOWHERE, NOWHERE),
    quality=msgspec.structs.replace(RULES, warnings=warnings(RULES)),
)


@pytest.fixture(scope="module")
def heart() -> Session:
    return best_engine().load(ModelCatalog.load(installed_catalog())["heart-loc"])


def series(folder: Path, number: int, phase: float, count: int = 10) -> SeriesSource:
    pixels = np.full((8, 8), number, np.int16)
    paths = write_series(folder / str(number), count, pixels=pixels, series_uid=f"{ROOT}{number}", NominalPercentageOfCardiacPhase=phase)
    headers = read_headers(paths)
    return SeriesSource(headers[0].study, tuple(headers))


def study_of(folder: Path, *phases: float) -> StudyInput:
    """A study whose first phase is the main one; every voxel of phase n holds n."""
    main, *others = (series(folder, number, phase) for number, phase in enumerate(phases))
    return StudyInput(main=main.read(), phases=tuple(others), main_source=main)


def test_the_phase_taken_becomes_the_main_volume(tmp_path: Path) -> None:
    study = study_of(tmp_path, 75, 40, 60)
    taken = study.phases[1]
    changed = exchange(study, taken, taken.read())
    assert changed.main.header.series_uid == f"{ROOT}2"
    assert (changed.main.volume.voxels == 2).all()
    assert changed.main_source is taken
    assert [source.header.phase_percent for source in changed.phases] == [75, 40]


def test_a_shorter_series_is_listed_but_never_chosen(tmp_path: Path, heart: Session) -> None:
    study = study_of(tmp_path, 60, 50)
    short = series(tmp_path, 7, 75.0, count=8)
    study = StudyInput(main=study.main, phases=(short, *study.phases), main_source=study.main_source)
    assert candidates(study) == study.phases[1:]
    chosen = choose_phase(study, LOOK, heart=heart)
    assert chosen.study is study
    assert chosen.quality.phase_choice == "header"


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 3, 2, 1), (3, 1, 4, 2)])
def test_the_order_in_which_the_phases_came_never_decides(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Of two as far from a rest, and of two as far from the other rest, it is always the same."""
    by_number = {number: series(tmp_path, number, phase) for number, phase in enumerate((60.0, 70.0, 80.0, 35.0, 45.0))}
    main = by_number[0]
    study = StudyInput(main=main.read(), phases=tuple(by_number[number] for number in order), main_source=main)
    assert [source.header.series_uid for source in candidates(study)] == [f"{ROOT}{number}" for number in (1, 2, 3, 4)]
    taken = next(source for source in study.phases if source.header.phase_percent == 70.0)
    further = further_phase(exchange(study, taken, taken.read()))
    assert further is not None
    assert further.header.series_uid == f"{ROOT}3"


def test_a_single_phase_is_the_only_one(tmp_path: Path, heart: Session) -> None:
    chosen = choose_phase(study_of(tmp_path, 75), LOOK, heart=heart)
    assert chosen.quality.phase_choice == "only"
    assert [reason.code for reason in chosen.quality.warnings] == ["DEC-053", "DEC-154"]  # a tiny field of view; much noise


def test_a_phase_that_shows_no_heart_is_no_choice(tmp_path: Path, heart: Session) -> None:
    """By its header the second phase is the better one, but nothing is in it: the main volume stands."""
    study = study_of(tmp_path, 60, 75)
    chosen = choose_phase(study, LOOK, heart=heart)
    assert chosen.study is study
    assert chosen.quality.phase_choice == "header"
