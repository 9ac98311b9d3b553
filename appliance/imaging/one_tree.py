"""One connected tree for the volume renderings where its arteries were measured in two phases.

Between the phases the heart moved, so an artery of the other phase begins some millimetres beside the branch that it hangs on, and a
picture of the tree would show a gap where there is none. For the rendering alone it is set onto that branch, with the voxels around it.
All that is measured, and every other picture, keeps the place in its own phase.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.findings import Branch, Findings

Float = NDArray[np.float64]


def offsets(findings: Findings) -> dict[int, Float]:
    """How far (mm, LPS) each branch is moved for the rendering, by its id: zero where it comes from the phase of what it hangs on."""
    by_id = {branch.id: branch for branch in findings.branches}
    found: dict[int, Float] = {}

    def of(branch: Branch) -> Float:
        if branch.id not in found:
            above = None if branch.parent is None else by_id.get(branch.parent)
            moved = np.zeros(3) if above is None else of(above)
            if above is not None and branch.parent_index is not None and above.series_uid != branch.series_uid:
                moved = moved + np.subtract(above.points_mm[branch.parent_index], branch.points_mm[0])
            found[branch.id] = moved
        return found[branch.id]

    for branch in findings.branches:
        of(branch)
    return found


def as_one_tree(findings: Findings) -> Findings:
    """The findings with all branches where the rendering shows them."""
    moved = offsets(findings)
    if not any(shift.any() for shift in moved.values()):
        return findings
    return msgspec.structs.replace(findings, branches=tuple(_shifted(branch, moved[branch.id]) for branch in findings.branches))


def _shifted(branch: Branch, shift: Float) -> Branch:
    points = (np.asarray(branch.points_mm, np.float64) + shift).tolist()
    return msgspec.structs.replace(branch, points_mm=tuple((x, y, z) for x, y, z in points))
