"""Tokens of the programs that may use DICOMweb: 256 random bits, shown once when made; only a SHA-256 is kept.

A hash without salt and cost is enough here: what is hashed is not a word that somebody chose, so there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.errors import ArchiveError


@dataclass(frozen=True)
class WebToken:
    """Who a token was made for and what it allows; ``revoked`` ones allow nothing."""

    id: str
    name: str
    may_store: bool
    revoked: bool


class TokenStore:
    """Rows of the tokens.

    Args:
        database: the archive's database.
        clock: wall time of the records.
    """

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, *, name: str, may_store: bool) -> tuple[WebToken, str]:
        """Make a token for a program; its text is returned here and never again.

        Raises:
            ArchiveError: ARC-090 the name is empty.
        """
        if not name.strip():
            raise ArchiveError("ARC-090", zh="令牌名称不能为空", en="the name of the token is empty")
        secret = secrets.token_urlsafe(32)
        token = WebToken(id=secrets.token_hex(4), name=name.strip(), may_store=may_store, revoked=False)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO web_tokens (id, name, hash, may_store, created_at) VALUES (?, ?, ?, ?, ?)",
                (token.id, token.name, _hash(secret), int(may_store), self._clock.wall()),
            )
        return token, secret

    def check(self, secret: str) -> WebToken | None:
        """The token with that text, None if there is none or it was revoked."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM web_tokens WHERE hash = ? AND revoked_at IS NULL", (_hash(secret),)).fetchone()
        return None if row is None else WebToken(id=row["id"], name=row["name"], may_store=bool(row["may_store"]), revoked=False)

    def all(self) -> list[WebToken]:
        """All tokens, revoked ones too, by name."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM web_tokens ORDER BY name, id").fetchall()
        return [
            WebToken(id=row["id"], name=row["name"], may_store=bool(row["may_store"]), revoked=row["revoked_at"] is not None)
            for row in rows
        ]

    def revoke(self, token_id: str) -> None:
        """Let a token allow nothing from now on.

        Raises:
            ArchiveError: ARC-091 there is none.
        """
        with self._database.transaction() as connection:
            statement = "UPDATE web_tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?"
            if connection.execute(statement, (self._clock.wall(), token_id)).rowcount != 1:
                raise ArchiveError("ARC-091", zh="没有此令牌", en="there is no such token")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
