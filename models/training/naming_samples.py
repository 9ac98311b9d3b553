"""Samples of the naming network: the product's own table of a virtual tree, and the true label of each of its points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.analysis.naming_network import LABELS
from appliance.analysis.naming_table import COLUMNS, POINTS, NamingTable, naming_table
from appliance.analysis.surroundings import Surroundings
from models.networks.naming import MULTIPLE
from models.training.naming_cases import NamingCase, training_case
from models.training.naming_trees import Damage, LabelledTree, draw_tree, heart_of
from models.training.naming_warp import warp

IGNORED = -1
_TREES_PER_HEART = 6
_RAMUS = LABELS.index("RI")
_DRAWN_AGAIN = 0.6
"""How often a patient without a ramus is put back: one in eight of the generator's has one, then one in four, as in people."""
_LONGEST_TABLE = 128
_THIN_MM = 0.75
"""Points of thinner vessels count less: they are not graded."""
_THIN_WEIGHT = 0.4
_OWN = slice(POINTS, 2 * POINTS)
_DROPPED = ("radius", "to_right_atrium", "to_pulmonary_artery", "left_ostium", "from_ostium")
"""Columns of which one is now and then withheld, so that no label hangs on a single one."""


@dataclass(frozen=True)
class NamingSample:
    """One table: columns (c, rows, points), true label and weight of each (rows, points); label `IGNORED` where there is none."""

    columns: npt.NDArray[np.float16]
    label: npt.NDArray[np.int8]
    weight: npt.NDArray[np.float16]


def naming_samples(seed: int) -> Iterator[NamingSample]:
    """An endless stream of trees of the train family; ``seed`` decides patients, hearts and damage."""
    rng = np.random.default_rng(seed)
    while True:
        case = warp(ramus_oftener(training_case, rng), rng)
        heart = heart_of(case, rng)
        surroundings = Surroundings(heart)
        for _ in range(_TREES_PER_HEART):
            drawn = draw_tree(case, heart, rng, Damage(float(rng.uniform(0.0, 1.5))))
            table = naming_table(drawn.tree, heart, surroundings) if drawn else None
            if drawn and table and len(table.pieces) <= _LONGEST_TABLE:
                yield make_sample(drawn, table)


def ramus_oftener(draw: Callable[[np.random.Generator], NamingCase], rng: np.random.Generator) -> NamingCase:
    """A case that ``draw`` gives; one without a ramus is put back as often as `_DRAWN_AGAIN` says, and another one is drawn."""
    case = draw(rng)
    while not any(line.label == _RAMUS for line in case.lines) and rng.random() < _DRAWN_AGAIN:
        case = draw(rng)
    return case


def make_sample(drawn: LabelledTree, table: NamingTable) -> NamingSample:
    """The sample of a tree and its table."""
    label = np.full(table.columns.shape[1:], IGNORED, np.int8)
    label[:, _OWN] = np.concatenate(drawn.labels)[table.own]
    radius = np.concatenate([branch.radius_mm for branch in drawn.tree.branches])[table.own]
    points = np.concatenate([branch.points_mm for branch in drawn.tree.branches])[table.own]
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(axis=1, keepdims=True) / POINTS
    weight = np.zeros(label.shape, np.float16)
    weight[:, _OWN] = (0.25 + length) * np.where(radius < _THIN_MM, _THIN_WEIGHT, 1.0)
    return NamingSample(table.columns.astype(np.float16), label, weight)


def make_batch(samples: list[NamingSample], rng: np.random.Generator | None) -> dict[str, npt.NDArray[Any] | None]:
    """Samples side by side, filled up with empty rows; ``channels`` scaled as the exported graph does. Without ``rng`` all is shown."""
    rows = max(sample.label.shape[0] for sample in samples)
    rows += -rows % MULTIPLE
    columns = np.stack([np.pad(scale(s.columns), ((0, 0), (0, rows - s.label.shape[0]), (0, 0))) for s in samples])
    for item in columns:
        if rng is not None and rng.random() < 0.15:
            item[_index(str(rng.choice(_DROPPED)))] = 0.0
    pad = [((0, rows - s.label.shape[0]), (0, 0)) for s in samples]
    return {
        "channels": columns.astype(np.float32),
        "label": np.stack([np.pad(s.label, p, constant_values=IGNORED) for s, p in zip(samples, pad, strict=True)]).astype(np.int64),
        "weight": np.stack([np.pad(s.weight, p) for s, p in zip(samples, pad, strict=True)]).astype(np.float32),
    }


def scale(columns: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Columns (c, rows, points) to [-1, 1], the three marks as they are; the same as the exported graph."""
    marks = len(COLUMNS) - 3
    middle = np.array([0.5 * (c.low + c.high) if i < marks else 0.0 for i, c in enumerate(COLUMNS)], np.float32)
    factor = np.array([2.0 / (c.high - c.low) if i < marks else 1.0 for i, c in enumerate(COLUMNS)], np.float32)
    return (columns.astype(np.float32) - middle[:, None, None]) * factor[:, None, None]


def _index(name: str) -> int:
    return [column.name for column in COLUMNS].index(name)
