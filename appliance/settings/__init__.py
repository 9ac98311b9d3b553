"""Typed settings from one TOML file; an unknown key is an error with 'did you mean'.

The commented default file ``firmware-config/coronet.toml`` is the manual of every option.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from appliance.errors import SettingsError
from appliance.settings.base import AETitle, Count, Port, Positive, Section
from appliance.settings.hardware import (
    BadgeSettings,
    DisplaySettings,
    GpuSettings,
    NetworkSettings,
    PanelSettings,
    UpsSettings,
    hardware_faults,
    network_faults,
)
from appliance.settings.inference import InferenceSettings
from appliance.settings.keeping import BackupSettings, RetentionSettings
from appliance.settings.profiles import LISTED, Profile, expand, read_profile
from appliance.settings.query import PriorsSettings, QuerySettings, WebSettings, query_faults
from appliance.settings.receiver import ReceiverSettings, TitleSettings, TlsSettings, receiver_faults
from appliance.settings.relay import (
    ArchiveSettings,
    CoercionSettings,
    CommitmentSettings,
    DestinationSettings,
    MppsSettings,
    PeerSettings,
    RouteSettings,
    WorklistSettings,
    relay_faults,
)

__all__ = [
    "SETTINGS",
    "AETitle",
    "AnalysisSettings",
    "ApiSettings",
    "ArchiveSettings",
    "BackupSettings",
    "BadgeSettings",
    "CoercionSettings",
    "CommitmentSettings",
    "Count",
    "DestinationSettings",
    "DisplaySettings",
    "GpuSettings",
    "IntakeSettings",
    "KioskSettings",
    "MppsSettings",
    "NetworkSettings",
    "PanelSettings",
    "PeerSettings",
    "PolicySettings",
    "Port",
    "Positive",
    "PrinterSettings",
    "PriorsSettings",
    "QuerySettings",
    "ReceiverSettings",
    "RetentionSettings",
    "RouteSettings",
    "Section",
    "Settings",
    "SettingsError",
    "TitleSettings",
    "TlsSettings",
    "UpsSettings",
    "WebSettings",
    "WorklistSettings",
    "check_profile",
    "load_settings",
    "load_settings_or_new",
    "parse_settings",
]  # fmt: skip


SETTINGS = Path("/etc/coronet/coronet.toml")
"""Where a box has its settings."""
NEW_BOX = Path("/usr/share/coronet/coronet.toml")
"""What a box starts with until somebody has set it up: part of the image, so that it receives from its first start on."""


class IntakeSettings(Section, frozen=True, kw_only=True):
    """``[intake]``: when a series is complete."""

    quiet_seconds: Positive = 5.0
    """Silence after the association was released and the geometry is whole."""
    stalled_seconds: Positive = 60.0
    """Silence after which an incomplete series is judged as it is."""


class AnalysisSettings(Section, frozen=True, kw_only=True):
    """``[analysis]``: where the models are and how much of the machine the analyst may use."""

    catalog: Path | None = None
    """Model catalog; the installed one if not given."""
    threads: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    """CPU threads; 0: as many as there are processors."""
    engine: Literal["auto", "tensorrt", "openvino", "onnxruntime"] = "auto"
    calcium_mass_factor: Positive | None = None
    """Of the scanner's own calcium calibration, mg of hydroxyapatite per cm3 and HU; without it no mass is given."""


class PolicySettings(Section, frozen=True, kw_only=True):
    """``[policy]``: what the site wants."""

    approval: Literal["radiographer", "physician"] = "radiographer"
    """Lowest role whose approval releases films and images."""
    undo_seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 8.0
    idle_lock_seconds: Positive = 600.0
    institution: str = ""
    stenosis_bands: Literal["scct", "cn2011"] = "scct"
    update: Literal["engineer", "physician", "radiographer"] = "engineer"
    """Lowest role that may install updates on the kiosk."""


class PrinterSettings(Section, frozen=True, kw_only=True):
    """``[[printer]]``: a DICOM film printer and what it can do."""

    name: str
    host: str
    port: Port
    ae_title: AETitle
    calling_ae_title: AETitle = "CORONET"
    film_size: str = "14INX17IN"
    orientation: Literal["PORTRAIT", "LANDSCAPE"] = "PORTRAIT"
    medium: str | None = "BLUE FILM"
    destination: str | None = None
    magnification: str | None = None
    page_pixels: tuple[Count, Count] = (2128, 2587)
    """Printable matrix (columns, rows)."""
    copies: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    presentation_lut: bool = False
    timeout_s: Positive = 60.0
    enabled: bool = True


class ApiSettings(Section, frozen=True, kw_only=True):
    """``[api]``: the kiosk's socket."""

    socket: Path = Path("/run/coronet/api.sock")


