"""The INF codes in the package's docstring are those that the code uses."""

from __future__ import annotations

import re
from pathlib import Path

import appliance
import appliance.inference


def test_every_code_is_listed_and_every_listed_code_exists() -> None:
    files = Path(str(appliance.__file__)).parent.rglob("*.py")
    used = {code for path in files for code in re.findall(r'"(INF-\d{3})"', path.read_text("utf-8"))}
    assert set(re.findall(r"INF-\d{3}", appliance.inference.__doc__ or "")) == used
