"""What a refusal at the door costs, and what it says, from both clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from enqueue_api.outcome import Outcome
from resident import keys
from resident.errors import ErrorCode, ResidentError
from tests.support.lua import ECHO, Desk

Ask = Callable[[str], list[Outcome]]


def ask(redis_url: str) -> list[Outcome]:
    with Client(redis_url) as client:
        try:
            return [client.ask("echo", "?")]
        except ResidentError as error:
            return [error]


def ask_many(redis_url: str) -> list[Outcome]:
    with Client(redis_url) as client:
        return client.ask_many("echo", range(3))


def ask_many_async(redis_url: str) -> list[Outcome]:
    async def story() -> list[Outcome]:
        async with AsyncClient(redis_url) as client:
            return await client.ask_many("echo", range(3))

    return asyncio.run(story())


WAYS: dict[str, Ask] = {"ask": ask, "ask_many": ask_many, "asyncio": ask_many_async}

pytestmark = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def messages_of(outcomes: list[Outcome], code: ErrorCode) -> set[str]:
    errors = [one for one in outcomes if isinstance(one, ResidentError)]
    assert [one.code for one in errors] == [code] * len(outcomes)
    return {one.message for one in errors}


def test_one_that_names_no_tasks_does_not_look_for_them(
    desk: Desk, redis_url: str, way: Ask
) -> None:
    desk.connection.rpush(ECHO.queue, *["filled"] * 10)
    desk.connection.config_resetstat()
    messages_of(way(redis_url), ErrorCode.OVERLOADED)
    assert not {"cmdstat_zrangebyscore", "cmdstat_time"} & commands(desk.connection).keys()


def test_it_stays_what_it_is_when_the_tasks_cannot_be_looked_up(
    connection: Redis, redis_url: str, way: Ask
) -> None:
    connection.set(keys.TASKS, "no set")
    said = messages_of(way(redis_url), ErrorCode.NO_WORKER)
    assert said == {"No worker is ready for the task 'echo'."}


def test_it_names_the_tasks_that_there_are(connection: Redis, redis_url: str, way: Ask) -> None:
    connection.zadd(keys.TASKS, {"faq": (connection.time()[0] + 60) * 1000})
    said = messages_of(way(redis_url), ErrorCode.NO_WORKER)
    assert said == {"No worker is ready for the task 'echo'. Tasks served now: faq."}


def commands(connection: Redis) -> dict[str, Any]:
    return dict(connection.info("commandstats"))
