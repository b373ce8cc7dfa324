"""The life of a worker.py: ready, reloaded, recycled, looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident import keys
from resident.stopping import ECHO_S
from tests.support.callers import asking_all_the_time
from tests.support.live import start_worker
from tests.support.processes import ROOT, Processes, children_of, descendants, is_there, workers_of
from tests.support.project import VersionedProject
from tests.support.waiting import wait_until

#: A machine that has other things to do may let a caller wait.
BUDGET_MS = 20_000


@pytest.fixture
def project(tmp_path: Path) -> VersionedProject:
    return VersionedProject(tmp_path)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as made:
        yield made


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(
    project: VersionedProject, processes: Processes, connection: Redis, tmp_path: Path
) -> Start:
    """Starts worker.py with the project's task; its log is in `log`."""

    def start_it(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        return start_worker(
            processes,
            connection,
            tmp_path / "log",
            *arguments,
            folder=project.folder,
            **environment,
        )

    return start_it


def version(client: Client) -> int:
    return int(client.ask("mine", "?", BUDGET_MS).answer[0])


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "worker.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


# reload


def test_a_reload_brings_the_new_code_and_refuses_and_loses_no_question(
    start: Start, project: VersionedProject, client: Client, redis_url: str
) -> None:
    supervisor = start("mine=2")
    wait_until(lambda: len(workers_of(supervisor)) == 2)
    old = descendants(supervisor)
    with asking_all_the_time(redis_url, version) as came:
        wait_until(lambda: 1 in came)
        project.write(2)
        supervisor.send_signal(signal.SIGHUP)
        wait_until(lambda: 2 in came)
        wait_until(lambda: not any(map(is_there, old)))
        # Asked from now on; a caller beside us may still hold an answer of a worker that is gone.
        assert {version(client) for _ in range(20)} == {2}
    assert [one for one in came if not isinstance(one, int)] == []
    assert set(came) == {1, 2}
    assert len(workers_of(supervisor)) == 2


@pytest.mark.parametrize("load", ["1 / 0", "import no_such_module", "os._exit(3)"])
def test_a_reload_that_fails_leaves_what_serves_and_says_why(
    load: str, start: Start, project: VersionedProject, client: Client, tmp_path: Path
) -> None:
    supervisor = start("mine")
    project.write(2, load=load)
    supervisor.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload failed" in (tmp_path / "log").read_text("utf-8"))
    assert version(client) == 1
    project.write(3)
    supervisor.send_signal(signal.SIGHUP)
    wait_until(lambda: version(client) == 3)


@pytest.mark.parametrize(
    ("text", "fault"),
    [("def broken(:", "SyntaxError: "), ("import no_such_module", "ModuleNotFoundError: ")],
)
def test_a_reload_of_a_file_that_is_wrong_leaves_what_serves_and_names_the_file(
    text: str, fault: str, start: Start, project: VersionedProject, client: Client, tmp_path: Path
) -> None:
    supervisor = start("mine")
    (project.folder / "tasks" / "mine.py").write_text(text, "utf-8")
    supervisor.send_signal(signal.SIGHUP)
    log = tmp_path / "log"
    wait_until(lambda: "reload failed" in log.read_text("utf-8"))
    assert f"tasks/mine.py cannot be imported: {fault}" in log.read_text("utf-8")
    assert version(client) == 1


@pytest.mark.parametrize("code", [0, 3])
def test_a_load_that_ends_the_process_is_fatal_and_told(
    code: int, processes: Processes, project: VersionedProject
) -> None:
    project.write(1, load=f"os._exit({code})")
    process = processes.start(sys.executable, "worker.py", "mine", folder=project.folder)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "supervisor ended by itself" in errors


def test_a_replacement_whose_load_never_ends_is_killed_and_the_other_task_goes_on(
    start: Start, project: VersionedProject, client: Client, tmp_path: Path
) -> None:
    hang = tmp_path / "hang"
    load = f"os.path.exists({str(hang)!r}) and __import__('ctypes').PyDLL(None).pause()"
    project.write(1, load=load)
    file = project.folder / "tasks" / "mine.py"
    file.write_text(file.read_text("utf-8").replace("load=load,", "load=load, preload=False,"))
    log, ready = tmp_path / "log", tmp_path / "ready"
    start("mine", "echo", RESIDENT_LOAD_TIMEOUT_S="3", RESIDENT_READY_FILE=str(ready))
    wait_until(ready.exists)
    (_, worker) = client.ask("mine", "?").answer
    hang.touch()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: '"reason": "still loading"' in log.read_text("utf-8"))
    assert client.ask("echo", "here").answer == "here"
    hang.unlink()
    wait_until(lambda: "mine" in client.tasks())
    assert version(client) == 1


