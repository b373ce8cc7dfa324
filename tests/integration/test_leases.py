"""Renewing the leases of workers that a model holds, on a real Redis."""

from __future__ import annotations

import pytest
from redis import Redis
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import keys, scripts
from resident.redis_client import Link
from tests.support.lua import ECHO, LIMITS, Desk, Full, settlement

TOKEN = "0123456789ab"
NAME = "resident-echo-1"


@pytest.fixture
def named(connection: Redis) -> Desk:
    """A worker whose token is known."""
    desk = Desk(connection, Link(connection), NAME, TOKEN)
    desk.announce()
    return desk


def age(desk: Desk, ms: int) -> None:
    """Makes all leases older."""
    for job_id, end in desk.connection.zrange(ECHO.leases, 0, -1, withscores=True):
        desk.connection.zadd(ECHO.leases, {job_id: end - ms})


def renew(desk: Desk, **workers: str) -> int:
    return scripts.renew(desk.link, "echo", LIMITS.lease_ms, workers or {TOKEN: NAME})


def test_a_batch_that_is_young_costs_nothing(named: Desk) -> None:
    named.ask("a")
    named.claim()
    before = named.snapshot()
    assert renew(named) == 0
    assert named.snapshot() == before


def test_what_runs_for_a_second_keeps_its_lease_and_gets_rqs_records(named: Desk) -> None:
    for job_id in "ab":
        named.ask(job_id)
    claim = named.claim()
    ends = named.connection.zscore(ECHO.leases, "a")
    age(named, 5_000)
    assert renew(named) == 2
    assert named.connection.zscore(ECHO.leases, "a") >= ends
    [execution] = Job.fetch("a", named.connection, JSONSerializer).get_executions()
    assert (execution.id, execution.worker_name) == (claim.jobs[0].execution, NAME)
    assert execution.created_at.timestamp() == pytest.approx(float(claim.started) - 5, abs=0.01)
    assert named.connection.scard(keys.worker_executions(NAME)) == 2


def test_a_second_renewal_is_a_heartbeat(named: Desk) -> None:
    named.ask("a")
    (job,) = named.claim().jobs
    age(named, 5_000)
    renew(named)
    first = Execution.fetch(job.execution, "a", named.connection)
    age(named, 2_000)
    renew(named)
    second = Execution.fetch(job.execution, "a", named.connection)
    assert first.created_at == second.created_at
    assert second.last_heartbeat > first.last_heartbeat


def test_the_records_go_with_the_settle(named: Desk) -> None:
    named.ask("a")
    claim = named.claim()
    age(named, 5_000)
    renew(named)
    started = f"{float(claim.started) - 5:.6f}".encode()
    named.turn([settlement("a", claim.jobs[0].execution)], started, 0)
    assert not named.connection.keys(f"{keys.PREFIX}:execution*")
    assert not named.connection.exists(keys.worker_executions(NAME))


def test_other_workers_are_left_alone(named: Desk, other: Desk) -> None:
    named.ask("a")
    other.claim()
    age(named, 5_000)
    assert renew(named) == 0


def test_a_lease_that_was_lost_is_not_renewed(named: Desk) -> None:
    named.ask("a")
    (job,) = named.claim().jobs
    age(named, 5_000)
    named.scripts.release([("a", job.execution)])
    assert renew(named) == 0
    assert not named.connection.exists(ECHO.leases)


@pytest.mark.parametrize("key", [ECHO.started, ECHO.leases])
def test_junk_in_their_place_is_passed_over(key: str, named: Desk) -> None:
    named.ask("a")
    named.claim()
    named.connection.set(key, "junk")
    assert renew(named) == 0


@pytest.mark.parametrize("kind", ["execution", "executions of the job", "executions of the worker"])
def test_junk_in_the_place_of_a_record_makes_room(kind: str, named: Desk) -> None:
    named.ask("a")
    claim = named.claim()
    (job,) = claim.jobs
    key = {
        "execution": f"{keys.PREFIX}:execution:a:{job.execution}",
        "executions of the job": f"{keys.PREFIX}:executions:a",
        "executions of the worker": keys.worker_executions(NAME),
    }[kind]
    named.connection.set(key, "junk")
    age(named, 5_000)
    assert renew(named) == 1
    assert named.connection.type(key) != b"string"


def test_leases_are_renewed_even_when_redis_is_full(named: Desk, full: Full) -> None:
    named.ask("a")
    named.claim()
    age(named, 5_000)
    full.fill()
    assert renew(named) == 1
