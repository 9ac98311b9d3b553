"""The figures of the measurements: diameters, degrees, categories, plaque and calcium of a result against the exact truth.

Diameters are compared point by point where the result's centreline lies within the true lumen and the true lumen is 1.5 mm or more;
places in stents, and where two vessels open into each other, have no one true diameter and are left out. Degrees are compared over matched
lesions (`models.evaluation.lesions`) on vessels of 1.5 mm and more. A stenosis counts as found where the product calls it 50 % or more, and
as false where it calls 50 % or more what is not so: whether there is no lesion or a slighter one makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from appliance.analysis.cadrads import cad_rads
from appliance.anatomy import SEGMENTS, SegmentName, Vessel
from appliance.findings import GRADES, Findings, Grade, Lesion, PlaqueType, PlaqueVolume
from models.evaluation.lesions import Plaque, match
from models.evaluation.measures import LARGE_MM, Share, TrueBranch

CATEGORIES = ("0", "1", "2", "3", "4A", "4B", "5")
SIGNIFICANT, CERTAIN = 50.0, 60.0
LEAST_NEAR_MM = 0.5
OPENING_MM = 0.5
BANDS = ((1.5, 2.0), (2.0, 3.0), (3.0, np.inf))
KINDS = ("healthy", "noncalcified", "mixed", "calcified")
ERRORS = ("bias", "mae", "square")

Pairs = dict[str, list[list[float]]]


@dataclass(frozen=True)
class Figures:
    """What one patient gives: plain numbers, shares that can be pooled, and pairs (true, result) for correlations over all patients."""

    measures: dict[str, float | None]
    shares: dict[str, Share]
    pairs: Pairs


def figures_of(
    branches: Sequence[TrueBranch], lesions: Sequence[Plaque], stented: Sequence[npt.NDArray[np.bool_]], findings: Findings | None,
    result: Sequence[Plaque],
) -> Figures:  # fmt: skip
    """All figures of one patient.

    Args:
        branches: true ones.
        lesions: true ones.
        stented: for each branch, which of its points lie in a stent.
        findings: None where the product showed nothing.
        result: the findings' lesions, in their order.
    """
    measures, shares, pairs = dict[str, float | None](), dict[str, Share](), Pairs()
    shares.update(diameter_errors(branches, lesions, stented, findings))
    degrees(lesions, result, shares, pairs)
    shares.update(significant(lesions, result))
    measures["stenosis50_false_per_case"] = float(_false(lesions, result))
    truth = category_index(true_category(lesions))
    found = category_index(findings.cad_rads.category if findings is not None and findings.cad_rads is not None else "N")
    measures["cadrads_exact"] = float(found == truth)
    measures["cadrads_within_one"] = float(found is not None and truth is not None and abs(found - truth) <= 1)
    measures["cadrads_undecided"] = float(found is None)
    if found is not None and truth is not None:
        pairs["cadrads"] = [[float(truth), float(found)]]
    total = sum(lesion.volume_mm3 for lesion in lesions)
    seen = findings.plaque_total_mm3.total if findings is not None and findings.plaque_total_mm3 is not None else 0.0
    pairs["plaque_total"] = [[total, seen]]
    return Figures(measures, shares, pairs)


def category_index(category: str) -> int | None:
    """Place of a CAD-RADS category in their order; None for N."""
    return CATEGORIES.index(category) if category in CATEGORIES else None


def true_category(lesions: Sequence[Plaque]) -> str:
    """The category that the product's own rule gives the true lesions."""
    return cad_rads([_as_lesion(number, lesion) for number, lesion in enumerate(lesions)], ()).category


def _as_lesion(number: int, plaque: Plaque) -> Lesion:
    vessels: dict[str, Vessel] = {"LM": "LM", "LAD": "LAD", "LCX": "LCX", "RCA": "RCA", "RI": "RI"}
    names: dict[str, SegmentName] = {name: name for name in SEGMENTS}
    grades: dict[str, Grade] = {name: name for name in GRADES}
    kinds: dict[str, PlaqueType] = {"calcified": "calcified", "mixed": "mixed", "noncalcified": "noncalcified"}
    return Lesion(
        id=number,
        branch=0,
        vessel=vessels.get(plaque.vessel, "other"),
        segment=names.get(plaque.segment, "other"),
        start=0,
        minimum=0,
        end=0,
        length_mm=0.0,
        minimum_lumen_diameter_mm=None,
        reference_diameter_mm=plaque.size_mm,
        diameter_stenosis_percent=plaque.stenosis_percent,
        area_stenosis_percent=None,
        grade=grades[plaque.grade],
        plaque_type=kinds[plaque.plaque_type],
        volume_mm3=PlaqueVolume(total=0.0, calcified=0.0, noncalcified=0.0, low_attenuation=0.0),
        remodeling_index=None,
        plaque_burden_percent=None,
        high_risk=(),
        confidence=1.0,
        grade_source="corrected",  # the truth is known: a branch without a name counts as well
    )


# -- degrees


def degrees(true: Sequence[Plaque], result: Sequence[Plaque], shares: dict[str, Share], pairs: Pairs) -> None:
    """Errors of the degree over matched lesions, by type and by vessel, and the pairs of degree and of volume."""
    pairs |= {"degree": [], "plaque_volume": []}
    errors: dict[str, list[float]] = {}
    for i, j in match(true, result):
        one, other = true[i], result[j]
        if one.size_mm < LARGE_MM:
            continue
        pairs["plaque_volume"].append([one.volume_mm3, other.volume_mm3])
        if one.stenosis_percent is None or other.stenosis_percent is None:
            continue
        pairs["degree"].append([one.stenosis_percent, other.stenosis_percent])
        error = abs(other.stenosis_percent - one.stenosis_percent)
        kind = "noncalcified" if one.plaque_type == "noncalcified" else "calcified"
        for name in (f"ds_mae_{kind}", f"ds_mae@{one.vessel}"):
            errors.setdefault(name, []).append(error)
    shares.update({name: Share(sum(values), len(values)) for name, values in errors.items()})


