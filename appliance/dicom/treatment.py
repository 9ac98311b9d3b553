"""What a route does to a file on its way: attributes set (coercion), or the patient taken out (pseudonymisation). The kept file stays.

Coercion is recorded in the object itself, in Original Attributes Sequence (PS3.3 C.12.1.1.9).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from appliance.archive.orders import Order
from appliance.errors import DicomError

OrderField = str
SYSTEM = "CORONET"


class Coercion(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute that is set: to a value, or to what the order of the study says."""

    attribute: str
    value: str | None = None
    from_order: OrderField | None = None


class Treatment(msgspec.Struct, frozen=True, kw_only=True):
    """All that a route does to its files."""

    route: str
    pseudonymise: bool = False
    coerce: tuple[Coercion, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether files go as they are."""
        return not self.pseudonymise and not self.coerce


Deidentify = Callable[[str, Dataset], Dataset | None]
"""(route, data set) -> the same without the patient; None: an object that such a route does not carry."""
FindOrder = Callable[[Dataset], Order | None]


class Treater:
    """Carries treatments out.

    Args:
        find_order: the order that belongs to an object.
        deidentify: takes the patient out.
        now: local time, for the record of what was changed.
    """

    def __init__(self, *, find_order: FindOrder, deidentify: Deidentify, now: Callable[[], datetime]) -> None:
        self._find_order = find_order
        self._deidentify = deidentify
        self._now = now

    def treat(self, path: Path, treatment: Treatment) -> bytes | None:
        """The file as it shall go out, part 10; None if the route does not carry it.

        Raises:
            DicomError: DCM-060 the file cannot be treated; it must not go out untreated.
        """
        try:
            dataset: Dataset = pydicom.dcmread(path)
            if treatment.coerce:
                order = self._find_order(dataset)
                coerce(dataset, wanted=_wanted(treatment.coerce, order), now=self._now())
            if treatment.pseudonymise:
                without = self._deidentify(treatment.route, dataset)
                if without is None:
                    return None
                dataset = without
            buffer = io.BytesIO()
            dataset.save_as(buffer, enforce_file_format=True)
            return buffer.getvalue()
        except DicomError:
            raise
        except Exception as error:
            # whatever a strange object raises; its message is not kept, it may hold what stands in the object
            raise DicomError(
                "DCM-060",
                zh="无法按路由规则处理文件,未发送",
                en="a file cannot be treated as the route asks; it was not sent",
                cause=type(error).__name__,
            ) from error


def coerce(dataset: Dataset, *, wanted: dict[str, str], now: datetime) -> None:
    """Set attributes (keyword -> value) in place, and record what they were before.

    Raises:
        DicomError: DCM-061 no such attribute in PS3.6.
    """
    before = Dataset()
    dataset.decode()
    for keyword, value in wanted.items():
        tag = pydicom.datadict.tag_for_keyword(keyword)
        if tag is None:
            raise DicomError(
                "DCM-061", zh=f"路由规则中的属性不存在:{keyword}", en=f"a route sets an attribute that does not exist: {keyword}"
            )
        vr = pydicom.datadict.dictionary_VR(tag)
        if str(dataset.get(keyword, "")) == value:
            continue
        before.add(dataset[tag] if tag in dataset else DataElement(tag, vr, ""))
        dataset.add(DataElement(tag, vr, value))
    if not len(before):
        return
    dataset.SpecificCharacterSet = "ISO_IR 192"
    record: Any = Dataset()
    record.ModifiedAttributesSequence = [before]
    record.AttributeModificationDateTime = now.strftime("%Y%m%d%H%M%S")
    record.ModifyingSystem = SYSTEM
    record.SourceOfPreviousValues = ""
    record.ReasonForTheAttributeModification = "COERCE"
    dataset.OriginalAttributesSequence = [*dataset.get("OriginalAttributesSequence", []), record]


def _wanted(coercions: tuple[Coercion, ...], order: Order | None) -> dict[str, str]:
    wanted = {}
    for each in coercions:
        value = each.value if each.from_order is None else getattr(order, each.from_order, None)
        if value:
            wanted[each.attribute] = value
    return wanted
