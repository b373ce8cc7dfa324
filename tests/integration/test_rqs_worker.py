"""What of RQ's own worker ours relies on, and goes on without where it fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import keys
from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker
from tests.support.live import Live
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes, workers_of
from tests.support.waiting import wait_until


def test_ready_dependents_that_are_no_list_keep_no_other_clean_up_from_its_turn(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, cleaned = ResidentWorker(load_task("echo"), connection, Settings()), list[bool]()
    monkeypatch.setattr(worker, "run_maintenance_tasks", lambda: cleaned.append(True))
    connection.set(f"{keys.PREFIX}:ready:echo", "no list")
    worker._tend()
    assert cleaned


def test_commands_are_listened_to_again_although_redis_fails_a_try(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    faults: list[Exception] = [RuntimeError("no room"), RedisConnectionError("away")]

    def subscribe(_worker: SimpleWorker) -> None:
        if faults:
            raise faults.pop(0)

    monkeypatch.setattr(SimpleWorker, "subscribe", subscribe)
    worker.subscribe()
    with pytest.raises(RedisConnectionError):
        worker.listen_again()
    assert worker._is_deaf
    worker.listen_again()
    assert not worker._is_deaf


def test_a_question_that_rq_runs_again_is_put_back_when_its_worker_is_killed(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    """Its hash has the execution of its first run, which was the worker's own."""
    gate = tmp_path / "gate"
    supervisor = processes.start(*WITH_ODD_TASKS, "worker.py", "gate")
    live = Live(connection, "gate")
    (job_id,) = live.put(live.fields(str(gate)))
    assert live.error_code(job_id) == "model_error"  # there is no such file
    job = Job.fetch(job_id, connection, serializer=JSONSerializer)
    others = Queue("other", connection, serializer=JSONSerializer)
    others.enqueue("tasks.echo.answer", depends_on=job)  # so it goes RQ's own path
    os.mkfifo(gate)
    job.requeue()
    with gate.open("w", encoding="utf-8"):  # the model has it
        (pid,) = workers_of(supervisor)
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: workers_of(supervisor) not in ([], [pid]))
    gate.unlink()
    wait_until(lambda: connection.exists(keys.reply(job_id)))
