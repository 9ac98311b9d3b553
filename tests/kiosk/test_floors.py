"""Views know no pixels, screens know no network: checked on what each module really imports, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest


def imported_by(module: str) -> set[str]:
    script = f"import sys, {module}; print('\\n'.join(sys.modules))"
    environment = {"KIVY_NO_ARGS": "1", "KIVY_NO_FILELOG": "1", "KIVY_NO_CONSOLELOG": "1", "PATH": "/usr/bin"}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, timeout=120)
    return set(run.stdout.split())


def test_deciding_needs_no_display_and_no_network() -> None:
    loaded = imported_by("kiosk.controller")
    assert not loaded & {"kivy", "httpx", "kiosk.client", "kiosk.screens"}


def test_the_kiosk_knows_only_the_messages_of_the_appliance() -> None:
    loaded = {name for name in imported_by("kiosk.client") if name.startswith("appliance.")}
    allowed = {"api", "api.messages", "anatomy", "findings", "findings_parts", "degrees", "comparison", "errors", "study", "worklist"}
    allowed |= {"punctuation"}
    assert loaded == {f"appliance.{name}" for name in allowed}


@pytest.mark.parametrize("module", ["kiosk.screens.text", "kiosk.screens.theme"])
def test_screens_know_no_network(module: str) -> None:
    assert not imported_by(module) & {"httpx", "kiosk.client", "kiosk.controller"}
