"""A series of the same study that comes after its analysis began: a later phase, the calcium scan, a repeated acquisition.

A draft that nobody has touched is made again with all that is there, and an analysis that failed is tried again. What a person has
corrected, approved or sent is left as it is and marked, until a person asks for the analysis again. Only original CT images count:
reformations and captures that a console sends afterwards change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from appliance.archive.archive import Archive
from appliance.archive.studies import StudyRecord
from appliance.errors import Reason
from appliance.workflow.states import StudyEvent

CAME_LATER = Reason(
    code="WF-015",
    zh="分析之后又收到新的 CT 序列,本结果未包含;可重新分析",
    en="another CT series came after the analysis and is not part of this result; it can be analysed again",
)
CT_IMAGES = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"})
"""CT Image Storage and Enhanced CT Image Storage (PS3.4 B.5)."""
WAITING = frozenset({"receiving", "declined"})
"""Whatever comes in these states is looked at anyway."""


def arrival(archive: Archive, study: StudyRecord, series: Set[str], images: Iterable[Path]) -> StudyEvent:
    """What images that came mean for the result.

    Args:
        archive: for what people did to the draft.
        study: as it was before they came.
        series: theirs.
        images: files of those that are not of the series that was analysed.
    """
    if study.state in WAITING:
        return "images_arrived"
    if study.main_series in series:
        return "late_images"
    if not any(is_original(path) for path in images):
        return "images_arrived"
    untouched = study.state in ("queued", "analysing", "failed") or (study.state == "draft" and not was_corrected(archive, study))
    return "late_images" if untouched else "series_came"


def is_original(path: Path) -> bool:
    """Whether a file is an original CT image (PS3.3 C.7.6.1.1.2): what cannot be read is not."""
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "ImageType"])
        kind = dataset.get("ImageType") or []
        return str(dataset.get("SOPClassUID", "")) in CT_IMAGES and str(kind if isinstance(kind, str) else kind[0]).strip() == "ORIGINAL"
    except (OSError, InvalidDicomError, ValueError, TypeError, IndexError):
        return False


def was_corrected(archive: Archive, study: StudyRecord) -> bool:
    """Whether a person has changed the present draft."""
    details = (entry.details for entry in archive.audit.entries(study=study.key))
    return any(each.get("event") == "corrected" and each.get("generation") == study.generation for each in details)
