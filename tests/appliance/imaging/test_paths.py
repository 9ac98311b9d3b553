"""Joining branches to vessel paths."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from appliance.findings import Findings
from appliance.imaging.paths import diseased_side_paths, main_paths
from tests.appliance.imaging.made_study import MadeStudy, branch_of, findings_of, lesion_of, on_ball


def without(findings: Findings, *vessels: str) -> Findings:
    kept = tuple(branch for branch in findings.branches if branch.vessel not in vessels)
    ids = {branch.id for branch in kept}
    return msgspec.structs.replace(findings, branches=kept, lesions=tuple(one for one in findings.lesions if one.branch in ids))


def test_left_vessels_start_with_the_left_main(made_study: MadeStudy) -> None:
    lad, lcx, rca = main_paths(made_study.findings)
    assert [path.vessel for path in (lad, lcx, rca)] == ["LAD", "LCX", "RCA"]
    assert [span.name for span in lad.segments] == ["LM", "pLAD", "mLAD", "dLAD"]
    assert [span.name for span in lcx.segments] == ["LM", "pLCx", "LCx"]
    assert np.linalg.norm(lad.points[0] - made_study.findings.branches[0].points_mm[0]) < 0.05


def test_lesion_stands_at_its_distance_along_the_path(made_study: MadeStudy) -> None:
    lad = main_paths(made_study.findings)[0]
    (span,) = lad.lesions
    place = np.array(made_study.findings.branches[1].points_mm[50])
    assert np.linalg.norm(lad.points[lad.index_at(span.minimum)] - place) < 0.3
    assert span.end - span.start == pytest.approx(24 * 0.4, abs=0.1)
    assert lad.segment_at(span.minimum) == "pLAD"


def test_parent_is_followed_only_to_the_place_where_the_child_leaves(made_study: MadeStudy) -> None:
    lad = made_study.findings.branches[1]
    diagonal = msgspec.structs.replace(branch_of(7, "LAD", on_ball((25, 5), (60, -20), 37), ("D1",), 1, 2.0), parent_index=50)
    findings = findings_of((*made_study.findings.branches, diagonal), (lesion_of(0, diagonal, 40, 55.0, "D1"),))
    (path,) = diseased_side_paths(findings, main_paths(findings))
    assert path.name == "D1"
    assert [span.name for span in path.segments] == ["LM", "pLAD", "D1"]
    turn = np.array(lad.points_mm[50])
    assert np.linalg.norm(path.points - turn, axis=1).min() < 1.5
    assert np.linalg.norm(path.points - np.array(lad.points_mm[90]), axis=1).min() > 5


def test_right_artery_goes_on_into_the_posterior_descending(made_study: MadeStudy) -> None:
    rca = made_study.findings.branches[3]
    last = len(rca.points_mm) - 1
    points = np.array(rca.points_mm[-1]) + np.linspace(0, 20, 51)[:, None] * np.array([0.6, -0.8, 0.0])
    child = msgspec.structs.replace(branch_of(8, "RCA", points, ("R-PDA",), 3, 1.8), parent_index=last)
    path = main_paths(findings_of((rca, child), ()))[0]
    assert path.segments[-1].name == "R-PDA"
    early = msgspec.structs.replace(child, parent_index=last // 2)
    assert main_paths(findings_of((rca, early), ()))[0].segments[-1].name == "dRCA"


def test_missing_vessel_and_no_branches(made_study: MadeStudy) -> None:
    assert [path.vessel for path in main_paths(without(made_study.findings, "RCA"))] == ["LAD", "LCX"]
    assert main_paths(findings_of((), ())) == ()


def test_orphan_branch_is_a_path_of_its_own(made_study: MadeStudy) -> None:
    lad = msgspec.structs.replace(made_study.findings.branches[1], parent=None, parent_index=None)
    assert main_paths(findings_of((lad,), ()))[0].segments[0].name == "pLAD"


def test_what_was_not_measured_stays_unknown(made_study: MadeStudy) -> None:
    lad = made_study.findings.branches[1]
    widths = tuple(None if 100 <= k < 140 else 3.0 for k in range(len(lad.points_mm)))
    alone = msgspec.structs.replace(lad, parent=None, parent_index=None, lumen_diameter_mm=widths, vessel_diameter_mm=(None,) * len(widths))
    path = main_paths(findings_of((alone,), ()))[0]
    assert np.isnan(path.outer_diameter_mm).all()
    assert np.isnan(path.lumen_diameter_mm[path.index_at(120 * 0.4)])
    assert path.lumen_diameter_mm[path.index_at(80 * 0.4)] == pytest.approx(3.0)


def test_lesion_up_to_the_very_end_of_its_branch(made_study: MadeStudy) -> None:
    rca = made_study.findings.branches[3]
    count = len(rca.points_mm)
    lesion = msgspec.structs.replace(lesion_of(0, rca, count - 13, 30.0, "dRCA"), end=count)
    (span,) = main_paths(findings_of((rca,), (lesion,)))[0].lesions
    assert span.end == pytest.approx(main_paths(findings_of((rca,), ()))[0].length_mm, abs=0.5)
