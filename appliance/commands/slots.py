"""``appliance slots``: one order to the slots, from standard input; what root runs for the updater (coronet-slots@.service)."""

from __future__ import annotations

import argparse
import sys

from appliance.maintenance.slots import answer, run_program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There is nothing to choose."""
    parser.set_defaults()


def run(_options: argparse.Namespace) -> int:
    """0; what went wrong stands in the answer."""
    answer(sys.stdin, sys.stdout, run=run_program)
    return 0
