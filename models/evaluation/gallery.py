"""Ten virtual patients close up, at the voxels of their own scans, beside a real angiogram: a picture to judge the generator by.

python -m models.evaluation.gallery --real FOLDER/ct.nii.gz --out models/cards/pictures/virtual-vessels.jpg

One row per patient: slices of 44 mm about the middle of the right coronary, the anterior descending and the circumflex artery, the
straightened 60 mm of an artery about the patient's tightest plaque (its middle, where there is none) in two planes, and a section across
its tightest place. The first row shows the real angiogram, the same size about places of its heart that the locator finds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from appliance.analysis.locate import Located, locate
from appliance.analysis.pipeline import Models
from appliance.analysis.reading import read_nifti
from appliance.analysis.stages import Structure
from appliance.geometry import frames, resample_curve, sample
from appliance.volume import Geometry, Volume
from models.phantom import Patient, Scan, draw_scan, render
from models.phantom.types import Branch, Lesion
from models.training.patients import virtual_patient

Float = npt.NDArray[np.float64]

SEEDS = (100_003, 100_004, 100_006, 100_011, 100_013, 100_015, 100_061, 100_071, 100_078, 100_094)
"""Development patients, whatever they look like."""
VESSELS = ("RCA", "LAD", "LCX")
TILE_MM, TILE_PX = 44.0, 160
STRAIGHT_MM, ACROSS_MM, SECTION_MM = 60.0, 14.7, 14.7
STEP_MM = TILE_MM / TILE_PX
WINDOW_HU = (-250.0, 750.0)
GAP_PX = 4
MEET_MM = 8.0
HEAD_PX = 13


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluation.gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, metavar="FILE", help="a real CT angiogram (NIfTI) for the first row")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path("build/evaluation/virtual-vessels.jpg"))
    options = parser.parse_args(arguments)
    rows = [real_row(options.real)] if options.real is not None else []
    for seed in options.seeds:
        rows.append(virtual_row(virtual_patient(seed), draw_scan(seed)))
        sys.stdout.write(f"{rows[-1][0]}\n")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    stacked(rows).save(options.out, quality=85)
    return 0


def virtual_row(patient: Patient, scan: Scan) -> tuple[str, list[Image.Image]]:
    """Heading and tiles of one patient."""
    mains = [branch for name in VESSELS for branch in patient.branches if branch.name == name]
    tiles = [tile(_scanned(patient, scan, _middle(branch)), _middle(branch)) for branch in mains[: len(VESSELS)]]
    branch, at, words = _place(patient)
    volume = _scanned(patient, scan, branch.points_mm[at], side_mm=STRAIGHT_MM + ACROSS_MM)
    tiles += straightened(volume, branch.points_mm, at)
    head = (
        f"{patient.seed}: {branch.name} {words}; {scan.kvp:.0f} kVp, noise {scan.noise_hu:.0f} HU, slices {scan.slice_thickness_mm:.1f} mm"
    )
    return head, tiles


def real_row(path: Path) -> tuple[str, list[Image.Image]]:
    """The real angiogram about the aortic root and where the atria meet the ventricles: there its coronary arteries must run."""
    volume = read_nifti(path).volume
    located = locate(volume, session=Models.load(threads=1).heart)
    places = (
        _between(located, Structure.RIGHT_ATRIUM, Structure.RV),
        _between(located, Structure.RV, Structure.LV_MYOCARDIUM),
        _between(located, Structure.LEFT_ATRIUM, Structure.LV_MYOCARDIUM),
        _between(located, Structure.AORTA, Structure.LEFT_ATRIUM),
    )
    return "REAL thoracic CT angiogram, not gated, 1.5 mm: where the locator sees three grooves and the aortic root", [
        tile(volume, at) for at in places
    ]


def _between(located: Located, one: Structure, other: Structure) -> Float:
    """A point of one structure's border where it meets the other, rather in front than behind."""
    first, second = located.heart.points(one), located.heart.points(other)
    near = first[cKDTree(second).query(first)[0] <= MEET_MM]
    forward = near[np.argsort(near[:, 1])]
    return np.asarray(forward[len(forward) // 4], np.float64)


def _middle(branch: Branch) -> Float:
    return np.asarray(branch.points_mm[len(branch.points_mm) // 3], np.float64)


def _place(patient: Patient) -> tuple[Branch, int, str]:
    """The tightest plaque of a wide artery, or the middle of the anterior descending artery."""
    by_id = {branch.id: branch for branch in patient.branches}

    def wide(lesion: Lesion) -> bool:
        return float(by_id[lesion.branch].healthy_radius_mm[lesion.minimum]) >= 1.0

    tightest = max(filter(wide, patient.lesions), key=lambda each: each.diameter_stenosis_percent, default=None)
    if tightest is None:
        branch = next(each for each in patient.branches if each.name == "LAD")
        return branch, len(branch.points_mm) // 3, "without plaque"
    words = f"{tightest.diameter_stenosis_percent:.0f} % {tightest.plaque_type} {' '.join(tightest.features)}".strip()
    return by_id[tightest.branch], tightest.minimum, words


def _scanned(patient: Patient, scan: Scan, centre: Float, *, side_mm: float = TILE_MM) -> Volume:
    """A box of the scan at its own voxels."""
    pixel = (scan.fov_mm or 200.0) / 512
    spacing = (pixel, pixel, scan.increment_mm)
    nx, ny, nz = (int(np.ceil(side_mm / step)) for step in spacing)
    x, y, z = (float(value) for value in np.asarray(centre) - 0.5 * side_mm)
    rendered = render(patient, scan, origin=(x, y, z), spacing=spacing, shape=(nz, ny, nx), seed=patient.seed)
    return Volume(rendered.hu, Geometry((nz, ny, nx), spacing, (x, y, z)))


def tile(volume: Volume, centre: Float) -> Image.Image:
    """The slice through a place, front upwards."""
    side = STEP_MM * (np.arange(TILE_PX) - 0.5 * (TILE_PX - 1))
    y, x = np.meshgrid(side, side, indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], axis=-1) + centre
    return grey(sample(volume.voxels, volume.geometry, points))


def straightened(volume: Volume, line: Float, at: int) -> list[Image.Image]:
    """Two planes along the line about one of its points, and the section across it there."""
    even = resample_curve(np.asarray(line, np.float64), STEP_MM)
    middle = int(np.argmin(np.linalg.norm(even - line[at], axis=1)))
    half = round(0.5 * STRAIGHT_MM / STEP_MM)
    part = even[max(middle - half, 0) : middle + half]
    _, first, second = frames(part)
    across = STEP_MM * (np.arange(round(ACROSS_MM / STEP_MM)) - 0.5 * (round(ACROSS_MM / STEP_MM) - 1))
    planes = [part[None] + across[:, None, None] * normal[None] for normal in (first, second)]
    here = min(middle, half)
    section = part[here] + across[:, None, None] * first[here] + across[None, :, None] * second[here]
    seen = [grey(sample(volume.voxels, volume.geometry, points)) for points in (*planes, section)]
    both = Image.new("L", (seen[0].width, 2 * seen[0].height + GAP_PX))
    both.paste(seen[0], (0, 0))
    both.paste(seen[1], (0, seen[0].height + GAP_PX))
    return [both, seen[2].resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)]


def grey(hu: npt.NDArray[np.float32]) -> Image.Image:
    """Attenuation in the window, eight bits."""
    low, high = WINDOW_HU
    return Image.fromarray((255.0 * np.clip((hu - low) / (high - low), 0.0, 1.0)).astype(np.uint8))


def stacked(rows: Sequence[tuple[str, list[Image.Image]]]) -> Image.Image:
    """The rows under one another, each with its heading."""
    width = max(sum(image.width + GAP_PX for image in tiles) for _, tiles in rows)
    heights = [HEAD_PX + max(image.height for image in tiles) + GAP_PX for _, tiles in rows]
    whole = Image.new("L", (width, sum(heights)))
    draw, top = ImageDraw.Draw(whole), 0
    for (head, tiles), height in zip(rows, heights, strict=True):
        draw.text((2, top), head, fill=255)
        left = 0
        for image in tiles:
            whole.paste(image, (left, top + HEAD_PX))
            left += image.width + GAP_PX
        top += height
    return whole


if __name__ == "__main__":
    sys.exit(main())
