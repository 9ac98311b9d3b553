"""Taking the patient out of an object, by an allow-list: PS3.15 annex E, Basic Application Confidentiality Profile with three options.

Kept are numbers, codes of known schemes, enumerated values, equipment's own texts, the patient's sex, age, size and weight. All UIDs but
DICOM's own are replaced, dates and times are moved by one span for each patient. Everything else goes: names, free text, private
attributes, curves, overlays (in the pixels' spare bits too), sequences that are not needed. At the end every text that is left is held
against the patient's identifiers, and goes if one of them stands in it.

Not carried at all: objects with Burned In Annotation YES, screen shots that do not say NO, encapsulated documents, compressed pixels that
cannot be decoded (a compressed stream may hold comments).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from appliance.archive.pseudonyms import PseudonymKey, Pseudonyms
from appliance.dicom.deidentify_lists import (
    BINARY,
    CARRIED,
    CODING_SCHEMES,
    CONTENT_ITEMS,
    DATES,
    DROPPED_GROUPS,
    EMPTY,
    METHOD,
    NUMBERS,
    PATIENT,
    SECONDARY_CAPTURE,
    SEQUENCES,
    TEXTS,
)

LONGEST_SHIFT_DAYS = 3650
OLDEST_AGE = 89
"""Ages above are given as 90 (45 CFR 164.514(b)(2)(i)(C))."""
IDENTIFIERS = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientBirthDate",
    "AccessionNumber", "StudyID", "InstitutionName", "StationName", "DeviceSerialNumber", "PatientAddress", "PatientTelephoneNumbers",
)  # fmt: skip
CODE_STRING = re.compile(r"^[A-Z0-9 _]{0,16}$")


class Deidentifier:
    """See the module.

    Args:
        pseudonyms: keys, names and UIDs; they stay on the box.
    """

    def __init__(self, *, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms

    def deidentify(self, route: str, dataset: Dataset) -> Dataset | None:
        """A new data set without the patient; None for an object that such a route does not carry."""
        if not carried(dataset) or not _plain_pixels(dataset):
            return None
        patient = _patient(dataset)
        key = self._pseudonyms.key(route)
        cleaning = _Cleaning(key, patient)
        dataset.decode()
        pydicom.filewriter.correct_ambiguous_vr(dataset, dataset.file_meta.TransferSyntaxUID.is_little_endian)
        found = list(identifiers(dataset))
        clean: Any = cleaning.clean(dataset)
        _remove_identifiers(clean, found)
        clean.SpecificCharacterSet = "ISO_IR 192"
        clean.PatientName = clean.PatientID = self._pseudonyms.pseudonym(route, patient)
        for keyword in EMPTY:
            setattr(clean, keyword, "")
        clean.PatientIdentityRemoved = "YES"
        clean.LongitudinalTemporalInformationModified = "MODIFIED"
        clean.DeidentificationMethodCodeSequence = [_code(*each) for each in METHOD]
        if "VerificationFlag" in clean:
            clean.VerificationFlag = "UNVERIFIED"  # who verified it has gone
        clean.file_meta = _file_meta(clean)
        self._pseudonyms.keep_uids(route, cleaning.uids)
        return clean  # type: ignore[no-any-return]


def carried(dataset: Dataset) -> bool:
    """Whether a pseudonymised route carries an object of this kind."""
    burned_in = str(dataset.get("BurnedInAnnotation", "")).strip().upper()
    image_type = {str(value).strip().upper() for value in _several(dataset.get("ImageType", []))}
    screen = str(dataset.get("SOPClassUID", "")) == SECONDARY_CAPTURE or bool(image_type & {"SECONDARY", "SCREEN SAVE"})
    return str(dataset.get("SOPClassUID", "")) in CARRIED and burned_in != "YES" and (not screen or burned_in == "NO")


def identifiers(dataset: Dataset) -> Iterator[str]:
    """What names the patient, in whatever depth it stands: whole values and the parts of names, folded."""
    for element in _everything(dataset):
        if element.VR == "PN" or element.keyword in IDENTIFIERS:
            for value in _several(element.value):
                text = str(value).strip().casefold()
                parts = [text, *re.split(r"[\^=\s]+", text)] if element.VR == "PN" else [text]
                for part in parts:
                    # short parts would stand in half of all words
                    if len(part) >= (4 if part.isdigit() else 3 if part.isascii() else 2):
                        yield part


class _Cleaning:
    """One object's way through the allow-list."""

    def __init__(self, key: PseudonymKey, patient: str) -> None:
        digest = key.digest("shift", patient)
        days = 1 + int.from_bytes(digest[:4], "big") % LONGEST_SHIFT_DAYS
        self._shift = timedelta(days=-days, seconds=-(int.from_bytes(digest[4:8], "big") % 86400))
        self._key = key
        self.uids: dict[str, str] = {}

    def clean(self, dataset: Dataset) -> Dataset:
        clean = Dataset()
        for element in dataset:
            kept = self._kept(element, dataset)
            if kept is not None:
                clean.add(kept)
        return clean

    def _kept(self, element: DataElement, dataset: Dataset) -> DataElement | None:
        """The element as it may stay; None if it goes."""
        group, keyword, vr = element.tag.group, element.keyword, element.VR
        if not keyword or group % 2 or group in DROPPED_GROUPS or 0x5000 <= group <= 0x501E or 0x6000 <= group <= 0x601E:
            return None
        if group == 0x0010 and keyword not in PATIENT:
            return None
        rules: dict[str, Callable[[DataElement, Dataset], Any]] = {
            "UI": self._uid, "SQ": self._sequence, "CS": _code_string, "AS": _age, "DA": self._date, "TM": self._time, "DT": self._moment,
        }  # fmt: skip
        if vr in rules:
            value = rules[vr](element, dataset)
        elif vr in NUMBERS or keyword in BINARY or keyword in TEXTS:
            value = element.value
        else:
            value = None
        return None if value is None else DataElement(element.tag, vr, value)

    def _uid(self, element: DataElement, _: Dataset) -> Any:
        values = [str(value) for value in _several(element.value)]
        replaced = [value if value.startswith("1.2.840.10008.") or not value else self._replacement(value) for value in values]
        return replaced if len(replaced) != 1 else replaced[0]

    def _replacement(self, uid: str) -> str:
        return self.uids.setdefault(uid, self._key.uid(uid))

    def _sequence(self, element: DataElement, _: Dataset) -> list[Dataset] | None:
        if element.keyword.endswith("CodeSequence"):
            return [self.clean(item) for item in element.value if _known_code(item)] or None
        if element.keyword not in SEQUENCES:
            return None
        if element.keyword == "ContentSequence":
            items = [item for item in element.value if str(item.get("ValueType", "")) in CONTENT_ITEMS and _named(item)]
            return [self.clean(item) for item in items]
        return [self.clean(item) for item in element.value]

    def _date(self, element: DataElement, dataset: Dataset) -> Any:
        time = str(dataset.get(element.keyword.replace("Date", "Time"), "") or "") if element.VM == 1 else ""
        return self._moved(str(element.value), time[:6] if re.match(r"^\d{6}", time) else "000000", "%Y%m%d")

    def _time(self, element: DataElement, dataset: Dataset) -> Any:
        date = str(dataset.get(element.keyword.replace("Time", "Date"), "") or "")
        text = str(element.value)
        return self._moved(date if re.match(r"^\d{8}$", date) else "20000102", text[:6], "%H%M%S", rest=text[6:])

    def _moment(self, element: DataElement, _: Dataset) -> Any:
        text = str(element.value)
        return self._moved(text[:8], text[8:14], "%Y%m%d%H%M%S")

    def _moved(self, date: str, time: str, form: str, *, rest: str = "") -> str | None:
        """Moved by the patient's span; None for what is no date or time (it goes)."""
        try:
            moment = datetime.strptime(f"{date}{time}", "%Y%m%d%H%M%S") + self._shift  # noqa: DTZ007 - DICOM times are local
        except (ValueError, OverflowError):
            return None
        return moment.strftime(form) + (rest if re.fullmatch(r"\.\d{1,6}", rest) else "")


