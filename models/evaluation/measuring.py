"""How much of the error in diameters and degrees comes from measuring, and how much from what lies before it.

Three looks at the same virtual patients of the development family, from the easiest to the whole:

| look | given | what is left to err |
|---|---|---|
| `true-lines` | the true centrelines, the networks' segmentation | the section model and the reference |
| `product` | nothing | segmentation, centrelines, section model, reference, detection |

    python -m models.evaluation.measuring --cases 8 --kept FOLDER

`--kept` keeps the rendered and segmented patients (this harness's own files) so that a change of the section model is measured in seconds.
Bias, mean absolute error and limits of agreement (bias -+ 1.96 standard deviations: Bland and Altman, Lancet 1986;327:307) of lumen
diameters by size and by the plaque at the place, and of the degrees by plaque type and true degree. Stents and the stretches in which two
vessels open into each other are left out: no one diameter is true there.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from appliance.analysis.lesions import find_lesions
from appliance.analysis.locate import locate
from appliance.analysis.lumen import measure_lumen
from appliance.analysis.measure import measure
from appliance.analysis.pipeline import Models
from appliance.analysis.segment import segment
from appliance.analysis.stages import Heart, NamedBranch, NamedTree, Segmentation
from appliance.anatomy import Vessel
from appliance.geometry import arc_length
from appliance.inference.catalog import installed_catalog
from appliance.volume import Volume
from models.evaluation.measures import Float
from models.evaluation.scans import designed_scan, is_native, scanned_study
from models.evaluation.truths import Truth, clipped, truth_of
from models.phantom import Scan, draw_patient
from models.phantom.types import Branch, Lesion, Stent
from models.training.families import load_families

BANDS = ((1.5, 2.0), (2.0, 3.0), (3.0, 9.0))
SMALLEST_MM = 1.5
NEAR_LINE_MM = 0.75
MOVING_MM = 1.0
NEAR_LESION_MM, APART_MM = 3.0, 5.0
"""A result belongs to a true lesion if its narrowest point lies so near to the stretch, or to the narrowest point."""
ECCENTRIC = 0.25
"""Centre of the outer wall off the lumen's by this part of the wall's mean thickness or more."""


@dataclass(frozen=True)
class Kept:
    """A patient, scanned and segmented: all that the stages after the segmentation need, and the truth."""

    seed: int
    scan: Scan
    truth: Truth
    branches: tuple[Branch, ...]
    lesions: tuple[Lesion, ...]
    stents: tuple[Stent, ...]
    volume: Volume
    heart: Heart
    segmentation: Segmentation


@dataclass(frozen=True)
class Places:
    """Points of vessel with what is true and what was measured there, (n,): diameters in mm, ``plaque`` and ``moving`` as labels."""

    healthy: Float
    lumen: Float
    vessel: Float
    measured: Float
    measured_vessel: Float
    plaque: npt.NDArray[np.str_]
    moving: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Degree:
    """One true lesion: what it is, its true degree, and what was measured (None: not found, or no degree given)."""

    seed: int
    plaque: str
    eccentric: bool
    moving: bool
    true_percent: float
    by_true_reference: float | None
    measured_percent: float | None


def scan_patient(seed: int, models: Models) -> Kept:
    """Draw, scan, locate and segment one patient of the development family."""
    patient, scan = draw_patient(seed), designed_scan(seed, load_families()["development"].design_of(seed))
    volume = scanned_study(patient, scan).main.volume
    located = locate(volume, session=models.heart)
    segmentation = segment(volume, located, session=models.coronary)
    truth = clipped(truth_of(patient, scan), volume.geometry)
    return Kept(seed, scan, truth, patient.branches, patient.lesions, patient.stents, volume, located.heart, segmentation)


def true_tree(kept: Kept) -> tuple[NamedTree, list[int]]:
    """The true centrelines as the analysis would have them, and which branch of the truth each one is."""
    chosen = [i for i, b in enumerate(kept.truth.branches) if is_native(kept.branches[i]) and 2 * b.healthy_radius.max() >= SMALLEST_MM]
    number = {i: n for n, i in enumerate(chosen)}
    branches = []
    for i in chosen:
        one = kept.truth.branches[i]
        parent = number.get(one.parent) if one.parent is not None else None
        branches.append(
            NamedBranch(
                points_mm=np.asarray(one.points),
                parent=parent,
                parent_index=one.parent_index if parent is not None else None,
                vessel=one.vessel if one.vessel in get_args(Vessel) else "other",  # type: ignore[arg-type]
                segments=tuple(one.segments),  # type: ignore[arg-type]
                confidence=1.0,
            )
        )
    return NamedTree(branches=tuple(branches), dominance=None), chosen


def plaque_at(kept: Kept, branch: int) -> npt.NDArray[np.str_]:
    """What lies at each point of a true branch: a plaque's type, ``stent``, ``junction`` or ``healthy``."""
    one = kept.truth.branches[branch]
    out = np.full(len(one.points), "healthy", dtype="<U12")
    for lesion in kept.lesions:
        if lesion.branch == branch:
            out[lesion.start : lesion.end + 1] = lesion.plaque_type
    along = arc_length(one.points)
    mouths = [(0.0, 2.0 * _radius_at_origin(kept, branch))]
    for i, child in enumerate(kept.truth.branches):
        if child.parent == branch and child.parent_index is not None and i != branch:
            mouths.append((float(along[min(child.parent_index, len(along) - 1)]), 2.0 * float(child.healthy_radius[0]) + 1.0))
    for place, reach in mouths:
        out[np.abs(along - place) < reach] = "junction"
    for stent in kept.stents:
        if stent.branch == branch:
            out[max(stent.start - 4, 0) : stent.end + 5] = "stent"
    return out


