"""Badges: which badge belongs to whom, of which only an Argon2 hash is kept (RFC 9106), salted with a number of this box.

A badge is looked up by its hash, unlike a PIN; the costly hash keeps whoever gets hold of the database from trying all badge numbers. An
unknown badge is not counted towards the lock-out of the PINs: anybody who passes could lock everybody out with a bus ticket.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass

from argon2.low_level import Type, hash_secret_raw

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.archive.users import User
from appliance.errors import ArchiveError


@dataclass(frozen=True)
class BadgeCost:
    """Of one hash: passes over so much memory. The default takes some 50 ms."""

    passes: int = 3
    memory_kib: int = 65536


class BadgeStore:
    """Rows of the badges.

    Args:
        database: the archive's database.
        clock: wall time of the records.
        cost: of a hash; tests use a cheaper one.
    """

    def __init__(self, *, database: Database, clock: Clock, cost: BadgeCost | None = None) -> None:
        self._database = database
        self._clock = clock
        self._cost = cost or BadgeCost()

    def enrol(self, user_id: str, *, badge: str) -> None:
        """Give somebody a badge; the one before is taken away.

        Raises:
            ArchiveError: ARC-035 no such user, ARC-070 somebody else has this badge.
        """
        digest = self._hash(badge)
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM users WHERE id = ?", (user_id,)).fetchone() is None:
                raise ArchiveError("ARC-035", zh="没有此用户", en="there is no such user")
            owner = connection.execute("SELECT user FROM badges WHERE hash = ?", (digest,)).fetchone()
            if owner is not None and owner["user"] != user_id:
                raise ArchiveError("ARC-070", zh="此胸卡已属于他人", en="this badge belongs to somebody else")
            connection.execute(
                "INSERT OR REPLACE INTO badges (user, hash, enrolled_at) VALUES (?, ?, ?)", (user_id, digest, self._clock.wall())
            )

    def remove(self, user_id: str) -> None:
        """Take somebody's badge away; nothing happens if there is none."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM badges WHERE user = ?", (user_id,))

    def check(self, badge: str) -> User | None:
        """The person whose badge it is; None if it is nobody's, or of somebody who may not sign in."""
        digest = self._hash(badge)
        with self._database.reading() as connection:
            row: sqlite3.Row | None = connection.execute(
                "SELECT users.* FROM badges JOIN users ON users.id = badges.user WHERE badges.hash = ? AND users.disabled = 0", (digest,)
            ).fetchone()
        return None if row is None else User(id=row["id"], name=row["name"], role=row["role"], disabled=False)

    def _hash(self, badge: str) -> bytes:
        cost = self._cost
        return hash_secret_raw(
            badge.encode(), self._salt(), time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1, hash_len=32, type=Type.ID
        )

    def _salt(self) -> bytes:
        with self._database.transaction() as connection:
            row = connection.execute("SELECT salt FROM badge_salt").fetchone()
            if row is None:
                row = {"salt": secrets.token_bytes(16)}
                connection.execute("INSERT INTO badge_salt (id, salt) VALUES (1, ?)", (row["salt"],))
        return bytes(row["salt"])
