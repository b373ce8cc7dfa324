"""What tests of bad input write into Redis, and what must be there afterwards."""

from __future__ import annotations

from redis import Redis

from resident import keys
from tests.support.live import Fields, Live

INVALID, UNKNOWN = "invalid_question", "unknown_task"
#: Sends a job through RQ's own perform_job.
SPECIAL = {"retries_left": "1", "number_of_retries": "1"}


def worker_names(connection: Redis) -> list[bytes]:
    return list(connection.zrange(keys.of_task("echo").ready, 0, -1))


def bad_and_good(live: Live, bad: Fields) -> str:
    """Puts a bad job among good ones, sees these answered, and returns its id."""
    first, job_id, last = live.put(live.fields("first"), bad, live.fields("last"))
    assert live.answer(first) == "first"
    assert live.answer(last) == "last"
    return job_id


def write(connection: Redis, kind: str, key: str) -> None:
    """A key of this type, whatever it was."""
    connection.delete(key)
    {
        "string": lambda: connection.set(key, "junk"),
        "list": lambda: connection.rpush(key, "junk"),
        "set": lambda: connection.sadd(key, "junk"),
        "zset": lambda: connection.zadd(key, {"junk": 1}),
        "stream": lambda: connection.xadd(key, {"junk": 1}),
        "hash": lambda: connection.hset(key, "junk", "junk"),
    }[kind]()
