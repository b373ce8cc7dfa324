"""What coroutines are told of a Redis that breaks, hangs, or brings no answer: in time, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import enqueue_api.async_link
import enqueue_api.delivery
from enqueue_api.async_client import AsyncClient
from enqueue_api.async_link import AsyncLink
from enqueue_api.delivery import Delivery
from resident.embedded_redis import EmbeddedRedis
from resident.errors import (
    ErrorCode,
    ResidentError,
    TransportError,
)
from resident.protocol import Answered
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


def silence(link: AsyncLink) -> None:
    """Its connection is dead, and nothing tells of it."""
    assert link._line is not None
    link._line._connection._writer.transport.pause_reading()


async def ask_one(client: AsyncClient, desk: Desk, budget_ms: int) -> Delivery:
    """Asks, and replies as soon as it waits."""
    before = len(desk.waiting())
    asked = asyncio.create_task(client.ask("echo", "?", budget_ms))
    await until(lambda: len(desk.waiting()) > before)
    reply_to(desk, desk.waiting()[-1])
    assert (await asked).answer == "!"
    assert client._delivery is not None
    return client._delivery


async def silenced_delivery(client: AsyncClient, desk: Desk) -> Delivery:
    """What waits for replies, over a connection that died and does not say so."""
    delivery = await ask_one(client, desk, LONG_MS)
    await until(lambda: blocked(desk.connection))
    silence(delivery._link)
    return delivery


def test_a_reply_that_a_dead_connection_does_not_bring_is_found_and_the_next_one_is_brought(
    redis_url: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_api.delivery, "_DOUBTED_S", 0.05)
    monkeypatch.setattr(enqueue_api.delivery, "_BLOCK_S", 60.0)

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            delivery = await silenced_delivery(client, desk)
            dead = delivery._link._line
            await ask_one(client, desk, BUDGET_MS)
            await until(lambda: delivery._link._line is not dead)
            async with asyncio.timeout(LONG_MS / 2000):  # at once, and not at the budget's end
                await ask_one(client, desk, LONG_MS)

    run(story())


def test_one_look_at_the_mailbox_is_enough_for_all_whose_time_is_over(
    redis_url: str, desk: Desk
) -> None:
    desk.announce(max_backlog=100)

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            await silenced_delivery(client, desk)
            desk.connection.config_resetstat()
            asking = asyncio.create_task(client.ask_many("echo", range(50), 5 * BUDGET_MS))
            await until(lambda: len(desk.waiting()) == 51)
            for job_id in desk.waiting()[1:]:
                reply_to(desk, job_id)
            assert all(isinstance(one, Answered) for one in await asking)
            assert desk.connection.info("commandstats")["cmdstat_lrange"]["calls"] < 10

    run(story())


def test_when_the_asking_connection_is_dropped_for_its_silence_the_other_one_is_doubted(
    redis_url: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_api.delivery, "_DOUBTED_S", 0.05)
    monkeypatch.setattr(enqueue_api.delivery, "_BLOCK_S", 60.0)

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            delivery = await ask_one(client, desk, LONG_MS)
            await until(lambda: blocked(desk.connection))
            for link in (client._link, delivery._link):
                silence(link)
            dead = delivery._link._line
            monkeypatch.setattr(enqueue_api.async_link, "SOCKET_TIMEOUT_S", BUDGET_MS / 2000)
            with pytest.raises(TransportError):
                await client.ask("echo", "?", BUDGET_MS)
            await until(lambda: delivery._link._line is not dead)

    run(story())


def test_what_nobody_answers_expires_although_a_connection_was_lost_meanwhile(
    redis_url: str, desk: Desk
) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = asyncio.create_task(client.ask("echo", "?", 2_000))
            await until(lambda: desk.waiting() and blocked(desk.connection))
            delivery = client._delivery
            assert delivery is not None
            desk.connection.execute_command("CLIENT KILL TYPE normal SKIPME yes")
            await until(lambda: delivery.trouble)
            with pytest.raises(ResidentError) as caught:
                await asked
            assert caught.value.code is ErrorCode.EXPIRED

    run(story())


def test_a_late_reply_is_taken_out_when_it_is_read_and_not_when_the_next_one_is(
    redis_url: str, desk: Desk
) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            with pytest.raises(ResidentError):
                await client.ask("echo", "?", BUDGET_MS)
            reply_to(desk, desk.waiting()[0])
            await until(lambda: not [*desk.connection.scan_iter("resident:mailbox:*")])

    run(story())


@pytest.mark.parametrize("call", list(CALLS.values())[:3], ids=list(CALLS)[:3])
def test_what_nobody_answers_expires_in_time(desk: Desk, redis_url: str, call: Call) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client, in_time():
            with pytest.raises(ResidentError) as caught:
                await call(client)
            assert caught.value.code is ErrorCode.EXPIRED

    run(story())
