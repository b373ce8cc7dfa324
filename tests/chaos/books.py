"""What Redis has when a storm is over: of each question, and of what should be gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from redis import Redis

from resident import keys
from tests.chaos.ledger import Trace
from tests.chaos.questions import TASK

_OF = keys.of_task(TASK)
_MUST_BE_EMPTY = (_OF.queue, _OF.popped, _OF.intermediate, _OF.started)
_MUST_BE_GONE = (f"{keys.PREFIX}:execution*:*", f"{keys.WORKER}*:executions")
_NEED_A_TTL = ("resident:*", f"{keys.JOB}*", f"{keys.PREFIX}:results:*", f"{keys.WORKER}*")
_UNFINISHED = (b"queued", b"started")


def traces_of(connection: Redis, ids: Iterable[str]) -> dict[str, Trace]:
    """What Redis has of each question."""
    traces = {}
    for job_id in ids:
        job: dict[Any, Any] = connection.hgetall(f"{keys.JOB}{job_id}")
        fields = {name.decode(): value.decode(errors="replace") for name, value in job.items()}
        replies = connection.llen(keys.reply(job_id))
        results = connection.xlen(keys.results(job_id))
        traces[job_id] = Trace(fields.get("status", ""), replies, results, fields)
    return traces


def left_behind(connection: Redis) -> list[str]:
    """What should not be there when nobody asks."""
    left = [f"{key} {_content(connection, key)}" for key in _MUST_BE_EMPTY if _is(connection, key)]
    for pattern in _MUST_BE_GONE:
        left += _names(connection, pattern)
    for pattern in _NEED_A_TTL:
        names = _names(connection, pattern)
        left += [f"{key} for ever" for key in names if connection.ttl(key) == -1]
    for key in _names(connection, f"{keys.JOB}*"):
        status = connection.hget(key, "status")
        if status in _UNFINISHED:
            left.append(f"{key} {status.decode()}")
    return left


def ended_leases(connection: Redis) -> list[str]:
    """Leases that nobody has swept up although they are over."""
    seconds, microseconds = connection.time()
    over: list[Any] = connection.zrangebyscore(
        _OF.leases, "-inf", seconds * 1000 + microseconds // 1000
    )
    return [f"the lease of {token.decode()}" for token in over]


def _names(connection: Redis, pattern: str) -> Iterator[str]:
    for key in connection.scan_iter(pattern, 1000):
        name: Any = key
        yield name.decode(errors="replace")


def _is(connection: Redis, key: str) -> bool:
    return bool(connection.exists(key))


def _content(connection: Redis, key: str) -> list[Any]:
    is_zset = connection.type(key) == b"zset"
    return list(connection.zrange(key, 0, 4) if is_zset else connection.lrange(key, 0, 4))
