"""What coroutines are told of a Redis that breaks, hangs, or brings no answer: in time, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import enqueue_api.delivery
from enqueue_api.async_client import AsyncClient
from resident.embedded_redis import EmbeddedRedis
from resident.errors import (
    ErrorCode,
    ResidentError,
    TransportError,
)
from tests.support.broken import WAYS, Broken, hung
from tests.support.lua import Desk
from tests.support.stories import (
    BUDGET_MS,
    CALLS,
    LONG_MS,
    Call,
    blocked,
    reply_to,
    run,
    start,
    until,
)

#: Over the budget; what a machine that has other things to do may add is much more than ours.
OVER_MS = 50 + 250


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    began = time.monotonic()
    yield
    assert (time.monotonic() - began) * 1000 < BUDGET_MS + OVER_MS


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("way", WAYS)
def test_a_redis_that_breaks_is_a_transport_error_within_the_budget(way: str, call: Call) -> None:
    async def story(url: str) -> None:
        async with AsyncClient(url) as client, in_time():
            with pytest.raises(TransportError):
                await call(client)

    with Broken(way) as broken:
        run(story(broken.url))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_redis_that_hangs_is_a_transport_error_within_the_budget(
    redis_server: EmbeddedRedis, redis_url: str, call: Call
) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            await client.tasks()
            with hung(redis_server.pid):
                async with in_time():
                    with pytest.raises(TransportError):
                        await call(client)

    run(story())


def test_a_redis_that_hangs_for_longer_than_it_may_is_waited_for_within_the_budget(
    redis_server: EmbeddedRedis, redis_url: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_api.delivery, "_BLOCK_S", 0.2)
    monkeypatch.setattr(enqueue_api.delivery, "SOCKET_TIMEOUT_S", 0.2)
    desk.announce()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = asyncio.create_task(client.ask("echo", "x", LONG_MS))
            await until(desk.waiting)
            with hung(redis_server.pid):
                await until(lambda: client._delivery and client._delivery.trouble)
            [job_id] = desk.waiting()
            reply_to(desk, job_id)
            assert (await asked).answer == "!"

    run(story())


def test_a_redis_that_hangs_during_the_wait_is_one_too(
    redis_server: EmbeddedRedis, redis_url: str, desk: Desk
) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = start(call(client) for call in CALLS.values())
            await until(lambda: len(desk.waiting()) == 4 and len(blocked(desk.connection)) == 3)
            with hung(redis_server.pid):
                async with in_time():
                    await asyncio.wait(asked)
        for one in asked:
            with pytest.raises(TransportError, match=r": .*did not answer"):
                await one

    run(story())


@pytest.mark.parametrize("call", list(CALLS.values())[:3], ids=list(CALLS)[:3])
def test_what_nobody_answers_expires_in_time(desk: Desk, redis_url: str, call: Call) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client, in_time():
            with pytest.raises(ResidentError) as caught:
                await call(client)
            assert caught.value.code is ErrorCode.EXPIRED

    run(story())