def _code_string(element: DataElement, _: Dataset) -> Any:
    values = [str(value) for value in _several(element.value)]
    return element.value if all(CODE_STRING.match(value) for value in values) else None


def _age(element: DataElement, _: Dataset) -> Any:
    text = str(element.value)
    if not re.fullmatch(r"\d{3}[DWMY]", text):
        return None
    return "090Y" if text.endswith("Y") and int(text[:3]) > OLDEST_AGE else text


def _known_code(item: Dataset) -> bool:
    return str(item.get("CodingSchemeDesignator", "")) in CODING_SCHEMES


def _named(item: Dataset) -> bool:
    """Whether the name of a content item survives; without its name an item says nothing."""
    names = item.get("ConceptNameCodeSequence")
    return names is None or all(_known_code(name) for name in names)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | pydicom.multival.MultiValue) else [] if value is None else [value]


def _everything(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _everything(item)


def _remove_identifiers(dataset: Dataset, found: list[str]) -> None:
    """The last look: any text in which an identifier stands goes, and any number that is one."""
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                _remove_identifiers(item, found)
        elif element.VR in NUMBERS:
            if element.VR in {"DS", "IS"} and any(str(value).strip() in found for value in _several(element.value)):
                del dataset[element.tag]
        elif element.VR != "UI" and element.VR not in DATES and element.keyword not in BINARY:
            texts = [str(value).casefold() for value in _several(element.value)]
            if any(part in text for part in found for text in texts):
                del dataset[element.tag]


def _patient(dataset: Dataset) -> str:
    """Who it is: the ID with its issuer; where there is none, name and birth date; else the study alone."""
    identity = [str(dataset.get(keyword, "") or "") for keyword in ("PatientID", "IssuerOfPatientID")]
    if not identity[0]:
        identity = ["", str(dataset.get("PatientName", "") or ""), str(dataset.get("PatientBirthDate", "") or "")]
    return "\0".join(identity) if any(identity) else f"study\0{dataset.get('StudyInstanceUID', '')}"


def _plain_pixels(dataset: Dataset) -> bool:
    """Decode the pixels, cut what lies behind them, and clear the bits above those stored; False if they cannot be decoded."""
    if "PixelData" not in dataset:
        return True
    import numpy as np  # not at the top: the receiver process lists its services from this package and holds no numeric code

    try:
        syntax = dataset.file_meta.TransferSyntaxUID
        order = "<" if syntax.is_little_endian else ">"
        if syntax.is_compressed:
            dataset.decompress(generate_instance_uid=False)
        allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
        values = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel) * int(dataset.get("NumberOfFrames", 1) or 1)
    except Exception:  # noqa: BLE001 - a codec may raise anything; what cannot be looked at does not go
        return False
    size = (values * allocated + 7) // 8
    pixels = dataset.PixelData[:size]
    if len(pixels) < size:
        return False
    if allocated in {8, 16}:
        spare = allocated - stored
        if spare < 0 or int(dataset.HighBit) != stored - 1:
            return False
        kind = f"{'i' if int(dataset.PixelRepresentation) == 1 else 'u'}{allocated // 8}"
        array = np.frombuffer(pixels, order + kind)
        pixels = ((array << spare) >> spare).astype(f"<{kind}").tobytes()
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    return True


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta
