"""The families of virtual patients: train, development, test (families.toml), and the designs inside the last two."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FAMILIES_FILE = Path(__file__).with_name("families.toml")


@dataclass(frozen=True)
class Design:
    """A family by design inside a kind: its patients (first and last seed, both included), and what is changed in their scans.

    Attributes:
        set: fields of the scan that get a value; ``motion_mm`` gets one per vessel.
        scale: fields of the scan (a number or several) that are multiplied.
    """

    name: str
    first: int
    last: int
    set: dict[str, Any] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Family:
    """A range of patient seeds, both ends included: one kind of family, with its designs."""

    name: str
    first: int
    last: int
    designs: tuple[Design, ...] = ()

    def __len__(self) -> int:
        return self.last - self.first + 1

    def seeds(self, count: int) -> list[int]:
        """The first ``count`` seeds of the family; ValueError where it has fewer."""
        if count > len(self):
            raise ValueError(f"family {self.name} has {len(self)} patients, not {count}")
        return list(range(self.first, self.first + count))

    def spread(self, count: int) -> list[int]:
        """``count`` seeds, of each design as many as it has a share in the family (its first ones); ValueError where there are fewer."""
        self.seeds(count)
        shares = [count * len(design) / len(self) for design in self.designs]
        taken = [int(share) for share in shares]
        by_rest = sorted(range(len(shares)), key=lambda i: (taken[i] - shares[i], i))
        for i in itertools.islice(itertools.cycle(by_rest), count - sum(taken)):
            taken[i] += 1
        return [design.first + i for design, number in zip(self.designs, taken, strict=True) for i in range(number)]

    def design_of(self, seed: int) -> Design:
        """The design that a patient belongs to; ValueError where none holds it."""
        for design in self.designs:
            if design.first <= seed <= design.last:
                return design
        raise ValueError(f"family {self.name} has no patient {seed}")


def load_families(path: Path = FAMILIES_FILE) -> dict[str, Family]:
    """Read the families; ValueError where two of them share a patient, or the designs of one do not cover it."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    families = {}
    for name, entry in table.items():
        first, last = entry["seeds"]
        families[name] = Family(name, first, last, designs=_designs(name, entry))
    _refuse_shared(list(families.values()))
    return families


def _designs(family: str, entry: dict[str, Any]) -> tuple[Design, ...]:
    first, last = entry["seeds"]
    drawn = entry.get("designs", {"as-drawn": {"seeds": [first, last]}})
    designs = []
    for name, values in drawn.items():
        start, end = values["seeds"]
        designs.append(Design(name, start, end, set=values.get("set", {}), scale=values.get("scale", {})))
    _refuse_shared(designs)
    if sum(map(len, designs)) != last - first + 1 or min(d.first for d in designs) != first:
        raise ValueError(f"the designs of family {family} do not cover it")
    return tuple(designs)


def _refuse_shared(ranges: Sequence[Family | Design]) -> None:
    ordered = sorted(ranges, key=lambda family: family.first)
    for lower, upper in itertools.pairwise(ordered):
        if lower.last >= upper.first:
            raise ValueError(f"families {lower.name} and {upper.name} share patients")
