"""What the report prints agrees with itself, whatever was found.

Parts add up to their sums, per cent lie in the band beside them, scores count the segments that are named, and CAD-RADS follows from the
degrees above it.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.analysis.cadrads import BURDEN_BY_CALCIUM, plaque_burden, with_category
from appliance.analysis.describe import total_of
from appliance.degrees import grade_of
from appliance.film import words as film_words
from appliance.findings import Calcium, Findings, Lesion, PlaqueVolume, score_parts, whole_parts, whole_score
from appliance.imaging.annotate import lesion_label
from appliance.report.pdf_lesions import lesion_row
from appliance.report.text import write_report
from appliance.study import ReportText
from kiosk.views.selection import percent_text
from tests.appliance.report.studies import HEADER, NORMAL, TREE, lesion

BANDS = {"no stenosis": (0, 0), "minimal": (0, 24), "mild": (25, 49), "moderate": (50, 69), "severe": (70, 99), "occlusion": (100, 100)}
CATEGORY = {"no stenosis": "1", "minimal": "1", "mild": "2", "moderate": "3", "severe": "4A", "occlusion": "5"}
volumes = st.floats(0.0, 400.0).map(lambda value: round(value, 2)) | st.floats(0.0, 2.0).map(lambda value: round(value, 2))


@st.composite
def lesions(draw: st.DrawFn) -> Lesion:
    """A plaque somewhere on the tree, of any degree, in a vessel large or small, readable or not."""
    branch = TREE[draw(st.integers(0, len(TREE) - 1))]
    points = len(branch.points_mm)
    start = draw(st.integers(0, points - 8))
    end = draw(st.integers(start + 3, min(start + 70, points)))
    at = draw(st.integers(start, end - 1))
    percent = draw(st.none() | st.sampled_from([0.0, 0.4, 24.99, 25.0, 49.99, 50.0, 69.99, 70.0, 99.9, 100.0]) | st.floats(0.0, 100.0))
    grade = "none" if percent is None else grade_of(percent)
    made = lesion(0, branch.id, branch.segment_at(at), (start, at, end), percent, grade, "mixed")
    calcified, low, fatty, fibrous = (draw(volumes) for _ in range(4))
    return msgspec.structs.replace(
        made,
        diameter_stenosis_percent_reason="not_assessable" if percent is None else None,
        reference_diameter_mm=draw(st.sampled_from([1.2, 1.5, 3.0])),
        volume_mm3=PlaqueVolume(
            total=round(calcified + low + fatty + fibrous, 2), calcified=calcified, noncalcified=round(low + fatty + fibrous, 2),
            low_attenuation=low, fibrofatty=fatty, fibrous=fibrous,
        ),
    )  # fmt: skip


@st.composite
def scores(draw: st.DrawFn) -> Calcium | None:
    """A calcium score whose parts make up the whole."""
    parts = [draw(volumes) for _ in range(5)]
    names = ("LM", "LAD", "LCX", "RCA")
    calcium = Calcium(
        series_uid="1", agatston=round(sum(parts), 2), volume_mm3=1.0, mass_mg=None, mass_mg_reason="not_calibrated",
        vessels=dict(zip(names, parts, strict=False)), unassigned=parts[4],
    )  # fmt: skip
    return draw(st.sampled_from([None, calcium]))


def findings_of(found: list[Lesion], calcium: Calcium | None) -> Findings:
    numbered = tuple(msgspec.structs.replace(each, id=number) for number, each in enumerate(found))
    reason = None if calcium is not None else "no_calcium_series"
    return with_category(
        msgspec.structs.replace(NORMAL, lesions=numbered, plaque_total_mm3=total_of(numbered), calcium=calcium, calcium_reason=reason)
    )


def numbers(words: str) -> list[int]:
    """The whole numbers in a sentence; '<1' counts as none."""
    return [0 if each == "<1" else int(each) for each in re.findall(r"<1|(?<![\d.])\d+(?![\d.]*\d)", words)]


def section(report: ReportText, heading: str) -> tuple[str, ...]:
    return next((each.sentences for each in report.en if each.heading == heading), ())


@settings(max_examples=120, deadline=None)
@given(st.lists(lesions(), max_size=7), scores())
def test_every_number_agrees_with_every_other(found: list[Lesion], calcium: Calcium | None) -> None:
    findings = findings_of(found, calcium)
    report = write_report(HEADER, findings)
    for heading, sentences in ((each.heading, each.sentences) for each in report.en):
        twin = next(each for each, other in zip(report.zh, report.en, strict=True) if other.heading == heading)
        if heading in ("Plaque quantification", "Calcium score"):
            assert [numbers(a) for a in twin.sentences] == [numbers(b) for b in sentences], heading
    degrees_lie_in_their_bands(report)
    volumes_add_up(report)
    calcium_adds_up(report)
    scores_count_what_is_named(findings, report)
    category_follows(findings)


def degrees_lie_in_their_bands(report: ReportText) -> None:
    for sentence in (each for part in report.en for each in part.sentences if " long, with " in each):
        band = next((name for name in BANDS if f"with {name}" in sentence), None)
        told = re.search(r"of (about (\d+)|less than 1)% \((about (\d+)|less than 1)% by area", sentence)
        if told is not None:
            assert band is not None
            percent, area = (int(told.group(number) or 0) for number in (2, 4))
            assert BANDS[band][0] <= percent <= BANDS[band][1], sentence
            assert area >= percent, sentence


def volumes_add_up(report: ReportText) -> None:
    told = section(report, "Plaque quantification")
    if not told:
        return
    total, calcified, soft, low = numbers(told[0])
    assert total == calcified + soft, told[0]
    parts = numbers(told[1].split("(")[0])
    assert (soft, low) == (sum(parts), parts[0]), told


def calcium_adds_up(report: ReportText) -> None:
    first = section(report, "Calcium score")[0]
    if "Total Agatston score" in first and "(" in first:
        total, *parts = numbers(first)
        assert total == sum(parts), first


def scores_count_what_is_named(findings: Findings, report: ReportText) -> None:
    told = section(report, "Plaque quantification")
    if not told:
        return
    sis, sss = numbers(told[-1])
    assert (sis, sss) == (findings.segment_involvement_score, findings.segment_stenosis_score)
    sentences = [each for part in report.en for each in part.sentences if " long, with " in each and "not counted for CAD-RADS" not in each]
    named = {name for each in sentences for name in segments_in(each)}
    assert sis == len(named), (sis, sentences)
    assert sis <= sss <= 3 * sis
    result = findings.cad_rads
    assert result is not None
    score = 0 if findings.calcium is None else whole_score(findings.calcium.agatston)
    if score:
        assert result.plaque_burden == next(burden for least, burden in BURDEN_BY_CALCIUM if score >= least)
    else:
        assert result.plaque_burden == plaque_burden(sis)


def segments_in(sentence: str) -> set[str]:
    """The segments that a lesion's sentence says it lies in."""
    where = sentence.split(" in the ")[1].split(", about")[0]
    words = {"proximal": 0, "mid": 1, "distal": 2}
    trunks = {"LAD": ("pLAD", "mLAD", "dLAD"), "RCA": ("pRCA", "mRCA", "dRCA"), "LCx": ("pLCx", "LCx")}
    for trunk, names in trunks.items():
        if where.endswith(f" {trunk}"):
            if trunk == "LCx":
                return {name for name, word in (("pLCx", "proximal"), ("LCx", "mid to distal")) if word in where}
            return {names[place] for word, place in words.items() if word in where}
    return {where}


