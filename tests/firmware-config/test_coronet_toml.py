"""The settings file that is the manual: it loads, shows every option, and its defaults are the real ones."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from appliance.settings import PriorsSettings, Section, Settings, load_settings, parse_settings

FILE = Path(__file__).parents[2] / "firmware-config" / "coronet.toml"
EXAMPLES = {"destination", "magnification", "megabits_s", "between"}
"""Options whose default is nothing; the manual shows an example."""


def opened() -> str:
    """The file with every option switched on."""
    return re.sub(r"(?m)^#(?=[a-z_]+ = |\[)", "", FILE.read_text("utf-8"))


def test_the_file_as_it_is_means_the_defaults() -> None:
    assert load_settings(FILE) == Settings()


def test_every_option_is_shown_with_its_default() -> None:
    settings = parse_settings(tomllib.loads(opened()), source=FILE.name)
    defaults = Settings()
    for name in ("intake", "policy", "api", "kiosk", "archive", "commitment", "worklist", "mpps", "retention", "query"):
        assert getattr(settings, name) == getattr(defaults, name)
    assert settings.data == defaults.data
    assert msgspec.structs.replace(settings.receiver, ae=(), tls=None) == defaults.receiver
    assert msgspec.structs.replace(settings.backup, folder=None) == defaults.backup
    assert msgspec.structs.replace(settings.analysis, catalog=None, calcium_mass_factor=None) == defaults.analysis
    no_files = dict.fromkeys(("certificate", "private_key", "client_authorities"))
    assert msgspec.structs.replace(settings.web, **no_files) == defaults.web
    assert msgspec.structs.replace(settings.panel, device=None) == defaults.panel
    assert msgspec.structs.replace(settings.badge, device=None) == defaults.badge
    assert msgspec.structs.replace(settings.ups, name=None) == defaults.ups
    assert (settings.gpu, settings.display) == (defaults.gpu, defaults.display)
    assert msgspec.structs.replace(settings.network, time_zone="") == defaults.network
    assert settings.priors[0] == PriorsSettings(name="PACS", host="192.0.2.10", port=104, ae_title="PACS")
    for table in (settings.printer[0], settings.destination[0], settings.peer[0], msgspec.structs.replace(settings.route[0], coerce=())):
        for field in msgspec.structs.fields(table):
            if field.default is not msgspec.NODEFAULT and field.name not in EXAMPLES:
                assert getattr(table, field.name) == field.default, field.name


def test_no_option_is_missing_from_the_manual() -> None:
    text = opened()
    for section in Section.__subclasses__():
        for field in msgspec.structs.fields(section):
            assert re.search(rf"(?m)^(\[+(\w+\.)?{field.name}\]+|{field.name} = )", text), f"{section.__name__}.{field.name}"
