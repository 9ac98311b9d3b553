"""Commands that were carried out, by the key that the client made, so that a repeated one is not carried out twice."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.errors import ArchiveError


class CommandLog:
    """Remembers command keys; call `first_time` inside the transaction that carries the command out."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def known(self, key: str, *what: Any) -> bool:
        """Whether that command was carried out before.

        Raises:
            ArchiveError: the key was used for another command.
        """
        with self._database.reading() as connection:
            row = connection.execute("SELECT fingerprint FROM commands WHERE key = ?", (key,)).fetchone()
        if row is not None and row["fingerprint"] != _fingerprint(what):
            raise ArchiveError("ARC-012", zh="命令编号已用于另一条命令", en="the command key was used for another command")
        return row is not None

    def first_time(self, key: str, *what: Any) -> bool:
        """True if the key is new (and remember it), False if the same command was carried out before.

        Raises:
            ArchiveError: the key was used for another command.
        """
        with self._database.transaction() as connection:
            if self.known(key, *what):
                return False
            connection.execute(
                "INSERT INTO commands (key, fingerprint, at) VALUES (?, ?, ?)", (key, _fingerprint(what), self._clock.wall())
            )
            return True


def _fingerprint(what: tuple[Any, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(what)).hexdigest()
