"""``python -m tests.faults``: all campaigns, or those named; prints what was tried and every loss; exit status 1 if there was one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.faults.clocks import clock_steps
from tests.faults.crowd import crowd
from tests.faults.files import mutated_files
from tests.faults.keeping import kills_of_keeping
from tests.faults.kills import kills
from tests.faults.pages import damaged_pages, read_only
from tests.faults.pdus import mutated_pdus
from tests.faults.power import power_cuts
from tests.faults.queries import mutated_queries
from tests.faults.tally import Tally

CAMPAIGNS: dict[str, Callable[[argparse.Namespace], Tally]] = {
    "kill": lambda options: kills(every=1 if options.effort > 1 else 3),
    "kill-4-senders": lambda options: kills(every=2 if options.effort > 1 else 5, threads=4),
    "crowd": lambda options: crowd(images=20 * options.effort),
    "clock": lambda options: clock_steps(scripts=20 * options.effort, seed=options.seed),
    "keeping": lambda options: kills_of_keeping(every=1 if options.effort > 1 else 3),
    "pdus": lambda options: mutated_pdus(pdus=options.pdus or 2000 * options.effort, seed=options.seed),
    "query": lambda options: mutated_queries(trials=options.queries or 1000 * options.effort, seed=options.seed),
    "files": lambda options: mutated_files(files=options.files or 1000 * options.effort, seed=options.seed),
    "pages": lambda options: damaged_pages(trials=100 * options.effort, seed=options.seed),
    "read-only": lambda _options: read_only(),
    "power": lambda options: power_cuts(cuts=40 * options.effort, seed=options.seed),
}


def main() -> int:
    """Run the campaigns."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("campaign", nargs="*", help=f"of {', '.join(CAMPAIGNS)}; all if none is named")
    parser.add_argument("--effort", type=int, default=1, help="how long: 1 is a few minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pdus", type=int, help="how many mutated PDUs")
    parser.add_argument("--queries", type=int, help="how many mutated exchanges with the query door, and as many web requests")
    parser.add_argument("--files", type=int, help="how many mutated files")
    options = parser.parse_args()
    lost = 0
    for name in options.campaign or CAMPAIGNS:
        tally = CAMPAIGNS[name](options)
        lost += len(tally.losses)
        sys.stdout.write(tally.line(name) + "\n" + "".join(f"    {text}\n" for text in tally.losses))
        sys.stdout.flush()
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
