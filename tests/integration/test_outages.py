"""A worker outlives its Redis, and what is done to its own records there."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from rq.suspension import resume, suspend

from enqueue_api.client import Client
from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.junk import SPECIAL
from tests.support.live import Live, start_worker
from tests.support.lua import Full
from tests.support.processes import Processes
from tests.support.project import copy_project
from tests.support.waiting import wait_until

HELD = """
from resident import task

@task(load=lambda: None)
def answer(_model: None, questions: list[str]) -> list[str]:
    if questions == ["first"]:
        open({gate!r}).read()
    return questions
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path) as running:
        yield running


def restart(server: EmbeddedRedis) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("suspended", [False, True], ids=["waiting", "suspended"])
def test_a_worker_outlives_a_restart_of_redis(server: EmbeddedRedis, suspended: bool) -> None:
    with Processes(server.url) as processes, connect(server.url) as connection:
        worker = processes.start_worker("echo")
        if suspended:
            suspend(connection)
            wait_until(lambda: states(connection) == [b"suspended"])
        restart(server)
        wait_until(lambda: answers(connection))
        # What was written in the last second may be lost, the announcement too.
        wait_until(lambda: connection.exists(keys.of_task("echo").announcement))
        resume(connection)
        with Client(server.url) as client:
            assert client.ask("echo", "still there", 20_000).answer == "still there"
        assert worker.poll() is None


def test_a_redis_that_goes_while_the_model_loads_is_waited_for(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "project")
    begun, go_on, log = (tmp_path / name for name in ("begun", "go-on", "log"))
    for gate in (begun, go_on):
        os.mkfifo(gate)
    text = SLOW_TO_LOAD.format(begun=str(begun), go_on=str(go_on))
    (project / "tasks" / "slow.py").write_text(text, "utf-8")
    with Processes(server.url) as processes:
        command = ("sh", "-c", 'exec "$0" worker.py slow 2>"$1"', sys.executable, str(log))
        worker = processes.start(*command, folder=project, RESIDENT_LOAD_TIMEOUT_S="2")
        begun.read_text()  # the model loads
        began = time.monotonic()
        server.kill()
        go_on.write_text("")
        wait_until(lambda: "redis away" in log.read_text("utf-8"))
        wait_until(lambda: time.monotonic() > began + 3)  # it has had more than its time to load
        assert worker.poll() is None
        server.start()
        with Client(server.url) as client:
            wait_until(lambda: client.tasks() == ["slow"])
            assert client.ask("slow", "there").answer == "there"
    assert "given up" not in log.read_text("utf-8")


SLOW_TO_LOAD = """
from pathlib import Path
from resident import task

def load():
    Path({begun!r}).write_text("")
    Path({go_on!r}).read_text()

@task(load=load)
def answer(_model: None, questions: list[str]) -> list[str]:
    return questions
"""


def test_a_job_on_rqs_own_path_waits_for_a_redis_that_is_full(
    processes: Processes, connection: Redis
) -> None:
    processes.start_worker("echo")
    live = Live(connection)
    with Full(connection) as full:
        (job_id,) = live.put(live.fields("later") | {"retries_left": "1"})
        full.fill()
        wait_until(lambda: "errorstat_OOM" in connection.info("errorstats"))
        full.free()
        assert live.answer(job_id) == "later"


def test_a_job_on_rqs_own_path_that_ends_while_redis_is_away_is_run_again(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with Processes(server.url) as processes, connect(server.url) as connection:
        connection.config_set("appendfsync", "always")
        job_id = hold_a_special_job(processes, connection, gate, log)
        server.kill()
        let_go_on(gate)
        wait_until(lambda: '"redis away"' in log.read_text("utf-8"))
        server.start()
        live = Live(connection, "mine")
        assert live.answer(job_id) == "first"
        wait_until(lambda: live.is_finished(job_id))
        live.check_that_it_serves()


def test_a_job_on_rqs_own_path_that_ends_while_redis_is_full_is_run_again(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    job_id = hold_a_special_job(processes, connection, gate, log)
    with Full(connection) as full:
        full.fill()
        let_go_on(gate)
        wait_until(lambda: "put back" in log.read_text("utf-8"))
        full.free()
        live = Live(connection, "mine")
        assert live.answer(job_id) == "first"
        live.check_that_it_serves()


def hold_a_special_job(processes: Processes, connection: Redis, gate: Path, log: Path) -> str:
    """One that the model has until it may go on."""
    os.mkfifo(gate)
    folder = held_project(gate.parent, gate)
    start_worker(processes, connection, log, "mine", folder=folder)
    live = Live(connection, "mine")
    (job_id,) = live.put(live.fields("first") | SPECIAL)
    wait_until(lambda: connection.hget(f"{keys.JOB}{job_id}", "status") == b"started")
    return job_id


def let_go_on(gate: Path) -> None:
    """Now, and each time from now on."""
    held = gate.open("w")
    gate.unlink()
    gate.touch()
    held.close()


def test_what_waits_is_answered_although_redis_became_full(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    os.mkfifo(gate)
    start_worker(processes, connection, log, "mine", folder=held_project(tmp_path, gate))
    live = Live(connection, "mine")
    live.put(live.fields("first"))
    with Full(connection) as full, gate.open("w") as held:  # the model has the first one
        waiting = [live.put(live.fields(word))[0] for word in ("second", "third", "fourth")]
        full.fill()
        held.close()
        assert [live.answer(one) for one in waiting] == ["second", "third", "fourth"]
        wait_until(lambda: all(map(live.is_finished, waiting)))
    assert "put back" not in log.read_text("utf-8")


def held_project(folder: Path, gate: Path) -> Path:
    """With a task that answers one question at a time, and holds the first until the gate opens."""
    project = copy_project(folder / "project")
    (project / "tasks" / "mine.py").write_text(HELD.format(gate=str(gate)), "utf-8")
    return project


def test_an_idle_worker_whose_record_is_gone_or_foreign_registers_again(
    processes: Processes, connection: Redis
) -> None:
    processes.start_worker("echo")
    (key,) = connection.smembers("rq:workers:echo")
    for spoil in (lambda: connection.set(key, "junk"), connection.flushdb):
        spoil()
        wait_until(lambda: connection.type(key) == b"hash" and connection.hexists(key, "birth"))
        wait_until(lambda: connection.exists(keys.of_task("echo").announcement))
        wait_until(lambda: states(connection) == [b"idle"])
        assert connection.smembers("rq:workers:echo") == {key}


def states(connection: Redis) -> list[bytes]:
    return [connection.hget(key, "state") for key in connection.smembers("rq:workers:echo")]


def answers(connection: Redis) -> bool:
    try:
        return bool(connection.ping())
    except RedisError:
        return False
