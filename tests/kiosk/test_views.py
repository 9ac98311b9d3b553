"""What the views say: order of the worklist, wording of degrees, names, ages, times."""

from __future__ import annotations

import msgspec
import pytest

from appliance.api.messages import GRADES, Health, Reason, Session, StudyDetail, StudyHeader
from appliance.comparison import summary
from appliance.findings import Graft, NotAssessable, OtherSeries, Quality
from kiosk import words
from kiosk.state import KioskState, Picture, PictureCache, Pixels, Review
from kiosk.views import WorklistView, make_view
from kiosk.views.decision import GradePopup
from kiosk.views.frame import patient_line, patient_name, span, study_date
from kiosk.views.review import ReviewView, make_review_view
from kiosk.views.selection import percent_text
from kiosk.views.worklist import RowView, category_of, make_worklist_view
from tests.appliance.api.samples import header, lesion, make_findings, make_report, row, sample_details

NOW = 1_795_000_000.0
SESSION = Session(token=str(1), user_id="u", user_name="周技师", role="radiographer", may_approve=True, may_finalise=False)


def state_with(*details: StudyDetail, language: words.Language = "zh") -> KioskState:
    state = KioskState(language=language, screen="worklist", session=SESSION, online=True)
    state.rows = {detail.row.key: detail.row for detail in details}
    return state


def worklist(*details: StudyDetail, language: words.Language = "zh") -> WorklistView:
    return make_worklist_view(state_with(*details, language=language), now=NOW, wall=NOW)


def review(detail: StudyDetail, **more: object) -> ReviewView:
    state = state_with(detail)
    return make_review_view(state, Review(key=detail.row.key, detail=detail, **more), now=NOW, wall=NOW)  # type: ignore[arg-type]


def draft(*lesions: object, **more: object) -> StudyDetail:
    findings = make_findings(tuple(lesions))  # type: ignore[arg-type]
    line = row("k", "draft", header(1, name="Zhang^Jianguo=张^建国"), received_at=NOW - 60)
    return StudyDetail(row=line, findings=findings, report=make_report(findings), **more)  # type: ignore[arg-type]


def by_key(view: WorklistView) -> dict[str, RowView]:
    return {each.key: each for each in view.rows}


def test_urgent_first_then_drafts_then_work_then_trouble_then_done() -> None:
    order = [each.key for each in worklist(*sample_details(NOW)).rows]
    expected = ["s-urgent", "s-draft", "s-analysing", "s-queued", "s-receiving", "s-declined", "s-failed", "s-delivered"]
    assert order == expected


def test_severe_drafts_come_before_mild_ones_and_the_longest_waiting_first() -> None:
    def one(key: str, cad_rads: str, received_at: float) -> StudyDetail:
        return StudyDetail(row=row(key, "draft", header(1, name="A^B"), received_at=received_at, cad_rads=cad_rads))

    view = worklist(
        one("mild", "CAD-RADS 2/P1", NOW - 900),
        one("severe-late", "CAD-RADS 4B/P3", NOW - 10),
        one("severe-early", "CAD-RADS 4B/P3", NOW - 500),
        one("occluded", "CAD-RADS 5/P4/HRP", NOW - 5),
    )
    assert [each.key for each in view.rows] == ["occluded", "severe-early", "severe-late", "mild"]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("CAD-RADS 0", "0"),
        ("CAD-RADS 3/P2/HRP", "3"),
        ("CAD-RADS 4A/P3/HRP/S", "4A"),
        ("CAD-RADS 4B", "4B"),
        ("CAD-RADS 5/P4", "5"),
        ("CAD-RADS N", "N"),
        ("CAD-RADS 3/N/P2", "3"),
        (None, None),
        ("", None),
    ],
)
def test_category_is_read_from_the_text(text: str | None, category: str | None) -> None:
    assert category_of(text) == category


def test_declined_and_failed_say_why() -> None:
    rows = by_key(worklist(*sample_details(NOW)))
    assert rows["s-declined"].detail == "未见对比剂增强，不是冠状动脉 CTA（DEC-004）"
    assert not rows["s-declined"].can_open
    assert (rows["s-failed"].detail, rows["s-failed"].retry) == ("未找到升主动脉（ANA-010）", "重试")


