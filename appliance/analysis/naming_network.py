"""The naming network: what each point of a tree belongs to, with a probability for every label."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from appliance.analysis.naming_table import naming_table
from appliance.analysis.stages import Float, Heart, Tree
from appliance.analysis.surroundings import Surroundings
from appliance.inference.engine import Session

Label = Literal["LM", "LAD", "LCX", "RCA", "RI", "D", "OM", "PDA", "PLB", "S", "AM", "CB", "other", "none"]
"""Coronaries by name (S septal, AM acute marginal and other branches to the right ventricle, CB conus), other coronaries, no coronary."""

LABELS: tuple[Label, ...] = get_args(Label)


def label_tree(tree: Tree, heart: Heart, surroundings: Surroundings, *, session: Session) -> list[Float] | None:
    """Probability of each of `LABELS` at every point: one (n, len(LABELS)) array per branch; None where the tree cannot be described.

    Raises:
        InferenceError: the network's output must not be used.
    """
    table = naming_table(tree, heart, surroundings)
    if table is None:
        return None
    rows = len(table.pieces)
    padded = np.pad(table.columns, ((0, 0), (0, -rows % session.model.multiple), (0, 0)))
    probability = session.run(padded[None])["probability"][0]
    return table.spread(probability, tree)
