"""The system has no room for another process or thread, for a while."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident import keys
from tests.support import no_room
from tests.support.processes import Processes, descendants, workers_of
from tests.support.waiting import wait_until

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """While this file is there, no process and no thread can be started."""
    return tmp_path / "full"


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], str]:
    return lambda: (tmp_path / "log").read_text("utf-8")


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as client:
        yield client


@pytest.fixture
def start(processes: Processes, full: Path, tmp_path: Path) -> Start:
    def start_two() -> subprocess.Popen[str]:
        shell = 'output=$1; shift; exec "$0" -m tests.support.no_room "$@" >"$output" 2>&1'
        arguments = (str(full), "worker.py", "echo", "--workers", "2")
        command = ("sh", "-c", shell, sys.executable, str(tmp_path / "log"), *arguments)
        return processes.start(*command)

    return start_two


def test_a_dead_worker_is_replaced_as_soon_as_there_is_room(
    start: Start, full: Path, log: Callable[[], str], client: Client, connection: Redis
) -> None:
    process = start()
    wait_until(lambda: connection.zcard(keys.of_task("echo").ready) == 2)
    killed, other = workers_of(process)
    full.touch()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: "no worker could be started" in log())
    assert client.ask("echo", "by the other", 20_000).answer == "by the other"
    assert workers_of(process) == [other]
    full.unlink()
    wait_until(lambda: len(workers_of(process)) == 2)
    assert other in workers_of(process)


def test_a_worker_that_finds_no_room_for_its_threads_serves_without_them(
    start: Start, full: Path, log: Callable[[], str], client: Client, connection: Redis
) -> None:
    process = start()
    wait_until(lambda: connection.zcard(keys.of_task("echo").ready) == 2)
    killed, other = workers_of(process)
    full.write_text(no_room.THREADS)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(workers_of(process)) == 2 and "no commands of RQ's for now" in log())
    os.kill(other, signal.SIGKILL)
    wait_until(lambda: log().count("no commands of RQ's for now") == 2)
    wait_until(lambda: log().count("no watchdog for now") == 2)
    before = workers_of(process)
    assert client.ask("echo", "without threads", 20_000).answer == "without threads"
    full.unlink()
    wait_until(lambda: len(connection.pubsub_channels("rq:pubsub:*")) == 2)
    assert workers_of(process) == before
    assert log().count("worker died") == 2


def test_a_reload_that_finds_no_room_leaves_what_serves(
    start: Start, full: Path, log: Callable[[], str], client: Client, connection: Redis
) -> None:
    process = start()
    wait_until(lambda: connection.zcard(keys.of_task("echo").ready) == 2)
    before = workers_of(process)
    full.touch()
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload failed; the generation before it goes on" in log())
    assert client.ask("echo", "still there", 20_000).answer == "still there"
    assert workers_of(process) == before
    full.unlink()
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: not {*before} & {*descendants(process)})
    assert client.ask("echo", "anew", 20_000).answer == "anew"


def test_without_room_for_the_first_it_ends_and_says_so(
    start: Start, full: Path, log: Callable[[], str]
) -> None:
    full.touch()
    assert start().wait(20) == 1
    assert "no supervisor could be started" in log()
    assert "Traceback" not in log()
