"""The findings as a DICOM structured report: Comprehensive SR with TID 1500 'Measurement Report' (PS3.16).

One measurement group (TID 1501) for the study, one for each lesion, bridge, stent, graft and segment that cannot be assessed. A draft,
and a release by a radiographer, is PARTIAL, UNVERIFIED and PRELIMINARY; a physician's approval makes it COMPLETE, VERIFIED and FINAL with
the Verifying Observer Sequence (PS3.3 C.17.2).
"""

from __future__ import annotations

from highdicom.sr import (
    CodedConcept,
    ContentItem,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage

from appliance.report import codes
from appliance.report.instance import MANUFACTURER, Origin, date_time, evidence, new_instance, person_name
from appliance.report.sr_groups import bridge_group, graft_group, lesion_group, stent_group, study_group, unassessable_group
from appliance.study import Approval, ReportText


def make_structured_report(*, origin: Origin, report: ReportText) -> Dataset:
    """The SR object, in a series of its own.

    Args:
        origin: findings, source images, approval.
        report: its impression and notices become text items of the root.
    """
    dataset = new_instance(
        origin,
        sop_class=ComprehensiveSRStorage,
        modality="SR",
        series="report",
        series_uid=origin.uids(),
        number=1,
        description="Coronary CTA measurements",
    )
    for element in _content(origin, report)[0]:
        dataset[element.tag] = element
    dataset.CodingSchemeIdentificationSequence = [_private_scheme()]
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = [codes.CT_CORONARY_ANGIOGRAPHY]
    series = [(origin.header.series_uid, origin.source), *origin.further]
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence(origin.header.study_uid, series)]
    dataset.CompletionFlag = "COMPLETE" if origin.final else "PARTIAL"
    dataset.VerificationFlag = "VERIFIED" if origin.final else "UNVERIFIED"
    dataset.PreliminaryFlag = "FINAL" if origin.final else "PRELIMINARY"
    if origin.approval is None:
        dataset.CompletionFlagDescription = "AI draft"
    elif origin.final:
        dataset.VerifyingObserverSequence = [_verifying_observer(origin.approval, origin.header.institution)]
    else:
        dataset.CompletionFlagDescription = "AI draft, images released by a radiographer"
    return dataset


def _content(origin: Origin, report: ReportText) -> MeasurementReport:
    """The content tree: TID 1500 with notices and impression as text items of the root."""
    findings = origin.findings
    observers = _observers(origin)
    groups = [
        study_group(origin),
        *(lesion_group(lesion, origin) for lesion in findings.lesions),
        *(bridge_group(number, bridge, origin) for number, bridge in enumerate(findings.bridges)),
        *(stent_group(number, stent, origin) for number, stent in enumerate(findings.stents)),
        *(graft_group(graft, origin) for graft in findings.grafts_that_count),
        *([] if findings.quality is None else [unassessable_group(item, origin) for item in findings.quality.not_assessable]),
    ]
    content = MeasurementReport(
        observation_context=observers,
        procedure_reported=codes.CT_CORONARY_ANGIOGRAPHY,
        imaging_measurements=groups,
        title=codes.REPORT_TITLE,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(codes.LANGUAGE_CHINESE),
    )
    root = content[0].ContentSequence
    for notice in report.notices:
        root.append(_text(codes.COMMENT, notice))
    for section in (report.zh[-1], report.en[-1]):
        root.append(_text(codes.IMPRESSION, "\n".join(section.sentences)))
    return content


def _text(name: CodedConcept, value: str) -> ContentItem:
    return TextContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def _observers(origin: Origin) -> ObservationContext:
    """The device, and after an approval the person (TID 1001, 1002)."""
    device = ObserverContext(
        observer_type=codes.DEVICE,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=origin.uids(), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MANUFACTURER
        ),
    )
    if origin.approval is None:
        return ObservationContext(observer_device_context=device)
    person = ObserverContext(
        observer_type=codes.PERSON,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(
            name=person_name(origin.approval.user_name),
            login_name=origin.approval.user_id,
            organization_name=origin.header.institution or None,
            role_in_organization=codes.ROLES.get(origin.approval.role),
        ),
    )
    return ObservationContext(observer_person_context=person, observer_device_context=device)


def _verifying_observer(approval: Approval, institution: str) -> Dataset:
    """Who verified, for which organization, when (PS3.3 C.17.2)."""
    observer = Dataset()
    observer.VerifyingObserverName = person_name(approval.user_name)
    observer.VerifyingObserverIdentificationCodeSequence = []
    observer.VerifyingOrganization = institution or "UNKNOWN"
    observer.VerificationDateTime = date_time(approval.at)
    return observer


def _private_scheme() -> Dataset:
    """What our private codes are (PS3.3 C.12.1)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    scheme.CodingSchemeName = codes.PRIVATE_SCHEME_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    return scheme
