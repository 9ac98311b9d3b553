"""People who may sign in: a name, a role and a PIN, of which only an Argon2 hash is kept (RFC 9106).

Sign-in is by PIN alone, so a PIN belongs to one person; guessing is met by a lock-out that all share, since a wrong PIN names nobody.
"""

from __future__ import annotations

import math
import re
import secrets
import sqlite3
from dataclasses import dataclass
from typing import get_args

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.errors import ArchiveError
from appliance.study import Role

MAXIMUM_FAILURES = 5
LOCK_OUT_S, LONGEST_LOCK_OUT_S = 60.0, 960.0
"""The first lock-out, and the longest: each next one without a sign-in between doubles, or 10,000 PINs were tried in a day or two."""
_PIN = re.compile(r"[0-9]{4,12}\Z")


@dataclass(frozen=True)
class User:
    """Somebody who may sign in."""

    id: str
    name: str
    role: Role
    disabled: bool


class UserStore:
    """Rows of the users.

    Args:
        database: the archive's database.
        clock: wall time of the records.
        hasher: Argon2 with the costs of the product; tests use cheaper ones.
    """

    def __init__(self, *, database: Database, clock: Clock, hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher or PasswordHasher()

    def add(self, *, name: str, role: Role, pin: str) -> User:
        """Add somebody.

        Raises:
            ArchiveError: no name, no such role, the PIN is not 4 to 12 digits, or belongs to somebody else.
        """
        if not name.strip():
            raise ArchiveError("ARC-030", zh="姓名不能为空", en="the name is empty")
        if role not in get_args(Role):
            raise ArchiveError("ARC-031", zh=f"没有角色 {role}", en=f"there is no role {role}")
        user = User(id=secrets.token_hex(4), name=name.strip(), role=role, disabled=False)
        pin_hash = self._new_hash(pin)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO users (id, name, role, pin_hash, created_at, disabled) VALUES (?, ?, ?, ?, ?, 0)",
                (user.id, user.name, user.role, pin_hash, self._clock.wall()),
            )
        return user

    def change_pin(self, user_id: str, *, pin: str) -> None:
        """Give somebody another PIN.

        Raises:
            ArchiveError: no such user, or the PIN cannot be used.
        """
        pin_hash = self._new_hash(pin)
        self._update("UPDATE users SET pin_hash = ? WHERE id = ?", pin_hash, user_id)

    def disable(self, user_id: str, *, disabled: bool = True) -> None:
        """Bar somebody from signing in, or allow it again; the name stays in the records.

        Raises:
            ArchiveError: no such user.
        """
        self._update("UPDATE users SET disabled = ? WHERE id = ?", int(disabled), user_id)

    def all(self) -> list[User]:
        """Everybody, by name."""
        return [_user(row) for row in self._rows()]

    def locked_for(self) -> float:
        """Seconds until a sign-in may be tried again; 0 if it may be tried now."""
        now = self._clock.wall()
        with self._database.reading() as connection:
            failures = connection.execute("SELECT count(*) FROM failed_sign_ins").fetchone()[0]
            rows = connection.execute("SELECT at FROM failed_sign_ins ORDER BY id DESC LIMIT ?", (MAXIMUM_FAILURES,)).fetchall()
        doublings = min(max(failures // MAXIMUM_FAILURES - 1, 0), 10)
        lock_out_s = min(LOCK_OUT_S * 2**doublings, LONGEST_LOCK_OUT_S)
        # a clock that was set back must not lock people out for longer than that
        recent = [row["at"] for row in rows if abs(now - row["at"]) < lock_out_s]
        return float(min(max(recent) + lock_out_s - now, lock_out_s)) if len(recent) == MAXIMUM_FAILURES else 0.0

    def check(self, pin: str) -> User | None:
        """The person whose PIN it is, None if it is nobody's; every failure is counted.

        Raises:
            ArchiveError: ARC-033, too many failures: nobody may try for a while (``details["seconds"]``); ARC-036, the PIN of two people.
        """
        wait = self.locked_for()
        if wait > 0:
            left = math.ceil(wait)
            raise ArchiveError(
                "ARC-033", zh=f"输错次数过多,请 {left} 秒后再试", en=f"too many wrong PINs, try again in {left} s", seconds=wait
            )
        user = self._owner(pin)
        with self._database.transaction() as connection:
            if user is None:
                connection.execute("INSERT INTO failed_sign_ins (at) VALUES (?)", (self._clock.wall(),))
            else:
                connection.execute("DELETE FROM failed_sign_ins")
        return user

    def _owner(self, pin: str) -> User | None:
        """Compare with everybody's hash, always all of them, so that the time says nothing about who it was."""
        owners = [_user(row) for row in self._rows() if not row["disabled"] and self._matches(row["pin_hash"], pin)]
        if len(owners) > 1:  # people that came from another box keep their PINs, which no hash lets us compare before
            raise ArchiveError(
                "ARC-036",
                zh="此 PIN 属于两个人,均不能用它登录;请工程师为其中一人更换 PIN",
                en="this PIN belongs to two people and signs neither of them in: one of them needs another PIN",
            )
        return owners[0] if owners else None

    def _new_hash(self, pin: str) -> str:
        if not _PIN.match(pin):
            raise ArchiveError("ARC-032", zh="PIN 必须为 4 至 12 位数字", en="a PIN has 4 to 12 digits")
        if any(self._matches(row["pin_hash"], pin) for row in self._rows()):
            raise ArchiveError("ARC-034", zh="此 PIN 不能使用,请另选一个", en="this PIN cannot be used, choose another one")
        return self._hasher.hash(pin)

    def _matches(self, pin_hash: str, pin: str) -> bool:
        try:
            return self._hasher.verify(pin_hash, pin)
        except VerificationError:
            return False

    def _rows(self) -> list[sqlite3.Row]:
        with self._database.reading() as connection:
            return connection.execute("SELECT * FROM users ORDER BY name, id").fetchall()

    def _update(self, statement: str, value: str | int, user_id: str) -> None:
        with self._database.transaction() as connection:
            if connection.execute(statement, (value, user_id)).rowcount != 1:
                raise ArchiveError("ARC-035", zh="没有此用户", en="there is no such user")


def _user(row: sqlite3.Row) -> User:
    return User(id=row["id"], name=row["name"], role=row["role"], disabled=bool(row["disabled"]))
