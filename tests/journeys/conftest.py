"""One virtual scan for all journeys, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.phantom import draw_patient, draw_scan
from models.phantom.series import write_series

SEED = 11


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of a whole CCTA, 280 slices, and truth.json."""
    folder = tmp_path_factory.mktemp("scan")
    write_series(draw_patient(SEED), draw_scan(SEED), folder)
    return folder