def _called(plaque: Plaque) -> bool:
    """Whether the product says 50 % or more of a vessel that it grades."""
    return plaque.size_mm >= LARGE_MM and GRADES.index(_grade(plaque)) >= GRADES.index("moderate")


def _grade(plaque: Plaque) -> Grade:
    grades: dict[str, Grade] = {name: name for name in GRADES}
    return grades[plaque.grade]


def significant(true: Sequence[Plaque], result: Sequence[Plaque]) -> Iterator[tuple[str, Share]]:
    """Of the true stenoses of 50 % (60 %) and more on vessels of 1.5 mm and more: those that the product calls 50 % or more."""
    found = {i for i, j in match(true, result) if _called(result[j])}
    for limit in (SIGNIFICANT, CERTAIN):
        name = f"stenosis{limit:.0f}_sensitivity"
        wanted = [i for i, lesion in enumerate(true) if lesion.size_mm >= LARGE_MM and (lesion.stenosis_percent or 0.0) >= limit]
        yield name, Share(len(found.intersection(wanted)), len(wanted))
        for vessel in dict.fromkeys(true[i].vessel for i in wanted):
            own = [i for i in wanted if true[i].vessel == vessel]
            yield f"{name}@{vessel}", Share(len(found.intersection(own)), len(own))


def _false(true: Sequence[Plaque], result: Sequence[Plaque]) -> int:
    right = {j for i, j in match(true, result) if (true[i].stenosis_percent or 0.0) >= SIGNIFICANT}
    return sum(_called(plaque) for j, plaque in enumerate(result) if j not in right)


# -- diameters


@dataclass(frozen=True)
class _Points:
    """The true lumen, point by point."""

    places: npt.NDArray[np.float64]
    diameter: npt.NDArray[np.float64]
    kind: npt.NDArray[np.str_]
    vessel: npt.NDArray[np.str_]
    usable: npt.NDArray[np.bool_]


def diameter_errors(
    branches: Sequence[TrueBranch], lesions: Sequence[Plaque], stented: Sequence[npt.NDArray[np.bool_]], findings: Findings | None
) -> dict[str, Share]:
    """Sums of error, absolute error and its square with their numbers: over all points, by size, by plaque, by vessel."""
    if findings is None or not findings.branches:
        return {}
    true = _true_points(branches, lesions, stented)
    places = np.concatenate([np.asarray(branch.points_mm, np.float64) for branch in findings.branches])
    measured = np.array([np.nan if d is None else d for branch in findings.branches for d in branch.lumen_diameter_mm], np.float64)
    distance, nearest = cKDTree(true.places).query(places)
    size = true.diameter[nearest]
    good = true.usable[nearest] & (size >= LARGE_MM) & np.isfinite(measured) & (distance <= np.maximum(0.5 * size, LEAST_NEAR_MM))
    error, size = measured[good] - size[good], size[good]
    kind, vessel = true.kind[nearest][good], true.vessel[nearest][good]
    groups = {"": np.ones(len(error), np.bool_)}
    groups |= {f"@{low:g}-{high:g} mm": (size >= low) & (size < high) for low, high in BANDS}
    groups |= {f"@{name}": kind == name for name in KINDS}
    groups |= {f"@{name}": vessel == name for name in ("LM", "LAD", "LCX", "RCA")}
    sums = {"bias": error, "mae": np.abs(error), "square": error**2}
    return {
        f"diameter_{name}_mm{group}": Share(float(values[mask].sum()), float(mask.sum()))
        for group, mask in groups.items()
        for name, values in sums.items()
        if mask.any()
    }


def _true_points(branches: Sequence[TrueBranch], lesions: Sequence[Plaque], stented: Sequence[npt.NDArray[np.bool_]]) -> _Points:
    whole = np.concatenate([branch.points for branch in branches])
    radius = np.concatenate([_lumen(branch) for branch in branches])
    number = np.concatenate([np.full(len(branch.points), i) for i, branch in enumerate(branches)])
    usable = np.concatenate(
        [(branch.healthy_radius > 0.0) & branch.native & ~metal for branch, metal in zip(branches, stented, strict=True)]
    )
    tree = cKDTree(whole)
    widest = float(radius.max())
    near = tree.query_ball_point(whole, r=2.0 * widest + OPENING_MM)
    for at, others in enumerate(near):
        if not usable[at]:
            continue
        beside = np.array([other for other in others if number[other] != number[at]], np.intp)
        if len(beside):
            gap = np.linalg.norm(whole[beside] - whole[at], axis=1) - radius[beside] - radius[at]
            usable[at] = bool(gap.min() > OPENING_MM)
    kind = np.full(len(whole), "healthy", dtype="<U12")
    for lesion in lesions:
        kind[tree.query(lesion.points)[1]] = lesion.plaque_type
    return _Points(
        places=whole,
        diameter=2.0 * radius,
        kind=kind,
        vessel=np.concatenate([np.full(len(branch.points), branch.vessel, dtype="<U8") for branch in branches]),
        usable=usable,
    )


def _lumen(branch: TrueBranch) -> npt.NDArray[np.float64]:
    return branch.healthy_radius if branch.lumen_radius is None else branch.lumen_radius
