"""Bypass grafts: traced vessels that lead from a coronary artery away from the heart, to the ascending aorta or out of the images above.

They hang on the traced tree where they are sewn on, or have an origin of their own on the ascending aorta. A vein graft (or a free
arterial one) begins on the ascending aorta well above the sinuses; a mammary artery comes down from the subclavian artery and enters the
images at their top. A graft is a vessel of its own: never a segment, and no part of the tree that names, scores and CAD-RADS go by.
Terms: CAD-RADS 2.0 (JCCT 2022;16:536), modifier G; SCCT 2014 (JCCT 2014;8:342). The lengths are choices of this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec
import numpy as np
from scipy import ndimage

from appliance.analysis.plaque_total import total_of
from appliance.analysis.stages import Float, Heart, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.variants import root_axis
from appliance.findings import Branch, Findings, Graft, Lesion, SetAside
from appliance.volume import Geometry

ABOVE_ANNULUS_MM = 28.0
"""No coronary artery leaves the aorta so high: the sinotubular junction lies about 20 mm above the annulus."""
ABOVE_ORIGINS_MM = 8.0
"""Nor so far above the highest coronary origin of the same heart, where one of them lies high."""
NARROWEST_MM = 1.8
"""Typical lumen: grafts are wider than the branches to the sinus node and the conus that run up to the aorta."""
AT_AORTA_MM = 16.0
"""A line that ends so high and so near to the aorta's wall comes from it: the last part before the wall is often not traced."""
AT_TOP_MM = 10.0
"""A line that ends so near to the highest slice goes on above it."""
ABOVE_OSTIA_MM = 15.0
OFF_HEART_MM = 8.0
"""A mammary artery hangs in the fat before the heart; what runs so high on the heart itself is no graft."""
SHORTEST_MM = 20.0
SEWN_MM = 6.0
"""A graft with an origin of its own ends so near to the artery that it feeds."""
ENDS_MM = 6.0
"""Near its ends the diameter of a graft says nothing of its patency: it changes into the aorta and the target."""
NARROWED = 0.5
LEAST_POINTS = 10
SMOOTH_MM = 1.5
CONFIDENCE = {"aorta": 0.8, "subclavian": 0.7}
CHAMBERS = (Structure.LV, Structure.LV_MYOCARDIUM, Structure.RV, Structure.LEFT_ATRIUM, Structure.RIGHT_ATRIUM)


@dataclass(frozen=True)
class Grafted:
    """The grafts, and the tree and the plaques without them, numbered anew; what went with the grafts is set aside."""

    grafts: tuple[Graft, ...]
    branches: tuple[Branch, ...]
    lesions: tuple[Lesion, ...]
    set_aside: SetAside = field(default_factory=SetAside)


def part_grafts(heart: Heart, branches: Sequence[Branch], lesions: Sequence[Lesion], scanned: Geometry) -> Grafted:
    """Take the grafts out of a measured tree.

    Args:
        heart: of the series that was measured.
        branches: as measured; parents before children.
        lesions: as measured; those in grafts go with them.
        scanned: where the series lies.
    """
    root = root_axis(heart)
    if root is None or not branches:
        return Grafted((), tuple(branches), tuple(lesions))
    place = _Place.of(heart, branches, scanned, root)
    by_id = {branch.id: branch for branch in branches}
    leading = {branch.id: origin for branch in branches if (origin := place.leads_to(branch, by_id)) is not None}
    own = {branch.id for branch in branches if branch.id not in leading and place.begins_on_aorta(branch, branches)}
    gone = own | {number for leaf in leading for number in _chain(leaf, by_id)}
    natives = [branch for branch in branches if branch.id not in gone]
    runs = {leaf: _chain(leaf, by_id) for leaf in leading}
    shared = {leaf for leaf, run in runs.items() if any(set(run) & set(other) for at, other in runs.items() if at != leaf)}
    grafts = [_from_tree(leaf, leading[leaf], gone, by_id, shared=leaf in shared) for leaf in leading]
    grafts += [_from_aorta(by_id[number], natives) for number in sorted(own)]
    kept = _without(branches, gone)
    numbers = {branch.id: new for new, branch in enumerate(kept)}
    rest = [branch for branch in branches if branch.id not in numbers]
    every = numbers | {branch.id: len(kept) + new for new, branch in enumerate(rest)}
    return Grafted(
        grafts=tuple(
            msgspec.structs.replace(
                graft, id=number, target_branch=None if graft.target_branch is None else numbers.get(graft.target_branch)
            )
            for number, graft in enumerate(grafts)
        ),
        branches=_numbered(kept, every),
        lesions=_on(lesions, numbers),
        set_aside=SetAside(
            branches=_numbered(rest, every), lesions=_on(lesions, {old: new for old, new in every.items() if old not in numbers})
        ),
    )


def _numbered(branches: Sequence[Branch], numbers: Mapping[int, int]) -> tuple[Branch, ...]:
    return tuple(
        msgspec.structs.replace(branch, id=numbers[branch.id], parent=None if branch.parent is None else numbers[branch.parent])
        for branch in branches
    )


