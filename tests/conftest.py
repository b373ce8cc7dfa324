"""Fixtures that every suite uses: a Redis of our own, empty for each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import redis
import structlog

from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.processes import Processes

# A shell that starts the tests in the background has them ignore Ctrl-C, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _Lines:
    """Where workers of the tests' own process log: structlog's own would wait for itself for ever.

    It locks, and a worker's signal handler logs, too.
    """

    def msg(self, line: str) -> None:
        print(line, flush=True)  # noqa: T201

    debug = info = warning = error = critical = msg


structlog.configure(logger_factory=lambda *_: _Lines())


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One private server for each test process."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """The server's URL, its databases empty, and named by RESIDENT_REDIS_URL."""
    with connect(redis_server.url) as connection:
        connection.flushall()
    before = dict(os.environ)
    os.environ["RESIDENT_REDIS_URL"] = redis_server.url
    yield redis_server.url
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    """A redis-py client of that server."""
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def processes(redis_url: str) -> Iterator[Processes]:
    """Starts real worker processes, and ends those that a test leaves behind."""
    with Processes(redis_url) as started:
        yield started