def test_a_reload_that_never_ends_is_given_up(
    start: Start, project: VersionedProject, client: Client, tmp_path: Path
) -> None:
    supervisor = start("mine", RESIDENT_LOAD_TIMEOUT_S="2")
    project.write(2, load="__import__('ctypes').PyDLL(None).pause()")
    supervisor.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload failed" in (tmp_path / "log").read_text("utf-8"))
    assert version(client) == 1
    assert len(children_of(supervisor.pid)) == 1


def test_a_load_that_never_ends_is_fatal(processes: Processes, project: VersionedProject) -> None:
    project.write(1, load="__import__('ctypes').PyDLL(None).pause()")
    process = processes.start(
        *(sys.executable, "worker.py", "mine"), folder=project.folder, RESIDENT_LOAD_TIMEOUT_S="1"
    )
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "still loading, given up" in errors


@pytest.fixture
def loading(
    processes: Processes, project: VersionedProject, tmp_path: Path
) -> subprocess.Popen[str]:
    """A worker.py whose first model is loading."""
    begun = tmp_path / "begun"
    project.write(1, load=f"open({str(begun)!r}, 'w'); __import__('time').sleep(30)")
    process = processes.start(sys.executable, "worker.py", "mine", folder=project.folder)
    wait_until(begun.exists)
    return process


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stop_while_the_first_model_loads_is_no_failure(
    signum: signal.Signals, code: int, loading: subprocess.Popen[str]
) -> None:
    loading.send_signal(signum)
    assert (loading.communicate(timeout=20)[1], loading.returncode) == ("", code)


def test_what_somebody_else_ends_is_a_failure(loading: subprocess.Popen[str]) -> None:
    os.kill(children_of(loading.pid)[0], signal.SIGTERM)
    assert "supervisor died" in loading.communicate(timeout=20)[1]
    assert loading.returncode == 143


def test_a_stop_while_it_reloads_ends_both_generations(
    start: Start, project: VersionedProject
) -> None:
    supervisor = start("mine")
    project.write(2, load="__import__('time').sleep(30)")
    supervisor.send_signal(signal.SIGHUP)
    wait_until(lambda: len(children_of(supervisor.pid)) == 2)
    below = descendants(supervisor)
    supervisor.terminate()
    supervisor.wait(20)
    assert not any(map(is_there, below))


def test_a_stop_after_a_reload_lets_the_generation_that_leaves_finish(
    start: Start, project: VersionedProject, client: Client, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    os.mkfifo(gate)
    project.hold(gate)
    supervisor = start("mine")
    (old,) = workers_of(supervisor)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, "mine", "?", BUDGET_MS)
        with gate.open("w"):  # until then the model holds the question
            project.write(2)
            supervisor.send_signal(signal.SIGHUP)
            wait_until(lambda: "draining" in log.read_text("utf-8"))
            since = time.monotonic()
            wait_until(lambda: time.monotonic() > since + ECHO_S)  # sooner it would be one wish
            assert len(children_of(supervisor.pid)) == 2
            supervisor.terminate()
            wait_until(lambda: len(children_of(supervisor.pid)) == 1)
        assert asked.result().answer == [1, old]
    assert supervisor.wait(20) == 0


# recycling


def test_a_worker_that_ended_many_jobs_is_replaced_without_a_break(
    start: Start, redis_url: str, tmp_path: Path
) -> None:
    supervisor = start("mine", RESIDENT_RECYCLE_JOBS="50")
    (first,) = workers_of(supervisor)
    with asking_all_the_time(redis_url, version) as came:
        wait_until(lambda: not is_there(first))
        wait_until(lambda: len(workers_of(supervisor)) == 1)
    assert {*came} == {1}
    assert "worker recycled" in (tmp_path / "log").read_text("utf-8")


def test_a_worker_that_grew_is_replaced(
    start: Start, project: VersionedProject, client: Client
) -> None:
    text = (project.folder / "tasks" / "mine.py").read_text("utf-8")
    grown = text.replace("    return [[", "    kept.append('x' * 150_000_000)\n    return [[")
    (project.folder / "tasks" / "mine.py").write_text(f"kept = []\n{grown}", "utf-8")
    supervisor = start("mine", RESIDENT_RECYCLE_RSS_MB="180")
    (first,) = workers_of(supervisor)
    assert client.ask("mine", "?").answer == [1, first]
    wait_until(lambda: not is_there(first))
    assert client.ask("mine", "?").answer[1] != first


