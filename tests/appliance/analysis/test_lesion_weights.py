"""The released network ``lesions`` on vessels that another renderer drew: it finds and types a plain plaque and is silent without one."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.lesion_network import Reading, read_tree
from appliance.analysis.lesions import find_lesions
from appliance.analysis.lumen import measure_lumen
from appliance.analysis.plaque import describe_plaques
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.engine import Session
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from tests.appliance.analysis.tubes import Vessel, named_tree, render, segmentation_of, straight


@pytest.fixture(scope="module")
def session() -> Session:
    return OnnxRuntimeEngine(threads=1).load(ModelCatalog.load(installed_catalog())["lesions"])


def reading_of(vessel: Vessel, session: Session) -> Reading:
    volume, _ = render([vessel])
    return read_tree(named_tree([vessel]), volume, [np.full(len(vessel.points), 400.0)], session)[0]


def test_a_healthy_vessel_is_silent(session: Session) -> None:
    for diameter in (2.2, 3.0, 4.0):
        assert reading_of(straight(diameter), session).share[8:-8].max() < 0.5, diameter


def test_a_soft_plaque_is_found_where_it_is_and_nowhere_else(session: Session) -> None:
    vessel = straight(3.2, stenosis=0.55, stenosis_mm=12.0, remodelled=0.3)
    reading = reading_of(vessel, session)
    away = np.abs(np.linspace(-20.0, 20.0, len(vessel.points)))
    assert reading.share[away < 3.0].min() > 0.5
    assert reading.share[(away > 9.0) & (away < 17.0)].max() < 0.5
    kinds = reading.kinds[away < 4.0].mean(axis=0)
    assert int(kinds.argmax()) == 2  # noncalcified


def test_calcium_in_the_wall_is_calcified_plaque_in_the_findings_too(session: Session) -> None:
    plain = straight(3.2, remodelled=0.5, stenosis=0.2)
    count = len(plain.points)
    middle = (count // 2 - 8, count // 2 + 9)
    vessel = Vessel(plain.points, plain.lumen, plain.outer, calcium=(0.0, 0.5, 1.0, 1.5), calcium_range=middle)
    volume, classes = render([vessel])
    named = named_tree([vessel])
    lumen = measure_lumen(named, volume, segmentation_of(volume, classes), radius_mm=(np.full(count, 1.6),))
    readings = read_tree(named, volume, [lumen.profiles[0].lumen_hu], session)
    survey = find_lesions(named, lumen, readings=readings)
    assert len(survey.stretches) == 1
    assert survey.stretches[0].start < count // 2 < survey.stretches[0].end
    assert describe_plaques(named, survey, lumen)[0].kind in ("calcified", "mixed")
