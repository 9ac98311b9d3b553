"""The way to the data partition's key, for a person who types the recovery key of a box that could not start: a socket of root's helper.

One line there, one line of JSON back (`appliance.maintenance.data_key`); the appliance itself is not there to ask.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from appliance.api.messages import ErrorReply
from kiosk.exchange import KeyReply

DOOR = Path("coronet-key.sock")
"""In the folder of what runs (``/run``)."""
LONGEST_ANSWER = 4096


class Answer(msgspec.Struct, frozen=True):
    """Either ``done`` or what is wrong."""

    done: KeyReply | None = None
    code: str = ""
    zh: str = ""
    en: str = ""


async def send_recovery_key(door: Path, words: str) -> KeyReply | ErrorReply:
    """Try a recovery key.

    Raises:
        OSError: nobody is there, or whoever was has gone.
        msgspec.DecodeError: what came is no answer.
    """
    reader, writer = await asyncio.open_unix_connection(str(door), limit=LONGEST_ANSWER)
    try:
        writer.write(f"unlock {words}\n".encode())
        await writer.drain()
        answer = msgspec.json.decode(await reader.readline(), type=Answer)
    finally:
        writer.close()
    return answer.done or ErrorReply(code=answer.code, zh=answer.zh, en=answer.en)
