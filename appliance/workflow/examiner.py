"""The `Examiner` of the product: the header rules of the analysis, as intake asks them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.analysis.acceptance import is_complete, judge
from appliance.analysis.reading import read_headers
from appliance.workflow.headers import read_identity
from appliance.workflow.intake import Verdict


def examine(series_uid: str, paths: Sequence[Path]) -> Verdict:
    """Judge one series.

    Raises:
        CoronetError: the images do not make a series.
    """
    headers = read_headers(list(paths))
    return Verdict(
        series_uid=series_uid,
        reason=judge(headers),
        complete=is_complete(headers) is True,
        slices=len(headers),
        header=read_identity(paths[0]),
    )
