"""Passphrases and PINs: typed unseen, or read from standard input; never from the command line, which others on the machine can read."""

from __future__ import annotations

import getpass
import secrets
import sys

from appliance.errors import ArchiveError

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without letters and digits that are taken for each other."""


def read_secret(prompt: str) -> str:
    """One secret: from the terminal unseen, or a line of standard input."""
    return getpass.getpass(f"{prompt}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def read_new_passphrase() -> str:
    """A passphrase to seal with; on a terminal it is asked for twice.

    Raises:
        ArchiveError: ARC-066 the two differ.
    """
    passphrase = read_secret("口令 / passphrase")
    if sys.stdin.isatty() and read_secret("再次输入 / again") != passphrase:
        raise ArchiveError("ARC-066", zh="两次输入的口令不同", en="the two passphrases differ")
    return passphrase


def make_passphrase() -> str:
    """A passphrase that cannot be guessed: 20 characters, 100 bits, in groups that can be read out."""
    letters = "".join(secrets.choice(ALPHABET) for _ in range(20))
    return "-".join(letters[at : at + 5] for at in range(0, 20, 5))