def test_a_result_that_lacks_a_later_series_says_so_and_can_be_done_again() -> None:
    later = Reason(code="WF-015", zh="分析之后又收到新的 CT 序列", en="another CT series came")
    details = [
        msgspec.structs.replace(each, row=msgspec.structs.replace(each.row, reason=later))
        for each in sample_details(NOW)
        if each.row.state in ("draft", "delivered")
    ]
    rows = by_key(worklist(*details))
    assert {row.retry for row in rows.values()} == {"重新分析"}
    assert all("WF-015" in row.detail for row in rows.values())


def test_grafts_are_counted_among_the_facts() -> None:
    graft = Graft(
        id=0, kind="venous", origin="aorta", target="mLAD", points_mm=((0.0, 0.0, 0.0),), lumen_diameter_mm=3.1, patency="patent",
        confidence=0.8,
    )  # fmt: skip
    found = msgspec.structs.replace(make_findings(()), grafts=(graft, graft))
    detail = StudyDetail(row=row("s", "draft", header(1, name="A"), received_at=NOW), findings=found)
    assert "桥血管 2" in review(detail).facts


def test_an_artery_that_another_phase_showed_better_is_told() -> None:
    found = make_findings((lesion(0, "pRCA", "RCA", 44.0, "mild"),))
    branches = tuple(msgspec.structs.replace(each, series_uid="1.9") if each.vessel == "RCA" else each for each in found.branches)
    series = OtherSeries(series_uid="1.9", role="phase", phase_percent=40.0, read=True)
    found = msgspec.structs.replace(found, branches=branches, other_series=(series,))
    detail = StudyDetail(row=row("s", "draft", header(1, name="A"), received_at=NOW), findings=found)
    assert "RCA：在另一期相（40%）测量（主期相不能完全评价）" in review(detail).warnings


def test_what_changed_since_an_earlier_examination_stands_in_a_line() -> None:
    earlier = summary(make_findings((lesion(0, "pLAD", "LAD", 40.0, "mild"),)), study_date="20250301", final=True)
    found = make_findings((lesion(0, "pLAD", "LAD", 63.4, "moderate"), lesion(1, "pRCA", "RCA", 30.0, "mild")))
    detail = StudyDetail(
        row=row("s", "draft", header(1, name="A"), received_at=NOW), findings=msgspec.structs.replace(found, earlier=earlier)
    )
    assert review(detail).compared == "与 2025-03-01 比较：CAD-RADS 2/P2 → 3/P2 · 新发 pRCA · 进展 pLAD"
    assert review(draft()).compared == ""


def test_every_state_and_stage_has_words_in_both_languages() -> None:
    for table in (words.STATE, words.STAGE, words.GRADE, words.PLAQUE, words.HIGH_RISK, words.ROLE):
        for text in table.values():
            assert text.zh
            assert text.en
    assert set(words.GRADE) == set(GRADES)
    assert all(set(bands) == set(GRADES) for bands in words.BANDS.values())


def test_unknown_stage_is_shown_as_it_is_named() -> None:
    line = row("k", "analysing", header(1, name="A^B"), received_at=NOW, stage="novel_stage", progress=0.5)
    assert worklist(StudyDetail(row=line)).rows[0].detail == "novel_stage · 50%"


def test_health_names_what_is_wrong() -> None:
    state = state_with()
    warning = Reason(code="WF-058", zh="3 幅影像无法读取", en="3 images cannot be read")
    state.health = Health(receiver_ready=True, analyst_ready=False, engine="OpenVINO", disk_free_fraction=0.04, warnings=(warning,))
    view = make_worklist_view(state, now=NOW, wall=NOW)
    lamps = {lamp.id: lamp for lamp in view.health}
    assert {name: lamp.good for name, lamp in lamps.items()} == {
        "receiver": True,
        "analyst": False,
        "engine": True,
        "disk": False,
    }
    assert lamps["disk"].text == "磁盘余 4%"
    assert view.warnings == "3 幅影像无法读取（WF-058）"


