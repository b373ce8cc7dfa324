"""A worker.py that starts before its Redis does."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from enqueue_api.client import Client
from resident.embedded_redis import EmbeddedRedis
from tests.support.processes import Processes
from tests.support.waiting import wait_until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """One that has an address, and is away."""
    with EmbeddedRedis(tmp_path, tcp=True) as running:
        running.stop()
        yield running


def start(url: str, processes: Processes) -> subprocess.Popen[str]:
    """Starts a worker that has said by now that Redis is away."""
    command = (sys.executable, "worker.py", "echo")
    process = processes.start(*command, RESIDENT_REDIS_URL=url, RESIDENT_LOG_FORMAT="json")
    assert read_line(process)["event"] == "redis away"
    return process


def read_line(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stderr is not None
    line: dict[str, object] = json.loads(process.stderr.readline())
    return line


def test_it_waits_says_so_once_at_each_edge_and_serves(
    server: EmbeddedRedis, processes: Processes
) -> None:
    process = start(server.url, processes)
    server.start()
    back = read_line(process)
    assert back["event"] == "redis back"
    assert isinstance(back["away_s"], float)
    assert [read_line(process)["event"] for _ in range(2)] == ["model loaded", "worker ready"]
    with Client(server.url) as client:
        wait_until(lambda: client.tasks() == ["echo"])
        assert client.ask("echo", "at last").answer == "at last"
    process.terminate()
    assert process.wait(20) == 0


@contextmanager
def says(answer: bytes) -> Iterator[str]:
    """A server that answers whatever it is told with the same; gives its URL."""

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                with client:
                    while request := client.recv(4096):
                        client.sendall(answer * max(1, request.count(b"*")))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("why", ["nobody listens", "loading", "no answer"])
def test_a_stop_while_it_waits_ends_it_at_once(
    why: str, signum: signal.Signals, processes: Processes
) -> None:
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    with says(loading if why == "loading" else b"") as url:
        gone = "redis://127.0.0.1:1/0"
        process = start(gone if why == "nobody listens" else url, processes)
        process.send_signal(signum)
        assert process.wait(2) == (0 if signum == signal.SIGTERM else 130)
        assert process.communicate() == ("", "")


def test_a_wish_to_reload_while_it_waits_is_passed_over(
    server: EmbeddedRedis, processes: Processes
) -> None:
    process = start(server.url, processes)
    process.send_signal(signal.SIGHUP)
    server.start()
    assert read_line(process)["event"] == "redis back"


def test_a_redis_that_refuses_the_password_when_it_comes_ends_it(
    server: EmbeddedRedis, processes: Processes
) -> None:
    login, _, place = server.url.rpartition("@")
    process = start(f"{login[:-1]}@{place}", processes)
    server.start()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    (said,) = errors.splitlines()
    assert "refuses the password or the user in RESIDENT_REDIS_URL" in said
