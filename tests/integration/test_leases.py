"""The supervisor's tick for workers that a model holds, on a real Redis."""

from __future__ import annotations

import pytest
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import holders, keys
from resident.holders import Alive
from tests.support.lua import ECHO, LIMITS, Desk, Full, offer, offered


def tick(desk: Desk, at_it_ms: int = 0, *, is_silent: bool = False) -> list[str]:
    alive = Alive(desk.token, desk.name, at_it_ms, is_silent)
    ticked = holders.tick(desk.link, "echo", LIMITS.lease_ms, [alive])
    assert not ticked.frozen or is_silent
    return ticked.frozen if is_silent else ticked.ended


def test_a_silent_worker_that_runs_something_does_not_hear_of_it(desk: Desk) -> None:
    other = Desk(desk.connection, desk.link, "other")
    desk.ask("a")
    other.claim()
    assert tick(desk, is_silent=True) == []
    for job_id in ("b", "c"):
        desk.ask(job_id)
    desk.claim()
    assert tick(desk, is_silent=True) == [desk.token]


def test_a_silent_worker_does_not_take_what_waits(desk: Desk) -> None:
    assert tick(desk, is_silent=True) == []
    desk.connection.rpush(ECHO.popped, "a")  # for this worker, which will not claim it
    assert tick(desk, is_silent=True) == [desk.token]
    desk.connection.delete(ECHO.queue)
    assert tick(desk, is_silent=True) == []


def test_a_worker_at_rest_or_at_a_young_batch_keeps_its_lease_and_nothing_else(desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    before = desk.snapshot()
    desk.end_lease()
    assert tick(desk) == []
    assert desk.snapshot().keys() == before.keys()
    s, us = desk.connection.time()
    lease_ms = desk.connection.zscore(ECHO.leases, desk.token) - s * 1000 - us / 1000
    assert lease_ms == pytest.approx(LIMITS.lease_ms, abs=100)
    assert 86_000 < desk.connection.ttl(ECHO.leases) <= 86_400


def test_what_runs_for_a_second_gets_rqs_records(desk: Desk) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    claim = desk.claim()
    tick(desk, 5_000)
    [execution] = Job.fetch("a", desk.connection, JSONSerializer).get_executions()
    assert (execution.id, execution.worker_name) == (claim.jobs[0].execution, desk.name)
    assert execution.created_at.timestamp() == pytest.approx(float(claim.started) - 5, abs=0.5)
    assert desk.connection.scard(keys.worker_executions(desk.name)) == 2


def test_rqs_records_of_what_runs_expire_if_nobody_takes_them_back(desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    tick(desk, 5_000)
    records = [
        f"{keys.PREFIX}:execution:a:{job.execution}",
        f"{keys.PREFIX}:executions:a",
        keys.worker_executions(desk.name),
    ]
    assert all(400 < desk.connection.ttl(key) <= 600 for key in records)


def test_a_second_tick_is_a_heartbeat(desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    tick(desk, 5_000)
    first = Execution.fetch(job.execution, "a", desk.connection)
    tick(desk, 6_000)
    second = Execution.fetch(job.execution, "a", desk.connection)
    assert first.created_at == second.created_at
    assert second.last_heartbeat > first.last_heartbeat


def test_rq_hears_of_a_worker_that_a_model_holds(desk: Desk) -> None:
    worker = f"{keys.WORKER}{desk.name}"
    desk.ask("a")
    desk.claim()
    told = {"birth": "then", "last_heartbeat": "then", "state": "idle"}  # as if it was handed over
    desk.connection.hset(worker, mapping=told)
    tick(desk, 5_000)
    assert desk.connection.hget(worker, "last_heartbeat") != b"then"
    assert desk.connection.hget(worker, "state") == b"busy"


def test_a_worker_that_has_ended_meanwhile_what_it_was_at_is_not_called_busy(desk: Desk) -> None:
    worker = f"{keys.WORKER}{desk.name}"
    desk.connection.hset(worker, mapping={"birth": "then", "state": "idle"})
    tick(desk, 5_000)
    assert desk.connection.hget(worker, "state") == b"idle"


def test_a_worker_that_rq_does_not_know_is_not_made_up(desk: Desk) -> None:
    tick(desk, 5_000)
    assert not desk.connection.exists(f"{keys.WORKER}{desk.name}")


def test_the_records_go_with_the_settle(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    tick(desk, 5_000)  # of the batch before, it may be
    desk.settle(claim)
    assert not desk.connection.keys(f"{keys.PREFIX}:execution*")
    assert not desk.connection.exists(keys.worker_executions(desk.name))


def test_the_records_go_with_the_release(desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    tick(desk, 5_000)
    desk.scripts.release(desk.scripts.executions())
    assert not desk.connection.keys(f"{keys.PREFIX}:execution*")
    assert not desk.connection.exists(keys.worker_executions(desk.name))


def test_other_workers_are_left_alone(desk: Desk, other: Desk) -> None:
    desk.ask("a")
    other.claim()
    before = desk.connection.zscore(ECHO.leases, other.token)
    tick(desk, 5_000)
    assert desk.connection.zscore(ECHO.leases, other.token) == before
    assert not desk.connection.keys(f"{keys.PREFIX}:execution*")


def test_a_worker_that_a_model_holds_is_not_offered_any_more(desk: Desk, other: Desk) -> None:
    offer(other)
    tick(desk, 5_000)
    assert offered(desk)
    offer(desk)
    tick(desk)
    assert offered(desk)
    tick(desk, 5_000)
    assert not offered(desk)


def test_those_whose_leases_have_ended_are_named(desk: Desk, other: Desk) -> None:
    other.end_lease()
    assert tick(desk) == [other.token]
    assert tick(desk) == [other.token]


@pytest.mark.parametrize("key", [ECHO.started, ECHO.leases, ECHO.announcement])
def test_junk_in_their_place_is_passed_over(key: str, desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    desk.connection.set(key, "junk")
    assert tick(desk, 5_000) == []


@pytest.mark.parametrize("kind", ["execution", "executions of the job", "executions of the worker"])
def test_junk_in_the_place_of_a_record_makes_room(kind: str, desk: Desk) -> None:
    desk.ask("a")
    (job,) = desk.claim().jobs
    key = {
        "execution": f"{keys.PREFIX}:execution:a:{job.execution}",
        "executions of the job": f"{keys.PREFIX}:executions:a",
        "executions of the worker": keys.worker_executions(desk.name),
    }[kind]
    desk.connection.set(key, "junk")
    tick(desk, 5_000)
    assert desk.connection.type(key) != b"string"


def test_leases_are_renewed_even_when_redis_is_full(desk: Desk, full: Full) -> None:
    desk.ask("a")
    desk.claim()
    desk.end_lease()
    full.fill()
    assert tick(desk, 5_000) == []


def test_what_was_popped_by_a_worker_that_vanished_goes_back_to_the_front(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    for _ in "ab":
        desk.connection.blmove(ECHO.queue, ECHO.popped, 1)
    tick(desk)
    assert desk.waiting() == ["a", "b", "c"]
    desk.connection.blmove(ECHO.queue, ECHO.popped, 1)
    desk.scripts.release([])
    assert desk.waiting() == ["a", "b", "c"]
