"""Two examinations of one patient, segment by segment: only what both say something of is compared."""

from __future__ import annotations

import msgspec

from appliance.comparison import compare, summary
from appliance.findings import Calcium, Findings, Grade, NotAssessable, Software, Stent
from tests.appliance.report.studies import GOOD, NORMAL, TREE, lesion

PLACES = {"pLAD": (1, 20), "mLAD": (1, 80), "dLAD": (1, 150), "pRCA": (3, 30), "mRCA": (3, 110), "D1": (4, 30)}
PERCENT = {"none": 0.0, "minimal": 10.0, "mild": 40.0, "moderate": 60.0, "severe": 80.0, "occluded": 100.0}


def study(*unread: str, **grades: Grade | None) -> Findings:
    """Plaques with these degrees in these segments (None: not measured); ``unread`` cannot be read."""
    lesions = []
    for number, (name, grade) in enumerate(grades.items()):
        on, at = PLACES[name]
        percent = None if grade is None else PERCENT[grade]
        lesions.append(lesion(number, on, name, (at, at + 5, at + 10), percent, grade or "none", "mixed"))  # type: ignore[arg-type]
    entries = tuple(NotAssessable(segment=name, reason="motion") for name in unread)  # type: ignore[arg-type]
    quality = msgspec.structs.replace(GOOD, not_assessable=entries)
    return msgspec.structs.replace(NORMAL, lesions=tuple(lesions), quality=quality)


def after(before: Findings, now: Findings) -> dict[str, tuple[str, Grade | None, Grade | None]]:
    earlier = summary(before, study_date="20250301", final=True)
    compared = compare(msgspec.structs.replace(now, earlier=earlier))
    assert compared is not None
    return {each.segment: (each.change, each.before, each.now) for each in compared.segments}


def test_each_segment_is_told_by_its_step() -> None:
    changes = after(
        study(pLAD="mild", mLAD="moderate", dLAD="severe", pRCA="minimal"),
        study(pLAD="moderate", mLAD="moderate", dLAD="mild", mRCA="minimal"),
    )
    assert changes == {
        "pLAD": ("progressed", "mild", "moderate"),
        "mLAD": ("unchanged", "moderate", "moderate"),
        "dLAD": ("regressed", "severe", "mild"),
        "pRCA": ("not_seen_now", "minimal", None),
        "mRCA": ("new", None, "minimal"),
    }


def test_what_one_of_the_two_could_not_read_is_not_compared() -> None:
    before = study("mRCA", pLAD=None, dLAD="mild")
    now = study("dLAD", pLAD="mild", mRCA="moderate")
    assert {name: change for name, (change, _, _) in after(before, now).items()} == dict.fromkeys(
        ("pLAD", "dLAD", "mRCA"), "not_comparable"
    )


def test_a_segment_that_was_not_traced_or_held_a_stent_is_not_called_clear() -> None:
    untraced = msgspec.structs.replace(study(), branches=tuple(branch for branch in TREE if branch.id != 4))
    stented = msgspec.structs.replace(study(), stents=(Stent(branch=3, start=90, end=120, assessable=True),))
    assert after(untraced, study(D1="mild"))["D1"][0] == "not_comparable"
    assert after(stented, study(mRCA="mild"))["mRCA"][0] == "not_comparable"
    assert after(stented, study(pRCA="mild"))["pRCA"][0] == "new"


def test_a_plaque_across_a_border_is_in_both_segments_wherever_it_is_tightest() -> None:
    across = lesion(0, 1, "pLAD", (40, 48, 60), 60.0, "moderate", "mixed")
    later = msgspec.structs.replace(across, segment="mLAD", minimum=52)
    before, now = (msgspec.structs.replace(NORMAL, lesions=(each,)) for each in (across, later))
    assert {name: change for name, (change, _, _) in after(before, now).items()} == {"pLAD": "unchanged", "mLAD": "unchanged"}


def test_the_bands_of_the_site_make_no_change() -> None:
    """72 % is severe by SCCT and was moderate by the older Chinese bands."""
    was = msgspec.structs.replace(study(pLAD="moderate").lesions[0], diameter_stenosis_percent=72.0)
    now = msgspec.structs.replace(was, grade="severe")
    before, after_it = (msgspec.structs.replace(NORMAL, lesions=(each,)) for each in (was, now))
    assert after(before, after_it)["pLAD"][0] == "unchanged"


def test_scores_and_what_the_earlier_result_was_worth_are_carried() -> None:
    def scored(findings: Findings, agatston: float) -> Findings:
        score = Calcium(series_uid="1", agatston=agatston, volume_mm3=1.0, mass_mg=None, vessels={})
        return msgspec.structs.replace(findings, calcium=score, calcium_reason=None)

    earlier = summary(scored(study(), 100.0), study_date="20250301", final=False)
    assert earlier is not None
    assert (earlier.final, earlier.validated_on_patients, earlier.agatston) == (False, False, 100.0)
    now = msgspec.structs.replace(scored(study(), 140.0), earlier=earlier, software=Software(version="9", commit="x"))
    compared = compare(Findings.from_json(now.to_json()))
    assert compared is not None
    assert compared.calcium == (100.0, 140.0)
    assert not compared.same_software
    assert compare(study()) is None, "nothing without an earlier examination"
    unscored = compare(msgspec.structs.replace(study(), earlier=earlier, calcium=None))
    assert unscored is not None
    assert unscored.calcium is None
