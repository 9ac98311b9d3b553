"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.__main__ import COMMANDS
from appliance.workflow.states import drawing

ROOT = Path(__file__).resolve().parents[1]


def test_the_drawing_of_the_states_is_that_of_the_table() -> None:
    found = re.search(r"```mermaid\n(.*?)```", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert found.group(1).strip() == drawing().strip()


def test_commands_in_the_readme_exist() -> None:
    used = set(re.findall(r"python -m appliance ([a-z-]+)", (ROOT / "README.md").read_text("utf-8")))
    assert used
    assert used <= set(COMMANDS)


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    used = set(re.findall(r"`?make ([a-z-]+)", (ROOT / "README.md").read_text("utf-8")))
    assert used
    assert used <= targets


def test_pictures_in_the_readme_exist() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8")):
        assert (ROOT / path).is_file(), path


def test_the_lock_file_pins_every_dependency_with_a_hash_and_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert "--index-url" not in lock
    entries = re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)
    pinned = [entry for entry in entries if re.match(r"[a-z0-9]", entry)]
    assert len(pinned) > 30
    for entry in pinned:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry[:60]
        assert "--hash=sha256:" in entry, entry[:60]
