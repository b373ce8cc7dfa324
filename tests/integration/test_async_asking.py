"""The client for asyncio: many questions in flight over two connections, and none hangs."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from resident.errors import (
    CallerError,
    OperatorError,
    TransportError,
    TryAgain,
)
from resident.protocol import Answered
from tests.support.lua import Desk
from tests.support.processes import Processes
from tests.support.stories import (
    LONG_MS,
    blocked,
    reply_to,
    run,
    start,
    until,
)


def test_two_thousand_questions_are_in_flight_at_once(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = [client.ask("echo", number, LONG_MS) for number in range(2_000)]
            replies = await asyncio.gather(*asked)
        assert [reply.answer for reply in replies] == list(range(2_000))
        assert len({reply.id for reply in replies}) == 2_000

    run(story())


def test_questions_in_flight_share_two_connections(desk: Desk, redis_url: str) -> None:
    desk.announce(max_backlog=1000)
    before = len(desk.connection.client_list())

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            asked = start(client.ask("echo", number, LONG_MS) for number in range(100))
            await until(lambda: len(desk.waiting()) == 100)
            await until(lambda: blocked(desk.connection))
            assert len(desk.connection.client_list()) == before + 2
            for job_id in desk.waiting():
                reply_to(desk, job_id)
            assert {reply.answer for reply in await asyncio.gather(*asked)} == {"!"}
        await until(lambda: len(desk.connection.client_list()) == before)

    run(story())


def test_a_bad_question_does_not_spoil_the_others(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            one, two, three = await client.ask_many("echo", ["a", float("nan"), "c"], LONG_MS)
            assert isinstance(one, Answered)
            assert isinstance(two, CallerError)
            assert isinstance(three, Answered)
            assert (one.answer, three.answer) == ("a", "c")
            assert await client.tasks() == ["echo"]

    run(story())


def test_what_is_refused_is_told_at_once(redis_url: str, connection: Redis) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            with pytest.raises(OperatorError, match="Tasks served now: none"):
                await client.ask("echo", "?", LONG_MS)
        assert connection.keys() == []

    run(story())


def test_an_id_of_ones_own_is_answered_to_all_who_ask(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    processes.start_worker("echo")

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            calls = [client.ask("echo", "first", LONG_MS, job_id="own") for _ in range(5)]
            beside = asyncio.to_thread(ask_by_thread)
            replies = await asyncio.gather(*calls, beside, client.wait("own", LONG_MS))
            assert {reply.answer for reply in replies} == {"first"}
            assert await client.submit("echo", "first", job_id="own") == "own"
            assert (await client.wait("own")).answer == "first"
            with pytest.raises(CallerError, match="Another question was asked with the id 'own'"):
                await client.submit("echo", "second", job_id="own")

    def ask_by_thread() -> Answered:
        with Client(redis_url) as client:
            return client.ask("echo", "first", LONG_MS, job_id="own")

    run(story())
    assert connection.xlen("rq:results:own") == 1


def test_many_are_asked_at_once_and_fetched_apart(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            ids = await client.submit_many("echo", range(100), LONG_MS)
            replies = await asyncio.gather(*[client.wait(one, LONG_MS) for one in ids])
        assert [reply.answer for reply in replies] == list(range(100))

    run(story())


def test_of_many_that_are_submitted_those_over_the_limit_are_refused(
    desk: Desk, redis_url: str
) -> None:
    desk.announce(max_backlog=3)

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            with pytest.raises(CallerError, match="not a JSON value"):
                await client.submit_many("echo", ["good", float("nan")])
            assert desk.waiting() == []
            with pytest.raises(TryAgain, match="3 questions wait"):
                await client.submit_many("echo", range(5))
            assert len(desk.waiting()) == 3

    run(story())


def test_a_ping_tells_whether_redis_answers(redis_url: str) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            await client.ping()
        async with AsyncClient("unix:///there/is/no/redis.sock") as client:
            with pytest.raises(TransportError):
                await client.ping()

    run(story())


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(AsyncClient) == methods(Client)
