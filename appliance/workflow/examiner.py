"""The `Examiner` of the product: the header rules of the analysis, as intake asks them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.analysis.acceptance import is_complete, judge
from appliance.analysis.slices import read_headers
from appliance.analysis.stack import distance_to_diastole, main_phase
from appliance.workflow.intake import Verdict


def examine(series_uid: str, paths: Sequence[Path]) -> Verdict:
    """Judge one series; of a series with several phases the one that would be analysed counts.

    Raises:
        CoronetError: the images do not make a series.
    """
    headers = read_headers(paths)
    phase = main_phase(headers)
    header = phase[0].study
    return Verdict(
        series_uid=series_uid,
        reason=judge(headers),
        complete=is_complete(headers),
        slices=len(phase),
        from_diastole=distance_to_diastole(header.phase_percent),
        header=header,
    )