def category_follows(findings: Findings) -> None:
    result = findings.cad_rads
    assert result is not None
    graded = [each for each in findings.lesions if each.reference_diameter_mm is None or each.reference_diameter_mm >= 1.5]
    if result.category == "N":
        assert any(each.diameter_stenosis_percent is None for each in findings.lesions)
    elif result.category not in ("4B", "0"):
        degrees = [each.diameter_stenosis_percent for each in graded if each.diameter_stenosis_percent is not None]
        words = dict(zip(("none", "minimal", "mild", "moderate", "severe", "occluded"), CATEGORY.values(), strict=True))
        assert result.category == (words[grade_of(max(degrees))] if degrees else "1")


@pytest.mark.parametrize(("end", "named"), [(53, {"pLAD"}), (54, {"pLAD", "mLAD"})])
def test_a_long_plaque_is_named_and_scored_in_the_same_segments(end: int, named: set[str]) -> None:
    """Four points beyond a border count, and are named, however long the plaque is."""
    findings = findings_of([lesion(0, 1, "pLAD", (2, 20, end), 30.0, "mild", "mixed")], None)
    told = section(write_report(HEADER, findings), "Left anterior descending artery and diagonals")
    assert segments_in(told[0]) == named
    assert findings.segment_involvement_score == len(named)


@given(st.lists(volumes, min_size=1, max_size=6))
def test_parts_as_read_add_up_to_the_whole_as_read(parts: list[float]) -> None:
    whole = round(sum(parts))
    shown = whole_parts(whole, parts)
    assert sum(0 if each == "<1" else int(each) for each in shown) == whole
    for part, each in zip(parts, shown, strict=True):
        assert (each == "0") == (part == 0.0)
        assert each == "<1" or abs(int(each) - part) < 1.0


def test_one_and_forty_one_are_not_forty_one() -> None:
    assert whole_parts(41, (0.6, 40.6)) == ("<1", "41")
    assert whole_parts(42, (0.7, 40.9)) == ("1", "41")
    assert whole_parts(0, (0.0, 0.3)) == ("0", "<1")


def test_parts_of_something_else_are_each_rounded() -> None:
    assert whole_parts(100, (10.4, 20.6)) == ("10", "21")


def test_the_score_of_an_artery_never_makes_the_sum_larger() -> None:
    calcium = Calcium(
        series_uid="1", agatston=5.0, volume_mm3=1.0, mass_mg=None, mass_mg_reason="x",
        vessels={"LM": 0.4, "LAD": 0.4, "LCX": 0.0, "RCA": 4.2},
    )  # fmt: skip
    assert score_parts(calcium) == {"LM": "1", "LAD": "<1", "LCX": "0", "RCA": "4", "unassigned": "0"}
    assert np.sum([0 if each == "<1" else int(each) for each in score_parts(calcium).values()]) == 5


@pytest.mark.parametrize(("percent", "read"), [(0.4, "<1%"), (1.0, "1%"), (24.99, "24%"), (49.96, "49%"), (99.9, "99%")])
def test_report_table_film_picture_and_screen_show_one_degree(percent: float, read: str) -> None:
    found = lesion(0, 1, "pLAD", (20, 30, 40), percent, grade_of(percent), "mixed")
    assert percent_text(percent) == film_words.percent(found) == read
    assert f" {read} " in lesion_label(found)
    assert read in lesion_row(found)
    told = section(write_report(HEADER, msgspec.structs.replace(NORMAL, lesions=(found,))), "Left anterior descending artery and diagonals")
    assert f"of {'less than 1%' if read == '<1%' else f'about {read}'} (" in told[0]
