"""The list of key views, for whole and for broken findings."""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from appliance.findings import Findings, OtherSeries
from appliance.imaging.keyviews import make_key_views
from appliance.imaging.one_tree import as_one_tree
from appliance.imaging.paths import main_paths
from appliance.imaging.scenes import heart_box
from appliance.study import KeyView
from tests.appliance.imaging.made_study import MadeStudy, findings_of

SMALL = 160
"""Volume renderings are most of the work; where a test does not look at them they are small."""


@pytest.fixture(scope="module")
def told() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def views(made_study: MadeStudy, told: list[tuple[str, float]]) -> list[KeyView]:
    return make_key_views(
        made_study.volume,
        made_study.findings,
        structures=made_study.structures,
        progress=lambda stage, fraction: told.append((stage, fraction)),
    )


def test_every_kind_of_picture_is_there(views: list[KeyView]) -> None:
    count = {kind: sum(view.kind == kind for view in views) for kind in ("vr_heart", "vr_tree", "cpr", "scpr", "section", "mip")}
    assert count == {"vr_heart": 5, "vr_tree": 4, "cpr": 6, "scpr": 6, "section": 9, "mip": 9}


def test_ids_are_unique_and_fit_for_file_names(views: list[KeyView]) -> None:
    ids = [view.id for view in views]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]+", one) for one in ids)
    assert {"cpr-lad-000", "cpr-rca-090", "scpr-lcx-000", "section-l0-minimum", "vr-heart-anterior", "mip-axial-lad"} <= set(ids)


def test_pictures_are_whole(views: list[KeyView]) -> None:
    for view in views:
        assert view.image.dtype == np.uint8
        assert view.image.ndim == 3
        assert view.image.shape[2] == 3
        assert view.image.std() > 5, view.id
        assert view.title_zh
        assert view.title_en
        assert view.pixel_spacing_mm is not None
        assert (view.window is None) == view.kind.startswith("vr")


def test_sections_belong_to_their_lesion(views: list[KeyView]) -> None:
    narrowest = next(view for view in views if view.id == "section-l0-minimum")
    assert (narrowest.lesion, narrowest.vessel, narrowest.segment) == (0, "LAD", "pLAD")


def test_straightened_shows_bright_vessel_in_dark_fat(views: list[KeyView]) -> None:
    strip = next(view for view in views if view.id == "scpr-lad-000").image[..., 0]
    middle = 52 + 104
    assert strip[middle, 400:1000].mean() == pytest.approx((400 + 100) / 800 * 255, abs=8)
    assert min(strip[middle + 40, 400:1000].mean(), strip[middle - 40, 400:1000].mean()) < 90


