"""Taking a question back over a connection that breaks before the answer is there."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.chaos.proxy import Network
from tests.support.lua import Desk, a_desk
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

#: As long as an answer is under way, and less than a client waits for it.
UNDER_WAY_S = 0.25
PHP = """
require 'php_client/autoload.php';
echo json_encode((new Resident\\Client($argv[1]))->cancel('own'));
"""


def cancel(url: str) -> bool:
    with Client(url) as client:
        return client.cancel("own")


def cancel_async(url: str) -> bool:
    async def story() -> bool:
        async with AsyncClient(url) as client:
            return await client.cancel("own")

    return asyncio.run(story())


def cancel_from_php(url: str) -> bool:
    command = ["php", "-r", PHP, "--", url]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout == b"true"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path, tcp=True) as running:
        yield running


@pytest.fixture
def desk(server: EmbeddedRedis) -> Iterator[Desk]:
    with connect(server.url) as connection, a_desk(connection) as made:
        made.announce()
        yield made


@pytest.mark.parametrize("call", [cancel, cancel_async, cancel_from_php])
@pytest.mark.parametrize("runs", [False, True], ids=["waits", "runs"])
def test_a_cancel_whose_answer_was_lost_says_that_it_cancelled(
    server: EmbeddedRedis, desk: Desk, call: Callable[[str], bool], runs: bool
) -> None:
    desk.ask("own")
    if runs:
        desk.claim()
    with Network(server.url, 1) as network, ThreadPoolExecutor(1) as pool:
        network.slow(0, UNDER_WAY_S)
        cancelled = pool.submit(call, network.url(0))
        wait_until(lambda: desk.connection.exists(keys.reply("own")))
        network.slow(0, 0)
        network.cut(0)
        assert cancelled.result(20)
    assert desk.connection.llen(keys.reply("own")) == 1
