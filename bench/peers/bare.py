"""The least that Python can do: a list, a loop, a list. No jobs, no deadlines, no books.

BENCH_BATCH is how many questions it takes at once; 1 is the bare loop, more the batched one.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import hiredis

from bench import stopwatch
from bench.load import Ids, Link, RedisLink, connect
from bench.peer import QUESTION, check

URL = os.environ["BENCH_URL"]
BATCH = int(os.environ.get("BENCH_BATCH", "1"))
_CHUNK = 65_536
_ids = Ids()
_PLACEHOLDER = b"f" * 32


class RawRedis:
    """A socket to Redis with hiredis on both directions, and nothing else."""

    def __init__(self, url: str) -> None:
        self._socket = connect(url)
        self._socket.settimeout(None)
        self._reader = hiredis.Reader()
        if password := urlsplit(url).password:
            self.call(("AUTH", password))

    def call(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Sends the commands in one write; returns their answers."""
        self._socket.sendall(b"".join([hiredis.pack_command(command) for command in commands]))
        return [self.read() for _ in commands]

    def read(self) -> Any:
        """The next answer, or a message of a channel."""
        while (answer := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(_CHUNK))
        return answer


def serve() -> None:
    """Answers `bare:queue` until it is ended."""
    redis = RawRedis(URL)
    while True:
        messages = [redis.call(("BLPOP", "bare:queue", 0))[0][1]]
        if BATCH > 1:
            messages += redis.call(("LPOP", "bare:queue", BATCH - 1))[0] or ()
        stopwatch.answered(len(messages))
        redis.call(*[command for message in messages for command in _answer(message)])


def _answer(message: bytes) -> tuple[tuple[Any, ...], ...]:
    job_id, _, question = message.partition(b" ")
    key = b"bare:reply:" + job_id
    return ("RPUSH", key, question), ("EXPIRE", key, 60)


def _commands(job_id: bytes, question: str) -> tuple[tuple[Any, ...], ...]:
    """Push and wait; they go out in one write."""
    push = ("RPUSH", "bare:queue", b"%s %s" % (job_id, question.encode()))
    return push, ("BLPOP", b"bare:reply:" + job_id, "5")


_caller: list[RawRedis] = []


def ask(question: str) -> str:
    """One question."""
    if not _caller:
        _caller.append(RawRedis(URL))
    _, (_, answer) = _caller[0].call(*_commands(_ids.next(), question))
    return str(answer, "utf-8")


def links(callers: int) -> list[Link]:
    """For the load generator."""

    def is_right(answer: Any, job_id: bytes) -> int:
        check(answer and str(answer[1], "utf-8"))
        return 0

    packed = b"".join([hiredis.pack_command(each) for each in _commands(_PLACEHOLDER, QUESTION)])
    templates = [(packed, _PLACEHOLDER)]
    return [RedisLink(URL, templates, 2, is_right, _ids) for _ in range(callers)]


def fill(count: int) -> int:
    """Puts questions on the queue."""
    redis = RawRedis(URL)
    for start in range(0, count, 1_000):
        many = range(min(1_000, count - start))
        messages = [b"%s %s" % (_ids.next(), QUESTION.encode()) for _ in many]
        redis.call(("RPUSH", "bare:queue", *messages))
    return count
