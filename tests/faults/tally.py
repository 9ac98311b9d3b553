"""What a campaign tried, and what it found wrong."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts by name, and one line for each loss, crash or wrong answer."""

    tried: dict[str, int] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
    skipped: str = ""
    """Why nothing could be tried on this machine."""

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        self.tried[name] = self.tried.get(name, 0) + number

    def line(self, campaign: str) -> str:
        """One line for people."""
        if self.skipped:
            return f"{campaign}: not possible here: {self.skipped}"
        counts = ", ".join(f"{number} {name}" for name, number in self.tried.items())
        return f"{campaign}: {counts}, {len(self.losses)} losses"
