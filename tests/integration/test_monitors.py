"""What RQ's monitors show of a batch while the model has it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
from redis import Redis
from rq import Queue, Worker
from rq.job import Job, JobStatus
from rq.registry import FinishedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from resident import keys
from tests.support import desks
from tests.support.dashboards import dashboard, data
from tests.support.desks import Asking
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes
from tests.support.rq_side import rq
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Batch:
    """Three questions that the model has, until it is let go."""

    ids: set[str]
    worker: Worker
    let_go: Callable[[], None]


@pytest.fixture
def batch(processes: Processes, connection: Redis, tmp_path: Path) -> Iterator[Batch]:
    """A real worker process in the middle of a batch."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    asked = [Asking(str(gate)) for _ in range(3)]
    for asking in asked:
        desks.ask_by_hand(connection, "gate", asking)
    processes.start(*WITH_ODD_TASKS, "worker.py", "gate")
    wait_until(lambda: started_jobs(connection).get_job_count() == 3)
    [worker] = Worker.all(connection=connection)
    wait_until(lambda: worker.current_execution_count == 3)  # a second later; see renew.lua
    yield Batch({asking.job_id for asking in asked}, worker, lambda: let_go(gate))
    with suppress(OSError):
        let_go(gate)


def test_the_started_registry_has_each_job_and_its_execution(
    batch: Batch, connection: Redis
) -> None:
    registry = started_jobs(connection)
    assert set(registry.get_job_ids()) == batch.ids
    pairs = registry.get_job_and_execution_ids()
    assert {job_id for job_id, _ in pairs} == batch.ids
    assert len({execution_id for _, execution_id in pairs}) == 3


def test_each_job_says_that_it_is_started_and_by_whom(batch: Batch, connection: Redis) -> None:
    for job_id in batch.ids:
        job = Job.fetch(job_id, connection, JSONSerializer)
        assert job.get_status() is JobStatus.STARTED
        assert job.worker_name == batch.worker.name
        assert job.started_at is not None
        [execution] = job.get_executions()
        assert (execution.job_id, execution.worker_name) == (job_id, batch.worker.name)


def test_the_worker_has_the_whole_batch_as_its_current_executions(batch: Batch) -> None:
    assert batch.worker.get_state() == "busy"
    assert batch.worker.current_execution_count == 3
    executions = batch.worker.get_current_executions(refresh=True)
    assert {execution.job_id for execution in executions} == batch.ids
    assert batch.worker.get_current_job_id() in batch.ids


def test_the_worker_knows_its_current_job_if_it_is_asked_in_the_jobs_own_serializer(
    batch: Batch, connection: Redis
) -> None:
    [worker] = Worker.all(connection=connection, serializer=JSONSerializer)
    job = worker.get_current_job()
    assert job is not None
    assert job.id in batch.ids


def test_after_the_batch_all_of_it_is_finished_and_the_worker_idle(
    batch: Batch, connection: Redis
) -> None:
    batch.let_go()
    finished = FinishedJobRegistry("gate", connection)
    wait_until(lambda: finished.get_job_count() == 3)
    assert started_jobs(connection).get_job_count() == 0
    wait_until(lambda: state_of(batch.worker) == "idle")
    assert batch.worker.current_execution_count == 0
    assert not connection.keys(f"{keys.PREFIX}:execution*")


def test_rq_info_shows_the_worker_as_busy_and_the_queue_as_empty(
    batch: Batch, redis_url: str
) -> None:
    shown = rq(redis_url, "info", "--raw")
    assert "queue gate 0, 3 executing, 0 finished, 0 failed" in shown
    assert re.search(rf"worker {batch.worker.name} \(.+\) busy gate", shown)


def test_rq_info_shows_a_worker_without_questions_as_idle(
    processes: Processes, connection: Redis, redis_url: str
) -> None:
    processes.start_worker("echo")
    [worker] = Worker.all(connection=connection)
    assert re.search(rf"worker {worker.name} \(.+\) idle echo", rq(redis_url, "info", "--raw"))


def test_every_page_of_rq_dashboard_shows_the_batch(
    batch: Batch, processes: Processes, redis_url: str
) -> None:
    one = min(batch.ids)
    with dashboard(processes, redis_url) as pages:
        for path in (
            "/",
            "/0/view/queues",
            "/0/view/workers",
            "/0/view/jobs/gate/started/8/asc/1",
            f"/0/view/job/{one}",
        ):
            assert pages.get(path).status_code == 200, path

        [queue] = data(pages, "queues.json")["queues"]
        assert (queue["name"], queue["count"]) == ("gate", 0)
        assert queue["started_job_registry_count"] == 3

        jobs = data(pages, "jobs/gate/started/8/asc/1.json")["jobs"]
        assert {job["id"] for job in jobs} == batch.ids

        job = data(pages, f"job/{one}.json")
        assert (job["status"], job["origin"], job["result"]) == ("started", "gate", None)


@pytest.mark.xfail(
    reason="rq-dashboard 0.9.0 reads the current job of any worker, RQ's too, with pickle",
    raises=httpx.HTTPStatusError,
)
def test_rq_dashboard_shows_the_worker_as_busy(
    batch: Batch, processes: Processes, redis_url: str
) -> None:
    with dashboard(processes, redis_url) as pages:
        [worker] = data(pages, "workers.json")["workers"]
    assert (worker["name"], worker["state"]) == (batch.worker.name, "busy")


def test_rq_dashboard_shows_the_answer_and_the_idle_worker_after_the_batch(
    batch: Batch, processes: Processes, connection: Redis, redis_url: str
) -> None:
    batch.let_go()
    wait_until(lambda: FinishedJobRegistry("gate", connection).get_job_count() == 3)
    with dashboard(processes, redis_url) as pages:
        job = data(pages, f"job/{min(batch.ids)}.json")
        wait_until(lambda: connection.hget(batch.worker.key, "successful_job_count") == b"3")
        [worker] = data(pages, "workers.json")["workers"]
    assert (job["status"], job["result"]) == ("finished", "开门")
    assert (worker["name"], worker["state"]) == (batch.worker.name, "idle")
    assert (worker["queues"], worker["successful_job_count"]) == (["gate"], 3)


def test_a_waiting_question_can_be_read_before_any_worker_is_there(connection: Redis) -> None:
    asking = Asking("今天几点开门？", description="小明的问题")
    desks.ask_by_hand(connection, "gate", asking)
    [job] = Queue("gate", connection=connection, serializer=JSONSerializer).jobs
    assert (job.id, job.args, job.description) == (asking.job_id, [asking.question], "小明的问题")


def started_jobs(connection: Redis) -> StartedJobRegistry:
    return StartedJobRegistry("gate", connection)


def state_of(worker: Worker) -> str:
    worker.refresh()
    return str(worker.get_state())


def let_go(gate: Path) -> None:
    """Writes the answer; an error, not a wait, if no worker is at the gate."""
    descriptor = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    os.write(descriptor, "开门".encode())
    os.close(descriptor)
