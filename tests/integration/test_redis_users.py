"""The Redis users that docs/operations.md names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from redis import Redis

from enqueue_api.client import Client
from tests.support.processes import ROOT, Processes
from tests.support.waiting import wait_until

RULES = dict(
    re.findall(
        r"^ACL SETUSER (\w+) on >PASSWORD (.*)$",
        (ROOT / "docs" / "operations.md").read_text("utf-8"),
        re.MULTILINE,
    )
)
ASK = """
import asyncio
import os
from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
with Client(os.environ["RESIDENT_REDIS_URL"]) as client:
    assert client.ask("echo", "?").answer == "?"
    assert client.ask("echo", "?", priority="high", tenant="acme").answer == "?"
    assert [reply.answer for reply in client.ask_many("echo", ["a", "b"])] == ["a", "b"]
    client.cancel(client.submit("echo", "?"))
    assert client.tasks() == ["echo"]

async def ask():
    async with AsyncClient(os.environ["RESIDENT_REDIS_URL"]) as client:
        assert (await client.ask("echo", "?")).answer == "?"

asyncio.run(ask())
"""


@pytest.fixture
def users(connection: Redis) -> Iterator[dict[str, str]]:
    """Their URLs."""
    assert RULES.keys() == {"worker", "caller"}
    for user, rules in RULES.items():
        connection.execute_command("ACL", "SETUSER", user, "on", ">secret", *rules.split())
    connection.acl_log_reset()
    kwargs = connection.connection_pool.connection_kwargs
    yield {user: f"unix://{user}:secret@{kwargs['path']}?db=0" for user in RULES}
    connection.acl_deluser(*RULES)


def test_they_suffice(users: dict[str, str], connection: Redis) -> None:
    with Processes(users["worker"]) as processes:
        worker = processes.start_worker("echo")
        with Client(users["caller"]) as client:
            wait_until(
                lambda: (
                    client.ask("echo", "?").answer == "?"
                    and connection.pubsub_channels("resident:hand:*")
                )
            )
        of_caller = {**os.environ, "RESIDENT_REDIS_URL": users["caller"]}
        for command in ([sys.executable, "-c", ASK], ["php", "php_client/bin/ask", "echo", "?"]):
            subprocess.run(command, cwd=ROOT, env=of_caller, timeout=30, check=True)
        for looked in (("--status",), ("echo", "--check-ready")):
            look = processes.start(sys.executable, "worker.py", *looked)
            assert look.wait(20) == 0
        worker.terminate()
        assert worker.wait(20) == 0
    assert connection.acl_log() == []
