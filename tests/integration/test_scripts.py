"""Asking, releasing, announcing and the clock: the small Lua operations, on a real Redis."""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import keys, scripts
from resident.asking import AskCode, Asked
from resident.errors import ErrorCode
from resident.lua_script import source_of
from tests.support.lua import BUDGET_MS, ECHO, TEN_YEARS_MS, Desk, Full
from tests.support.processes import Processes
from tests.support.waiting import wait_until

# ask


def test_a_question_that_is_asked_is_an_rq_job_with_its_budget_as_ttl(desk: Desk) -> None:
    assert desk.ask("a") == Asked(AskCode.QUEUED, 0, 0)
    assert desk.waiting() == ["a"]
    assert BUDGET_MS - 1000 < desk.connection.pttl(f"{keys.JOB}a") <= BUDGET_MS
    job = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    assert job.get_status() == "queued"
    assert (job.func_name, list(job.args)) == ("tasks.echo.answer", ["?"])
    assert abs((datetime.now(UTC) - job.enqueued_at).total_seconds()) < 60
    assert job.created_at == job.enqueued_at
    assert Queue.all(desk.connection) == [Queue("echo", desk.connection)]


def test_an_id_that_waits_is_joined_and_waits_for_the_longer_budget(desk: Desk) -> None:
    desk.ask("a", 5_000)
    assert desk.ask("a", 60_000).code is AskCode.JOINED
    assert desk.waiting() == ["a"]
    assert desk.connection.pttl(f"{keys.JOB}a") > 50_000
    desk.ask("a", 1_000)
    assert desk.connection.pttl(f"{keys.JOB}a") > 50_000