@pytest.mark.parametrize(
    ("percent", "text"), [(None, "–"), (0.0, "0%"), (24.99, "24%"), (49.9, "49%"), (69.6, "69%"), (70.0, "70%"), (99.97, "99%")]
)
def test_percentage_never_reads_as_the_next_band(percent: float | None, text: str) -> None:
    assert percent_text(percent) == text


def test_lesions_the_worst_first_and_a_correction_is_told_from_a_measurement() -> None:
    corrected = msgspec.structs.replace(lesion(2, "pRCA", "RCA", 44.0, "occluded"), grade_source="corrected")
    view = review(draft(lesion(0, "D1", "LAD", 0.0, "none"), lesion(1, "pLAD", "LAD", 63.4, "moderate"), corrected))
    assert [card.lesion for card in view.lesions] == [2, 1, 0]
    assert [card.chip for card in view.lesions] == [("闭塞", "测 44%"), ("63%", "中度"), ("0%", "无狭窄")]
    assert view.lesions[0].corrected == "已修改"


def test_a_lesion_shows_its_length_and_what_is_left_of_the_area() -> None:
    view = review(draft(lesion(0, "D1", "LAD", 0.0, "none"), lesion(1, "pLAD", "LAD", 50.0, "moderate")))
    assert [card.plaque for card in view.lesions] == ["混合斑块 · 长 12\u00a0mm · 面积狭窄 75%", "混合斑块 · 长 12\u00a0mm"]


def test_unmeasured_lesion_has_no_number() -> None:
    view = review(draft(lesion(0, "pLAD", "LAD", None, "moderate")), grading=0)
    assert view.lesions[0].chip == ("–", "中度")
    assert view.popup is not None
    assert getattr(view.popup, "measured", "") == "未测量"


def test_an_unknown_degree_is_never_shown_as_none() -> None:
    """It has a colour of its own, stands before what is surely less than half, and nothing is chosen for it yet."""
    unknown, mild, none = (
        lesion(0, "pLAD", "LAD", None, "none"),
        lesion(1, "mLAD", "LAD", 30.0, "mild"),
        lesion(2, "D1", "LAD", 0.0, "none"),
    )
    view = review(draft(none, mild, unknown), grading=0)
    assert [card.lesion for card in view.lesions] == [0, 1, 2]
    assert [(card.chip, card.grade) for card in view.lesions] == [
        (("–", "程度无法评价"), "unknown"), (("30%", "轻度"), "mild"), (("0%", "无狭窄"), "none"),
    ]  # fmt: skip
    assert next(tab.worst for tab in view.vessels if tab.vessel == "LAD") == "unknown"
    assert isinstance(view.popup, GradePopup)
    assert not any(choice.chosen for choice in view.popup.choices)
    severe = lesion(3, "dLAD", "LAD", 75.0, "severe")
    assert [card.lesion for card in review(draft(unknown, severe)).lesions] == [3, 0]
    settled = msgspec.structs.replace(unknown, grade_source="corrected")
    assert review(draft(settled)).lesions[0].grade == "none"


def test_vessel_tabs_carry_the_worst_degree() -> None:
    view = review(
        draft(lesion(0, "pLAD", "LAD", 63.4, "moderate"), lesion(1, "mLAD", "LAD", 20, "minimal"), lesion(2, "RI", "RI", 30, "mild"))
    )
    assert [(tab.vessel, tab.count, tab.worst) for tab in view.vessels] == [
        (None, 3, None),
        ("LM", 0, None),
        ("LAD", 2, "moderate"),
        ("LCX", 0, None),
        ("RCA", 0, None),
        ("RI", 1, "mild"),
    ]


