"""`enqueue_api serve` as a process: how it ends, and what it logs."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.processes import Processes

HALF = b"POST /deal HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nquestion=a"
#: With other limits of time than the usual ones.
IMPATIENT = """
import enqueue_api.app, enqueue_api.form
{0}
from enqueue_api.__main__ import main
main(["serve", "--port", "0"])
"""
BODIES = "enqueue_api.form.BODY_S = 0.1"
ENDING = "enqueue_api.form.BODY_S = 600; enqueue_api.app.longest_s = lambda settings: 1"


class Serving:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.place = urlsplit(self.line("serving over HTTP")["urls"][0])

    def line(self, event: str) -> dict[str, Any]:
        """The first line of the log, from here on, that tells of it."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line: dict[str, Any] = json.loads(text)
            if line["event"] == event:
                return line
        raise AssertionError(event)

    @contextmanager
    def caller(self) -> Iterator[socket.socket]:
        with socket.create_connection((self.place.hostname, self.place.port), 20) as one:
            yield one


def serve(processes: Processes, change: str = "", **environment: str) -> Serving:
    program = (sys.executable, "-c", IMPATIENT.format(change))
    return Serving(processes.start(*program, RESIDENT_HTTP_TASK="echo", **environment))


@pytest.mark.parametrize(
    ("change", "status"), [(BODIES, b"400"), (ENDING, b"499")], ids=["body", "ending"]
)
def test_a_body_that_does_not_come_keeps_nobody_from_stopping_it(
    processes: Processes, change: str, status: bytes
) -> None:
    api = serve(processes, change)
    with api.caller() as half:
        half.sendall(HALF)
        with api.caller() as whole:  # which tells that the half one was read, too
            whole.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert whole.recv(1)
        api.process.send_signal(signal.SIGTERM)
        assert half.recv(12) == b"HTTP/1.1 " + status
    _, errors = api.process.communicate(timeout=20)
    assert api.process.returncode == -signal.SIGTERM
    assert "Traceback" not in errors


def test_a_redis_that_is_away_is_told_of_at_the_start(processes: Processes) -> None:
    api = serve(processes, RESIDENT_REDIS_URL="redis://127.0.0.1:1/0")
    trouble = api.line("redis trouble")
    assert trouble["level"] == "warning"
    assert "cannot be reached" in trouble["error"]


def test_it_may_open_as_many_files_as_the_system_lets_it(processes: Processes) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        api = serve(processes)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE) == (limits[1], limits[1])


def test_when_its_files_are_used_up_callers_are_turned_away_and_the_others_answered(
    processes: Processes,
) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    api = serve(processes, limited)
    with contextlib.ExitStack() as silent, api.caller() as early:
        for _ in range(64):
            silent.enter_context(api.caller())
        line = api.line("callers are turned away: too many connections")
        assert (line["level"], line["most_files"]) == ("warning", 64)
        with api.caller() as late:
            assert late.recv(1) == b""
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert early.recv(8) == b"HTTP/1.1"
    with api.caller() as later:
        later.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert later.recv(8) == b"HTTP/1.1"
    api.process.terminate()
    _, errors = api.process.communicate(timeout=20)
    assert "out of system resource" not in errors
    assert "turned away" not in errors  # once is enough


def test_fewer_files_than_callers_are_told_of(processes: Processes) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))"
    api = serve(processes, limited, RESIDENT_HTTP_CONCURRENCY="200")
    line = api.line("too few open files are allowed for RESIDENT_HTTP_CONCURRENCY")
    assert (line["level"], line["missing"]) == ("warning", 44)
