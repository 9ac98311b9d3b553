"""The key views as a Key Object Selection 'Of Interest' (PS3.3 A.35.4, TID 2010)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from appliance.report.instance import Origin, evidence, new_instance, reference


def make_selection(captures: Sequence[Dataset], *, origin: Origin, notices: Sequence[str]) -> Dataset:
    """A selection of ``captures`` (one series, at least one object), in a series of its own."""
    dataset = new_instance(
        origin,
        sop_class=KeyObjectSelectionDocumentStorage,
        modality="KO",
        series="selection",
        series_uid=origin.uids(),
        number=1,
        description="Coronary CTA key objects",
    )
    instances = [(str(capture.SOPClassUID), str(capture.SOPInstanceUID)) for capture in captures]
    series_uid = str(captures[0].SeriesInstanceUID)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence(origin.header.study_uid, [(series_uid, instances)])]
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = [_code("113000", "Of Interest")]
    dataset.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource = "DCMR"
    template.TemplateIdentifier = "2010"
    dataset.ContentTemplateSequence = [template]
    dataset.ContentSequence = [_description(notices), *(_image(*instance) for instance in instances)]
    return dataset


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = meaning
    return item


def _description(notices: Sequence[str]) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = [_code("113012", "Key Object Description")]
    item.TextValue = "\n".join(("Coronet key views", *notices))
    return item


def _image(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "IMAGE"
    item.ReferencedSOPSequence = [reference(sop_class, sop_instance)]
    return item