def test_segment_that_cannot_be_read_is_never_silent() -> None:
    detail = draft(lesion(0, "pLAD", "LAD", 63.4, "moderate"))
    assert detail.findings is not None
    quality = Quality(
        score=2,
        aorta_mean_hu=300,
        aorta_noise_hu=40,
        cnr=7,
        motion=0.6,
        coverage_complete=True,
        not_assessable=(NotAssessable(segment="mRCA", reason="motion"),),
    )
    detail = msgspec.structs.replace(detail, findings=msgspec.structs.replace(detail.findings, quality=quality))
    assert review(detail).warnings == ("mRCA：无法评价（运动伪影）",)


def test_study_without_lesions_says_so() -> None:
    view = review(draft())
    assert (view.lesions, view.no_lesions, view.category) == ((), "未见斑块及狭窄", "0")


def test_bands_follow_the_site() -> None:
    detail = draft(lesion(0, "pLAD", "LAD", 72.0, "moderate"))
    state = state_with(detail)
    state.info = msgspec.structs.replace(state.info, stenosis_bands="cn2011")
    popup = make_review_view(state, Review(key="k", detail=detail, grading=0), now=NOW, wall=NOW).popup
    assert [choice.band for choice in popup.choices] == ["0%", "1–24%", "25–49%", "50–74%", "75–99%", "100%"]  # type: ignore[union-attr]


def test_undo_counts_down_in_whole_seconds_and_closes() -> None:
    detail = draft()
    detail = msgspec.structs.replace(detail, row=msgspec.structs.replace(detail.row, state="approving"))
    state = state_with(detail)
    state.undo_ends, state.undo_lengths = {"k": NOW + 6.2}, {"k": 8.0}
    bar = make_review_view(state, Review(key="k", detail=detail), now=NOW, wall=NOW).undo
    assert bar is not None
    assert (bar.seconds, bar.fraction, bar.enabled) == (7, 0.78, True)
    closed = make_review_view(state, Review(key="k", detail=detail), now=NOW + 7, wall=NOW).undo
    assert closed is not None
    assert (closed.seconds, closed.enabled) == (0, False)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Zhang^Jianguo=张^建国", "张建国"), ("Smith^John", "Smith John"), ("", "（无姓名）"), ("Li^Na=", "Li Na")],
)
def test_name_is_never_empty(name: str, shown: str) -> None:
    assert patient_name(header(1, name=name), language="zh") == shown


@pytest.mark.parametrize(
    ("sex", "age", "zh", "en"),
    [
        ("M", "061Y", "C0000001 · 男 · 61岁", "C0000001 · M · 61 y"),
        ("F", "007M", "C0000001 · 女 · 7月", "C0000001 · F · 7 mo"),
        ("", "", "C0000001", "C0000001"),
        ("X", "61", "C0000001", "C0000001"),
    ],
)
def test_identity_leaves_out_what_the_images_do_not_say(sex: str, age: str, zh: str, en: str) -> None:
    head = header(1, name="A^B", sex=sex, age=age)
    assert (patient_line(head, language="zh"), patient_line(head, language="en")) == (zh, en)


def test_dates_and_spans() -> None:
    assert study_date(header(1, name="A^B")) == "2026-11-22"
    assert study_date(StudyHeader(study_uid="1", series_uid="1", study_date="bad")) == ""
    assert (span(12.7, language="zh"), span(61, language="zh"), span(3600, language="en")) == ("12 秒", "1 分钟", "60 min")


def test_without_a_session_there_is_only_the_sign_in_screen() -> None:
    state = state_with(*sample_details(NOW))
    state.session = None
    state.screen = "review"
    view = make_view(state, now=NOW, wall=NOW)
    assert "张" not in repr(view)
    assert "C0000001" not in repr(view)


def test_picture_cache_forgets_the_least_looked_at() -> None:
    def picture() -> Picture:
        return Picture(tag="t", pixels=Pixels(10, 10, bytes(300)), thumbnail=None)

    cache = PictureCache(maximum_bytes=1000)
    for name in ("a", "b", "c"):
        cache.put("k", name, picture())
    assert cache.get("k", "a") is not None
    cache.put("k", "d", picture())
    assert [name for name in "abcd" if cache.get("k", name)] == ["a", "c", "d"]
    cache.put("k", "d", picture())
    assert cache.get("k", "c") is not None
