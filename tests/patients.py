"""Virtual patients for tests: drawing one takes several seconds of processor time, so that tests of one run share them."""

from __future__ import annotations

from functools import lru_cache

from models.phantom import Patient, draw_patient


@lru_cache(maxsize=20)
def drawn_patient(seed: int) -> Patient:
    """The patient of ``seed``, drawn once a run; nobody may change it (``dataclasses.replace`` makes another)."""
    return draw_patient(seed)
