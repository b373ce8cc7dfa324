"""delta.lua with a typed front: sends the parts of an answer to the reader of its stream."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from resident import keys
from resident.link import Link, Word
from resident.lua_script import script_of

_DELTA = script_of("write", "delta")


class DeltaCode(IntEnum):
    """What delta.lua did with a part."""

    SENT = 1
    LOST = 0
    CANCELLED = -1
    LEFT = -2


class Part(msgspec.Struct, frozen=True):
    """One part of the answer to a job that this execution holds.

    Attributes:
        reply_key: Where its reply will go, too.
        seq: Its number, from 0.
        payload: The part as its reader gets it.
    """

    id: str
    execution: str
    reply_key: str
    seq: int
    payload: bytes


def send_part(link: Link, part: Part, ttl_ms: int) -> DeltaCode:
    """Sends a part, which is kept for so long if nobody reads it; may be repeated.

    Errors worth catching: those of Link.
    """
    script_keys = [f"{keys.JOB}{part.id}", part.reply_key, keys.reading(part.id)]
    args: list[Word] = [part.execution, str(part.seq), part.payload, str(ttl_ms)]
    return DeltaCode(_DELTA.call(link, script_keys, args))
