"""Which earlier examination a new result is compared with: the newest of the same person that this box has analysed and released."""

from __future__ import annotations

import logging

import msgspec

from appliance.archive.archive import Archive
from appliance.archive.studies import StudyRecord
from appliance.comparison import summary
from appliance.errors import ArchiveError
from appliance.findings import Earlier, Findings
from appliance.study import StudyHeader
from appliance.worklist import StudyState

log = logging.getLogger(__name__)

RELEASED: frozenset[StudyState] = frozenset({"delivering", "delivered"})


def newest_earlier(archive: Archive, study: StudyRecord) -> Earlier | None:
    """What the newest earlier examination found; None where there is none, or its findings are no longer on this box."""
    for row in archive.priors.of_study(study.key):
        if row.here is None or not row.study_date or row.study_date >= study.header.study_date:
            continue
        try:
            found = _released(archive, archive.studies.get(row.here), study)
        except (ArchiveError, OSError, msgspec.DecodeError) as error:
            log.warning("study %s: the findings of an earlier examination cannot be read: %s", study.key, type(error).__name__)
            continue
        if found is not None:
            return found
    return None


def _released(archive: Archive, earlier: StudyRecord, study: StudyRecord) -> Earlier | None:
    if earlier.state not in RELEASED or earlier.approval is None or earlier.draft is None or not _may_be_one(earlier.header, study.header):
        return None
    findings = Findings.read(archive.drafts / earlier.draft / "findings.json")
    return summary(findings, study_date=earlier.header.study_date, final=earlier.approval.final)


def _may_be_one(one: StudyHeader, other: StudyHeader) -> bool:
    """Whether nothing contradicts that it is one person: a number that two people share must never bring their results together."""
    pairs = ((one.patient_birth_date, other.patient_birth_date), (one.patient_sex, other.patient_sex))
    return one.patient_id == other.patient_id != "" and all(a == b for a, b in pairs if a and b)
