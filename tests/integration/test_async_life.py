"""An AsyncClient whose callers leave, and whose connections are lost, closed, or not to be had."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from resident import keys
from resident.errors import TransportError, TryAgain
from resident.protocol import encode_answered
from tests.support.lua import Desk, Full
from tests.support.processes import Processes
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


def test_a_coroutine_that_is_cancelled_leaves_nothing_behind(desk: Desk, redis_url: str) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = start(client.ask("echo", number, LONG_MS) for number in range(3))
            apart = asyncio.create_task(client.wait("own", LONG_MS))
            await until(lambda: len(desk.waiting()) == 3 and len(blocked(desk.connection)) == 2)
            for one in (asked[0], asked[1], apart):
                one.cancel()
            await asyncio.wait([asked[0], asked[1], apart])
            await until(lambda: len(blocked(desk.connection)) == 1)
            await until(lambda: len(desk.waiting()) == 1)
            (job_id,) = desk.waiting()
            assert [*desk.connection.scan_iter(f"{keys.JOB}*")] == [f"{keys.JOB}{job_id}".encode()]
            reply_to(desk, job_id)
            assert (await asked[2]).answer == "!"
            await until(lambda: not list(desk.connection.scan_iter("resident:mailbox:*")))
            assert client._delivery is not None
            assert client._delivery._waiting == {}

    run(story())


def test_a_question_that_others_may_wait_for_is_not_taken_back(desk: Desk, redis_url: str) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            (asked,) = start([client.ask("echo", 1, LONG_MS, job_id="own")])
            await until(lambda: desk.waiting() == ["own"] and blocked(desk.connection))
            asked.cancel()
            await asyncio.wait([asked])
            await client.ping()
            assert desk.waiting() == ["own"]

    run(story())


@pytest.mark.parametrize("call", ["submit", "submit_many"])
def test_questions_whose_ids_nobody_was_told_are_taken_back(
    call: str, desk: Desk, redis_url: str
) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            await client.ping()
            if call == "submit":
                asking: Coroutine[Any, Any, Any] = client.submit("echo", 1, LONG_MS)
            else:
                asking = client.submit_many("echo", range(3), LONG_MS)
            (asked,) = start([asking])
            for _ in range(3):  # it is sent, and the answer cannot be there
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
            assert asked.cancelled()
            await client.ping()
            assert desk.waiting() == []

    run(story())


def test_few_of_the_connections_of_many_who_waited_apart_are_kept(
    desk: Desk, redis_url: str
) -> None:
    many = 30

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            apart = start(client.wait(f"own-{number}", LONG_MS) for number in range(many))
            await until(lambda: len(blocked(desk.connection)) == many)
            for number in range(many):
                reply_to(desk, f"own-{number}")
            await asyncio.gather(*apart)
            await until(lambda: len(desk.connection.client_list()) < many)

    run(story())


def test_lost_connections_are_opened_again_and_every_wait_goes_on(
    desk: Desk, redis_url: str
) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = start(client.ask("echo", number, LONG_MS) for number in range(3))
            apart = asyncio.create_task(client.ask("echo", "?", LONG_MS, job_id="own"))
            await until(lambda: len(desk.waiting()) == 4 and len(blocked(desk.connection)) == 2)
            desk.connection.execute_command("CLIENT KILL TYPE normal SKIPME yes")
            for job_id in desk.waiting():
                reply_to(desk, job_id)
            replies = await asyncio.gather(*asked, apart)
            assert [reply.answer for reply in replies] == ["!"] * 4
            later = asyncio.create_task(client.ask("echo", "later", LONG_MS))
            await until(lambda: len(desk.waiting()) == 5)
            reply_to(desk, desk.waiting()[-1])
            assert (await later).answer == "!"

    run(story())


def test_replies_come_although_redis_is_full(desk: Desk, full: Full, redis_url: str) -> None:
    desk.connection.config_resetstat()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = start(client.ask("echo", number, LONG_MS) for number in range(3))
            await until(lambda: len(desk.waiting()) == 3 and blocked(desk.connection))
            full.fill()
            settle_one(desk)
            assert (await asked[0]).answer == "!"
            await until(lambda: "errorstat_OOM" in desk.connection.info("errorstats"))
            for one in asked[1:]:
                settle_one(desk)
                assert (await one).answer == "!"
            with pytest.raises(TransportError, match="maxmemory"):
                await client.ask("echo", "another", LONG_MS)

    run(story())


def settle_one(desk: Desk) -> None:
    claim = desk.claim(1)
    job_id = claim.jobs[0].id
    reply = encode_answered(job_id, b'"!"', 0, 0, 1)
    desk.settle(claim, reply_key=desk.job(job_id)["reply_to"], reply=reply)


def test_a_script_that_redis_forgot_is_sent_again(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            await client.ask("echo", "a", LONG_MS)
            with Client(redis_url) as other:
                other._redis.script_flush()
            assert (await client.ask("echo", "b", LONG_MS)).answer == "b"

    run(story())


def test_who_waits_when_the_client_is_closed_is_told_so(desk: Desk, redis_url: str) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = start([client.ask("echo", "?", LONG_MS), client.wait("own", LONG_MS)])
            await until(lambda: len(blocked(desk.connection)) == 2)
        for one in asked:
            with pytest.raises(TransportError, match="closed"):
                await one

    run(story())


def test_a_loop_that_ends_with_questions_in_flight_leaves_no_task_behind(
    desk: Desk, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        client = AsyncClient(redis_url)
        start(client.ask("echo", number, LONG_MS) for number in range(10))
        await until(lambda: len(desk.waiting()) == 10 and blocked(desk.connection))
        client._link.drop(RedisConnectionError("lost"))

    asyncio.run(story())
    gc.collect()
    assert not caplog.messages


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process can open none, nor a socket."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_process_that_cannot_open_more_files_is_told_so_and_asks_again_later(
    processes: Processes, redis_url: str
) -> None:
    processes.start_worker("echo")

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            for call in CALLS.values():
                with no_more_files(), pytest.raises(TransportError, match="open files"):
                    await call(client)
            assert (await client.ask("echo", "?", LONG_MS)).answer == "?"

    run(story())


def test_a_client_that_was_closed_opens_itself_again(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")

    async def story() -> None:
        client = AsyncClient(redis_url)
        for number in range(3):
            async with client:
                assert (await client.ask("echo", number, LONG_MS)).answer == number

    run(story())


def test_a_loop_that_was_closed_may_be_followed_by_another(
    processes: Processes, redis_url: str
) -> None:
    processes.start_worker("echo")
    client = AsyncClient(redis_url)

    async def story(number: int) -> None:
        for job_id in (None, f"own-{number}"):
            reply = await client.ask("echo", number, LONG_MS, job_id=job_id)
            assert reply.answer == number

    for number in range(3):
        asyncio.run(story(number))


def test_a_client_of_another_loop_that_runs_is_told_so(redis_url: str, desk: Desk) -> None:
    async def in_another_loop(client: AsyncClient, call: Call) -> None:
        with pytest.raises(RuntimeError, match="make one for each loop"):
            await call(client)

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            await client.ping()
            for call in (*CALLS.values(), AsyncClient.tasks):
                await asyncio.to_thread(asyncio.run, in_another_loop(client, call))

    run(story())


def test_a_client_of_a_loop_that_was_closed_is_closed_in_another(
    desk: Desk, redis_url: str
) -> None:
    desk.announce()
    client = AsyncClient(redis_url)

    async def wait_in_vain() -> None:
        with pytest.raises(TryAgain):
            await client.ask("echo", "x", BUDGET_MS)

    asyncio.run(wait_in_vain())
    asyncio.run(client.close())
    asyncio.run(wait_in_vain())
    asyncio.run(client.close())