def test_an_id_that_runs_is_joined_and_its_deadline_stays(desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    assert desk.ask("a", 60_000).code is AskCode.JOINED
    assert desk.waiting() == []
    assert desk.connection.ttl(f"{keys.JOB}a") <= TEN_YEARS_MS // 1000 + BUDGET_MS // 1000


def test_an_id_that_is_new_is_not_looked_for(desk: Desk) -> None:
    desk.ask("a")
    assert desk.ask("a", is_new=True).code is AskCode.QUEUED
    assert desk.waiting() == ["a", "a"]


def test_an_id_whose_reply_is_there_is_answered(desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim())
    assert desk.ask("a").code is AskCode.ANSWERED
    assert desk.waiting() == []


def test_a_finished_id_whose_reply_is_gone_is_asked_again_from_the_start(desk: Desk) -> None:
    desk.ask("a", meta="old")
    desk.settle(desk.claim())
    desk.connection.delete(keys.reply("a"))
    assert desk.ask("a").code is AskCode.QUEUED
    assert "ended_at" not in desk.job("a")
    assert "meta" not in desk.job("a")
    assert not desk.connection.exists(keys.results("a"))
    assert 0 < desk.connection.pttl(f"{keys.JOB}a") <= BUDGET_MS
    assert [job.id for job in desk.claim().jobs] == ["a"]


def test_without_a_ready_worker_nothing_is_written(desk: Desk) -> None:
    desk.announce(0)
    before = desk.snapshot()
    assert desk.ask("a").code is AskCode.NO_WORKER
    assert desk.snapshot() == before
    assert before.keys() == {keys.QUEUES}


def test_a_worker_whose_announcement_ran_out_is_not_ready(desk: Desk) -> None:
    desk.connection.pexpire(ECHO.announcement, 1)
    wait_until(lambda: not desk.connection.exists(ECHO.announcement))
    assert desk.ask("a").code is AskCode.NO_WORKER


def test_over_the_limit_of_waiting_questions_nothing_is_written(desk: Desk) -> None:
    for number in range(10):
        assert desk.ask(f"a{number}").code is AskCode.QUEUED
    before = desk.snapshot()
    assert desk.ask("b") == Asked(AskCode.OVERLOADED, 10, 10)
    assert desk.snapshot() == before
    assert desk.ask("a3").code is AskCode.JOINED


def test_a_stock_rq_worker_counts_as_a_worker(connection: Redis, other: Desk) -> None:
    stock = SimpleWorker(["echo"], connection=connection, name="stock")
    stock.register_birth()
    assert other.ask("a").code is AskCode.QUEUED
    stock.register_death()
    assert other.ask("b").code is AskCode.NO_WORKER


def test_a_worker_of_ours_that_is_not_ready_does_not_count_as_stock(
    connection: Redis, other: Desk
) -> None:
    SimpleWorker(["echo"], connection=connection, name="resident-echo-1").register_birth()
    assert other.ask("a").code is AskCode.NO_WORKER


def test_a_question_that_redis_has_no_memory_for_is_not_half_written(
    desk: Desk, full: Full
) -> None:
    before = desk.snapshot()
    full.fill()
    with pytest.raises(ResponseError, match="maxmemory"):
        desk.ask("a")
    full.free()
    assert desk.snapshot() == before
    assert desk.ask("a").code is AskCode.QUEUED


# release


def test_released_jobs_are_at_the_front_of_the_queue_in_their_order(desk: Desk) -> None:
    for job_id in "abcd":
        desk.ask(job_id)
    jobs = [(job.id, job.execution) for job in desk.claim(3).jobs]
    assert desk.scripts.release(jobs) == 3
    assert desk.waiting() == ["a", "b", "c", "d"]
    assert desk.job("a")["status"] == "queued"
    left = [key for key in desk.snapshot() if "execution" in key or key == ECHO.started]
    assert left == []
    assert [job.id for job in desk.claim().jobs] == ["a", "b", "c", "d"]


def test_a_released_job_gets_what_is_left_of_its_budget(desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    desk.connection.pexpire(f"{keys.JOB}a", TEN_YEARS_MS + job.left_ms - 3000)
    desk.scripts.release([("a", job.execution)])
    assert 500 < desk.connection.pttl(f"{keys.JOB}a") <= BUDGET_MS - 3000


def test_a_released_job_without_a_budget_has_no_ttl(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.persist(f"{keys.JOB}a")
    (job,) = desk.claim().jobs
    desk.scripts.release([("a", job.execution)])
    assert desk.connection.ttl(f"{keys.JOB}a") == -1
    assert desk.waiting() == ["a"]


def test_a_job_whose_deadline_has_passed_is_dropped_instead(desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    desk.connection.pexpire(f"{keys.JOB}a", TEN_YEARS_MS - 1)
    assert desk.scripts.release([("a", job.execution)]) == 0
    assert desk.waiting() == []
    assert not desk.connection.exists(f"{keys.JOB}a")
    assert desk.counts() == {"expired": 1}


def test_a_job_that_was_cancelled_while_it_ran_does_not_come_back(desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    Job.fetch("a", desk.connection, serializer=JSONSerializer).cancel()
    assert desk.scripts.release([("a", job.execution)]) == 0
    assert desk.waiting() == []
    assert desk.job("a")["status"] == "canceled"


def test_a_job_that_was_asked_again_by_hand_while_it_ran_goes_back_with_its_worker(
    desk: Desk, other: Desk
) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    desk.connection.hset(f"{keys.JOB}a", "status", "queued")
    desk.connection.rpush(ECHO.queue, "a")
    assert other.claim().jobs == ()  # it is running, so the second id is skipped
    assert desk.scripts.release([("a", job.execution)]) == 1
    assert desk.waiting() == ["a"]
    assert [one.id for one in other.claim().jobs] == ["a"]


def test_a_ttl_that_somebody_set_on_a_running_job_stays(desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    desk.connection.expire(f"{keys.JOB}a", 3600)
    assert desk.scripts.release([("a", job.execution)]) == 1
    assert 3500 < desk.connection.ttl(f"{keys.JOB}a") <= 3600


def test_a_job_that_is_not_held_is_not_released(desk: Desk, other: Desk) -> None:
    desk.ask("a")
    lost = desk.claim().jobs[0].execution
    desk.scripts.release([("a", lost)])
    other.claim()
    before = desk.snapshot()
    assert desk.scripts.release([("a", lost), ("b", "x")]) == 0
    assert desk.snapshot() == before


@pytest.mark.parametrize("record", ["started", "executions", "job executions", "execution"])
def test_a_record_of_another_type_does_not_keep_a_job_from_going_back(
    record: str, desk: Desk
) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    key = {
        "started": ECHO.started,
        "executions": keys.worker_executions("resident-echo-1"),
        "job executions": f"{keys.PREFIX}:executions:a",
        "execution": f"{keys.PREFIX}:execution:a:{job.execution}",
    }[record]
    desk.connection.set(key, "junk")
    assert desk.scripts.release([("a", job.execution)]) == 1
    assert desk.waiting() == ["a"]


def test_jobs_go_back_even_when_redis_is_full(desk: Desk, full: Any) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    full.fill()
    assert desk.scripts.release([("a", job.execution)]) == 1
    assert desk.waiting() == ["a"]


# release, of a worker that died


def die(desk: Desk, jobs: list[scripts.Execution], most: int = 3, lease: str = "") -> int:
    death = scripts.Death(ErrorCode.CRASHED, most, lease)
    return scripts.release(desk.link, "echo", desk.name, jobs, death)


def test_the_jobs_of_a_dead_worker_go_back_in_their_order_and_say_so(desk: Desk) -> None:
    for job_id in "abcd":
        desk.ask(job_id)
    desk.claim(3)
    assert die(desk, desk.scripts.executions()) == 3
    assert desk.waiting() == ["a", "b", "c", "d"]
    assert [desk.job(job_id).get("deaths") for job_id in "abcd"] == ["1", "1", "1", None]
    assert not desk.connection.exists(ECHO.started)


def test_with_too_many_deaths_the_field_says_what_a_job_did(desk: Desk) -> None:
    desk.ask("a")
    found = []
    for _ in range(3):
        desk.claim()
        die(desk, desk.scripts.executions())
        found.append(desk.job("a")["deaths"])
    assert found == ["1", "2", "crashed"]


@pytest.mark.parametrize("deaths", ["", "junk", "-1", "nan", "1e9"])
def test_what_is_no_number_of_deaths_counts_as_none(deaths: str, desk: Desk) -> None:
    desk.ask("a", deaths=deaths)
    desk.claim()
    assert die(desk, desk.scripts.executions()) == 1
    assert desk.waiting() == ["a"]
    assert desk.job("a")["deaths"] == "1"


def test_while_a_lease_lasts_nobody_else_takes_its_jobs(desk: Desk, other: Desk) -> None:
    desk.ask("a")
    desk.claim()
    jobs = desk.scripts.executions()
    assert die(other, jobs, lease=desk.token) == 0
    desk.end_lease()
    assert die(other, jobs, lease=desk.token) == 1
    assert desk.connection.zscore(ECHO.leases, desk.token) is None
    assert desk.waiting() == ["a"]


def test_two_that_find_the_same_dead_worker_put_its_jobs_back_once(desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    jobs = desk.scripts.executions()
    assert [die(desk, jobs), die(desk, jobs)] == [1, 0]
    assert desk.job("a")["deaths"] == "1"


# announce


def test_a_task_is_announced_until_its_last_worker_takes_leave(desk: Desk, other: Desk) -> None:
    assert other.announce(question_type="str") == 2
    assert desk.connection.hget(ECHO.announcement, "question_type") == b"str"
    assert desk.connection.zrange(keys.TASKS, 0, -1) == [b"echo"]
    assert desk.announce(0) == 1
    assert desk.connection.exists(ECHO.announcement) == 1
    assert other.announce(0) == 0
    assert desk.connection.keys() == [keys.QUEUES.encode()]


def test_an_announcement_ends_by_itself_with_everything_it_wrote(desk: Desk) -> None:
    desk.announce(30_000)
    for key in (ECHO.ready, ECHO.announcement, keys.TASKS):
        assert 0 < desk.connection.pttl(key) <= 60_000


def test_workers_that_fell_silent_are_no_longer_counted(desk: Desk, other: Desk) -> None:
    desk.connection.zadd(ECHO.ready, {"resident-echo-9": 1})
    desk.connection.zadd(keys.TASKS, {"gone": 1})
    assert other.announce() == 2
    assert desk.connection.zrange(keys.TASKS, 0, -1) == [b"echo"]


# clock

MOMENTS = [
    (1970, 1, 1, 0, 0, 0, 0),
    (1972, 2, 29, 12, 0, 0, 1),
    (1999, 12, 31, 23, 59, 59, 999_999),
    (2000, 2, 28, 23, 59, 59, 0),
    (2000, 2, 29, 0, 0, 0, 0),
    (2000, 3, 1, 0, 0, 0, 0),
    (2024, 2, 29, 23, 59, 59, 5),
    (2026, 11, 23, 8, 9, 10, 1),
    (2038, 1, 19, 3, 14, 8, 0),
    (2099, 12, 31, 23, 59, 59, 999_999),
    (2100, 2, 28, 23, 59, 59, 0),
    (2100, 3, 1, 0, 0, 0, 0),
    (2400, 2, 29, 0, 0, 0, 0),
]


def test_times_are_written_as_rq_writes_them(connection: Redis) -> None:
    chosen = random.Random(20261123)
    moments = [datetime(*parts, tzinfo=UTC) for parts in MOMENTS]
    moments += [
        datetime.fromtimestamp(chosen.randrange(2**33), UTC).replace(
            microsecond=chosen.randrange(1_000_000)
        )
        for _ in range(2000)
    ]
    # A TIME of our own, in place of Redis'.
    fake = "local redis = {call = function() return {ARGV[at], ARGV[at + 1]} end}"
    each = """
      local stamps = {}
      for i = 1, #ARGV, 2 do at = i; stamps[#stamps + 1] = stamp_of(now()) end
      return stamps"""
    script = f"local at\n{fake}\n{source_of('clock')}\n{each}"
    args = [part for one in moments for part in (int(one.timestamp()), one.microsecond)]
    stamps = connection.eval(script, 0, *args)
    assert [stamp.decode() for stamp in stamps] == [
        one.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for one in moments
    ]


def test_seconds_and_microseconds_are_redis_own(connection: Redis) -> None:
    s, us, stamp = connection.eval(
        f"{source_of('clock')} local s, us = now() return {{s, us, stamp_of(s, us)}}", 0
    )
    parsed = datetime.strptime(stamp.decode(), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert (int(parsed.timestamp()), parsed.microsecond) == (s, us)
    seconds, _ = connection.time()
    assert seconds - s in (0, 1)


# RQ_KEY_PREFIX

ASK_UNDER_PREFIX = """
from enqueue_api.client import Client
from resident.settings import read_settings
import json
with Client(read_settings().redis_url.get_secret_value()) as client:
    print(json.dumps([client.ask("echo", "?", job_id="a").answer, client.tasks()]))
"""


def test_a_caller_under_another_prefix_is_told_at_once_that_nobody_is_ready(
    processes: Processes, connection: Redis
) -> None:
    processes.start_worker("echo")
    caller = processes.start(sys.executable, "-c", ASK_UNDER_PREFIX, RQ_KEY_PREFIX="shop")
    _, errors = caller.communicate(timeout=20)
    assert "No worker is ready for the task 'echo'. Tasks served now: none." in errors


def test_every_key_is_under_rqs_prefix_or_our_own(processes: Processes, connection: Redis) -> None:
    processes.start(sys.executable, "worker.py", "echo", RQ_KEY_PREFIX="shop")
    wait_until(lambda: connection.zcard("shop:resident:ready:echo"))
    caller = processes.start(sys.executable, "-c", ASK_UNDER_PREFIX, RQ_KEY_PREFIX="shop")
    output, errors = caller.communicate(timeout=20)
    assert json.loads(output) == ["?", ["echo"]], errors
    found = {key.decode().partition(":")[0] for key in connection.scan_iter()}
    assert found == {"shop", "resident"}
    wait_until(lambda: connection.hget("shop:job:a", "status") == b"finished")
    assert connection.zrange("shop:finished:echo", 0, -1) == [b"a"]
