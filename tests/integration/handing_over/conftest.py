"""A supervisor whose only worker offers itself, and who asks it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from redis import Redis

from enqueue_api.client import Client
from tests.support.handing import QUICK, offers_after_one_more
from tests.support.live import Live
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes
from tests.support.waiting import wait_until


@pytest.fixture
def caller(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


@pytest.fixture
def live(connection: Redis) -> Live:
    return Live(connection, "quick")


@pytest.fixture
def supervisor(processes: Processes, connection: Redis, caller: Client) -> subprocess.Popen[str]:
    """One whose only worker has shown that it is quick, and offers itself."""
    process = processes.start(*WITH_ODD_TASKS, "worker.py", "quick")
    wait_until(lambda: connection.exists(QUICK.ready))
    wait_until(lambda: offers_after_one_more(connection, caller))
    return process
