"""Cases on the disk: a line of JSON each, written as it is finished, so that a run can go on where it was cut off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.evaluation.cases import Case
from models.evaluation.measures import Share


class CaseStore:
    """The cases of one run of one set of weights.

    Args:
        path: the file; its folder is made.
        weights: SHA-256 of every network by name. Cases of other weights are never mixed in.
        resume: keep what the file holds; otherwise it is begun anew.

    Raises:
        ValueError: ``resume``, and the file is of other weights.
    """

    def __init__(self, path: Path, *, weights: Mapping[str, str], resume: bool) -> None:
        self._path = path
        self.cases: list[Case] = []
        if resume and path.exists():
            head, *rows = path.read_text(encoding="utf-8").splitlines()
            if json.loads(head) != {"weights": dict(weights)}:
                raise ValueError(f"{path} holds cases of other weights: begin anew, or use the weights that it was made with")
            self.cases = [case_from(row) for row in rows if _whole(row)]
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"weights": dict(weights)}), *(case_line(case) for case in self.cases)]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def add(self, case: Case) -> None:
        """Keep a case; it is on the disk when this returns."""
        self.cases.append(case)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(case_line(case) + "\n")


def _whole(row: str) -> bool:
    """False for a last line that was cut off."""
    try:
        json.loads(row)
    except ValueError:
        return False
    return True


def case_line(case: Case) -> str:
    """One line of JSON."""
    values: dict[str, Any] = {**vars(case), "shares": {name: [share.part, share.whole] for name, share in case.shares.items()}}
    return json.dumps(values)


def case_from(line: str) -> Case:
    """The case that ``case_line`` wrote."""
    values = json.loads(line)
    shares = {name: Share(part, whole) for name, (part, whole) in values.pop("shares").items()}
    return Case(**{**values, "conditions": tuple(values["conditions"])}, shares=shares)
