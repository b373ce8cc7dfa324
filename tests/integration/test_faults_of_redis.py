"""What a Redis that does not serve is said to be at fault, from Python as from PHP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from resident.embedded_redis import EmbeddedRedis
from resident.errors import TransportError
from resident.redis_client import connect
from tests.support.lua import Full, a_desk

Ask = Callable[[str], object]


def ask(url: str) -> object:
    with Client(url) as client:
        return client.ask("echo", "?", 1_000)


def ask_many(url: str) -> object:
    with Client(url) as client:
        [outcome] = client.ask_many("echo", ["?"], 1_000)
        raise outcome if isinstance(outcome, TransportError) else AssertionError(outcome)


def ask_by_asyncio(url: str) -> object:
    async def story() -> object:
        async with AsyncClient(url) as client:
            return await client.ask("echo", "?", 1_000)

    return asyncio.run(story())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("at-fault")) as running:
        with connect(running.url) as connection, a_desk(connection) as desk:
            desk.announce(3_600_000)
        yield running


@contextmanager
def full(connection: Redis) -> Iterator[str]:
    with Full(connection) as filled:
        filled.fill()
        yield ""


@contextmanager
def a_replica(connection: Redis) -> Iterator[str]:
    connection.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield ""
    finally:
        connection.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def a_replica_without_its_master(connection: Redis) -> Iterator[str]:
    connection.config_set("replica-serve-stale-data", "no")
    try:
        with a_replica(connection) as who:
            yield who
    finally:
        connection.config_set("replica-serve-stale-data", "yes")


@contextmanager
def a_user_who_may_not_push(connection: Redis) -> Iterator[str]:
    rights = ["+@all", "-rpush"]  # what the script needs
    connection.acl_setuser(
        "guest", enabled=True, passwords=["+secret"], commands=rights, keys=["*"], channels=["*"]
    )
    try:
        yield "guest:secret"
    finally:
        connection.acl_deluser("guest")


@contextmanager
def a_user_without_rights(connection: Redis) -> Iterator[str]:
    connection.acl_setuser("guest", enabled=True, passwords=["+secret"], commands=["+ping"])
    try:
        yield "guest:secret"
    finally:
        connection.acl_deluser("guest")


@contextmanager
def a_wrong_password(_: Redis) -> Iterator[str]:
    yield "default:wrong"


FAULTS = {
    full: r"^Redis is full, so nothing was written \(",
    a_replica: r"^Redis is a replica that cannot be written to \(",
    a_replica_without_its_master: r"^Redis is a replica that has lost its master \(",
    a_user_who_may_not_push: r"^Redis does not let this user ask \(",
    a_user_without_rights: r"^Redis does not let this user ask \(",
    a_wrong_password: r"^Redis refuses the user or the password \(",
}


@pytest.mark.parametrize("way", [ask, ask_many, ask_by_asyncio])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_redis_that_does_not_serve_says_what_is_wrong(
    way: Ask, fault: Callable[[Redis], AbstractContextManager[str]], server: EmbeddedRedis
) -> None:
    with connect(server.url) as connection, fault(connection) as who:
        url = re.sub("(?<=//)[^@]*(?=@)", who, server.url) if who else server.url
        with pytest.raises(TransportError, match=FAULTS[fault]):
            way(url)


@pytest.mark.parametrize("way", [ask, ask_many, ask_by_asyncio])
def test_a_redis_that_is_not_there_cannot_be_reached(way: Ask, tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"^Redis cannot be reached \("):
        way(f"unix://{tmp_path}/none")