def _on(lesions: Sequence[Lesion], numbers: Mapping[int, int]) -> tuple[Lesion, ...]:
    """The lesions on some branches, with the new numbers of these."""
    return tuple(
        msgspec.structs.replace(lesion, id=number, branch=numbers[lesion.branch])
        for number, lesion in enumerate(lesion for lesion in lesions if lesion.branch in numbers)
    )


def settle_grafts(findings: Findings, *, rejected: bool) -> Findings:
    """The findings with what was taken for grafts as branches of the coronary tree, where a physician says that there is no graft.

    With ``rejected`` False it is taken back. A corrected degree or name on such a branch is kept either way. Scores and category are the
    caller's to do anew.
    """
    own = {branch.id for branch in findings.set_aside.branches}
    inside = bool(own & {branch.id for branch in findings.branches})
    if not own or inside == rejected:
        return findings
    if rejected:
        first = max((lesion.id for lesion in findings.lesions), default=-1) + 1
        came = tuple(msgspec.structs.replace(lesion, id=first + n) for n, lesion in enumerate(findings.set_aside.lesions))
        branches, lesions = (*findings.branches, *findings.set_aside.branches), (*findings.lesions, *came)
        kept = findings.set_aside
    else:
        branches = tuple(branch for branch in findings.branches if branch.id not in own)
        lesions = tuple(lesion for lesion in findings.lesions if lesion.branch not in own)
        kept = SetAside(
            branches=tuple(branch for branch in findings.branches if branch.id in own),
            lesions=tuple(lesion for lesion in findings.lesions if lesion.branch in own),
        )
    return msgspec.structs.replace(findings, branches=branches, lesions=lesions, set_aside=kept, plaque_total_mm3=total_of(lesions))


@dataclass(frozen=True)
class _Place:
    """Where the ends of branches lie: about the aortic root, against the top of the images, and off the heart."""

    around: Surroundings
    annulus: Float
    axis: Float
    origins_mm: float
    ostia_z: float
    top_z: float

    @classmethod
    def of(cls, heart: Heart, branches: Sequence[Branch], scanned: Geometry, root: tuple[Float, Float]) -> _Place:
        corners = scanned.to_points([[0, 0, 0], [scanned.shape[0] - 1, 0, 0]])
        ostia = [np.asarray(branch.points_mm[0]) for branch in branches if branch.parent is None and branch.name != "other"]
        heights = max((float((ostium - root[0]) @ root[1]) for ostium in ostia), default=0.0)
        highest = max((float(ostium[2]) for ostium in ostia), default=float(root[0][2]))
        return cls(Surroundings(heart), root[0], root[1], heights, highest, float(corners[:, 2].max()))

    def leads_to(self, branch: Branch, by_id: Mapping[int, Branch]) -> str | None:
        """Where a branch that hangs on another one ends, if that is where a graft comes from."""
        if (
            branch.parent is None
            or _typical_mm(branch) < NARROWEST_MM
            or sum(_length(by_id[number]) for number in _chain(branch.id, by_id)) < SHORTEST_MM
        ):
            return None
        end = np.asarray(branch.points_mm[-1:], np.float64)
        if self._high_on_aorta(end):
            return "aorta"
        low = self.top_z - float(end[0, 2]) > AT_TOP_MM or float(end[0, 2]) - self.ostia_z < ABOVE_OSTIA_MM
        if low or float(self.around.distance(end, *CHAMBERS)[0]) < OFF_HEART_MM:
            return None
        near_vessels = self.around.distance(end, Structure.AORTA, Structure.PULMONARY_ARTERY)
        return "subclavian" if float(near_vessels[0]) >= OFF_HEART_MM else None

    def begins_on_aorta(self, branch: Branch, branches: Sequence[Branch]) -> bool:
        """Whether a branch with an origin of its own begins where no coronary artery does, while others begin below."""
        if branch.parent is not None or branch.name != "other" or _length(branch) < SHORTEST_MM:
            return False
        below = any(other.parent is None and other.id != branch.id and other.name != "other" for other in branches)
        return below and self._high_on_aorta(np.asarray(branch.points_mm[:1], np.float64))

    def _high_on_aorta(self, point: Float) -> bool:
        height = float((point[0] - self.annulus) @ self.axis)
        high = height >= max(ABOVE_ANNULUS_MM, self.origins_mm + ABOVE_ORIGINS_MM)
        return high and float(self.around.distance(point, Structure.AORTA)[0]) <= AT_AORTA_MM


def _chain(leaf: int, by_id: Mapping[int, Branch]) -> list[int]:
    """The leading branch and the unnamed ones between it and the artery that it hangs on."""
    chain = [leaf]
    while (above := by_id[chain[-1]].parent) is not None and by_id[above].name == "other" and by_id[above].parent is not None:
        chain.append(above)
    return chain


