"""`python -m enqueue_api`, as a person types it, and the server it starts."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote, unquote
from urllib.request import urlopen

import pytest
from redis import Redis

from tests.support.lua import ECHO, Desk, a_desk
from tests.support.processes import ROOT, Processes
from tests.support.waiting import wait_until


@pytest.fixture
def desk(connection: Redis) -> Iterator[Desk]:
    with a_desk(connection) as made:
        yield made


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "enqueue_api", *arguments],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        env={**os.environ, **environment},
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
        check=False,
    )


def test_a_question_is_printed_with_its_answer(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")
    assert run("ask", "echo", "你好").stdout == "你好\n"
    assert run("tasks").stdout == "echo\n"


def test_lines_of_questions_become_lines_of_json(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")
    lines = run("ask", "--json", "echo", "-", stdin="\ufeff一\n\n \t\ntwo\n").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    assert [(one["question"], one["answer"], one["batch"]) for one in records] == [
        ("一", "一", 1),
        ("two", "two", 1),
    ]


@pytest.mark.parametrize("way", ["surrogateescape", "strict"])
def test_a_line_that_is_not_utf_8_is_refused_alone(
    way: str, processes: Processes, redis_url: str
) -> None:
    processes.start_worker("echo")
    lines = {"stdin": "one\n\udcff\ntwo\n", "PYTHONIOENCODING": f"utf-8:{way}"}
    done = run("ask", "--json", "echo", "-", **lines)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("answer") for one in records] == ["one", None, "two"]
    assert (records[1]["error"]["code"], done.returncode) == ("invalid_question", 1)
    assert run("ask", "echo", "-", **lines).stdout == "one\ntwo\n"


def test_an_error_is_one_line_and_exit_code_1(redis_url: str) -> None:
    done = run("ask", "echo", "hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("no_worker: No worker is ready for the task 'echo'")


def test_a_question_waits_where_its_priority_and_tenant_say(redis_url: str, desk: Desk) -> None:
    desk.announce()
    desk.ask("somebody-else")
    run("ask", "--budget", "100", "--priority", "high", "--tenant", "acme", "echo", "?")
    assert desk.connection.llen(f"{ECHO.queue}:high:acme") == 1


def test_a_priority_that_is_none_is_wrong_usage(redis_url: str) -> None:
    done = run("ask", "--priority", "urgent", "echo", "?")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid value for '--priority'" in done.stderr
    assert "'high', 'normal', 'low'" in done.stderr


@pytest.mark.parametrize("budget", ["-5", "0", "86400001", "soon"])
def test_a_budget_that_is_none_is_wrong_usage(budget: str, redis_url: str) -> None:
    done = run("ask", "--budget", budget, "echo", "?")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid value for '--budget'" in done.stderr


def test_a_wrong_setting_is_one_line_and_exit_code_2(redis_url: str, monkeypatch) -> None:
    monkeypatch.setenv("RESIDENT_BUDGET_MS", "0")
    done = run("ask", "echo", "hello")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "RESIDENT_BUDGET_MS='0'" in done.stderr


@pytest.mark.parametrize("arguments", [["ask", "echo", "?"], ["tasks"], ["serve"]])
def test_a_key_prefix_that_rq_does_not_take_is_one_line_and_exit_code_2(
    arguments: list[str], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RQ_KEY_PREFIX", "a b")
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("enqueue_api: Invalid RQ_KEY_PREFIX 'a b': only letters")


def test_to_php_too_a_redis_url_that_is_empty_is_not_set() -> None:
    # Bytes that are no question are refused before Redis is asked; a wrong URL would be code 2.
    done = subprocess.run(
        [b"php", b"php_client/bin/ask", b"echo", b"\xff"],
        cwd=ROOT,
        env={**os.environ, "RESIDENT_REDIS_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ask: invalid_question: ")


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run("serve", "--port", port)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    place = f"127.0.0.1:{port}"
    assert done.stderr.startswith(f"enqueue_api: The HTTP API cannot listen on {place}: Address al")


def test_a_host_that_is_not_there_is_one_line_and_exit_code_2(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDENT_HTTP_HOST", "no such host")
    done = run("serve")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "no such host:8000: Name or service not known; RESIDENT_HTTP_HOST" in done.stderr


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -15)])
def test_the_server_ends_when_it_is_asked_to(
    signum: signal.Signals, code: int, processes: Processes
) -> None:
    server = processes.start(sys.executable, "-m", "enqueue_api", "serve", "--port", "0")
    assert server.stderr is not None
    while "Application startup complete" not in (line := server.stderr.readline()):
        assert line, "the server ended"
    server.send_signal(signum)
    assert server.wait(20) == code
    assert "Traceback" not in server.stderr.read()


def test_the_server_answers_the_old_url_and_logs_no_question(processes: Processes) -> None:
    processes.start_worker("echo")
    server = processes.start(
        sys.executable, "-m", "enqueue_api", "serve", "--port", "0", RESIDENT_HTTP_TASK="echo"
    )
    assert server.stderr is not None
    log: list[str] = []
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", "".join(log))):
        log.append(server.stderr.readline())
        assert log[-1], "the server ended"
    question = "订单 12345 在哪里？"
    with urlopen(f"{found[0]}/deal?question={quote(question)}", timeout=20) as reply:
        assert unquote(reply.read().decode()) == question
    server.terminate()
    wait_until(lambda: server.poll() is not None)
    log.append(server.stderr.read())
    assert "12345" not in "".join(log)
    assert server.returncode in (0, -15)
