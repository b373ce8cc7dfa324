"""Waiting for replies in a coroutine; a Redis that is lost meanwhile is tried again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.exceptions import OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from enqueue_api import outcome
from enqueue_api.async_link import AsyncLink
from enqueue_api.deadline import Deadline
from enqueue_api.waiting import LOOK_EACH_S, RECONNECT_PAUSE_S, WAKE_EACH_S, payload_in
from resident import keys
from resident.link import Word
from resident.redis_client import may_pass

T = TypeVar("T")


async def kept_reply(
    link: AsyncLink,
    job_id: str,
    deadline: Deadline,
    ask_again: Callable[[], Awaitable[bool]] | None = None,
) -> bytes | None:
    """The reply, which stays for others, or None when the deadline has passed.

    Args:
        link: Where to wait.
        job_id: For which one.
        deadline: How long.
        ask_again: When Redis was lost, which may have forgotten the question: says whether it is
            there now.

    Raises:
        TransportError: Redis refused, or was lost and did not come back in time.
    """
    key = keys.reply(job_id)
    was_lost = False

    async def read() -> bytes | None:
        nonlocal was_lost
        if was_lost and ask_again is not None and not await ask_again():
            await asyncio.sleep(min(RECONNECT_PAUSE_S, deadline.left_s))
            return None
        was_lost = True
        reply = await _read_reply(link, key, deadline)
        was_lost = False
        return reply

    return await until_something(link, deadline, read, job_id)


async def _read_reply(link: AsyncLink, key: str, deadline: Deadline) -> bytes | None:
    command = ("BLMOVE", key, key, "LEFT", "LEFT", deadline.block_s)
    reply = await read_blocked(link, [command], deadline)
    if isinstance(reply, OutOfMemoryError):  # the reply comes although Redis is full
        reply = await read_blocked(link, [("LINDEX", key, "0")], deadline)
        if reply is None:
            await asyncio.sleep(min(LOOK_EACH_S, deadline.left_s))
    return payload_in(reply)


async def until_something(
    link: AsyncLink, deadline: Deadline, read: Callable[[], Awaitable[T | None]], job_id: str
) -> T | None:
    """Reads until something comes, None when the deadline has passed.

    Raises:
        TransportError: Redis refused, or was lost and did not come back in time.
    """
    while True:
        lost: RedisError | None = None
        found = None
        try:
            found = await read()
        except RedisError as error:
            if not may_pass(error):
                raise outcome.fault_of_redis(error, job_id) from error
            lost = error
            link.drop(error)
            jitter = random.uniform(0.5, 1)  # noqa: S311
            await asyncio.sleep(min(RECONNECT_PAUSE_S * jitter, deadline.left_s))
        if found is not None or deadline.is_over:
            if found is None and lost is not None:
                raise outcome.lost(lost, job_id) from lost
            return found


async def read_blocked(
    link: AsyncLink, commands: list[tuple[Word, ...]], deadline: Deadline
) -> Any:
    """Sends commands, of which the last blocks until the deadline at most; returns its answer.

    See waiting.read_blocked for the rest.
    """
    answers = asyncio.ensure_future(link.call_all(commands))
    try:
        await asyncio.wait([answers], timeout=deadline.left_s)
        while not answers.done() and deadline.patience_s:
            link.call_all([("PING",)])
            await asyncio.wait([answers], timeout=WAKE_EACH_S)
        if not answers.done():
            msg = "it did not answer"
            raise RedisTimeoutError(msg)
        for answer in answers.result():
            if isinstance(answer, Exception) and not isinstance(answer, OutOfMemoryError):
                raise answer
        return answers.result()[-1]
    finally:
        answers.cancel()
