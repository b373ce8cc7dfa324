"""release.lua: jobs that a worker will not answer go back to the front of their queue."""

from __future__ import annotations

from typing import Any

import pytest
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import holders, keys
from resident.errors import ErrorCode
from tests.support.lua import BUDGET_MS, ECHO, TEN_YEARS_MS, Desk


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
    desk.connection.pexpire(f"{keys.JOB}a", TEN_YEARS_MS + BUDGET_MS - 3000)
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


# of a worker that died


def die(desk: Desk, jobs: list[holders.Execution], most: int = 3, lease: str = "") -> int:
    death = holders.Death(ErrorCode.CRASHED, most, lease)
    return holders.release(desk.link, "echo", desk.name, jobs, death)


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


def test_a_job_whose_hash_is_gone_has_expired(desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    desk.connection.delete(f"{keys.JOB}a")
    assert desk.scripts.release([("a", job.execution)]) == 0
    assert desk.counts() == {"expired": 1}


def test_a_job_for_rq_that_was_not_begun_goes_back(desk: Desk) -> None:
    desk.ask("a", stopped_callback_name="tasks.echo.stopped")
    desk.ask("b")
    assert desk.claim().special == "a"
    assert die(desk, []) == 1
    assert desk.waiting() == ["a", "b"]
    assert desk.job("a")["deaths"] == "1"
    assert not desk.connection.exists(ECHO.intermediate)
    assert not desk.connection.hexists(f"{keys.WORKER}{desk.name}", "special")
    assert desk.scripts.release([]) == 0


def test_what_rq_runs_now_does_not_go_back_with_a_dead_worker_of_before(
    desk: Desk, other: Desk
) -> None:
    desk.ask("a")
    (before,) = desk.claim().jobs
    desk.end_lease()
    job = f"{keys.JOB}a"
    desk.connection.hset(job, mapping={"status": "queued", "retries_left": "1"})
    desk.connection.lpush(ECHO.queue, "a")
    assert other.claim().special == "a"
    desk.connection.hset(job, "status", "started")  # as RQ does then
    assert desk.scripts.release([("a", before.execution)]) == 0
    assert desk.waiting() == []


def test_a_job_for_rq_that_is_back_already_does_not_go_back_twice(desk: Desk) -> None:
    desk.ask("a", stopped_callback_name="tasks.echo.stopped")
    assert desk.claim().special == "a"
    desk.connection.lmove(ECHO.intermediate, ECHO.queue)  # to be run again
    assert die(desk, []) == 0
    assert desk.waiting() == ["a"]


@pytest.mark.parametrize("end", ["begun", "expired", "junk"])
def test_a_job_for_rq_that_is_none_any_more_does_not_go_back(end: str, desk: Desk) -> None:
    desk.ask("a", stopped_callback_name="tasks.echo.stopped")
    assert desk.claim().special == "a"
    job = f"{keys.JOB}a"
    if end == "begun":
        desk.connection.delete(ECHO.intermediate)  # as RQ does in the same step
        desk.connection.hset(job, "status", "started")
    else:
        desk.connection.delete(job)
    if end == "junk":
        desk.connection.set(job, "junk")
    assert desk.scripts.release([]) == 0
    assert desk.waiting() == []
    assert not desk.connection.exists(ECHO.intermediate)