class KioskSettings(Section, frozen=True, kw_only=True):
    """``[kiosk]``: the touchscreen."""

    language: Literal["zh", "en"] = "zh"


class Settings(Section, frozen=True, kw_only=True):
    """The whole file. ``data`` holds the database, the spool and the drafts."""

    data: Path = Path("/var/lib/coronet")
    receiver: ReceiverSettings = ReceiverSettings()
    intake: IntakeSettings = IntakeSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    inference: InferenceSettings = InferenceSettings()
    policy: PolicySettings = PolicySettings()
    api: ApiSettings = ApiSettings()
    kiosk: KioskSettings = KioskSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()
    printer: tuple[PrinterSettings, ...] = ()
    destination: tuple[DestinationSettings, ...] = ()
    route: tuple[RouteSettings, ...] = ()
    archive: ArchiveSettings = ArchiveSettings()
    commitment: CommitmentSettings = CommitmentSettings()
    peer: tuple[PeerSettings, ...] = ()
    worklist: WorklistSettings = WorklistSettings()
    mpps: MppsSettings = MppsSettings()
    query: QuerySettings = QuerySettings()
    web: WebSettings = WebSettings()
    priors: tuple[PriorsSettings, ...] = ()
    panel: PanelSettings = PanelSettings()
    badge: BadgeSettings = BadgeSettings()
    ups: UpsSettings = UpsSettings()
    gpu: GpuSettings = GpuSettings()
    display: DisplaySettings = DisplaySettings()
    network: NetworkSettings = NetworkSettings()


def load_settings(path: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: the file cannot be read, is not TOML, or a value or key is not allowed; the message names the place.
    """
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            "CFG-001",
            zh=f"无法读取设置文件 {path.name}:{error}",
            en=f"settings file {path.name} cannot be read: {error}",
        ) from error
    return parse_settings(expand(tree, folder=path.parent / "profiles"), source=path.name)


def load_settings_or_new(path: Path) -> Settings:
    """As `load_settings`; those of a new box where the box's own file is not there yet (the kiosk then asks for them)."""
    if path != SETTINGS or path.exists():
        return load_settings(path)
    return load_settings(NEW_BOX) if NEW_BOX.is_file() else Settings()


def check_profile(name: str, *, folder: Path) -> Profile:
    """Read a profile and check its options as a site would use them.

    Raises:
        SettingsError: it is none, or an option is not known or not allowed.
    """
    profile = read_profile(name, folder=folder)
    if profile.kind in LISTED:
        site = {"name": name, "host": "192.0.2.1", "port": 104, "ae_title": "PEER"}
        known = {field.name for field in msgspec.structs.fields(_ROWS[profile.table])}
        tree: dict[str, Any] = {profile.table: [{**{key: site[key] for key in site if key in known}, **profile.settings}]}
    else:
        tree = {profile.table: profile.settings}
    parse_settings(tree, source=f"{name}.toml")
    return profile


_ROWS: dict[str, type[Section]] = {"printer": PrinterSettings, "destination": DestinationSettings, "peer": PeerSettings}


def parse_settings(tree: dict[str, Any], *, source: str) -> Settings:
    """Check a parsed settings tree.

    Raises:
        SettingsError: a value or key is not allowed, two printers or destinations share a name, or the tables do not fit together.
    """
    try:
        settings = msgspec.convert(tree, Settings, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message = f"{error}{_suggestion(str(error))}"
        raise SettingsError("CFG-002", zh=f"设置文件 {source} 有误:{message}", en=f"settings file {source}: {message}") from error
    names = [printer.name for printer in settings.printer] + [destination.name for destination in settings.destination]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise SettingsError(
            "CFG-003",
            zh=f"设置文件 {source}:名称重复 {', '.join(doubled)}",
            en=f"settings file {source}: printers and destinations share the names {', '.join(doubled)}",
        )
    relay = relay_faults(destinations=settings.destination, routes=settings.route, archive=settings.archive)
    for zh, en in (
        *receiver_faults(settings.receiver),
        *relay,
        *query_faults(query=settings.query, web=settings.web),
        *hardware_faults(settings.ups),
        *network_faults(settings.network),
    ):
        raise SettingsError("CFG-004", zh=f"设置文件 {source}:{zh}", en=f"settings file {source}: {en}")
    return settings


def _decode(kind: type[Any], value: Any) -> Any:
    """Paths are written as text in TOML."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def _suggestion(message: str) -> str:
    """' - did you mean ...?' for an unknown key named in a msgspec message."""
    match = re.search(r"unknown field `([^`]+)`", message)
    if match is None:
        return ""
    known = {field.name for section in Section.__subclasses__() for field in msgspec.structs.fields(section)}
    close = difflib.get_close_matches(match.group(1), sorted(known), n=1)
    return f" - did you mean `{close[0]}`?" if close else ""
