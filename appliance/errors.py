"""Errors of the appliance: one root, one subclass per layer.

    CoronetError
    ├── SettingsError          a settings file that cannot be used                       CFG
    ├── VolumeError            images that do not make one volume                        VOL
    ├── InferenceError         a model, an engine, or an output that must not be used    INF
    ├── ArchiveError           the database or the instance files                        ARC
    ├── HardwareError          panel, badge reader, UPS, GPU                             HW
    ├── AnalysisError          a stage of the analysis could not do its work             ANA
    ├── DeclinedError          the study is not one that the analysis is made for        DEC
    ├── ImagingError           a picture, film page or report could not be made          IMG
    ├── DicomError             a peer, an association, a status                          DCM
    ├── WorkflowError          a transition or command that the state does not allow     WF
    ├── MaintenanceError       a stick, a bundle, an update, a reset                      MNT
    ├── UpdateError            the slots, an installation, a version on trial             UPD
    └── ApiError               a request that cannot be answered                         API

Every error carries an operator code such as ``VOL-003`` (a service engineer can look it up) and the text that a person sees in both
languages. The texts live in the table of the module that raises, next to the rule they explain.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """Why something was declined, failed or could not be measured: a code and the sentence in Chinese and English."""

    code: str
    zh: str
    en: str


class CoronetError(Exception):
    """The root. ``code`` is e.g. ``"VOL-003"``; ``zh`` and ``en`` are sentences for a person, never holding patient data.

    Args:
        code: operator code; its prefix must be the layer's.
        zh: Chinese sentence, naming what and where.
        en: English sentence, naming what and where.
        details: further facts for the log (no patient data).
    """

    prefix: ClassVar[str] = "COR"

    def __init__(self, code: str, *, zh: str, en: str, **details: Any) -> None:
        if not code.startswith(f"{self.prefix}-"):
            raise ValueError(f"{type(self).__name__} codes start with {self.prefix}-, not {code!r}")
        super().__init__(f"{code}: {en}")
        self.code = code
        self.zh = zh
        self.en = en
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors pass from one process to another whole: keyword arguments are not what pickle expects of an exception."""
        return _again, (type(self), self.code, self.zh, self.en, self.details)

    @property
    def reason(self) -> Reason:
        """The error as the findings file and the kiosk show it."""
        return Reason(code=self.code, zh=self.zh, en=self.en)


def _again(kind: type[CoronetError], code: str, zh: str, en: str, details: dict[str, Any]) -> CoronetError:
    return kind(code, zh=zh, en=en, **details)


class SettingsError(CoronetError):
    """A settings file that cannot be used."""

    prefix = "CFG"


class VolumeError(CoronetError):
    """Images that do not make one volume."""

    prefix = "VOL"


class InferenceError(CoronetError):
    """A model, an engine, or an output that must not be used."""

    prefix = "INF"


class ArchiveError(CoronetError):
    """The database or the instance files."""

    prefix = "ARC"


class HardwareError(CoronetError):
    """Panel, badge reader, UPS, GPU."""

    prefix = "HW"


class AnalysisError(CoronetError):
    """A stage of the analysis could not do its work."""

    prefix = "ANA"


class DeclinedError(CoronetError):
    """The study is not one that the analysis is made for; the reason is shown to people as it is."""

    prefix = "DEC"


class ImagingError(CoronetError):
    """A picture, film page or report could not be made."""

    prefix = "IMG"


class DicomError(CoronetError):
    """A peer, an association, a status."""

    prefix = "DCM"


class WorkflowError(CoronetError):
    """A transition or command that the state does not allow."""

    prefix = "WF"


class ApiError(CoronetError):
    """A request that cannot be answered."""

    prefix = "API"


class MaintenanceError(CoronetError):
    """A stick, a bundle, an update, a reset."""

    prefix = "MNT"


class UpdateError(CoronetError):
    """The slots, an installation, a version on trial."""

    prefix = "UPD"