def _from_tree(leaf: int, origin: str, gone: set[int], by_id: dict[int, Branch], *, shared: bool) -> Graft:
    """A graft that was traced backwards from the artery it feeds; of one that is ``shared`` with another line the calibre says nothing."""
    points: list[tuple[float, float, float]] = []
    lumen: list[float | None] = []
    number: int | None = leaf
    end: int | None = None
    while number is not None and number in gone:
        branch = by_id[number]
        last = len(branch.points_mm) if end is None else end + 1
        points += list(reversed(branch.points_mm[:last]))
        lumen += list(reversed(branch.lumen_diameter_mm[:last]))
        number, end = branch.parent, branch.parent_index
    target = None if number is None else by_id[number]
    index = None if target is None or end is None else min(end, len(target.points_mm) - 1)
    graft = _graft(points, lumen, origin, target, index)
    return msgspec.structs.replace(graft, patency=None, patency_reason="runs_together") if shared else graft


def _from_aorta(branch: Branch, natives: Sequence[Branch]) -> Graft:
    """A graft that was traced from its own origin: its target is the artery that it ends at."""
    end = np.asarray(branch.points_mm[-1], np.float64)
    nearest: tuple[float, Branch, int] | None = None
    for native in natives:
        away = np.linalg.norm(np.asarray(native.points_mm, np.float64) - end, axis=1)
        index = int(away.argmin())
        if away[index] <= SEWN_MM and (nearest is None or away[index] < nearest[0]):
            nearest = (float(away[index]), native, index)
    lumen = list(branch.lumen_diameter_mm)
    if nearest is None:
        return _graft(list(branch.points_mm), lumen, "aorta", None, None)
    return _graft(list(branch.points_mm), lumen, "aorta", nearest[1], nearest[2])


def _graft(
    points: list[tuple[float, float, float]], lumen: list[float | None], origin: str, target: Branch | None, index: int | None
) -> Graft:
    diameter, narrowed = _calibre(np.asarray(points, np.float64), lumen)
    sewn = None if target is None or index is None else target.segment_at(index)
    named = None if sewn == "other" else sewn
    return Graft(
        id=0,
        kind="venous" if origin == "aorta" else "arterial",
        origin="aorta" if origin == "aorta" else "subclavian",
        target=named,
        target_reason=None if named is not None else "not_named" if sewn is not None else "not_traced",
        target_branch=None if target is None else target.id,
        target_index=index,
        points_mm=tuple(points),
        lumen_diameter_mm=diameter,
        lumen_diameter_mm_reason=None if diameter is not None else "not_measured",
        patency=None if narrowed is None else "narrowed" if narrowed else "patent",
        patency_reason="not_measured" if narrowed is None else None,
        confidence=CONFIDENCE[origin],
    )


def _calibre(points: Float, lumen: Sequence[float | None]) -> tuple[float | None, bool | None]:
    """Typical diameter between the ends, and whether it falls to half of that somewhere; None, None where it was not measured."""
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean()) if len(points) > 1 else 0.5
    off = round(ENDS_MM / max(step, 1e-3))
    middle = [value for value in lumen[off : len(lumen) - off] if value is not None]
    if len(middle) < LEAST_POINTS:
        return None, None
    smooth = ndimage.median_filter(np.asarray(middle), size=max(2 * round(SMOOTH_MM / step) + 1, 3), mode="nearest")
    at = int(smooth.argmin())
    sides = [float(np.median(side)) for side in (smooth[:at], smooth[at + 1 :]) if len(side) >= LEAST_POINTS]
    # against the narrower side: a line that goes over from a thin graft to a wide one has no narrow place
    return round(float(np.median(smooth)), 2), bool(smooth[at] <= NARROWED * min(sides, default=0.0))


def _without(branches: Sequence[Branch], gone: set[int]) -> list[Branch]:
    """The tree without some branches: what is named and hangs on them is hung on the artery above, the rest goes with them."""
    by_id = {branch.id: branch for branch in branches}
    dropped, kept = set(gone), []
    for branch in branches:
        if branch.id in gone:
            continue
        if branch.parent in dropped and branch.name == "other":
            dropped.add(branch.id)
            continue
        parent, index = branch.parent, branch.parent_index
        while parent is not None and parent in dropped:
            above = by_id[parent]
            parent, index = above.parent, above.parent_index
        if parent != branch.parent:
            reason = None if parent is not None else "graft"
            branch = msgspec.structs.replace(branch, parent=parent, parent_index=index, parent_reason=reason, parent_index_reason=reason)
        kept.append(branch)
    return kept


def _typical_mm(branch: Branch) -> float:
    """Median diameter of the lumen, 0 where none was measured."""
    known = [diameter for diameter in branch.lumen_diameter_mm if diameter is not None]
    return float(np.median(known)) if known else 0.0


def _length(branch: Branch) -> float:
    points = (np.asarray(point, np.float64) for point in branch.points_mm)
    return float(sum(np.linalg.norm(b - a) for a, b in pairwise(points)))
