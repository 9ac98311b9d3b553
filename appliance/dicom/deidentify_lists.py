"""What a pseudonymised object may hold. Whatever is not named or covered by a rule here goes: a new attribute is never let through."""

from __future__ import annotations

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CARRIED = frozenset(
    {
        CT_IMAGE,
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
        SECONDARY_CAPTURE,
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
    }
)
"""SOP classes; no encapsulated document, no raw data, no waveform, no presentation state (its annotations are text)."""

NUMBERS = frozenset({"DS", "IS", "FL", "FD", "SL", "SS", "UL", "US", "SV", "UV", "AT"})
DATES = frozenset({"DA", "DT", "TM"})

TEXTS = frozenset(
    {
        "CodeMeaning",
        "CodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "ConvolutionKernel",
        "FilterType",
        "LongCodeValue",
        "Manufacturer",
        "ManufacturerModelName",
        "SoftwareVersions",
    }
)
"""Text attributes that equipment writes, not people."""

CODING_SCHEMES = frozenset({"DCM", "FMA", "LN", "RADLEX", "SCT", "SNM3", "SRT", "UCUM", "99CCTA"})
"""Codes of other schemes go with their meanings: a site can write anything there."""

PATIENT = frozenset({"PatientAge", "PatientSex", "PatientSize", "PatientWeight"})
"""Of group 0010; Retain Patient Characteristics Option."""

DROPPED_GROUPS = frozenset({0x0012, 0x0032, 0x0038, 0x4008, 0x4010, 0xFFFA, 0xFFFC})
"""Clinical trial, order, visit, interpretation, threat detection, signatures, padding. Odd groups, curves and overlays go in any case."""

BINARY = frozenset(
    {
        "PixelData",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
    }
)

SEQUENCES = frozenset(
    {
        "CTAcquisitionDetailsSequence",
        "CTAcquisitionTypeSequence",
        "CTExposureSequence",
        "CTGeometrySequence",
        "CTImageFrameTypeSequence",
        "CTPositionSequence",
        "CTReconstructionSequence",
        "CTTableDynamicsSequence",
        "CTXRayDetailsSequence",
        "CardiacSynchronizationSequence",
        "ContentSequence",
        "ContentTemplateSequence",
        "CurrentRequestedProcedureEvidenceSequence",
        "DerivationImageSequence",
        "DimensionIndexSequence",
        "DimensionOrganizationSequence",
        "FrameAnatomySequence",
        "FrameContentSequence",
        "FrameVOILUTSequence",
        "MeasuredValueSequence",
        "PerFrameFunctionalGroupsSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
        "PlaneOrientationSequence",
        "PlanePositionSequence",
        "ReferencedImageSequence",
        "ReferencedInstanceSequence",
        "ReferencedSOPSequence",
        "ReferencedSeriesSequence",
        "SegmentIdentificationSequence",
        "SegmentSequence",
        "SharedFunctionalGroupsSequence",
        "SourceImageSequence",
    }
)
"""Beside those of codes (``...CodeSequence``)."""

CONTENT_ITEMS = frozenset({"CODE", "COMPOSITE", "CONTAINER", "IMAGE", "NUM", "SCOORD", "SCOORD3D", "UIDREF"})
"""Value types of structured reports; text, names, dates and times go (Clean Structured Content Option)."""

EMPTY = ("AccessionNumber", "PatientBirthDate", "ReferringPhysicianName", "StudyID")
"""Type 2 attributes that must be there, without a value."""

METHOD = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113104", "Clean Structured Content Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
"""De-identification Method Code Sequence (PS3.16 CID 7050)."""
