"""What of a study is looked at: its lesions and key views, and how a lesion is put into words."""

from __future__ import annotations

from appliance.anatomy import SEGMENTS
from appliance.api.messages import Lesion, PictureInfo
from appliance.findings import percent_as_read
from kiosk.state import Review
from kiosk.words import Language


def shown_pictures(review: Review) -> list[PictureInfo]:
    """The key views of the chosen vessel, all of them without one."""
    pictures = review.detail.pictures if review.detail else ()
    return [picture for picture in pictures if review.vessel in (None, picture.vessel)]


def lesion_of(review: Review, lesion: int) -> Lesion | None:
    """The lesion with that id, None if the findings (no longer) have it."""
    return next((each for each in lesions_of(review) if each.id == lesion), None)


def picture_for_lesion(review: Review, lesion: int) -> str | None:
    """The key view that shows a lesion best: its own, else the first of its segment or vessel; None if it has none."""
    found = lesion_of(review, lesion)
    if found is None:
        return None
    pictures = shown_pictures(review)
    own = (each.id for each in pictures if each.lesion == lesion)
    segment = (each.id for each in pictures if each.segment == found.segment)
    vessel = (each.id for each in pictures if each.vessel == found.vessel)
    return next(own, None) or next(segment, None) or next(vessel, None)


def lesions_of(review: Review) -> tuple[Lesion, ...]:
    """The lesions of the open study, none before it has come."""
    return review.detail.findings.lesions if review.detail and review.detail.findings else ()


def percent_text(percent: float | None) -> str:
    """A measured percentage in whole percent; a dash for unknown."""
    return "–" if percent is None else percent_as_read(percent)


def place_of(lesion: Lesion, *, language: Language) -> str:
    """The segment's name, e.g. 左前降支近段 or Proximal LAD."""
    segment = SEGMENTS[lesion.segment]
    return segment.zh if language == "zh" else segment.en[:1].upper() + segment.en[1:]
