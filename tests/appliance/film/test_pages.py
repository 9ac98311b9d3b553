"""Film pages: size, notices, banner and layout, with made-up pictures."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.errors import ImagingError
from appliance.film import words
from appliance.film.pages import BANNER, FILM_MM, FOOTER, MARGIN, calcium_by_vessel, make_film_pages, not_assessable
from appliance.film.sheet import Area, Sheet, film_grey
from appliance.findings import CadRads, Calcium, Findings, Lesion, ModelInfo, NotAssessable, PlaqueVolume, Quality, Software
from appliance.study import Approval, KeyView, StudyHeader, ViewKind

PORTRAIT = (1064, 1294)
HEADER = StudyHeader(
    study_uid="1.2", series_uid="1.3", patient_name="Wang^Wu=王^五", patient_sex="F", patient_age="058Y", accession_number="CT0042",
    study_date="20261122", institution="第一医院",
)  # fmt: skip
PHYSICIAN = Approval(user_id="u1", user_name="李医生", role="physician", at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC))
RADIOGRAPHER = msgspec.structs.replace(PHYSICIAN, role="radiographer")


def view(kind: ViewKind, key: str, shape: tuple[int, int], value: int, **more: object) -> KeyView:
    """A flat picture of one grey value with a bright frame."""
    image = np.full((*shape, 3), value, np.uint8)
    image[:4], image[-4:], image[:, :4], image[:, -4:] = 255, 255, 255, 255
    return KeyView(id=key, kind=kind, title_zh=key, title_en=key, image=image, **more)  # type: ignore[arg-type]


def key_views() -> list[KeyView]:
    made = [view("vr_heart", f"vr-heart-{k}", (300, 300), 120) for k in range(5)]
    made += [view("vr_tree", f"vr-tree-{k}", (300, 300), 110) for k in range(4)]
    for vessel in ("lad", "lcx", "rca"):
        for angle in (0.0, 90.0):
            name = vessel.upper()
            made.append(view("cpr", f"cpr-{vessel}-{angle:03.0f}", (400, 240), 90, angle_degrees=angle, vessel=name))
            made.append(view("scpr", f"scpr-{vessel}-{angle:03.0f}", (120, 640), 80, angle_degrees=angle, vessel=name))
        made.append(view("mip", f"mip-plane-{vessel}", (240, 240), 70, vessel=vessel.upper()))
        made.append(view("mip", f"mip-axial-{vessel}", (240, 240), 70, vessel=vessel.upper()))
        made.append(view("mip", f"mip-curved-{vessel}", (400, 240), 70, vessel=vessel.upper()))
    for key in ("proximal", "minimum", "distal"):
        made.append(view("section", f"section-l0-{key}", (160, 160), 60, lesion=0, vessel="LAD", segment="pLAD"))
    return made


def lesion(**changes: object) -> Lesion:
    whole = Lesion(
        id=0, branch=1, vessel="LAD", segment="pLAD", start=10, minimum=20, end=30, length_mm=9.6, minimum_lumen_diameter_mm=1.1,
        reference_diameter_mm=3.0, diameter_stenosis_percent=62.0, area_stenosis_percent=85.0, grade="moderate", plaque_type="mixed",
        volume_mm3=PlaqueVolume(total=40, calcified=10, noncalcified=30, low_attenuation=4), remodeling_index=1.12,
        plaque_burden_percent=60.0, high_risk=(), confidence=0.8,
    )  # fmt: skip
    return msgspec.structs.replace(whole, **changes)


def findings(*lesions: Lesion, validated: bool = False) -> Findings:
    model = ModelInfo(name="m", version="1", sha256="0", validated_on_patients=validated)
    return Findings(
        status="analysed", software=Software(version="0", commit="0"), reason=None, engine=None, models=(model,), series=None,
        other_series=(), quality=None, dominance="right", branches=(), lesions=lesions, bridges=(), stents=(), calcium=None,
        plaque_total_mm3=None, segment_involvement_score=1, segment_stenosis_score=2,
        cad_rads=CadRads(category="3", plaque_burden="P1", modifiers=(), text="CAD-RADS 3/P1"), timing_s={}, schema=1,
    )  # fmt: skip


def part(image: NDArray[np.uint8], left: float, top: float, right: float, bottom: float) -> NDArray[np.uint8]:
    """A part of a portrait page, in mm."""
    scale = image.shape[1] / FILM_MM["PORTRAIT"]
    return image[round(top * scale) : round(bottom * scale), round(left * scale) : round(right * scale)]


def footer_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height = image.shape[0] * FILM_MM["PORTRAIT"] / image.shape[1]
    return part(image, MARGIN, height - MARGIN - FOOTER, FILM_MM["PORTRAIT"] - MARGIN, height - MARGIN + 0.5)


@pytest.mark.parametrize("page_pixels", [PORTRAIT, (2128, 2587), (1500, 1500)])
def test_three_pages_of_the_printers_matrix(page_pixels: tuple[int, int]) -> None:
    pages = make_film_pages(HEADER, findings(lesion()), key_views(), page_pixels=page_pixels)
    assert [page.number for page in pages] == [1, 2, 3]
    for page in pages:
        assert page.image.shape == (page_pixels[1], page_pixels[0])
        assert page.image.dtype == np.uint8
        assert page.orientation == "PORTRAIT"
        assert (page.image == 0).mean() > 0.05
        assert page.image.max() == 255


def test_landscape_pages() -> None:
    pages = make_film_pages(HEADER, findings(lesion()), key_views(), page_pixels=(1294, 1064), orientation="LANDSCAPE")
    assert len(pages) == 3
    assert all(page.image.shape == (1064, 1294) and page.orientation == "LANDSCAPE" for page in pages)


def test_every_page_carries_every_notice() -> None:
    """Exactly the words of the notices stand in the footer: their ink is that of the notices set alone."""
    draft = make_film_pages(HEADER, findings(lesion()), key_views(), page_pixels=PORTRAIT)
    final = make_film_pages(HEADER, findings(lesion()), key_views(), page_pixels=PORTRAIT, approval=PHYSICIAN)
    clean = make_film_pages(HEADER, findings(lesion(), validated=True), key_views(), page_pixels=PORTRAIT, approval=PHYSICIAN)
    for two, one, none in zip(draft, final, clean, strict=True):
        ink = [int((footer_of(page.image)[:, : footer_of(page.image).shape[1] // 2] > 128).sum()) for page in (two, one, none)]
        assert ink[0] > ink[1] > 400
        assert ink[2] < 50
    footers = [footer_of(page.image) for page in draft]
    assert all((footers[0] == other).all() for other in footers[1:])


def test_only_a_physician_takes_the_draft_mark_away() -> None:
    draft = make_film_pages(HEADER, findings(), key_views(), page_pixels=PORTRAIT)[0]
    released = make_film_pages(HEADER, findings(), key_views(), page_pixels=PORTRAIT, approval=RADIOGRAPHER)[0]
    left = slice(0, footer_of(draft.image).shape[1] // 4)
    assert (footer_of(draft.image)[:, left] == footer_of(released.image)[:, left]).all()


def test_notice_letters_are_legible() -> None:
    """Letters of at least 2.5 mm on the film: the framed text fills that much of its frame's height."""
    page = make_film_pages(HEADER, findings(), key_views(), page_pixels=(2128, 2587))[0].image
    rows = np.nonzero((footer_of(page)[:, 40:200] > 200).sum(axis=1) > 8)[0]
    assert np.ptp(rows) / (2128 / FILM_MM["PORTRAIT"]) > 2.5


