"""The users of docker-compose.yml's Redis, which docs/operations.md names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from tests.support.dashboards import dashboard, data
from tests.support.processes import ROOT, Processes
from tests.support.waiting import wait_until

[SCRIPT] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["redis"][
    "command"
]
#: Whose password stands where in that script's environment.
PASSWORDS = {
    "default": "REDISCLI_AUTH",
    "worker": "WORKER_PASSWORD",
    "asker": "ASKER_PASSWORD",
    "dashboard": "DASHBOARD_PASSWORD",
}
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
    print(client.submit("echo", "shown"))

async def ask():
    async with AsyncClient(os.environ["RESIDENT_REDIS_URL"]) as client:
        assert (await client.ask("echo", "?")).answer == "?"

asyncio.run(ask())
"""


@pytest.fixture(params=["rq", "shop"])
def prefix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RQ_KEY_PREFIX", request.param)
    return str(request.param)


@pytest.fixture
def urls(prefix: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Those of the users of a Redis that the compose file's script started."""
    socket = tmp_path / "redis.sock"
    with running(SCRIPT, tmp_path, {name: f"of-{name}" for name in PASSWORDS.values()}) as redis:
        urls = {user: f"unix://{user}:of-{name}@{socket}" for user, name in PASSWORDS.items()}
        wait_until(lambda: redis.poll() is not None or answers(urls["default"]))
        assert redis.poll() is None
        yield urls
        redis.terminate()


def running(script: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """The script, on a socket of its own and with its data in the folder."""
    here = f"dir {folder}\nport 0\nunixsocket {folder}/redis.sock"
    return subprocess.Popen(
        ["sh", "-c", script.replace("$$", "$").replace("dir /data", here)],
        env={**os.environ, "MAXMEMORY": "100mb", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(url: str) -> bool:
    with Redis.from_url(url) as connection:
        try:
            return bool(connection.ping())
        except RedisConnectionError:
            return False


def test_each_may_what_it_must(urls: dict[str, str], prefix: str) -> None:
    with Processes(urls["asker"]) as callers, Processes(urls["worker"]) as processes:
        worker = processes.start(sys.executable, "worker.py", "echo", RESIDENT_LOG_LEVEL="error")
        with Redis.from_url(urls["default"]) as connection:
            hands = f"{'' if prefix == 'rq' else 'shop:'}resident:hand:*"
            wait_until(
                lambda: (
                    callers.start("php", "php_client/bin/ask", "echo", "?").wait(20) == 0
                    and connection.pubsub_channels(hands)
                )
            )
            shown, errors = callers.start(sys.executable, "-c", ASK).communicate(timeout=30)
            assert not errors
            for looked in (("--status",), ("echo", "--check-ready")):
                look = processes.start(sys.executable, "worker.py", *looked)
                assert look.wait(20) == 0
            with dashboard(processes, urls["dashboard"]) as pages:
                [queue] = data(pages, "queues.json")["queues"]
                assert queue["name"] == "echo"
                assert data(pages, "workers.json")["workers"]
                assert data(pages, "jobs/echo/finished/8/asc/1.json")["jobs"]
                wait_until(lambda: data(pages, f"job/{shown.strip()}.json")["result"] == "shown")
                connection.delete(f"{prefix}:job:{shown.strip()}")  # it expires
                connection.rpush(f"{prefix}:queue:stopped", "expired")
                connection.sadd(f"{prefix}:queues", f"{prefix}:queue:stopped")
                for listed in ("echo/finished", "stopped/queued"):
                    jobs = data(pages, f"jobs/{listed}/8/asc/1.json")["jobs"]
                    assert shown.strip() not in {job["id"] for job in jobs}
            worker.terminate()
            assert worker.wait(20) == 0
            refused = {entry["object"] for entry in connection.acl_log()}
            assert refused <= {"client"}  # Redis 6.2: rq-dashboard's CLIENT SETINFO


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("asker", "CONFIG GET requirepass"),
        ("asker", "KEYS *"),
        ("asker", "FLUSHALL"),
        ("asker", "SET elsewhere 1"),
        ("worker", "CONFIG SET maxmemory 1"),
        ("worker", "ACL LIST"),
        ("worker", "SHUTDOWN"),
        ("worker", "SUBSCRIBE elsewhere"),
        ("dashboard", "DEL {}:queue:echo"),
        ("dashboard", "HSET {}:job:1 data 1"),
        ("dashboard", "EVAL return 0"),
        ("dashboard", "GET resident:reply:1"),
        ("dashboard", "PUBLISH {}:pubsub:1 1"),
    ],
)
def test_none_may_what_it_need_not(
    user: str, command: str, urls: dict[str, str], prefix: str
) -> None:
    with Redis.from_url(urls[user]) as connection, pytest.raises(NoPermissionError):
        connection.execute_command(*command.format(prefix).split())


@pytest.mark.parametrize("name", PASSWORDS.values())
def test_a_password_that_is_more_than_a_word_is_refused(name: str, tmp_path: Path) -> None:
    """It would be cut off, or be another rule."""
    passwords = dict.fromkeys(PASSWORDS.values(), "secret") | {name: "secret +@all"}
    with running(SCRIPT, tmp_path, passwords) as redis:
        _, errors = redis.communicate(timeout=10)
    assert (redis.returncode, "only letters" in errors) == (2, True)


def test_they_are_those_of_the_documents() -> None:
    documented = re.findall(
        r"^ACL SETUSER (\w+) on >PASSWORD (.*)$",
        (ROOT / "docs" / "operations.md").read_text("utf-8"),
        re.MULTILINE,
    )
    written = SCRIPT.replace("$$rq", "rq").replace("$$ours", "resident")
    composed = re.findall(r"^user (\w+) on >\$\$\w+ (.*)$", written, re.MULTILINE)
    assert composed == documented
    assert {user for user, _ in composed} == PASSWORDS.keys() - {"default"}
