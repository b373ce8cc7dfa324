"""Everything that is in a Redis database, as flat as it takes to compare two of them.

A row is (key, field) -> value. A hash has its fields, a zset its members with their scores, a
list its elements by number, a stream its entries by number with their fields, a set its members;
every key has the field TTL, in seconds, None for ever. What RQ or we packed is unpacked.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from typing import Any

from redis import Redis

#: The field that every key has.
TTL = "(ttl)"
#: Two runs of the same job may differ by so much: in TTLs, scores and moments.
TOLERANCE_S = 10.0

Row = tuple[str, str]
Books = dict[Row, Any]


def read_books(connection: Redis) -> Books:
    """All rows of this database."""
    books: Books = {}
    for key in connection.scan_iter():
        name = key.decode()
        ttl_ms = connection.pttl(key)
        books[name, TTL] = None if ttl_ms < 0 else ttl_ms / 1000
        for field, value in _READERS[connection.type(key)](connection, key):
            books[name, field] = value
    return books


def agree(field: str, theirs: Any, ours: Any) -> bool:
    """Whether two values are the same, or, for TTLs and scores, the same but for the time."""
    if isinstance(theirs, float) and isinstance(ours, float):
        return theirs == ours or abs(theirs - ours) < TOLERANCE_S
    return bool(theirs == ours)


def _read_string(connection: Redis, key: bytes) -> Iterator[tuple[str, Any]]:
    yield "(value)", connection.get(key)


def _read_hash(connection: Redis, key: bytes) -> Iterator[tuple[str, Any]]:
    for field, value in connection.hgetall(key).items():
        yield field.decode(), value


def _read_set(connection: Redis, key: bytes) -> Iterator[tuple[str, Any]]:
    for member in connection.smembers(key):
        yield member.decode(), True


def _read_zset(connection: Redis, key: bytes) -> Iterator[tuple[str, Any]]:
    for member, score in connection.zrange(key, 0, -1, withscores=True):
        yield member.decode(), score


def _read_list(connection: Redis, key: bytes) -> Iterator[tuple[str, Any]]:
    is_reply = key.startswith(b"resident:reply:")
    for number, element in enumerate(connection.lrange(key, 0, -1)):
        if not is_reply:
            yield str(number), element
            continue
        for field, value in json.loads(element).items():
            yield f"{number}.{field}", value


def _read_stream(connection: Redis, key: bytes) -> Iterator[tuple[str, Any]]:
    for number, (_, entry) in enumerate(connection.xrange(key)):
        for field, value in entry.items():
            yield f"{number}.{field.decode()}", _unpacked(field, value)


def _unpacked(field: bytes, value: bytes) -> bytes:
    """A field of RQ's results; see rq.results.Result.serialize."""
    if field == b"return_value":
        return base64.b64decode(value)
    if field == b"exc_string":
        return zlib.decompress(base64.b64decode(value))
    return value


_READERS = {
    b"string": _read_string,
    b"hash": _read_hash,
    b"set": _read_set,
    b"zset": _read_zset,
    b"list": _read_list,
    b"stream": _read_stream,
}
