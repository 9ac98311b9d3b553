"""Analytic hearts: believable sizes, chambers beside each other and not in each other, and room for the plan's vessels."""

from __future__ import annotations

import numpy as np
import pytest

from models.phantom.organs import HEART, HEART_MODEL_CHANCE, HEART_MODELS
from models.phantom.procedural import draw_heart, draw_proportions
from models.phantom.types import Grid
from models.phantom.variants import draw_plan, plain

STEP_MM = 3.0
#: Blood of a chamber, muscle with its blood, and great vessels cut off at the volume's edge (mL): from small hearts in systole (the
#: right ventricle's end-systolic volume begins at about 32 mL) to large ones in diastole.
VOLUMES = {"lv_epi": (110, 420), "lv": (20, 170), "rv": (32, 260), "la": (40, 200), "ra": (35, 190), "ao": (20, 110), "pa": (12, 80)}


@pytest.fixture(scope="module")
def hearts() -> list[dict[str, np.ndarray]]:
    grid = Grid((-80.0, -75.0, -190.0), STEP_MM, (55, 52, 60))
    return [draw_heart(np.random.default_rng(k), grid.points(), grid.shape)[0] for k in range(8)]


def test_structures_have_believable_volumes(hearts: list[dict[str, np.ndarray]]) -> None:
    for heart in hearts:
        assert set(heart) == set(HEART)
        for name, (low, high) in VOLUMES.items():
            volume = float((heart[name] < 0.0).sum()) * STEP_MM**3 / 1000.0
            assert low < volume < high, (name, volume)


def test_blood_pools_do_not_overlap(hearts: list[dict[str, np.ndarray]]) -> None:
    for heart in hearts:
        for a, b in (("lv", "rv"), ("la", "lv"), ("ra", "rv"), ("pa", "rv"), ("lv", "ao")):
            both = (heart[a] < -1.0) & (heart[b] < -1.0)
            assert both.sum() * STEP_MM**3 < 200.0, (a, b)


def test_the_left_ventricle_has_muscle_all_round_but_at_its_base(hearts: list[dict[str, np.ndarray]]) -> None:
    for heart in hearts:
        shell = (heart["lv"] > 0.0) & (heart["lv"] < 2.0)
        assert (heart["lv_epi"][shell] < 0.0).mean() > 0.75


def test_hearts_differ_in_wall_size_and_lie() -> None:
    drawn = [draw_proportions(np.random.default_rng(k)) for k in range(200)]
    walls = [p.wall for p in drawn]
    assert min(walls) < 6.0 < 14.0 < max(walls)
    lie = [np.degrees(np.arcsin((p.turn @ np.array([0.61, -0.64, -0.46]))[2])) for p in drawn]
    assert max(lie) - min(lie) > 25.0
    for p in drawn:
        assert np.allclose(p.turn @ p.turn.T, np.eye(3), atol=1e-9)
        assert p.radius - p.wall > 10.0


def test_nearly_half_of_the_hearts_are_analytic() -> None:
    chance = dict(zip(HEART_MODELS, HEART_MODEL_CHANCE, strict=True))
    assert sum(chance.values()) == pytest.approx(1.0)
    assert 0.4 <= chance["procedural"] <= 0.5


def test_the_plain_plan_keeps_the_body_and_drops_the_anomaly() -> None:
    plan = next(p for p in (draw_plan(np.random.default_rng(k)) for k in range(500)) if p.origin != "normal")
    easy = plain(plan)
    assert easy.size == plan.size
    assert easy.variants() == tuple(v for v in easy.variants() if v in ("early_bifurcation", "lad_around_apex", "ectatic"))
    assert easy.aortic_gap() == {}