def test_a_limit_below_the_models_own_size_is_refused(
    processes: Processes, project: VersionedProject
) -> None:
    process = processes.start(
        *(sys.executable, "worker.py", "mine"), folder=project.folder, RESIDENT_RECYCLE_RSS_MB="10"
    )
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "RESIDENT_RECYCLE_RSS_MB=10 is below what the models take by themselves" in errors


# looked at


def test_status_shows_each_worker_and_the_last_death(start: Start, connection: Redis) -> None:
    supervisor = start("mine=2")
    killed, _ = workers_of(supervisor)
    os.kill(killed, signal.SIGKILL)

    def seen() -> dict[str, object] | None:
        found = json.loads(run("--status", "--json").stdout)
        return found[0] if found and found[0]["deaths"] else None

    status = wait_until(seen)
    assert {one["pid"] for one in status["workers"]} == {*workers_of(supervisor)}
    assert {one["task"] for one in status["workers"]} == {"mine"}
    assert all(one["rss_mb"] > 10 for one in status["workers"])
    assert status["last_death"].startswith("mine by SIGKILL at ")
    table = run("--status").stdout
    assert table.splitlines()[0].split()[:4] == ["TASK", "PID", "STATE", "RSS"]
    assert "1 deaths, the last one mine by SIGKILL" in table
    supervisor.terminate()
    supervisor.wait(20)
    assert run("--status").stdout == "No worker.py has been heard of.\n"
    assert not connection.exists(keys.SUPERVISORS)


@pytest.mark.parametrize("junk", ["string", "hash", "words"])
def test_status_reads_past_what_anybody_may_have_written(junk: str, connection: Redis) -> None:
    key = f"{keys.SUPERVISORS}:junk"
    connection.sadd(keys.SUPERVISORS, key, "rq:queues", b"\xff")
    if junk == "hash":
        connection.hset(key, "a", "b")
    else:
        connection.set(key, "{" if junk == "string" else '{"host": 1}')
    shown = run("--status")
    assert (shown.returncode, shown.stdout) == (0, "No worker.py has been heard of.\n")


def test_the_ready_file_of_a_killed_worker_is_taken_away_before_the_next_one_loads(
    processes: Processes, project: VersionedProject, tmp_path: Path
) -> None:
    file = tmp_path / "ready"
    file.write_text("1", "utf-8")
    load = (
        f"raise SystemExit('ready' if __import__('os').path.exists({str(file)!r}) else 'not yet')"
    )
    project.write(1, load=load)
    process = processes.start(
        *(sys.executable, "worker.py", "mine"), folder=project.folder, RESIDENT_READY_FILE=str(file)
    )
    _, errors = process.communicate(timeout=20)
    assert "SystemExit: not yet" in errors


def test_a_worker_that_drains_is_not_ready(
    start: Start, project: VersionedProject, client: Client, tmp_path: Path
) -> None:
    file, gate = tmp_path / "ready", tmp_path / "gate"
    os.mkfifo(gate)
    project.hold(gate)
    supervisor = start("mine", RESIDENT_READY_FILE=str(file))
    wait_until(file.exists)
    asking = threading.Thread(target=client.ask, args=("mine", "?", 20_000))
    asking.start()
    with gate.open("w"):  # until then the model holds the question
        supervisor.terminate()
        wait_until(lambda: not file.exists())
        assert supervisor.poll() is None
    asking.join()
    assert supervisor.wait(20) == 0


def test_a_dead_supervisor_is_not_ready(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "ready"
    process = start("mine", RESIDENT_READY_FILE=str(file))
    wait_until(file.exists)
    (supervisor,) = children_of(process.pid)
    os.kill(supervisor, signal.SIGKILL)
    assert process.wait(20) == 137
    assert not file.exists()


def test_ready_is_told_by_a_file_and_by_a_command(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "ready"
    refused = run("mine", "--check-ready")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "mine: no worker on this host is ready\n"
    supervisor = start("mine", RESIDENT_READY_FILE=str(file))
    wait_until(file.exists)
    assert run("mine", "--check-ready").returncode == 0
    supervisor.terminate()
    supervisor.wait(20)
    assert not file.exists()
    assert run("mine", "--check-ready").returncode == 1
