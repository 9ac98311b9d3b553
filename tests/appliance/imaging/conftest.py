"""The made-up study, made once."""

from __future__ import annotations

import pytest

from tests.appliance.imaging.made_study import MadeStudy, make_study


@pytest.fixture(scope="session")
def made_study() -> MadeStudy:
    return make_study()
