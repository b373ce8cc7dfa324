"""One worker for each file, which must survive every test of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.junk import worker_names
from tests.support.live import Live, start_worker
from tests.support.processes import Processes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("bad-input")) as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: EmbeddedRedis, output: Path) -> Iterator[subprocess.Popen[str]]:
    """One worker that must survive every test of this file."""
    with Processes(server.url) as processes, connect(server.url) as connection:
        yield start_worker(processes, connection, output, "echo")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad-input-output") / "worker"


@pytest.fixture
def live(server: EmbeddedRedis, worker: subprocess.Popen[str]) -> Iterator[Live]:
    with connect(server.url) as connection:
        before = worker_names(connection)
        yield Live(connection)
        Live(connection).check_that_it_serves()
        assert worker.poll() is None
        assert worker_names(connection) == before, "the worker died and was replaced"
