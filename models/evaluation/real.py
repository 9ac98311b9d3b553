"""Checks on real data: what the networks make of a real scan, and of a real coronary tree in a virtual heart.

python -m models.evaluation.real --thoracic FOLDER     a real thoracic CT angiogram of 1.5 mm with masks of heart and aorta
python -m models.evaluation.real --tree LEFT RIGHT     the real coronary tree (VTK PolyData) rendered into virtual hearts

The product declines the angiogram (its voxels are too large), so locator and segmentation are called directly. What the vessel network
shows there is looked at in the picture: an ungated scan of 1.5 mm may show a little of the real coronaries; its stent-graft, calcium and
dense veins are what a false tree would be made of.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.analysis.grids import interpolate_to
from appliance.analysis.heart_bulk import CARDIAC
from appliance.analysis.locate import Located, locate
from appliance.analysis.pipeline import Models, analyze
from appliance.analysis.reading import read_nifti
from appliance.analysis.segment import segment
from appliance.analysis.stages import Structure
from appliance.errors import AnalysisError
from appliance.volume import Geometry
from models.evaluation.cases import CORONARY, cropped_skeleton, skeleton_lines
from models.evaluation.compare import tree_of
from models.evaluation.lines import ostia_found, result_lines, result_points
from models.evaluation.measures import Mask, dice, false_length_mm, found_length, length_mm
from models.evaluation.pictures import Marks, draw_lines, marked_lines
from models.evaluation.real_tree import planted, read_tree
from models.evaluation.scans import scanned_study
from models.evaluation.truths import truth_of
from models.phantom import draw_patient, draw_scan
from models.phantom.types import Branch

TREE_HEARTS = (100002, 100012, 100014)
"""Of the first 16 development patients those on whose heart the tree lies best (2.3, 3.2 and 2.4 mm off its surface on average)."""
HEART = (*CARDIAC, Structure.PULMONARY_ARTERY)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluation.real", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--thoracic", type=Path, metavar="FOLDER", help="folder with ct.nii.gz and crop/heart.nii.gz, crop/aorta.nii.gz")
    parser.add_argument(
        "--tree", type=Path, nargs=2, metavar=("LEFT", "RIGHT"), help="centrelines of the left and the right coronary (.vtp)"
    )
    parser.add_argument(
        "--hearts", type=int, nargs="+", default=list(TREE_HEARTS), help="patients (development) whose hearts take the tree"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/evaluation/real"))
    options = parser.parse_args(arguments)
    models = Models.load(threads=options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {}
    if options.thoracic is not None:
        result["thoracic"] = check_thoracic(options.thoracic, models=models, picture=options.out / "thoracic.png")
    if options.tree is not None:
        tree = read_tree(*options.tree)
        result["tree"] = [
            {"heart": seed, **check_tree(tree, seed, models=models, picture=options.out / f"tree-{seed}.png")} for seed in options.hearts
        ]
    (options.out / "real.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


def check_thoracic(folder: Path, *, models: Models, picture: Path) -> dict[str, float | None]:
    """Heart and aorta against the masks of the data set, and how much the vessel network shows.

    Returns:
        ``heart_dice`` (chambers, muscle, pericardium and pulmonary artery against the mask of the heart), ``heart_in_box`` (share of that
        mask in the box that is looked into finely), ``aorta_dice`` and ``aorta_found`` (in the part of the scan that the aorta's mask
        covers), ``skeleton_mm`` (of the raw vessel mask), ``tree_mm`` (of what the product would trace and keep, before names).
    """
    from skimage.morphology import skeletonize

    volume = read_nifti(folder / "ct.nii.gz").volume
    located = locate(volume, session=models.heart)
    figures = structure_figures(located, heart=folder / "crop" / "heart.nii.gz", aorta=folder / "crop" / "aorta.nii.gz")
    segmentation = segment(volume, located, session=models.coronary)
    skeleton = cropped_skeleton(np.isin(segmentation.classes, CORONARY), skeletonize)
    raw = skeleton_lines(skeleton, segmentation.geometry)
    tree = tree_of(located.heart, segmentation, models.sessions)
    lines = [branch.points_mm for branch in tree.branches] if tree else []
    drawn = [*(("small", line) for line in raw), *(("false", line) for line in lines)]
    draw_lines(
        segmentation.hu,
        segmentation.geometry,
        drawn,
        picture,
        head="orange: the vessel mask's skeleton; yellow: what the product would keep",
    )
    return {**figures, "skeleton_mm": _length(raw), "tree_mm": _length(lines)}


def check_tree(tree: Sequence[Branch], seed: int, *, models: Models, picture: Path) -> dict[str, float | str | None]:
    """How much of a real tree the whole product finds in one virtual heart, in a scan without motion, steps or missing slices.

    Returns:
        ``found_1_5mm``, ``false_mm``, ``ostia_within_2mm`` as in the evaluation, ``length_mm`` of the vessels of 1.5 mm and more, the
        analysis's ``status``, and the share found of each branch that has such length.
    """
    patient = planted(draw_patient(seed), tree)
    scan = replace(draw_scan(seed), motion_mm={}, heart_motion_mm=0.0, steps=(), ghost=None, cut_mm=(0.0, 0.0), round_field=False)
    study = scanned_study(patient, scan)
    truth = truth_of(patient, scan)
    status: str
    try:
        analysis = analyze(study, models=models)
        status, lines, segmentation = analysis.findings.status, result_lines(analysis.findings.branches), analysis.segmentation
    except AnalysisError as error:
        status, lines, segmentation = error.code, [], None
    points = result_points(lines)
    if segmentation is not None:
        kinds = [(kind if kind != "misnamed" else "right", line) for kind, line in marked_lines(truth.branches, lines)]
        marks = Marks(circles=np.asarray(truth.ostia))
        draw_lines(segmentation.hu, segmentation.geometry, kinds, picture, head=f"real tree in the heart of patient {seed}", marks=marks)
    found = found_length(truth.branches, points)
    each = {branch.name: found_length([branch], points).value for branch in truth.branches}
    return {
        "status": status,
        "length_mm": round(found.whole, 1),
        "found_1_5mm": found.value,
        "false_mm": false_length_mm(truth.branches, [line.points for line in lines]),
        "ostia_within_2mm": ostia_found(truth.ostia, lines).value,
        **{name: value for name, value in each.items() if value is not None},
    }


def structure_figures(located: Located, *, heart: Path, aorta: Path) -> dict[str, float | None]:
    """Overlap of the locator's structures with masks of a heart and of an aorta, each on its own grid."""
    true_heart, heart_grid = read_mask(heart)
    found_heart = on_grid(located, heart_grid, *HEART)
    true_aorta, aorta_grid = read_mask(aorta)
    found_aorta = on_grid(located, aorta_grid, Structure.AORTA)
    index = located.heart.roi.to_index(heart_grid.to_points(np.argwhere(true_heart)))
    in_box = ((index >= -0.5) & (index <= np.array(located.heart.roi.shape) - 0.5)).all(axis=1)
    return {
        "heart_dice": dice(found_heart, true_heart),
        "heart_in_box": float(in_box.mean()),
        "aorta_dice": dice(found_aorta, true_aorta),
        "aorta_found": float(found_aorta[true_aorta].mean()),
    }


def read_mask(path: Path) -> tuple[Mask, Geometry]:
    """A mask from a NIfTI file."""
    volume = read_nifti(path).volume
    return volume.voxels > 0, volume.geometry


def on_grid(located: Located, grid: Geometry, *structures: Structure) -> Mask:
    """The locator's structures on another grid, False beyond its own."""
    own = located.heart.structures.geometry
    mask: npt.NDArray[np.uint8] = located.heart.mask(*structures).astype(np.uint8) * 255
    return np.asarray(interpolate_to(mask, own, grid) > 127)


def _length(lines: Sequence[npt.NDArray[np.float64]]) -> float:
    return round(sum(length_mm(line) for line in lines), 1)


if __name__ == "__main__":
    sys.exit(main())
