"""Trees as the product extracts them from the exact label maps of a virtual patient: what naming is given, without a network's mistakes."""

from __future__ import annotations

import numpy as np

from appliance.analysis.stages import Heart, Segmentation, Tree
from appliance.volume import Geometry
from models.evaluation.compare import tree_of
from models.phantom import Patient, draw_scan, render
from models.phantom.scan import undisturbed
from models.phantom.types import Vector

_SPACING: Vector = (0.5, 0.5, 0.5)
_MARGIN_MM = 10.0
_CORONARY = (1, 2, 3)


def extracted_tree(patient: Patient, heart: Heart) -> Tree | None:
    """The tree of centre lines that the stages make of the patient's true coronaries at 0.5 mm; None where they find none."""
    points = np.concatenate([branch.points_mm for branch in patient.branches])
    low = points.min(axis=0) - _MARGIN_MM
    size = np.ceil((points.max(axis=0) + _MARGIN_MM - low) / np.asarray(_SPACING)).astype(int)
    shape = (int(size[2]), int(size[1]), int(size[0]))
    origin = (float(low[0]), float(low[1]), float(low[2]))
    seen = render(patient, undisturbed(draw_scan(patient.seed)), origin=origin, spacing=_SPACING, shape=shape, seed=patient.seed)
    coronary = np.where(np.isin(seen.vessels, _CORONARY), 255, 0).astype(np.uint8)
    segmentation = Segmentation(Geometry(shape, _SPACING, origin), seen.hu, seen.vessels, coronary)
    return tree_of(heart, segmentation, {})