def test_progress_rises_to_one(views: list[KeyView], told: list[tuple[str, float]]) -> None:
    assert views
    fractions = [fraction for stage, fraction in told if stage == "pictures"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_missing_vessel_unmeasured_values_and_no_lesions(made_study: MadeStudy) -> None:
    left = tuple(
        msgspec.structs.replace(
            branch, lumen_diameter_mm=(None,) * len(branch.points_mm), vessel_diameter_mm=(None,) * len(branch.points_mm)
        )
        for branch in made_study.findings.branches
        if branch.vessel != "RCA"
    )
    views = make_key_views(made_study.volume, findings_of(left, ()), structures=made_study.structures, rendering_pixels=SMALL)
    ids = {view.id for view in views}
    assert {"section-lad-1", "section-lcx-3", "cpr-lcx-090"} <= ids
    assert not any("rca" in one for one in ids)


def test_without_any_branch_the_heart_is_still_shown(made_study: MadeStudy) -> None:
    views = make_key_views(made_study.volume, findings_of((), ()), structures=made_study.structures, rendering_pixels=SMALL)
    assert {view.kind for view in views} == {"vr_heart"}


def test_an_artery_of_another_phase_is_drawn_from_that_phase(made_study: MadeStudy, views: list[KeyView]) -> None:
    """The other phase is the same heart 10 mm higher: an artery measured there looks as it did, where the main volume shows fat."""
    volume, findings = made_study.volume, made_study.findings
    x, y, z = volume.geometry.origin
    other = replace(volume, geometry=replace(volume.geometry, origin=(x, y, z + 10.0)))
    right = [branch for branch in findings.branches if branch.vessel == "RCA"]
    moved = [
        msgspec.structs.replace(branch, points_mm=tuple((a, b, c + 10.0) for a, b, c in branch.points_mm), series_uid="1.2.3")
        for branch in right
    ]
    series = OtherSeries(series_uid="1.2.3", role="phase", phase_percent=40.0, read=True)
    rest = tuple(branch for branch in findings.branches if branch.vessel != "RCA")
    findings = msgspec.structs.replace(findings, branches=(*rest, *moved), other_series=(series,))
    made = make_key_views(volume, findings, structures=made_study.structures, others={"1.2.3": other}, rendering_pixels=SMALL)
    assert [view.id for view in made] == [view.id for view in views]
    before, after = ({view.id: view for view in some} for some in (views, made))
    for name in ("scpr-rca-000", "cpr-rca-090", "scpr-lad-000"):
        caption = 60  # rows of the captions, which tell the other phase
        np.testing.assert_allclose(after[name].image[caption:].astype(int), before[name].image[caption:].astype(int), atol=2)
        assert (after[name].image[:caption] != before[name].image[:caption]).any() == ("rca" in name)
    assert after["scpr-rca-000"].title_zh == before["scpr-rca-000"].title_zh + "（另一期相 40%）"
    assert after["scpr-rca-000"].title_en.endswith("(another phase 40%)")
    assert after["scpr-lad-000"].title_zh == before["scpr-lad-000"].title_zh
    assert after["vr-tree-lao"].title_zh == before["vr-tree-lao"].title_zh + "（RCA：另一期相 40%）"
    assert after["vr-heart-left"].title_en == before["vr-heart-left"].title_en + " (RCA: another phase 40%)"


def test_the_anterior_descending_of_another_phase_is_drawn_alone_and_set_onto_the_tree(made_study: MadeStudy) -> None:
    """The other phase is the same heart 10 mm higher: the rendering shows one tree as before, and no path crosses the phases."""
    volume, findings = made_study.volume, made_study.findings
    main, lad, *rest = findings.branches
    assert lad.vessel == "LAD"
    assert lad.parent_index is not None
    begins = np.subtract(main.points_mm[lad.parent_index], lad.points_mm[0])

    def moved(by: np.ndarray, uid: str | None) -> Findings:
        points = tuple((x, y, z) for x, y, z in (np.asarray(lad.points_mm) + by).tolist())
        return msgspec.structs.replace(findings, branches=(main, msgspec.structs.replace(lad, points_mm=points, series_uid=uid), *rest))

    one, mixed = moved(begins, None), moved(begins + np.array((0.0, 0.0, 10.0)), "1.2.3")
    assert as_one_tree(one) is one
    for joined, whole in zip(as_one_tree(mixed).branches, one.branches, strict=True):
        np.testing.assert_allclose(joined.points_mm, whole.points_mm, atol=1e-9)
    x, y, z = volume.geometry.origin
    other = replace(volume, geometry=replace(volume.geometry, origin=(x, y, z + 10.0)))
    before = heart_box(volume, made_study.structures, one)
    after = heart_box(volume, made_study.structures, mixed, others={"1.2.3": other})
    assert before.hu.shape == after.hu.shape
    np.testing.assert_allclose(after.hu.astype(int), before.hu.astype(int), atol=1)
    path, circumflex, _ = main_paths(mixed)
    assert [span.name for span in path.segments] == ["pLAD", "mLAD", "dLAD"]
    assert [span.name for span in circumflex.segments] == ["LM", "pLCx", "LCx"]
    assert (path.series_uid, circumflex.series_uid) == ("1.2.3", None)
