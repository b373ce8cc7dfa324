"""Settling, on a real Redis."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoScriptError, ResponseError
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import keys, protocol
from resident.asking import AskCode
from resident.claimed import Claim
from resident.settlement import Outcome, SettleCode, Settlement
from tests.support.lua import BUDGET_MS, ECHO, FAILURE_TTL_S, Desk, Full, settlement

MAILBOX = f"resident:mailbox:{'a' * 32}"


pytestmark = pytest.mark.usefixtures("judged")


def settled(claim: Claim, **changes: Any) -> Settlement:
    (job,) = claim.jobs
    return settlement(job.id, job.execution, **changes)


def test_a_reply_and_rqs_books_are_one_step(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    assert desk.settle(claim) == [SettleCode.SETTLED]
    connection = desk.connection
    assert connection.lrange(keys.reply("a"), 0, -1) == [b"reply"]
    assert 55_000 < connection.pttl(keys.reply("a")) <= 60_000
    assert desk.job("a")["status"] == "finished"
    assert 495 < connection.ttl(f"{keys.JOB}a") <= 500
    assert connection.zrange(ECHO.finished, 0, -1) == [b"a"]
    job = Job.fetch("a", connection, serializer=JSONSerializer)
    assert job.return_value() == "?"
    gone = [
        ECHO.started,
        f"{keys.PREFIX}:executions:a",
        f"{keys.PREFIX}:execution:a:{claim.jobs[0].execution}",
        keys.worker_executions("resident-echo-1"),
    ]
    assert connection.exists(*gone) == 0
    assert desk.claim().jobs == ()
    assert connection.hget(f"{keys.WORKER}resident-echo-1", "state") == b"idle"


def test_a_settle_brings_the_next_batch_in_the_same_call(desk: Desk) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    claim = desk.claim(1)
    settlements = [settlement("a", claim.jobs[0].execution)]
    codes, following = desk.turn(settlements, claim.started, 1)
    assert codes == [SettleCode.SETTLED]
    assert [job.id for job in following.jobs] == ["b"]
    assert desk.connection.hget(f"{keys.WORKER}resident-echo-1", "state") == b"busy"


def test_a_job_that_was_deleted_while_it_ran_is_answered_and_leaves_nothing(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.delete(f"{keys.JOB}a")
    assert desk.settle(claim) == [SettleCode.SETTLED]
    assert desk.connection.llen(keys.reply("a")) == 1
    assert not desk.connection.exists(f"{keys.JOB}a", keys.results("a"), ECHO.finished)


def test_a_batch_is_settled_although_its_leases_were_lost(desk: Desk) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    claim = desk.claim()
    desk.connection.delete(ECHO.leases)
    assert desk.settle(claim) == [SettleCode.SETTLED] * 2
    assert [desk.connection.llen(keys.reply(one)) for one in "ab"] == [1, 1]


@pytest.mark.parametrize("count", [1, 2])
def test_a_registry_that_is_none_does_not_keep_a_caller_waiting(count: int, desk: Desk) -> None:
    for number in range(count):
        desk.ask(f"a{number}")
    claim = desk.claim()
    desk.connection.set(ECHO.started, "junk")
    desk.settle(claim)
    assert all(desk.connection.llen(keys.reply(job.id)) for job in claim.jobs)


def test_a_settle_that_is_sent_twice_is_harmless(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.settle(claim)
    before = desk.snapshot()
    assert desk.settle(claim, reply=b"another", outcome=Outcome.FAILED) == [SettleCode.SETTLED]
    assert desk.snapshot() == before
    assert desk.counts() == {}


def test_a_settle_that_keeps_nothing_and_is_sent_twice_is_harmless(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.settle(claim, ttl_s=0)
    before = desk.snapshot()
    assert desk.settle(claim, ttl_s=0) == [SettleCode.LOST]
    assert desk.snapshot() == before


def test_a_worker_that_lost_its_lease_writes_nothing(desk: Desk, other: Desk) -> None:
    desk.ask("a")
    lost = desk.claim()
    desk.scripts.release([("a", lost.jobs[0].execution)])
    held = other.claim()
    before = desk.snapshot()
    assert desk.settle(lost, reply=b"too late") == [SettleCode.LOST]
    mine = f"{keys.WORKER}resident-echo-1"
    assert desk.connection.hgetall(mine) == {b"state": b"busy"}
    assert desk.snapshot() | {mine: b""} == before | {mine: b""}
    assert other.settle(held, reply=b"in time") == [SettleCode.SETTLED]
    assert desk.connection.lrange(keys.reply("a"), 0, -1) == [b"in time"]


def test_of_a_batch_those_that_are_held_are_settled(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    claim = desk.claim()
    desk.scripts.release([("b", claim.jobs[1].execution)])
    assert desk.settle(claim) == [SettleCode.SETTLED, SettleCode.LOST, SettleCode.SETTLED]
    assert desk.connection.exists(*map(keys.reply, "abc")) == 2
    assert desk.job("b")["status"] == "queued"


def test_all_of_a_batch_that_were_lost_are_counted(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    claim = desk.claim()
    desk.scripts.release([(job.id, job.execution) for job in claim.jobs[:2]])
    assert desk.settle(claim) == [SettleCode.LOST, SettleCode.LOST, SettleCode.SETTLED]
    assert desk.counts() == {"lost": 2}
    assert 86_000 < desk.connection.ttl(ECHO.metrics) <= 86_400


def test_replies_in_one_mailbox_do_not_push_each_other_out(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    desk.settle(desk.claim(), reply_key=MAILBOX)
    assert desk.connection.llen(MAILBOX) == 3


def test_a_job_with_ttl_0_leaves_nothing_but_its_reply(desk: Desk) -> None:
    before = desk.snapshot()
    desk.ask("a")
    desk.settle(desk.claim(), ttl_s=0)
    left = set(desk.snapshot()) - set(before)
    assert left == {
        *(keys.reply("a"), keys.asked("a"), f"{keys.WORKER}resident-echo-1", ECHO.leases),
        keys.common("echo", FAILURE_TTL_S),  # one a task, for a minute
    }


@pytest.mark.parametrize(("outcome", "score"), [(Outcome.FINISHED, float("inf")), (2, -1)])
def test_a_job_with_ttl_minus_1_is_kept_for_ever(outcome: int, score: float, desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), ttl_s=-1, outcome=Outcome(outcome))
    assert desk.connection.ttl(f"{keys.JOB}a") == -1
    assert desk.connection.ttl(keys.results("a")) == -1
    registry = ECHO.finished if outcome == 1 else ECHO.failed
    assert desk.connection.zscore(registry, "a") == score


def test_results_of_earlier_runs_are_kept_as_long_as_the_job(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.xadd(keys.results("a"), {"type": "1"})
    desk.connection.expire(keys.results("a"), 60)
    desk.settle(claim, ttl_s=-1)
    assert desk.connection.ttl(keys.results("a")) == -1


def test_of_an_id_that_is_run_again_and_again_the_last_results_are_kept(desk: Desk) -> None:
    """About ten, as RQ has it: Redis throws whole nodes of a stream away."""
    desk.ask("a")
    claim = desk.claim()
    for _ in range(250):
        desk.connection.xadd(keys.results("a"), {"type": "1"})
    desk.settle(claim, by_hash=True)
    assert desk.connection.xlen(keys.results("a")) < 150


def test_a_job_with_ttl_0_takes_along_what_earlier_runs_left(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.xadd(keys.results("a"), {"type": "1"})
    desk.connection.sadd(keys.dependencies("a"), "b")
    desk.settle(claim, ttl_s=0, by_hash=True)
    assert not desk.connection.exists(keys.results("a"), keys.dependencies("a"))


def test_a_failed_job_is_in_rqs_failed_registry_with_its_traceback(desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), outcome=Outcome.FAILED, ttl_s=60, result=b"eJxLBAAAYgBi")
    job = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    assert job.is_failed
    assert job.latest_result().exc_string == "a"
    assert desk.connection.zrange(ECHO.failed, 0, -1) == [b"a"]


def test_a_discarded_job_is_no_job_any_more(desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), outcome=Outcome.DISCARDED, ttl_s=60)
    assert not desk.connection.exists(f"{keys.JOB}a", keys.results("a"), ECHO.failed)
    assert desk.connection.lrange(keys.reply("a"), 0, -1) == [b"reply"]


def test_a_job_that_wants_no_reply_gets_none(desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), reply_key="")
    assert not desk.connection.exists(keys.reply("a"))
    assert desk.job("a")["status"] == "finished"


def test_a_job_that_others_began_to_wait_for_says_so(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.sadd(f"{keys.JOB}a:dependents", "b")
    assert desk.settle(claim) == [SettleCode.SETTLED_WITH_DEPENDENTS]


def test_a_job_that_others_began_to_wait_for_is_kept_until_rq_has_let_them_go(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.sadd(f"{keys.JOB}a:dependents", "b")
    desk.settle(claim, ttl_s=0)
    assert desk.connection.ttl(f"{keys.JOB}a") == 60
    assert desk.connection.smembers(ECHO.parents) == {b"a"}
    assert 86_000 < desk.connection.ttl(ECHO.parents) <= 86_400


def test_answers_go_out_even_when_redis_is_full(desk: Desk, full: Full) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    claim = desk.claim(1)
    full.fill()
    assert desk.settle(claim) == [SettleCode.SETTLED]
    full.free()
    assert desk.connection.llen(keys.reply("a")) == 1
    assert Job.fetch("a", desk.connection, serializer=JSONSerializer).return_value() == "?"


def deleted_and_asked_again(desk: Desk) -> Claim:
    """A job that runs is deleted by hand, and its id asked again."""
    desk.ask("a")
    claim = desk.claim()
    desk.connection.delete(f"{keys.JOB}a")
    assert desk.ask("a").code is AskCode.QUEUED
    return claim


@pytest.mark.parametrize("judged", ["by its hash"], indirect=True)
def test_an_id_that_is_asked_again_after_it_was_deleted_is_answered_once(
    desk: Desk, other: Desk
) -> None:
    first = deleted_and_asked_again(desk)
    second = other.claim()
    assert desk.settle(first, reply=b"the old one") == [SettleCode.LOST]
    assert other.settle(second, reply=b"the new one") == [SettleCode.SETTLED]
    assert desk.connection.lrange(keys.reply("a"), 0, -1) == [b"the new one"]
    assert not desk.connection.exists(ECHO.started)


def test_a_worker_that_leaves_does_not_touch_what_was_asked_again(desk: Desk) -> None:
    first = deleted_and_asked_again(desk)
    assert desk.scripts.release([("a", first.jobs[0].execution)]) == 0
    assert desk.waiting() == ["a"]
    assert 0 < desk.connection.pttl(f"{keys.JOB}a") <= BUDGET_MS


@pytest.mark.parametrize("judged", ["by its hash"], indirect=True)
def test_a_job_that_rq_has_failed_meanwhile_is_not_answered_again(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.hset(f"{keys.JOB}a", "status", "failed")
    desk.settle(claim)
    assert not desk.connection.exists(keys.reply("a"), keys.results("a"), ECHO.finished)


def test_after_a_second_the_hash_is_asked_whoever_the_job_belongs_to(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.hset(f"{keys.JOB}a", "status", "failed")
    long_ago = b"%.6f" % (float(claim.started) - 1.1)
    desk.turn([settled(claim)], long_ago, 0)
    assert not desk.connection.exists(keys.reply("a"), keys.results("a"), ECHO.finished)


def test_a_batch_that_was_lost_says_so_even_when_redis_is_full(desk: Desk, full: Full) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.scripts.release([("a", claim.jobs[0].execution)])
    full.fill()
    assert desk.settle(claim) == [SettleCode.LOST]


def test_a_settle_that_redis_refuses_says_so_and_may_be_repeated(
    desk: Desk, connection: Redis
) -> None:
    desk.ask("a")
    claim = desk.claim()
    connection.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            desk.settle(claim)
    finally:
        connection.config_set("min-replicas-to-write", 0)
    assert desk.settle(claim) == [SettleCode.SETTLED]
    assert desk.connection.lrange(keys.reply("a"), 0, -1) == [b"reply"]


def test_who_asked_again_by_hand_is_answered_although_the_leases_were_lost(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.hset(f"{keys.JOB}a", "status", "queued")
    desk.connection.delete(ECHO.leases)
    assert desk.settle(claim) == [SettleCode.SETTLED]
    assert desk.connection.llen(keys.reply("a")) == 1


@pytest.mark.parametrize("judged", ["by its hash"], indirect=True)
def test_a_hash_that_was_written_anew_with_the_least_is_another_question(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.delete(f"{keys.JOB}a")
    desk.connection.hset(f"{keys.JOB}a", "data", b"of the new one")
    assert desk.settle(claim) == [SettleCode.LOST]
    assert not desk.connection.exists(keys.reply("a"))


@pytest.mark.parametrize("gone", [Job.cancel, Job.delete])
def test_an_id_of_ours_that_somebody_took_back_and_asked_anew_is_not_answered_by_the_old_run(
    gone: Any, desk: Desk
) -> None:
    ours = protocol.new_id()
    desk.ask(ours, is_new=True)
    first = desk.claim()
    gone(Job.fetch(ours, connection=desk.connection, serializer=JSONSerializer))
    assert desk.ask(ours, data=b'["tasks.echo.answer",null,["another"],{}]').code is AskCode.QUEUED
    assert desk.settle(first, reply=b"the old one") == [SettleCode.LOST]
    assert not desk.connection.exists(keys.reply(ours))
    assert desk.settle(desk.claim(), reply=b"the new one") == [SettleCode.SETTLED]
    assert 0 < desk.connection.ttl(ECHO.anew) <= 10


def test_a_settle_that_redis_refuses_is_told_before_it_waits_for_the_next_question(
    desk: Desk,
) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.script_flush()
    began = time.monotonic()
    with pytest.raises(NoScriptError):
        desk.turn([settlement("a", claim.jobs[0].execution)], claim.started, 10, 5.0)
    assert time.monotonic() - began < 2
    assert desk.settle(claim) == [SettleCode.SETTLED]
