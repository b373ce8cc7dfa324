"""Jobs that RQ's own perform_job runs in our workers: whatever dies, they get one reply, too."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from resident import keys, special
from resident.pulse import Pulse
from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker
from tests.support.inline import answer_what_waits, work_off
from tests.support.junk import SPECIAL
from tests.support.live import Live, call_data, start_worker
from tests.support.lua import ECHO, a_desk
from tests.support.odd import FOLDER, WITH_ODD_TASKS
from tests.support.processes import Processes, is_there, workers_of
from tests.support.project import copy_project
from tests.support.rq_side import for_a_reply
from tests.support.waiting import wait_until

#: Of RQ's own path only because it has another callback, not to be tried again by RQ.
OWN_CALLBACK = {"stopped_callback_name": "tasks.gate.stopped"}


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


@pytest.fixture
def held(connection: Redis, gate: Path) -> Callable[[dict[str, str]], str]:
    """Puts a job of `gate` on the queue, waits until the model has it, and returns its id."""
    live = Live(connection, "gate")

    def put(more: dict[str, str]) -> str:
        (job_id,) = live.put(live.fields(str(gate)) | more)
        wait_until(lambda: connection.hget(f"{keys.JOB}{job_id}", "status") == b"started")
        return job_id

    return put


@pytest.mark.parametrize("more", [SPECIAL, OWN_CALLBACK], ids=["retries", "a callback"])
def test_the_job_of_a_killed_worker_is_answered_by_the_next(
    more: dict[str, str],
    processes: Processes,
    connection: Redis,
    gate: Path,
    held: Callable[[dict[str, str]], str],
) -> None:
    supervisor = processes.start(*WITH_ODD_TASKS, "worker.py", "gate")
    job_id = held(more)
    (worker,) = workers_of(supervisor)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_there(worker))  # or what is written goes down with it
    gate.write_text("by the next", encoding="utf-8")
    live = Live(connection, "gate")
    assert live.answer(job_id) == "by the next"
    wait_until(lambda: live.is_finished(job_id))
    wait_until(lambda: not live.left_behind())


def test_a_malformed_job_takes_no_reply_out_of_its_mailbox(connection: Redis) -> None:
    live, mailbox = Live(connection), keys.mailbox("a" * 32)
    connection.rpush(mailbox, "the reply to another question")
    live.put(live.fields("x") | {"reply_to": mailbox, "retries_left": "x"})
    answer_what_waits(connection, "echo")
    first, *others = connection.lrange(mailbox, 0, -1)
    assert first == b"the reply to another question"
    assert len(others) == 1
    assert connection.pttl(mailbox) > 0


def test_a_verdict_is_not_tried_again(connection: Redis) -> None:
    live = Live(connection)
    (job_id,) = live.put(live.fields("x") | {"retries_left": "2", "deaths": "crashed"})
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    work_off(worker)
    assert live.error_code(job_id) == "crashed"
    assert Job.fetch(job_id, connection, serializer=JSONSerializer).is_failed
    assert not connection.hexists(f"{keys.JOB}{job_id}", "deaths")
    worker.refresh()
    assert worker.failed_job_count == 1


def test_deaths_are_forgotten_when_a_job_is_answered(connection: Redis) -> None:
    live = Live(connection)
    (job_id,) = live.put(live.fields("x") | SPECIAL | {"deaths": "2"})
    answer_what_waits(connection, "echo")
    assert live.answer(job_id) == "x"
    assert not connection.hexists(f"{keys.JOB}{job_id}", "deaths")


def test_a_job_that_was_answered_counts_for_its_worker(connection: Redis) -> None:
    live = Live(connection)
    (job_id,) = live.put(live.fields("there") | SPECIAL)
    assert work_off(ResidentWorker(load_task("echo"), connection, Settings()))
    assert live.answer(job_id) == "there"


def test_a_job_that_ends_its_worker_is_given_up_with_its_error(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "project")
    text = (Path(FOLDER) / "deadly.py").read_text("utf-8")
    (project / "tasks" / "deadly.py").write_text(text, "utf-8")
    start_worker(processes, connection, tmp_path / "log", "deadly", folder=project)
    live = Live(connection, "deadly")
    culprit, mate = live.put(live.fields("kill") | OWN_CALLBACK, live.fields("mate"))
    assert live.answer(mate) == "mate"
    assert live.error_code(culprit) == "crashed"
    wait_until(lambda: Job.fetch(culprit, connection, serializer=JSONSerializer).is_failed)
    assert not connection.hexists(f"{keys.JOB}{culprit}", "deaths")
    live.check_that_it_serves()


def test_a_job_that_was_deleted_while_it_ran_is_answered_and_leaves_nothing(
    processes: Processes,
    connection: Redis,
    gate: Path,
    held: Callable[[dict[str, str]], str],
) -> None:
    processes.start(*WITH_ODD_TASKS, "worker.py", "gate")
    job_id = held(SPECIAL)
    connection.delete(f"{keys.JOB}{job_id}")
    gate.write_text("all the same", encoding="utf-8")
    live = Live(connection, "gate")
    assert live.answer(job_id) == "all the same"
    wait_until(lambda: not connection.exists(f"{keys.JOB}{job_id}", keys.results(job_id)))
    wait_until(lambda: not live.left_behind())


def test_who_depends_on_a_job_is_run_although_its_worker_died_over_it(
    processes: Processes, connection: Redis
) -> None:
    queue = Queue("echo", connection=connection, serializer=JSONSerializer)
    with a_desk(connection) as desk:
        desk.announce()
        desk.ask("parent")
        claim = desk.claim()
        parent = Job.fetch("parent", connection, serializer=JSONSerializer)
        child = queue.enqueue("tasks.echo.answer", "child", depends_on=parent)
        desk.settle(claim)  # and then it dies
    assert connection.smembers(ECHO.parents) == {b"parent"}
    assert connection.ttl(ECHO.parents) > 0
    processes.start_worker("echo")
    wait_until(lambda: child.get_status() == "finished")
    wait_until(lambda: not connection.exists(ECHO.parents))


@pytest.mark.parametrize("more", [{}, OWN_CALLBACK], ids=["in a batch", "on RQ's own path"])
def test_a_job_that_is_requeued_has_the_reply_of_its_last_run(
    more: dict[str, str], processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    processes.start(*WITH_ODD_TASKS, "worker.py", "odd")
    live = Live(connection, "odd")
    question = {"do": "fail once", "mark": str(tmp_path / "mark")}
    (job_id,) = live.put(live.fields(question) | more)
    wait_until(lambda: connection.zscore(live.of.failed, job_id))
    Job.fetch(job_id, connection, serializer=JSONSerializer).requeue()
    wait_until(lambda: live.is_finished(job_id))
    assert live.answer(job_id) == question


@pytest.mark.parametrize("junk", ["a string", "no text"])
def test_what_anybody_wrote_where_parents_are_noted_makes_room(
    junk: str, processes: Processes, connection: Redis
) -> None:
    if junk == "a string":
        connection.set(ECHO.parents, "junk")
    else:
        connection.sadd(ECHO.parents, b"\xff", b"a" * 10_000)
    worker = processes.start_worker("echo")
    wait_until(lambda: not connection.exists(ECHO.parents))
    Live(connection).answers_one()
    assert worker.poll() is None


def test_a_job_that_is_to_run_again_stays_with_the_worker_that_claims_it_next(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(connection)
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    begin = worker.execute_job
    with a_desk(connection) as other:

        def run_and_claim_again(job: Job, queue: Queue) -> None:
            begin(job, queue)
            other.claim()

        monkeypatch.setattr(worker, "execute_job", run_and_claim_again)
        (job_id,) = live.put(live.fields("again") | {"repeats_left": "2"})
        special.perform(worker, other.claim().special, 1_000)
    assert connection.lrange(live.of.intermediate, 0, -1) == [job_id.encode()]
    monkeypatch.undo()
    special.perform(worker, job_id, 1_000)
    answer_what_waits(connection, "echo")
    assert live.answer(job_id) == "again"
    assert live.is_finished(job_id)
    assert not live.left_behind()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("min-replicas-to-write", 1, "NOREPLICAS"), ("maxmemory", 1, "not allowed when used memory")],
)
def test_a_redis_that_refuses_as_a_job_begins_makes_no_job_malformed(
    connection: Redis, monkeypatch: pytest.MonkeyPatch, setting: str, value: int, said: str
) -> None:
    live = Live(connection)
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    begin = worker.execute_job

    def begin_refused(job: Job, queue: Queue) -> None:
        connection.config_set(setting, value)
        try:
            begin(job, queue)
        finally:
            connection.config_set(setting, 0)

    monkeypatch.setattr(worker, "execute_job", begin_refused)
    (job_id,) = live.put(live.fields("sound") | SPECIAL)
    with a_desk(connection) as other:
        other.claim()
    with pytest.raises(ResponseError, match=said):
        special.perform(worker, job_id, 1_000)
    monkeypatch.undo()
    special.perform(worker, job_id, 1_000)
    assert live.answer(job_id) == "sound"


def test_a_job_that_names_another_queue_is_taken_off_the_list_of_its_own(
    processes: Processes, connection: Redis
) -> None:
    processes.start_worker("echo")
    live = Live(connection)
    (job_id,) = live.put(live.fields("strayed") | SPECIAL | {"origin": "elsewhere"})
    assert live.answer(job_id) == "strayed"
    live.check_that_it_serves()
    assert live.is_finished(job_id)
    (worker,) = Worker.all(connection=connection)
    assert not connection.hexists(worker.key, "special")


def test_dependents_of_any_size_wait_for_a_question(connection: Redis) -> None:
    """On another queue: what those do is nothing to this worker."""
    parent = a_parent(connection)
    reports = Queue("reports", connection=connection, serializer=JSONSerializer)
    long = reports.enqueue("app.save", "x" * 300_000, depends_on=parent)
    short = reports.enqueue("app.save", "x", depends_on=parent)
    put_on_queue(parent)
    answer_what_waits(connection, "echo")
    assert Live(connection).answer(parent.id) == "parent"
    assert parent.get_status() == "finished"
    assert set(reports.job_ids) == {long.id, short.id}
    assert Job.fetch(long.id, connection, JSONSerializer).args == ["x" * 300_000]


def test_a_dependent_that_rq_cannot_read_keeps_the_others_not_waiting(connection: Redis) -> None:
    parent = a_parent(connection)
    reports = Queue("reports", connection=connection, serializer=JSONSerializer)
    good = reports.enqueue("app.save", "x", depends_on=parent)
    bad = reports.enqueue("app.save", "x", depends_on=parent)
    connection.hset(bad.key, "result_ttl", "x")
    put_on_queue(parent)
    answer_what_waits(connection, "echo")
    assert Live(connection).answer(parent.id) == "parent"
    assert parent.get_status() == "finished"
    assert reports.job_ids == [good.id]


def test_who_has_the_answer_gets_no_error_when_it_cannot_be_filed(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(connection)
    worker = ResidentWorker(load_task("echo"), connection, Settings())

    def fail(*_: Any, **_options: Any) -> None:
        msg = "the books are closed"
        raise ValueError(msg)

    monkeypatch.setattr(worker, "handle_job_success", fail)
    (job_id,) = live.put(live.fields("said") | OWN_CALLBACK)
    work_off(worker)
    assert live.answer(job_id) == "said"  # and there is no second reply
    assert Job.fetch(job_id, connection, serializer=JSONSerializer).is_failed


def test_callbacks_and_webhooks_have_the_time_that_rq_gives_them(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, pulse = Live(connection), Pulse()
    worker = ResidentWorker(load_task("echo"), connection, Settings(), pulse=pulse)
    file, left_s = worker.handle_job_success, []

    def note(**options: Any) -> None:
        left_s.append(pulse.overdue_at - time.monotonic())
        file(**options)

    monkeypatch.setattr(worker, "handle_job_success", note)
    hook = Webhook("http://127.0.0.1:1", "failed", timeout=500).to_dict()
    slow = {"success_callback_timeout": "1000", "webhooks": json.dumps([hook, hook])}
    (job_id,) = live.put(live.fields("slow") | slow)
    work_off(worker)
    assert live.answer(job_id) == "slow"
    assert 2000 < left_s[0] < 2200
    assert pulse.overdue_at == 0


def test_a_job_that_rq_trips_over_when_it_has_run_leaves_no_record_of_its_run(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(connection)
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    forget = worker.cleanup_execution

    def trip(*args: Any, **options: Any) -> None:
        forget(*args, **options)
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "cleanup_execution", trip)
    (job_id,) = live.put(live.fields("said") | SPECIAL)
    work_off(worker)
    assert live.answer(job_id) == "said"
    assert not live.left_behind()


def test_retries_may_have_an_empty_list_of_intervals(connection: Redis) -> None:
    live = Live(connection)
    no_question = {"data": call_data("tasks.echo.answer", None, [], {}), "retry_intervals": "[]"}
    (job_id,) = live.put(live.fields() | SPECIAL | no_question)
    answer_what_waits(connection, "echo")
    assert live.error_code(job_id) == "invalid_question"
    assert Job.fetch(job_id, connection, serializer=JSONSerializer).is_failed


def test_a_dependent_that_was_left_ready_is_run_within_seconds(
    processes: Processes, connection: Redis
) -> None:
    """RQ gives one up for now when another worker puts one on the queue in the same moment."""
    processes.start_worker("echo")
    live = Live(connection)
    live.answers_one()  # so its first clean-up is over
    connection.hset(f"{keys.JOB}left", mapping=live.fields("left") | {"status": "ready_to_enqueue"})
    connection.zadd(f"{keys.PREFIX}:ready:echo", {"left": 1})
    assert live.answer("left") == "left"
    live.check_that_it_serves()


def a_parent(connection: Redis) -> Job:
    """A question with replies that is not on its queue yet."""
    parent = Job.create(
        "tasks.echo.answer",
        args=["parent"],
        connection=connection,
        serializer=JSONSerializer,
        origin="echo",
        **for_a_reply(),
    )
    parent.save()
    return parent


def put_on_queue(job: Job) -> None:
    Queue(job.origin, connection=job.connection, serializer=JSONSerializer).enqueue_job(job)
