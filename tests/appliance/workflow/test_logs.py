"""Structured fields reach the journal, and only where standard error is the journal's."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.workflow.logs import JournalHandler

NATIVE = """
import os, socket, subprocess, sys, tempfile
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
os.makedirs("/run/systemd/journal")
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
journal.settimeout(20)
status = os.fstat(2)
from appliance.workflow.logs import configure_logging
configure_logging(environment={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
import logging
logging.getLogger("appliance.test").warning("study %s is queued", "k1", extra={"study": "k1", "event": "queued"})
sys.stdout.write(journal.recv(65536).decode())
"""


def test_an_entry_has_fields_of_its_own() -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    handler = JournalHandler(lambda message, **fields: sent.append((message, fields)))
    record = logging.LogRecord("appliance.x", logging.ERROR, "file.py", 7, "two\nlines %d", (5,), None, func="f")
    record.study = "k1"
    handler.emit(record)
    [(message, fields)] = sent
    assert message == "two\nlines 5"
    assert (fields["PRIORITY"], fields["CORONET_STUDY"], fields["CODE_LINE"]) == ("3", "k1", 7)


def test_the_real_journal_library_sends_them() -> None:
    """systemd-python's own sender, to a socket at the journal's place in a mount namespace of its own."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, "-c", NATIVE],
        capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {"MESSAGE=study k1 is queued", "PRIORITY=4", "CORONET_STUDY=k1", "CORONET_EVENT=queued"} <= set(lines)


def test_elsewhere_it_is_json_on_standard_error() -> None:
    program = "from appliance.workflow.logs import configure_logging as c; c(); import logging; logging.info('hello')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "JOURNAL_STREAM": "1:1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert json.loads(done.stderr)["message"] == "hello"
