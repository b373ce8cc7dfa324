"""A Redis that comes back without the questions that it had, after a failover say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from resident import keys
from resident.link import Link
from resident.protocol import Answered, encode_answered
from tests.support.lua import ECHO, Desk
from tests.support.waiting import wait_until

BUDGET_MS = 20_000
QUESTIONS = ["a", "b", "c"]


def ask_many(redis_url: str) -> list[Any]:
    with Client(redis_url) as client:
        return [*client.ask_many("echo", QUESTIONS, BUDGET_MS)]


def ask_many_async(redis_url: str) -> list[Any]:
    async def story() -> list[Any]:
        async with AsyncClient(redis_url) as client:
            return [*await client.ask_many("echo", QUESTIONS, BUDGET_MS)]

    return asyncio.run(story())


def ask_with_ids_async(redis_url: str) -> list[Any]:
    async def story() -> list[Any]:
        async with AsyncClient(redis_url) as client:
            asked = [client.ask("echo", one, BUDGET_MS, job_id=one) for one in QUESTIONS]
            return [*await asyncio.gather(*asked)]

    return asyncio.run(story())


WAYS: dict[str, tuple[Callable[[str], list[Any]], int]] = {
    "ask_many": (ask_many, 1),
    "ask_many, asyncio": (ask_many_async, 1),
    "ask with an id, asyncio": (ask_with_ids_async, len(QUESTIONS)),
}


class Outage:
    """Cuts everybody off, and has Redis come back with less than it had."""

    def __init__(self, desk: Desk, waits: int) -> None:
        self.desk = desk
        wait_until(lambda: len(desk.waiting()) == len(QUESTIONS))
        wait_until(lambda: len(blocked(desk)) == waits)
        self.answered, self.forgotten, self.kept = desk.waiting()

    def happen(self, *also_gone: str) -> None:
        """One question is answered and its job gone, one is forgotten, one waits as it did."""
        gone = [f"{keys.JOB}{one}" for one in (self.answered, self.forgotten)]
        key, reply = self._reply(self.answered)
        with self.desk.connection.pipeline() as pipeline:
            pipeline.execute_command("CLIENT KILL TYPE normal SKIPME yes")
            pipeline.delete(*gone, *also_gone)
            pipeline.lrem(ECHO.queue, 0, self.answered)
            pipeline.lrem(ECHO.queue, 0, self.forgotten)
            pipeline.rpush(key, reply)
            pipeline.execute()
        self.desk.link.close()

    def answer_the_rest(self) -> None:
        self.answer(self.kept)
        self.answer(self.forgotten)

    def answer(self, job_id: str) -> None:
        self.desk.connection.rpush(*self._reply(job_id))

    def _reply(self, job_id: str) -> tuple[str, bytes]:
        key = self.desk.job(job_id).get("reply_to", keys.reply(job_id))
        return key, encode_answered(job_id, b'"!"', 0, 0, 1)


@pytest.mark.parametrize("way", WAYS)
def test_only_what_redis_forgot_is_asked_again(desk: Desk, redis_url: str, way: str) -> None:
    ask, waits = WAYS[way]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, redis_url)
        outage = Outage(desk, waits)
        outage.happen()
        wait_until(lambda: outage.forgotten in desk.waiting())
        outage.answer_the_rest()
        outcomes = asked.result(BUDGET_MS / 1000)
    assert [one.answer for one in outcomes if isinstance(one, Answered)] == ["!"] * 3
    assert desk.waiting() == [outage.kept, outage.forgotten]


@pytest.mark.parametrize("way", WAYS)
def test_what_redis_forgot_is_asked_until_it_is_let_in(
    desk: Desk, redis_url: str, way: str
) -> None:
    ask, waits = WAYS[way]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, redis_url)
        outage = Outage(desk, waits)
        calls = desk.connection.info("commandstats")["cmdstat_evalsha"]["calls"]
        outage.happen(ECHO.announcement)
        wait_until(
            lambda: desk.connection.info("commandstats")["cmdstat_evalsha"]["calls"] > calls + 1
        )
        assert desk.waiting() == [outage.kept]
        desk.announce()
        wait_until(lambda: outage.forgotten in desk.waiting())
        outage.answer_the_rest()
        outcomes = asked.result(BUDGET_MS / 1000)
    assert [one.answer for one in outcomes if isinstance(one, Answered)] == ["!"] * 3


def test_one_that_is_not_let_in_again_keeps_no_other_from_its_reply(
    desk: Desk, redis_url: str
) -> None:
    heard: list[str] = []

    async def story() -> None:
        async with AsyncClient(redis_url) as client:

            async def ask(question: str) -> None:
                heard.append((await client.ask("echo", question, BUDGET_MS)).id)

            await asyncio.gather(*map(ask, QUESTIONS))

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asyncio.run, story())
        outage = Outage(desk, 1)
        outage.happen(ECHO.announcement)
        outage.answer(outage.kept)
        wait_until(lambda: outage.kept in heard)
        assert desk.waiting() == [outage.kept]  # and the forgotten one is not there
        desk.announce()
        wait_until(lambda: outage.forgotten in desk.waiting())
        outage.answer(outage.forgotten)
        asked.result(BUDGET_MS / 1000)
    assert sorted(heard) == sorted([outage.answered, outage.kept, outage.forgotten])


def test_a_reply_that_goes_the_way_of_a_lost_connection_is_made_again(
    desk: Desk, redis_url: str
) -> None:
    """Redis does not know yet that it is lost, and serves it first."""
    with ThreadPoolExecutor(1) as pool, Client(redis_url) as client:
        asked = pool.submit(client.ask, "echo", "a", BUDGET_MS)
        own = wait_until(lambda: blocked(desk))
        [job_id] = desk.waiting()
        lost = Link(desk.connection)
        lost.send_all([("BLPOP", keys.reply(job_id), "0")])
        wait_until(lambda: len(blocked(desk)) == 2)
        desk.connection.client_kill_filter(_id=own[0])
        wait_until(lambda: len(blocked(desk)) == 2)
        for reader in (lambda: lost.read(1), lambda: asked.result(BUDGET_MS / 1000).answer == "!"):
            wait_until(lambda: desk.waiting() == [job_id])
            reply = encode_answered(job_id, b'"!"', 0, 0, 1)
            desk.settle(desk.claim(), reply=reply)
            assert reader()


def blocked(desk: Desk) -> list[str]:
    """Ids of connections that wait."""
    return [one["id"] for one in desk.connection.client_list() if "b" in one["flags"]]
