"""The runs of a tree while they are being named, and what every way of naming does with them at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from appliance.analysis.grooves import Course, course_of
from appliance.analysis.runs import Run, split_run
from appliance.analysis.surroundings import Surroundings
from appliance.anatomy import Dominance, SegmentName, Vessel

SHORTEST_NAMED_MM = 8.0
"""A shorter side branch gets no name of its own."""
_PARTED_MM = 7.0
"""A side branch that nowhere gets this far from its parent's line is the rim of a thick wall or a leak beside it."""


@dataclass
class Draft:
    """The runs with their names so far; ``lad``, ``lcx`` and ``rca`` are the numbers of the main vessels' runs."""

    runs: list[Run]
    courses: list[Course]
    surroundings: Surroundings
    names: dict[int, SegmentName] = field(default_factory=dict)
    vessels: dict[int, Vessel] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    septal: set[int] = field(default_factory=set)
    lad: int | None = None
    lcx: int | None = None
    rca: int | None = None

    @classmethod
    def of(cls, runs: list[Run], surroundings: Surroundings) -> Draft:
        """Runs without names."""
        return cls(runs=runs, courses=[course_of(run.points_mm, surroundings) for run in runs], surroundings=surroundings)

    def name(self, number: int, name: SegmentName, vessel: Vessel, confidence: float) -> None:
        """Name a run by its first segment."""
        self.names[number] = name
        self.vessels[number] = vessel
        self.confidence[number] = confidence

    def children(self, number: int) -> list[int]:
        """Children of a run in the order of their origin."""
        found = [i for i, run in enumerate(self.runs) if run.parent == number]
        return sorted(found, key=lambda i: (self.runs[i].parent_index or 0, i))

    def parts_from_parent(self, number: int) -> bool:
        """Whether a run leads away from the run that it leaves; True at an ostium."""
        run = self.runs[number]
        if run.parent is None:
            return True
        away, _ = cKDTree(self.runs[run.parent].points_mm).query(run.points_mm)
        return bool(away.max() >= _PARTED_MM)

    def split(self, number: int, at: int) -> int:
        """Cut a run; the number of its new second part."""
        self.runs = split_run(self.runs, number, at)
        self.courses[number] = course_of(self.runs[number].points_mm, self.surroundings)
        self.courses.append(course_of(self.runs[-1].points_mm, self.surroundings))
        return len(self.runs) - 1

    def name_rest(self) -> None:
        """Unnamed runs belong to their parent's vessel; those at an ostium of their own (a conus artery, say) to none."""
        for number, run in enumerate(self.runs):
            if number not in self.names:
                vessel: Vessel = "other"
                if run.parent is not None:
                    above = self.vessels.get(run.parent, "other")
                    vessel = above if above != "LM" else "other"
                self.name(number, "other", vessel, 0.5)

    def dominance(self) -> Dominance | None:
        """By which vessel the posterior descending and posterolateral branches come from; None where it cannot be told."""
        names = set(self.names.values())
        if "R-PDA" in names:
            lateral_left = "L-PLB" in names and "R-PLB" not in names
            return "codominant" if "L-PDA" in names or lateral_left else "right"
        if "L-PDA" in names:
            return "codominant" if "R-PLB" in names else "left"
        # no PDA seen: whoever reaches the inferior wall
        if self.rca is not None and float(self.courses[self.rca].angle[-1]) < -0.4:
            return "right"
        if self.lcx is not None and -1.6 < float(self.courses[self.lcx].angle[-1]) < 0.0:
            return "left"
        return None

    def order(self) -> list[int]:
        """Main runs first, parents before children."""
        main: dict[Vessel, int] = {"LM": 0, "LAD": 1, "LCX": 2, "RI": 3, "RCA": 4, "other": 5}
        top = {number for number in (self.lad, self.lcx, self.rca) if number is not None}

        def rank(number: int) -> tuple[int, int, int]:
            first = number in top or self.names[number] in ("LM", "RI")
            return (0 if first else 1, main[self.vessels[number]], number)

        order: list[int] = []
        waiting = sorted(range(len(self.runs)), key=rank)
        while waiting:
            ready = next(i for i in waiting if self.runs[i].parent is None or self.runs[i].parent in order)
            order.append(ready)
            waiting.remove(ready)
        return order

    def seems_septal(self, number: int) -> bool:
        """The run dives into muscle, or was labelled a septal branch."""
        deep = float(np.median(self.courses[number].left_ventricle)) < -1.0
        return number in self.septal or (self.names[number] == "other" and deep)
