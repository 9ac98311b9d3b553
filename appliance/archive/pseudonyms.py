"""Pseudonyms of patients and UIDs, for each route of its own. They never leave the box; without them nobody can go back."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from appliance.archive.database import Database


class PseudonymKey:
    """The secret of a route, as a keyed hash: the same question always gets the same answer, and only here."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def digest(self, purpose: str, what: str) -> bytes:
        """HMAC-SHA-256 (RFC 2104)."""
        return hmac.new(self._secret, f"{purpose}\0{what}".encode(), hashlib.sha256).digest()

    def uid(self, original: str) -> str:
        """The UID that stands for another (PS3.5 B.2: 2.25 and a number of 128 bits)."""
        return f"2.25.{int.from_bytes(self.digest('uid', original)[:16], 'big')}"


class Pseudonyms:
    """Rows of keys, pseudonyms and UIDs."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def key(self, route: str) -> PseudonymKey:
        """The key of a route, made when first asked for."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO pseudonym_keys (route, secret) VALUES (?, ?)", (route, secrets.token_bytes(32)))
            row = connection.execute("SELECT secret FROM pseudonym_keys WHERE route = ?", (route,)).fetchone()
        return PseudonymKey(bytes(row["secret"]))

    def pseudonym(self, route: str, patient: str) -> str:
        """The name under which a patient goes by a route; drawn when first asked for."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT pseudonym FROM pseudonyms WHERE route = ? AND patient = ?", (route, patient)).fetchone()
            if row is not None:
                return str(row["pseudonym"])
            pseudonym = f"P{secrets.token_hex(6).upper()}"
            connection.execute("INSERT INTO pseudonyms (route, patient, pseudonym) VALUES (?, ?, ?)", (route, patient, pseudonym))
        return pseudonym

    def keep_uids(self, route: str, replacements: Mapping[str, str]) -> None:
        """Keep which UID stands for which, so that a finding can be brought home."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO pseudonym_uids (route, original, replacement) VALUES (?, ?, ?)",
                [(route, original, replacement) for original, replacement in replacements.items()],
            )

    def original_uid(self, route: str, replacement: str) -> str | None:
        """The UID that another stands for."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT original FROM pseudonym_uids WHERE route = ? AND replacement = ?", (route, replacement)
            ).fetchone()
            return None if row is None else str(row["original"])