def banner_of(page: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return part(page, MARGIN, MARGIN, FILM_MM["PORTRAIT"] - MARGIN, MARGIN + BANNER)


def test_every_page_has_its_number_in_the_banner() -> None:
    banners = [banner_of(page.image) for page in make_film_pages(HEADER, findings(lesion()), key_views(), page_pixels=PORTRAIT)]
    assert (banners[0] > 128).sum() > 1000
    assert all((banners[0] != other).any() for other in banners[1:])


@pytest.mark.parametrize(
    ("field", "value", "low", "high"),
    [
        ("patient_name", "Zhao^Liu=赵^六", 0.32, 0.53),
        ("patient_id", "P000001", 0.51, 0.70),
        ("patient_sex", "M", 0.68, 0.78),
        ("patient_age", "031Y", 0.76, 0.90),
        ("accession_number", "CT9999", 0.32, 0.53),
        ("study_date", "20260101", 0.51, 0.70),
        ("phase_percent", 40.0, 0.68, 0.78),
        ("patient_birth_date", "19680102", 0.76, 0.90),
    ],
)
def test_banner_identifies_patient_and_examination(field: str, value: object, low: float, high: float) -> None:
    """What differs between two headers is set in its own column, and nothing else of the banner changes."""
    headers = (HEADER, msgspec.structs.replace(HEADER, **{field: value}))
    ours, theirs = (banner_of(make_film_pages(one, findings(), key_views()[:1], page_pixels=PORTRAIT)[0].image) for one in headers)
    changed = np.nonzero((ours != theirs).any(axis=0))[0] / ours.shape[1]
    assert low < changed.min()
    assert changed.max() < high


def test_same_input_same_film() -> None:
    first, second = (make_film_pages(HEADER, findings(lesion()), key_views(), page_pixels=PORTRAIT) for _ in range(2))
    assert all((a.image == b.image).all() for a, b in zip(first, second, strict=True))


def test_pictures_keep_their_grey_values_and_do_not_overlap() -> None:
    page = make_film_pages(
        HEADER, findings(), [view("cpr", f"cpr-{v}-000", (400, 240), 90, angle_degrees=0.0) for v in ("lad", "rca")], page_pixels=PORTRAIT
    )
    assert len(page) == 1
    body = part(page[0].image, MARGIN, MARGIN + BANNER, FILM_MM["PORTRAIT"] - MARGIN, 400)
    share = (body == 90).mean()
    cell = (FILM_MM["PORTRAIT"] - 2 * MARGIN - 1.6) / 2
    assert share == pytest.approx(2 * cell * cell * 400 / 240 / ((FILM_MM["PORTRAIT"] - 2 * MARGIN) * (400 - MARGIN - BANNER)), rel=0.1)


def test_lesions_are_listed_and_corrections_marked() -> None:
    def summary(*lesions: Lesion) -> NDArray[np.uint8]:
        image = make_film_pages(HEADER, findings(*lesions), key_views(), page_pixels=PORTRAIT)[-1].image
        return image[:, image.shape[1] // 2 :]

    none, measured = summary(), summary(lesion())
    corrected = summary(lesion(grade_source="corrected", grade="severe"))
    many = summary(*(lesion(id=k, diameter_stenosis_percent=None, grade="mild") for k in range(40)))
    assert (none != measured).any()
    assert (measured != corrected).any()
    assert (many > 128).sum() > (measured > 128).sum()


def test_an_unknown_degree_is_never_called_no_stenosis() -> None:
    unknown = lesion(diameter_stenosis_percent=None, grade="none")
    assert words.grade(unknown) == "程度无法评价 not assessable"
    assert words.grade(lesion(diameter_stenosis_percent=0.0, grade="none")) == "无狭窄 none"
    assert words.grade(lesion(diameter_stenosis_percent=None, grade="none", grade_source="corrected")) == "无狭窄 none*"
    assert "无狭窄" not in words.lesion_title(unknown)


@pytest.mark.parametrize("kinds", [("vr_heart",), ("cpr", "scpr"), ("mip",), ("section",)])
def test_missing_kinds_leave_no_empty_page(kinds: tuple[ViewKind, ...]) -> None:
    views = [one for one in key_views() if one.kind in kinds]
    pages = make_film_pages(
        msgspec.structs.replace(HEADER, patient_age="", patient_sex="", study_date=""), findings(), views, page_pixels=PORTRAIT
    )
    assert 1 <= len(pages) <= 2
    for page in pages:
        assert (part(page.image, MARGIN, MARGIN + BANNER, FILM_MM["PORTRAIT"] - MARGIN, 405) > 40).mean() > 0.02


@pytest.mark.parametrize(
    ("views", "page_pixels", "code"),
    [([], PORTRAIT, "IMG-020"), (key_views(), (1294, 1064), "IMG-021"), (key_views(), (300, 400), "IMG-021")],
)
def test_what_cannot_be_printed_is_a_typed_error(views: list[KeyView], page_pixels: tuple[int, int], code: str) -> None:
    with pytest.raises(ImagingError) as caught:
        make_film_pages(HEADER, findings(), views, page_pixels=page_pixels)
    assert caught.value.code == code


def test_volume_rendering_uses_the_whole_range_of_the_film() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    image[10:40, 10:40] = (150, 50, 30)
    image[20:24, 10:40] = (200, 150, 110)
    grey = film_grey(KeyView(id="a", kind="vr_heart", title_zh="", title_en="", image=image))
    assert grey[0, 0] == 0
    assert grey[22, 22] > 245
    assert 60 < grey[30, 30] < 200


def test_calcium_of_each_artery_and_what_cannot_be_read_are_written() -> None:
    """What is drawn comes from these lines; with them the last page holds more ink than without."""
    calcium = Calcium(
        series_uid="1", agatston=256.0, volume_mm3=210.4, mass_mg=None, mass_mg_reason="not_calibrated", category="101-400",
        vessels={"LM": 0.0, "LAD": 180.2, "LCX": 29.6, "RCA": 46.2},
    )  # fmt: skip
    quality = Quality(
        score=3, aorta_mean_hu=400.0, aorta_noise_hu=20.0, cnr=20.0, motion=None, motion_reason="x", coverage_complete=True,
        not_assessable=(NotAssessable(segment="mRCA", reason="motion"),),
    )  # fmt: skip
    plain = findings(lesion())
    full = msgspec.structs.replace(plain, calcium=calcium, quality=quality)
    assert calcium_by_vessel(full) == "Agatston: LM 0, LAD 180, LCX 30, RCA 46   210 mm³"
    assert not_assessable(full) == "不能评价 not assessable: mRCA"
    assert (calcium_by_vessel(plain), not_assessable(plain)) == ("", "")
    assert calcium_by_vessel(msgspec.structs.replace(full, calcium=msgspec.structs.replace(calcium, agatston=0.0))) == ""
    ink = [int(make_film_pages(HEADER, each, key_views(), page_pixels=PORTRAIT)[-1].image.astype(np.int64).sum()) for each in (plain, full)]
    assert ink[1] > ink[0]


def test_grid_makes_pictures_as_large_as_it_can() -> None:
    area = Area(0, 0, 300, 300)
    assert {(round(cell.width), round(cell.height)) for cell in area.grid(9, 1.0, gap=0.0)} == {(100, 100)}
    assert {(round(cell.width), round(cell.height)) for cell in area.grid(2, 5.0, gap=0.0)} == {(300, 60)}
    cells = area.grid(7, 0.6, gap=2.0)
    assert all(cell.left >= 0 and cell.right <= 300.01 and cell.bottom <= 300.01 for cell in cells)


def test_long_words_are_made_to_fit() -> None:
    sheet = Sheet.blank((400, 200), 100.0)
    sheet.fitted(Area(10, 10, 30, 8), "一个非常非常非常非常长的医院名称 with a long translation", size=6)
    columns = np.nonzero(sheet.pixels.max(axis=0))[0] / sheet.scale
    assert columns.min() >= 9.5
    assert columns.max() <= 41
