"""Stories that coroutines tell of an AsyncClient, and what its callers are at meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from redis import Redis

from enqueue_api.async_client import AsyncClient
from resident import keys
from resident.errors import ResidentError
from resident.protocol import encode_answered
from tests.support.lua import Desk

BUDGET_MS = 300
LONG_MS = 20_000

Call = Callable[[AsyncClient], Awaitable[Any]]


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


def start(calls: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(call) for call in calls]


def blocked(connection: Redis) -> list[str]:
    return [one["id"] for one in connection.client_list() if "b" in one["flags"]]


def reply_to(desk: Desk, job_id: str) -> None:
    key = desk.job(job_id).get("reply_to", keys.reply(job_id))
    desk.connection.rpush(key, encode_answered(job_id, b'"!"', 0, 0, 1))


async def _ask_many(client: AsyncClient) -> None:
    outcomes = await client.ask_many("echo", ["a", "b"], BUDGET_MS)
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert isinstance(outcome, ResidentError)
        raise outcome


#: The calls that wait, each for a short budget.
CALLS: dict[str, Call] = {
    "ask": lambda client: client.ask("echo", "?", BUDGET_MS),
    "ask with an id": lambda client: client.ask("echo", "?", BUDGET_MS, job_id="own"),
    "wait": lambda client: client.wait("own", BUDGET_MS),
    "ask_many": _ask_many,
}
