"""worker.py as an operator starts, mistypes and stops it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident import keys
from tests.support.live import Live
from tests.support.processes import ROOT, Processes, workers_of
from tests.support.project import copy_project
from tests.support.waiting import wait_until

GOOD = """
from resident import task

def load():
    {load}

@task(load=load, warm_up=[1], max_batch=8, timeout_s=20{more})
def answer(model, questions):
    {answer}
    return questions
"""


def run(
    processes: Processes, *arguments: str, folder: Path = ROOT, **environment: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of worker.py."""
    process = processes.start(sys.executable, "worker.py", *arguments, folder=folder, **environment)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


def fault(processes: Processes, *arguments: str, folder: Path = ROOT, **environment: str) -> str:
    """The one line that a wrong start ends with."""
    code, output, errors = run(processes, *arguments, folder=folder, **environment)
    said = [line for line in errors.splitlines() if "model loaded" not in line]
    assert (code, output, len(said)) == (2, "", 1), errors
    assert said[0].startswith("worker.py: ")
    return said[0].removeprefix("worker.py: ")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a worker needs, to which a test adds task files."""
    return copy_project(tmp_path)


def write_task(project: Path, load: str = "pass", answer: str = "pass", more: str = "") -> None:
    text = GOOD.format(load=load, answer=answer, more=more)
    (project / "tasks" / "mine.py").write_text(text, "utf-8")


# what is mistyped


@pytest.mark.parametrize("name", ["ecko", "os", "tasks.echo", "_knowledge", ""])
def test_a_wrong_task_name_is_answered_with_the_names_there_are(
    name: str, processes: Processes
) -> None:
    assert fault(processes, name or "=3") == (
        f"There is no task {name!r}. The tasks are: chat, echo, faq."
        if name
        else "'=3' is not TASK or TASK=WORKERS with 1 to 256 workers"
    )


def test_no_task_name_is_answered_with_the_names_there_are(processes: Processes) -> None:
    assert fault(processes) == "Which tasks? There are: chat, echo, faq. For example: worker.py faq"


@pytest.mark.parametrize("text", ["echo=0", "echo=257", "echo=x", "echo=", "echo=1=2", "echo=-1"])
def test_a_wrong_number_of_workers_is_told(text: str, processes: Processes) -> None:
    said = fault(processes, text)
    assert said == f"{text!r} is not TASK or TASK=WORKERS with 1 to 256 workers"


def test_a_task_that_is_named_twice_is_told(processes: Processes) -> None:
    assert fault(processes, "echo", "echo=2") == "The task 'echo' is named twice"


def test_all_wrong_settings_are_told_at_once(processes: Processes) -> None:
    said = fault(
        processes,
        "echo",
        RESIDENT_WORKERS="0",
        RESIDENT_LEASE_S="4000",
        RESIDENT_LOG_LEVEL="loud",
        RESIDENT_REDIS_URL="ftp://:s3cret@host",
    )
    assert said.count("RESIDENT_") == 4
    assert "RESIDENT_WORKERS='0': input should be greater than or equal to 1 (from 1" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "257"),
        ("BUDGET_MS", "0"),
        ("RESULT_TTL", "-2"),
        ("FAILURE_TTL", "x"),
        ("REPLY_TTL_S", "0"),
        ("DRAIN_TIMEOUT_S", "0"),
        ("MAX_QUESTION_BYTES", "1"),
        ("MAX_BACKLOG", "0"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(name: str, value: str, processes: Processes) -> None:
    said = fault(processes, "echo", **{f"RESIDENT_{name}": value})
    assert said.startswith(f"RESIDENT_{name}={value!r}: ")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/no/such/folder/ready", "its folder does not exist"), (".", "it is a folder")],
)
def test_a_ready_file_that_cannot_be_written_is_told(
    path: str, reason: str, processes: Processes
) -> None:
    said = fault(processes, "echo", RESIDENT_READY_FILE=path)
    assert said == f"RESIDENT_READY_FILE={path!r} cannot be written: {reason}"


@pytest.mark.parametrize("prefix", ["a b", "", "rq%s", "店"])
def test_a_key_prefix_that_rq_does_not_take_is_told(prefix: str, processes: Processes) -> None:
    said = fault(processes, "echo", RQ_KEY_PREFIX=prefix)
    allowed = "only letters, digits, and _ . : - { } are allowed"
    assert said == f"Invalid RQ_KEY_PREFIX {prefix!r}: {allowed}"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("echo --json", "--json goes with --status"),
        ("--status nope", "--status tells of all tasks, and takes none"),
    ],
)
def test_idle_options_are_told(arguments: str, reason: str, processes: Processes) -> None:
    code, output, errors = run(processes, *arguments.split())
    assert (code, output) == (2, "")
    assert errors.endswith(f"Error: {reason}\n")


# what is not there


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "arguments", ["echo --check", "echo --burst", "echo --check-ready", "--status"]
)
def test_who_only_looks_is_told_at_once_that_redis_is_not_there(
    arguments: str, processes: Processes
) -> None:
    port = free_port()
    url = f"redis://me:s3cret@127.0.0.1:{port}/0"
    said = fault(processes, *arguments.split(), RESIDENT_REDIS_URL=url)
    assert said.startswith(f"Redis at redis://127.0.0.1:{port}/0 cannot be used: ")
    assert "s3cret" not in said


def test_a_wrong_password_is_told_without_it(processes: Processes, redis_url: str) -> None:
    scheme, _, place = redis_url.partition("://")
    url = f"{scheme}://:s3cret@{place.partition('@')[2]}"
    said = fault(processes, "echo", RESIDENT_REDIS_URL=url)
    assert "refuses the password or the user in RESIDENT_REDIS_URL" in said
    assert "s3cret" not in said


def test_a_missing_password_is_told(processes: Processes, redis_url: str) -> None:
    scheme, _, place = redis_url.partition("://")
    said = fault(processes, "echo", RESIDENT_REDIS_URL=f"{scheme}://{place.partition('@')[2]}")
    assert "refuses the password or the user in RESIDENT_REDIS_URL" in said


def test_a_url_that_cannot_be_read_is_told_without_the_password(processes: Processes) -> None:
    said = fault(processes, "echo", RESIDENT_REDIS_URL="redis://:s3c/ret@127.0.0.1:6379/0")
    assert said.startswith("RESIDENT_REDIS_URL (address not shown) cannot be read: ")


@contextlib.contextmanager
def server_that_says(info: bytes) -> Iterator[int]:
    """A server that answers INFO with this and everything else with OK; yields its port."""

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    while request := client.recv(4096):
                        for command in request.split(b"*")[1:]:
                            reply = b"$%d\r\n%s\r\n" % (len(info), info)
                            client.sendall(reply if b"INFO\r" in command else b"+OK\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("version", ["6.0.16", "5.0", "2.8.24"])
def test_a_redis_that_is_too_old_is_told_with_its_version(
    version: str, processes: Processes
) -> None:
    with server_that_says(b"redis_version:%s\r\n" % version.encode()) as port:
        said = fault(processes, "echo", RESIDENT_REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert said == (
        f"Redis at redis://127.0.0.1:{port}/0 is version {version}; Resident needs 6.2 or newer"
    )


@pytest.mark.parametrize("info", [b"", b"redis_version:unstable\r\n", b"who:knows\r\n"])
def test_a_server_that_is_no_redis_is_told(info: bytes, processes: Processes) -> None:
    with server_that_says(info) as port:
        said = fault(processes, "echo", RESIDENT_REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert said.startswith(f"Redis at redis://127.0.0.1:{port}/0 ")


# a task file that is wrong


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:", "tasks/mine.py cannot be imported: SyntaxError: "),
        ("import no_such_library", "tasks/mine.py cannot be imported: ModuleNotFoundError: "),
        ("raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines"),
        ("raise SystemExit('no GPU')", "tasks/mine.py cannot be imported: SystemExit: no GPU"),
        ("raise BaseException('panic')", "cannot be imported: BaseException: panic"),
        ("x = 1", "tasks/mine.py has no function `answer` under @task"),
    ],
)
def test_a_task_file_that_cannot_be_imported_is_told(
    text: str, reason: str, processes: Processes, project: Path
) -> None:
    (project / "tasks" / "mine.py").write_text(text, "utf-8")
    assert reason in fault(processes, "mine", folder=project)


@pytest.mark.parametrize(
    "load",
    [
        "1 / 0",
        "raise OSError('no such\\nfile')",
        "raise SystemExit('no GPU')",
        "raise BaseException('panic')",
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_a_model_that_does_not_load_is_told(
    load: str, check: bool, processes: Processes, project: Path
) -> None:
    write_task(project, load=load)
    said = fault(processes, "mine", *["--check"][: int(check)], folder=project)
    assert said.startswith("The task 'mine' does not load: ")


@pytest.mark.parametrize("answer", ["1 / 0", "questions = []"])
def test_a_warm_up_that_fails_is_told(answer: str, processes: Processes, project: Path) -> None:
    write_task(project, answer=answer)
    said = fault(processes, "mine", folder=project)
    assert said.startswith("The task 'mine' loads, but fails in warm_up: ")


def test_after_a_fault_no_worker_is_left_in_redis(
    processes: Processes, project: Path, connection: Redis
) -> None:
    write_task(project, load="1 / 0")
    fault(processes, "echo", "mine", folder=project)
    assert connection.keys() == []


# what works


def test_check_loads_the_models_and_serves_nothing(processes: Processes, connection: Redis) -> None:
    code, output, _ = run(processes, "echo", "faq", "--check")
    assert (code, output) == (0, "echo: loaded and warmed up\nfaq: loaded and warmed up\n")
    assert connection.keys() == []


def test_burst_answers_what_waits_and_ends(processes: Processes, connection: Redis) -> None:
    live = Live(connection)
    ids = live.put(*map(live.fields, range(300)))
    code, _, errors = run(processes, "echo=2", "--burst")
    assert code == 0, errors
    assert [live.answer(job_id) for job_id in ids] == list(range(300))
    assert left_of_workers(connection) == []


def test_burst_with_nothing_to_do_ends_at_once(processes: Processes) -> None:
    assert run(processes, "echo", "--burst")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["echo=2"], {"echo": 2}),
        (["echo", "--workers", "3"], {"echo": 3}),
        (["echo=1", "mine=2"], {"echo": 1, "mine": 2}),
        (["mine", "echo=2", "--workers", "1"], {"mine": 1, "echo": 2}),
    ],
)
def test_so_many_processes_serve_as_were_asked_for(
    arguments: list[str],
    expected: dict[str, int],
    processes: Processes,
    project: Path,
    connection: Redis,
) -> None:
    write_task(project)
    supervisor = processes.start(sys.executable, "worker.py", *arguments, folder=project)
    ready = {task: keys.of_task(task).ready for task in expected}
    wait_until(lambda: {one: connection.zcard(key) for one, key in ready.items()} == expected)
    assert len(workers_of(supervisor)) == sum(expected.values())


def left_of_workers(connection: Redis) -> list[bytes]:
    """What there is of workers in RQ's books and in our own."""
    worker_keys = [*connection.scan_iter(f"{keys.WORKER}*"), *connection.scan_iter("rq:workers*")]
    living = [key for key in worker_keys if b":workers" in key or not connection.ttl(key) > 0]
    return [*living, *connection.scan_iter("resident:ready:*"), *connection.scan_iter(keys.TASKS)]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_stop_answers_what_it_has_begun(
    signum: signal.Signals,
    processes: Processes,
    project: Path,
    connection: Redis,
    redis_url: str,
) -> None:
    gate, begun = project / "gate", project / "begun"
    os.mkfifo(gate)
    slow = f"questions == [1] or (open({str(begun)!r}, 'w').close(), open({str(gate)!r}).read())"
    write_task(project, answer=slow)
    supervisor = processes.start_worker("mine", folder=project)
    with Client(redis_url) as client, ThreadPoolExecutor(2) as callers:
        answered = callers.submit(client.ask, "mine", "begun", 20_000)
        wait_until(begun.exists)
        supervisor.send_signal(signum)
        wait_until(lambda: b"draining" in read_so_far(supervisor))
        gate.write_text("", "utf-8")  # lets the model go on
        assert answered.result(20).answer == "begun"
    assert supervisor.wait(20) == 0
    assert left_of_workers(connection) == []


def read_so_far(process: subprocess.Popen[str]) -> bytes:
    assert process.stderr is not None
    return process.stderr.readline().encode()


def test_a_worker_that_is_idle_stops_when_it_is_asked_to(
    processes: Processes, connection: Redis
) -> None:
    supervisor = processes.start_worker("echo=2")
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert left_of_workers(connection) == []


def test_the_embedded_redis_is_told_how_to_reach_and_ends_with_its_worker(
    processes: Processes, project: Path
) -> None:
    supervisor = processes.start(
        sys.executable, "worker.py", "echo", "--embedded-redis", folder=project
    )
    assert supervisor.stdout is not None
    line = supervisor.stdout.readline()
    assert line.startswith("export RESIDENT_REDIS_URL='unix://")
    with Client(line.split("'")[1]) as client:
        wait_until(lambda: client.tasks() == ["echo"])
        assert client.ask("echo", "hey").answer == "hey"
    supervisor.terminate()
    assert supervisor.wait(20) == 0
