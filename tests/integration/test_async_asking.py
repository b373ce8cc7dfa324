"""The client for asyncio: many questions in flight over two connections, and none hangs."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from redis import Redis

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.errors import (
    CallerError,
    ErrorCode,
    OperatorError,
    ResidentError,
    TransportError,
    TryAgain,
)
from resident.protocol import Answered, Milliseconds, encode_answered
from tests.support.broken import WAYS, Broken, hung
from tests.support.lua import Desk, Full
from tests.support.processes import Processes

BUDGET_MS = 300
#: Over the budget; what a machine that has other things to do may add is much more than ours.
OVER_MS = 50 + 250
LONG_MS = 20_000


def run(story: Coroutine[Any, Any, None]) -> None:
    """Runs a story to its end; nothing of it is left in the loop."""

    async def whole() -> None:
        await story
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(whole())


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(LONG_MS / 1000):
        while not (value := condition()):
            await asyncio.sleep(0.005)
        return value


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    began = time.monotonic()
    yield
    assert (time.monotonic() - began) * 1000 < BUDGET_MS + OVER_MS


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


def start(calls: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(call) for call in calls]


def blocked(connection: Redis) -> list[str]:
    return [one["id"] for one in connection.client_list() if "b" in one["flags"]]


def reply_to(desk: Desk, job_id: str) -> None:
    key = desk.job(job_id).get("reply_to", keys.reply(job_id))
    desk.connection.rpush(key, encode_answered(job_id, b'"!"', Milliseconds(0, 0), 1))


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
    reply = encode_answered(job_id, b'"!"', Milliseconds(0, 0), 1)
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


Call = Callable[[AsyncClient], Awaitable[Any]]


async def _ask_many(client: AsyncClient) -> None:
    outcomes = await client.ask_many("echo", ["a", "b"], BUDGET_MS)
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert isinstance(outcome, ResidentError)
        raise outcome


CALLS: dict[str, Call] = {
    "ask": lambda client: client.ask("echo", "?", BUDGET_MS),
    "ask with an id": lambda client: client.ask("echo", "?", BUDGET_MS, job_id="own"),
    "wait": lambda client: client.wait("own", BUDGET_MS),
    "ask_many": _ask_many,
}


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
