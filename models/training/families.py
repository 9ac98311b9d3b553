"""The families of virtual patients: train, development, test (families.toml)."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass
from pathlib import Path

FAMILIES_FILE = Path(__file__).with_name("families.toml")


@dataclass(frozen=True)
class Family:
    """A range of patient seeds, both ends included."""

    name: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def seeds(self, count: int) -> list[int]:
        """The first ``count`` seeds of the family; ValueError where it has fewer."""
        if count > len(self):
            raise ValueError(f"family {self.name} has {len(self)} patients, not {count}")
        return list(range(self.first, self.first + count))


def load_families(path: Path = FAMILIES_FILE) -> dict[str, Family]:
    """Read the families; ValueError where two of them share a patient."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    families = {name: Family(name, *entry["seeds"]) for name, entry in table.items()}
    ordered = sorted(families.values(), key=lambda family: family.first)
    for lower, upper in itertools.pairwise(ordered):
        if lower.last >= upper.first:
            raise ValueError(f"families {lower.name} and {upper.name} share patients")
    return families
