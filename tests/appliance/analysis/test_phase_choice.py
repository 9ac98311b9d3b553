"""The study whose phases are looked at: what is exchanged, what is kept, and what the findings are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.analysis.locate import Located
from appliance.analysis.phase_choice import Look, candidates, choose_phase, exchange
from appliance.analysis.phases import Phase
from appliance.analysis.quality_network import Rated
from appliance.analysis.reading import SeriesSource, StudyInput, read_headers
from appliance.analysis.stages import Heart
from appliance.findings import Quality, VesselQuality
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
LOOK = Look(located=Located(Heart(LabelMap(NOWHERE, GRID), GRID), NOWHERE, NOWHERE), rules=RULES, rated=None)


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


def rated(grade: int, value: float) -> Rated:
    vessel = VesselQuality(vessel="RCA", grade=grade, motion_mm=1.0, contrast_hu=400.0, noise_hu=20.0)
    return Rated(vessels=(vessel,), value=value, psf_sigma_mm=0.3, steps=0.0, streaks=0.0)


def test_the_best_phase_becomes_the_main_volume(tmp_path: Path) -> None:
    study = study_of(tmp_path, 75, 40, 60)
    phases = [Phase(f"{ROOT}{number}", percent, rated(number + 1, number)) for number, percent in enumerate((75.0, 40.0, 60.0))]
    changed, others = exchange(study, study.phases, phases, 2)
    assert changed.main.header.series_uid == f"{ROOT}2"
    assert (changed.main.volume.voxels == 2).all()
    assert changed.main_source is study.phases[1]
    assert [source.header.phase_percent for source in changed.phases] == [75, 40]
    assert others == (phases[0], phases[1])


def test_the_main_volume_stays_where_it_is_best(tmp_path: Path) -> None:
    study = study_of(tmp_path, 75, 40)
    phases = [Phase(f"{ROOT}0", 75.0, None), Phase(f"{ROOT}1", 40.0, None)]
    changed, others = exchange(study, study.phases, phases, 0)
    assert changed is study
    assert others == (phases[1],)


def test_a_shorter_series_is_listed_but_never_chosen(tmp_path: Path) -> None:
    study = study_of(tmp_path, 60, 75)
    short = series(tmp_path, 7, 75.0, count=8)
    study = StudyInput(main=study.main, phases=(short, *study.phases), main_source=study.main_source)
    assert candidates(study) == study.phases[1:]
    phases = [Phase(f"{ROOT}0", 60.0, None), Phase(f"{ROOT}1", 75.0, rated(4, 3.5))]
    changed, others = exchange(study, candidates(study), phases, 1)
    assert changed.main.header.series_uid == f"{ROOT}1"
    assert [(each.series_uid, each.rated) for each in others] == [(f"{ROOT}0", None), (f"{ROOT}7", None)]


def test_a_single_phase_is_the_only_one(tmp_path: Path, heart: Session) -> None:
    chosen = choose_phase(study_of(tmp_path, 75), LOOK, heart=heart, quality=None)
    assert chosen.quality.phase_choice == "only"
    assert chosen.others == ()
    assert [reason.code for reason in chosen.quality.warnings] == ["DEC-053", "DEC-154"]  # a tiny field of view; much noise


def test_a_phase_that_shows_no_heart_is_no_choice(tmp_path: Path, heart: Session) -> None:
    """By its header the second phase is the better one, but nothing is in it: the main volume stands."""
    study = study_of(tmp_path, 60, 75)
    chosen = choose_phase(study, LOOK, heart=heart, quality=None)
    assert chosen.study is study
    assert chosen.quality.phase_choice == "header"
    assert [(each.percent, each.rated) for each in chosen.others] == [(75.0, None)]