def _radius_at_origin(kept: Kept, branch: int) -> float:
    one = kept.truth.branches[branch]
    if one.parent is None or one.parent_index is None:
        return 1.5
    return float(kept.truth.branches[one.parent].healthy_radius[one.parent_index])


def _moving(kept: Kept, branch: int) -> bool:
    return kept.scan.motion_mm.get(kept.truth.branches[branch].vessel, max(kept.scan.motion_mm.values(), default=0.0)) >= MOVING_MM


def _places(kept: Kept, lines: Sequence[tuple[Float, Float, Float]]) -> Places:
    """Pair each true point with the nearest measured one: lines of (points, lumen, vessel)."""
    points = np.concatenate([p for p, _, _ in lines])
    lumen, vessel = (np.concatenate([line[k] for line in lines]) for k in (1, 2))
    search = cKDTree(points)
    parts: list[tuple[npt.NDArray[np.generic], ...]] = []
    for i, one in enumerate(kept.truth.branches):
        if not is_native(kept.branches[i]):
            continue
        distance, nearest = search.query(one.points)
        usable = (distance < NEAR_LINE_MM) & (one.healthy_radius > 0.0) & (2.0 * kept.branches[i].lumen_radius_mm >= SMALLEST_MM)
        kinds = plaque_at(kept, i)
        usable &= (kinds != "stent") & (kinds != "junction")
        own = kept.branches[i]
        moving = np.full(int(usable.sum()), _moving(kept, i))
        columns = (2 * own.healthy_radius_mm, 2 * own.lumen_radius_mm, 2 * own.outer_radius_mm, lumen[nearest], vessel[nearest], kinds)
        parts.append((*(c[usable] for c in columns), moving))
    return Places(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def look_along_true_lines(kept: Kept) -> tuple[Places, list[Degree]]:
    """The section model and the reference on the true centrelines."""
    named, chosen = true_tree(kept)
    lumen = measure_lumen(named, kept.volume, kept.segmentation)
    survey = find_lesions(named, lumen)
    places = _places(kept, [(b.points_mm, p.lumen_mm, p.vessel_mm) for b, p in zip(named.branches, lumen.profiles, strict=True)])
    degrees = []
    for lesion in _graded(kept):
        if lesion.branch not in chosen:
            continue
        number = chosen.index(lesion.branch)
        span = slice(lesion.start, lesion.end + 1)
        found, reference = lumen.profiles[number].lumen_mm[span], survey.references[number].lumen_mm[span]
        own = np.clip(1.0 - found / reference, 0.0, 1.0)
        healthy = 2.0 * kept.branches[lesion.branch].healthy_radius_mm[span]
        given = np.isfinite(own).any()
        degrees.append(
            _degree(
                kept,
                lesion,
                100.0 * float(np.clip(1.0 - found / healthy, 0.0, 1.0).max()),
                100.0 * float(np.nanmax(own)) if given else None,
            )
        )
    return places, degrees


def look_at_product(kept: Kept, models: Models) -> tuple[Places, list[Degree]]:
    """All stages after the segmentation."""
    measured = measure(kept.volume, kept.heart, kept.segmentation, sessions=models.sessions)
    lines = [(np.asarray(b.points_mm), _floats(b.lumen_diameter_mm), _floats(b.vessel_diameter_mm)) for b in measured.branches]
    degrees = []
    for lesion in _graded(kept):
        place = kept.truth.branches[lesion.branch].points[lesion.start : lesion.end + 1]
        narrowest = place[lesion.minimum - lesion.start]
        near = []
        for one in measured.lesions:
            spot = lines[one.branch][0][one.minimum]
            if cKDTree(place).query(spot)[0] < NEAR_LESION_MM or np.linalg.norm(spot - narrowest) < APART_MM:
                near.append((float(np.linalg.norm(spot - narrowest)), one.diameter_stenosis_percent))
        value = min(near, key=lambda pair: pair[0])[1] if near else None
        degrees.append(_degree(kept, lesion, None, value))
    return _places(kept, lines), degrees


def _floats(values: Sequence[float | None]) -> Float:
    return np.array([np.nan if value is None else value for value in values])


def _graded(kept: Kept) -> Iterator[Lesion]:
    """The true lesions that the scan shows, on vessels of 1.5 mm and more."""
    for lesion in kept.lesions:
        if (
            is_native(kept.branches[lesion.branch])
            and 2.0 * kept.truth.branches[lesion.branch].healthy_radius[lesion.minimum] >= SMALLEST_MM
        ):
            yield lesion


def _degree(kept: Kept, lesion: Lesion, by_true: float | None, measured: float | None) -> Degree:
    own = kept.branches[lesion.branch]
    offset = float(np.linalg.norm(own.outer_offset_mm[lesion.minimum]))
    wall = float(own.outer_radius_mm[lesion.minimum] - own.lumen_radius_mm[lesion.minimum])
    return Degree(
        kept.seed,
        lesion.plaque_type,
        offset >= ECCENTRIC * wall,
        _moving(kept, lesion.branch),
        lesion.diameter_stenosis_percent,
        by_true,
        measured,
    )


def diameter_table(places: Sequence[Places]) -> list[str]:
    """Lumen and vessel diameter: bias, mean absolute error and limits of agreement."""
    columns = {name: np.concatenate([getattr(p, name) for p in places]) for name in Places.__dataclass_fields__}
    rows: list[tuple[str, npt.NDArray[np.bool_]]] = []
    still = ~columns["moving"]
    for low, high in BANDS:
        band = (columns["lumen"] >= low) & (columns["lumen"] < high) & still
        rows.append((f"{low:g} to {high:g} mm", band))
        rows += [(f"  {kind}", band & (columns["plaque"] == kind)) for kind in ("healthy", "noncalcified", "mixed", "calcified")]
    rows += [("all, still", still), ("all, moving 1 mm and more", columns["moving"])]
    lines = [f"{'lumen diameter, mm':28}{'n':>7}{'bias':>8}{'MAE':>8}{'limits of agreement':>22}{'median':>9}{'vessel bias':>13}"]
    for name, chosen in rows:
        error = (columns["measured"] - columns["lumen"])[chosen]
        outer = (columns["measured_vessel"] - columns["vessel"])[chosen]
        known = np.isfinite(error)
        if known.sum() < 5:
            continue
        e = error[known]
        spread = 1.96 * float(e.std())
        lines.append(
            f"{name:28}{len(e):7d}{e.mean():8.3f}{np.abs(e).mean():8.3f}{e.mean() - spread:11.3f} to{e.mean() + spread:8.3f}"
            f"{np.median(e):9.3f}{np.nanmean(outer[known]):13.3f}"
        )
    return lines


def degree_table(degrees: Sequence[Degree]) -> list[str]:
    """Degrees by plaque and true degree, against the true reference and against the measured one."""
    lines = [f"{'degree, points':34}{'n':>5}{'found':>7}{'bias':>8}{'MAE':>8}{'worst':>8}{'bias*':>8}{'MAE*':>8}   (* true reference)"]
    groups: list[tuple[str, Callable[[Degree], bool]]] = [("all, still", lambda d: not d.moving)]
    groups += [(kind, lambda d, k=kind: d.plaque == k) for kind in ("noncalcified", "mixed", "calcified")]  # type: ignore[misc]
    groups += [("eccentric", lambda d: d.eccentric), ("concentric", lambda d: not d.eccentric)]
    for low, high in ((0, 1), (1, 25), (25, 50), (50, 70), (70, 100), (100, 101)):
        groups.append((f"true {low} to {high} %", lambda d, a=low, b=high: a <= d.true_percent < b))  # type: ignore[misc]
    for name, accepts in groups:
        lines += _degree_row(name, [d for d in degrees if accepts(d) and not d.moving])
    return lines + _degree_row("all, moving 1 mm and more", [d for d in degrees if d.moving])


def _degree_row(name: str, chosen: Sequence[Degree]) -> list[str]:
    if not chosen:
        return []
    error = np.array([d.measured_percent - d.true_percent for d in chosen if d.measured_percent is not None])
    other = np.array([d.by_true_reference - d.true_percent for d in chosen if d.by_true_reference is not None])
    figures = [*_three(error), *_three(other)[:2]]
    return [f"{name:34}{len(chosen):5d}{len(error):7d}" + "".join(f"{v:8.1f}" if v is not None else "       -" for v in figures)]


def _three(error: Float) -> list[float | None]:
    if not len(error):
        return [None, None, None]
    return [float(error.mean()), float(np.abs(error).mean()), float(error[np.abs(error).argmax()])]


def load_or_scan(seed: int, models: Models, folder: Path | None) -> Kept:
    """A kept patient, or one scanned now."""
    path = folder / f"{seed}.pickle" if folder else None
    if path is not None and path.exists():
        with path.open("rb") as file:
            kept = pickle.load(file)  # noqa: S301 - written by this very harness
        if not isinstance(kept, Kept):
            raise ValueError(f"{path} holds no kept patient")
        return kept
    kept = scan_patient(seed, models)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(kept, protocol=5))
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--first", type=int, default=None, help="first seed (default: of the development family)")
    parser.add_argument("--kept", type=Path, default=None, help="folder that keeps the scanned and segmented patients")
    parser.add_argument("--look", choices=("true-lines", "product", "both"), default="both")
    parser.add_argument("--catalog", type=Path, default=None)
    options = parser.parse_args(arguments)
    family = load_families()["development"]
    first = family.first if options.first is None else options.first
    models = Models.load(catalog=options.catalog or installed_catalog(), threads=1)
    looks: dict[str, tuple[list[Places], list[Degree]]] = {}
    for seed in range(first, min(first + options.cases, family.last + 1)):
        kept = load_or_scan(seed, models, options.kept)
        for name in ("true-lines", "product"):
            if options.look in (name, "both"):
                places, degrees = look_along_true_lines(kept) if name == "true-lines" else look_at_product(kept, models)
                looks.setdefault(name, ([], []))[0].append(places)
                looks[name][1].extend(degrees)
        sys.stderr.write(f"{seed} measured\n")
    for name, (places_seen, degrees) in looks.items():
        sys.stdout.write("\n".join([f"\n== {name}", *diameter_table(places_seen), "", *degree_table(degrees)]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
