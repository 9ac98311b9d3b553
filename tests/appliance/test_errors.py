"""Errors: their code belongs to the layer, and they pass between processes whole."""

from __future__ import annotations

import pickle

import pytest

from appliance.errors import CoronetError, DeclinedError, InferenceError


def test_an_error_passes_between_processes_whole() -> None:
    error = DeclinedError("DEC-101", zh="没有心脏", en="no heart", millilitres=3.5)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - written a moment ago
    assert type(again) is DeclinedError
    assert (again.code, again.zh, again.en, again.details) == (error.code, error.zh, error.en, error.details)
    assert str(again) == str(error)


def test_a_code_of_another_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="INF-"):
        InferenceError("DCM-001", zh="x", en="x")
    assert issubclass(InferenceError, CoronetError)
