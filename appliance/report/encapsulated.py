"""The PDF report as an Encapsulated PDF object (PS3.3 A.45.1)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from appliance.report.instance import Origin, new_instance, reference
from appliance.study import ReportText


def make_encapsulated_pdf(pdf: bytes, *, origin: Origin, report: ReportText) -> Dataset:
    """The object, in a series of its own; VERIFIED after a physician's approval."""
    dataset = new_instance(
        origin,
        sop_class=EncapsulatedPDFStorage,
        modality="DOC",
        series="document",
        series_uid=origin.uids(),
        number=1,
        description="Coronary CTA report",
    )
    dataset.ConversionType = "WSD"
    dataset.AcquisitionDateTime = ""
    dataset.BurnedInAnnotation = "YES"
    dataset.RecognizableVisualFeatures = "NO"
    images = (*origin.source, *(instance for _, instances in origin.further for instance in instances))
    dataset.SourceInstanceSequence = [reference(*instance) for instance in images]
    dataset.DocumentTitle = " / ".join((report.title_en, *report.notices))
    dataset.VerificationFlag = "VERIFIED" if origin.final else "UNVERIFIED"
    dataset.ConceptNameCodeSequence = [_title()]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf if len(pdf) % 2 == 0 else pdf + b"\x00"
    dataset["EncapsulatedDocument"].VR = "OB"
    return dataset


def _title() -> Dataset:
    """LOINC 18748-4, Diagnostic imaging study (CID 7020)."""
    code = Dataset()
    code.CodeValue = "18748-4"
    code.CodingSchemeDesignator = "LN"
    code.CodeMeaning = "Diagnostic Imaging Report"
    return code
