"""A call ends within its budget and 50 ms, whatever Redis does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident import keys, protocol
from resident.embedded_redis import EmbeddedRedis
from resident.errors import ErrorCode, ResidentError, TransportError
from resident.protocol import Answered
from tests.support.broken import REPLIES, WAYS, Broken, hung
from tests.support.lua import ECHO, Desk
from tests.support.waiting import wait_until

BUDGET_MS = 300
#: Over the budget; what a machine that has other things to do may add is much more than ours.
OVER_MS = 50 + 250

Call = Callable[[Client], Any]
CALLS: dict[str, Call] = {
    "ask": lambda client: client.ask("echo", "?", BUDGET_MS),
    "ask with an id": lambda client: client.ask("echo", "?", BUDGET_MS, job_id="own"),
    "submit": lambda client: client.submit("echo", "?", BUDGET_MS),
    "wait": lambda client: client.wait("own", BUDGET_MS),
    "ask_many": lambda client: _raised(client.ask_many("echo", ["a", "b"], BUDGET_MS)),
}


def _raised(outcomes: list[Any]) -> None:
    assert len(outcomes) == 2
    for outcome in outcomes:
        raise outcome


@contextmanager
def in_time(budget_ms: int = BUDGET_MS) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert (time.monotonic() - began) * 1000 < budget_ms + OVER_MS


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("way", WAYS)
def test_a_redis_that_breaks_is_a_transport_error_within_the_budget(way: str, call: Call) -> None:
    with Broken(way) as broken, Client(broken.url) as client:
        if way in REPLIES and call is CALLS["submit"]:
            call(client)  # it waits for none
            return
        with in_time(), pytest.raises(TransportError):
            call(client)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_redis_that_hangs_is_a_transport_error_within_the_budget(
    redis_server: EmbeddedRedis, redis_url: str, call: Call
) -> None:
    with Client(redis_url) as client:
        client.ping()
        with hung(redis_server.pid), in_time(), pytest.raises(TransportError):
            call(client)


def test_a_redis_that_hangs_during_the_wait_is_one_too(
    redis_server: EmbeddedRedis, redis_url: str, desk: Desk
) -> None:
    outcomes: list[Answered | ResidentError] = []
    with asked_beside(redis_url, outcomes, 2 * BUDGET_MS):
        wait_until(lambda: blocked(desk.connection))
        with hung(redis_server.pid), in_time(2 * BUDGET_MS):
            wait_until(lambda: outcomes)
    assert isinstance(outcomes[0], TransportError), outcomes


def test_a_failover_during_the_wait_passes(desk: Desk, redis_url: str) -> None:
    outcomes: list[Answered | ResidentError] = []
    with asked_beside(redis_url, outcomes):
        wait_until(lambda: blocked(desk.connection))
        demote(desk.connection)
        refusals = "errorstat_READONLY"
        wait_until(lambda: refusals in desk.connection.info("errorstats"))
        desk.connection.execute_command("REPLICAOF NO ONE")
        answer("own", desk.connection)
    assert isinstance(outcomes[0], Answered), outcomes


def test_a_question_that_redis_forgot_meanwhile_is_asked_again(desk: Desk, redis_url: str) -> None:
    outcomes: list[Answered | ResidentError] = []
    with asked_beside(redis_url, outcomes):
        wait_until(lambda: blocked(desk.connection))
        desk.connection.delete(ECHO.queue, f"{keys.JOB}own", keys.asked("own"))
        desk.connection.execute_command("CLIENT KILL TYPE normal SKIPME yes")
        wait_until(lambda: desk.waiting() == ["own"])
        answer("own", desk.connection)
    assert isinstance(outcomes[0], Answered), outcomes


def test_a_failover_that_lasts_is_a_transport_error(desk: Desk, redis_url: str) -> None:
    outcomes: list[Answered | ResidentError] = []
    with asked_beside(redis_url, outcomes, 2 * BUDGET_MS):
        wait_until(lambda: blocked(desk.connection))
        demote(desk.connection)
    desk.connection.execute_command("REPLICAOF NO ONE")
    assert isinstance(outcomes[0], TransportError), outcomes


def test_a_replica_is_a_transport_error_at_once(desk: Desk, redis_url: str) -> None:
    demote(desk.connection)
    with Client(redis_url) as client, in_time(0), pytest.raises(TransportError, match="read only"):
        client.ask("echo", "?", 20_000)
    desk.connection.execute_command("REPLICAOF NO ONE")


def test_a_question_that_nobody_answers_expires_in_time(desk: Desk, redis_url: str) -> None:
    with Client(redis_url) as client, in_time(), pytest.raises(ResidentError) as caught:
        client.ask("echo", "?", BUDGET_MS)
    assert caught.value.code is ErrorCode.EXPIRED


@contextmanager
def asked_beside(
    redis_url: str, outcomes: list[Answered | ResidentError], budget_ms: int = 20_000
) -> Iterator[None]:
    """Somebody asks with the id "own" meanwhile."""

    def ask() -> None:
        with Client(redis_url) as client:
            try:
                outcomes.append(client.ask("echo", "?", budget_ms, job_id="own"))
            except ResidentError as error:
                outcomes.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield
    finally:
        caller.join()


def demote(connection: Redis) -> None:
    connection.config_set("replica-read-only", "yes")
    connection.execute_command("CONFIG RESETSTAT")
    connection.execute_command("REPLICAOF", "127.0.0.1", "1")


def blocked(connection: Redis) -> bool:
    return bool(connection.info("clients")["blocked_clients"])


def answer(job_id: str, connection: Redis) -> None:
    payload = protocol.encode_answered(job_id, b'"!"', 0, 0, 1)
    connection.rpush(keys.reply(job_id), payload)
