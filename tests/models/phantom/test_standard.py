"""The standard volume of the benchmark is an ordinary scan of a heart."""

from __future__ import annotations

import numpy as np

from models.phantom.motion import moves
from models.phantom.standard import SHAPE, standard_patient, standard_scan, standard_volume


def test_the_standard_volume_is_an_ordinary_scan_in_the_middle_of_the_heart() -> None:
    scan = standard_scan()
    assert SHAPE == (280, 512, 512)
    assert moves(scan)
    assert not scan.steps
    small = standard_volume(standard_patient(), scan, shape=(20, 64, 64))
    assert small.hu.shape == (20, 64, 64)
    assert np.isin((1, 3), small.structures).all()
