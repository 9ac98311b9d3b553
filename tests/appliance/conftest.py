"""What the tests of several floors share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where that is possible: the many flushes of the archive are for its own tests."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)
