"""The operator codes in the packages' docstrings are those that the code raises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import appliance.archive
import appliance.hardware
import appliance.maintenance
import appliance.workflow


@pytest.mark.parametrize(
    ("package", "prefix"),
    [
        (appliance.archive, "ARC"),
        (appliance.workflow, "WF"),
        (appliance.hardware, "HW"),
        (appliance.maintenance, "MNT"),
        (appliance.maintenance, "UPD"),
    ],
)
def test_every_code_is_listed_and_every_listed_code_exists(package: object, prefix: str) -> None:
    folder = Path(str(package.__file__)).parent  # type: ignore[attr-defined]
    raised = {code for path in folder.glob("*.py") for code in re.findall(rf'"({prefix}-\d{{3}})"', path.read_text("utf-8"))}
    assert set(re.findall(rf"{prefix}-\d{{3}}", package.__doc__ or "")) == raised
