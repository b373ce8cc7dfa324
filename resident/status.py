"""What supervisors tell of themselves in Redis, and `worker.py --status` shows."""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import suppress
from typing import Any

import msgspec
import redis
from redis.exceptions import RedisError, ResponseError
from rq.utils import as_text

from resident import keys

#: A supervisor that has not been heard of for so long is not shown.
STATUS_TTL_S = 30
#: One that has not been heard of for so long, two reports and a little, may be gone or hang.
SILENT_S = 12
#: Of this process and its forks; on one host name two containers may have the same process id.
_TOKEN = secrets.token_hex(4)


class Worker(msgspec.Struct, frozen=True):
    """One worker process; rss_mb includes the pages that it shares with others."""

    task: str
    pid: int
    name: str
    state: str
    rss_mb: float
    jobs: int
    uptime_s: int


class Status(msgspec.Struct):
    """One supervisor.

    Attributes:
        generation: How many times its process has loaded, this one included.
        deaths: Of workers, since then.
        last_death: Of which task, by what, and when; empty if there was none.
        silent_s: How long ago it told this.
    """

    host: str
    pid: int
    generation: int
    deaths: int = 0
    last_death: str = ""
    workers: tuple[Worker, ...] = ()
    silent_s: int = 0

    @classmethod
    def of_this_process(cls, generation: int) -> Status:
        """Nothing has happened yet."""
        return cls(socket.gethostname(), os.getpid(), generation)

    def note_death(self, task: str, cause: str) -> None:
        """A worker died."""
        self.deaths += 1
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self.last_death = f"{task} by {cause} at {at} UTC"


def publish(connection: redis.Redis, status: Status, workers: list[Worker]) -> None:
    """Writes it for STATUS_TTL_S, or takes it back if there is no worker; Redis may be away.

    What is no set of names makes room: anybody may have written it.
    """
    status.workers = tuple(workers)
    with suppress(RedisError):
        try:
            _write(connection, status)
        except ResponseError:
            if connection.type(keys.SUPERVISORS) == b"set":
                raise
            connection.delete(keys.SUPERVISORS)
            _write(connection, status)


def _write(connection: redis.Redis, status: Status) -> None:
    key = f"{keys.SUPERVISORS}:{status.host}-{status.pid}-{_TOKEN}"
    with connection.pipeline() as pipeline:
        if status.workers:
            pipeline.set(key, msgspec.json.encode(status), ex=STATUS_TTL_S)
            pipeline.sadd(keys.SUPERVISORS, key)
            pipeline.expire(keys.SUPERVISORS, STATUS_TTL_S)
        else:
            pipeline.delete(key)
            pipeline.srem(keys.SUPERVISORS, key)
        pipeline.execute()


def read(connection: redis.Redis) -> list[Status]:
    """All supervisors that were heard of lately, by host.

    Errors worth catching: redis.exceptions.RedisError.
    """
    names: list[Any] = []
    with suppress(ResponseError):  # it is no set
        names = sorted(connection.smembers(keys.SUPERVISORS))
    with connection.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.get(name)
            pipeline.ttl(name)
        answers = iter(pipeline.execute(raise_on_error=False))
    found = []
    for text, ttl_s in zip(answers, answers, strict=True):
        if isinstance(text, bytes):
            with suppress(msgspec.DecodeError):
                one = msgspec.json.decode(text, type=Status)
                one.silent_s = max(STATUS_TTL_S - ttl_s, 0)
                found.append(one)
    return found


def is_ready_here(connection: redis.Redis, task: str) -> bool:
    """Whether a worker on this host has announced that it is ready for the task.

    Errors worth catching: redis.exceptions.RedisError.
    """
    s, us = connection.time()
    ready: list[Any] = []
    with suppress(ResponseError):  # nobody of ours has written it
        ready = connection.zrangebyscore(keys.of_task(task).ready, s * 1000 + us / 1000, "+inf")
    ours = f"{keys.WORKER_NAME_PREFIX}{task}-{socket.gethostname()}"
    # Behind it stand the process id and a token: "web" is not "web-2".
    return any(as_text(name).rsplit("-", 2)[0] == ours for name in ready)


def as_json(found: list[Status]) -> str:
    """As a JSON array."""
    return msgspec.json.encode(found).decode()


def as_table(found: list[Status]) -> str:
    """As text, one line a worker."""
    rows = [("TASK", "PID", "STATE", "RSS MB", "JOBS", "UP S", "HOST", "GENERATION")]
    for one in found:
        rows += [
            (
                *(its.task, str(its.pid), its.state, f"{its.rss_mb:.0f}"),
                *(str(its.jobs), str(its.uptime_s), one.host, str(one.generation)),
            )
            for its in one.workers
        ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [
        f"{one.host} {one.pid}: {one.deaths} deaths, the last one {one.last_death}"
        for one in found
        if one.deaths
    ]
    lines += [
        f"{one.host} {one.pid}: not heard of for {one.silent_s} s; it and its workers may be gone"
        for one in found
        if one.silent_s >= SILENT_S
    ]
    return "\n".join(lines if found else ["No worker.py has been heard of."])
