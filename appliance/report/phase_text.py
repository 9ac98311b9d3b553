"""Sentences on the cardiac phases: which vessels were measured in another one than the report names."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.findings import Findings, OtherSeries
from appliance.report.phrases import Phrase
from appliance.report.sentences import VESSEL_NAMES

READ_VESSELS: dict[str, Phrase] = {"LM": Phrase("左主干", "left main"), **VESSEL_NAMES}
NOT_TAKEN = "DEC-158"
"""Code of the warning that another phase shows more of an artery and could not be used for it (`analysis.quality`)."""


def other_phase(findings: Findings) -> list[Phrase]:
    """Which vessels were measured in another phase than the one that the report names; or that it was read in vain."""
    sentences = []
    for series in findings.other_series:
        if not series.read:
            continue
        percent = _percent_of(series)
        taken = {branch.vessel for branch in findings.branches if branch.series_uid == series.series_uid}
        names = [name for vessel, name in READ_VESSELS.items() if vessel in taken]
        if names:
            zh, en = "、".join(name.zh for name in names), _listed([name.en for name in names])
            verb = "was" if len(names) == 1 else "were"
            sentences.append(
                Phrase(
                    f"{zh}在主期相不能完全评价,改在另一期相{percent.strip()}测量。",
                    f"The {en} {verb} measured in another phase{percent}, as the main phase cannot be read everywhere there.",
                )
            )
        elif findings.quality is not None and any(warning.code == NOT_TAKEN for warning in findings.quality.warnings):
            sentences.append(
                Phrase(f"另行分析了期相{percent.strip()},未采用。", f"Another phase{percent} was read too; nothing was taken from it.")
            )
        else:
            sentences.append(
                Phrase(
                    f"另行分析了期相{percent.strip()},未见更好显示。",
                    f"Another phase{percent} was read too; it shows no more.",
                )
            )
    return sentences


def read_in(findings: Findings, series_uid: str | None) -> Phrase | None:
    """The phase that a branch was measured in; None for the one that the report names."""
    series = next((each for each in findings.other_series if each.series_uid == series_uid), None)
    if series is None:
        return None
    percent = _percent_of(series)
    return Phrase(f"在另一期相{percent.strip()}测量。", f"Measured in another phase{percent}.")


def _percent_of(series: OtherSeries) -> str:
    return "" if series.phase_percent is None else f" ({series.phase_percent:.0f}%)"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
