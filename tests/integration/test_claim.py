"""Claiming, on a real Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend

from resident import keys, protocol
from resident.claimed import Claim, Claimed
from resident.errors import ErrorCode
from resident.holders import Death, release
from resident.settlement import Outcome, SettleCode
from tests.support.lua import BUDGET_MS, DATA, ECHO, TEN_YEARS_MS, Desk, Full
from tests.support.waiting import wait_until


def test_a_claim_takes_the_longest_waiting_first_and_no_more_than_a_batch(desk: Desk) -> None:
    for job_id in "abcde":
        desk.ask(job_id)
    assert [job.id for job in desk.claim(2).jobs] == ["a", "b"]
    assert desk.waiting() == ["c", "d", "e"]
    assert [job.id for job in desk.claim(10).jobs] == ["c", "d", "e"]
    assert desk.claim().jobs == ()


def test_the_job_that_was_popped_comes_before_those_that_still_wait(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    assert [job.id for job in desk.claim(2, wait_s=1).jobs] == ["a", "b"]
    assert desk.waiting() == ["c"]
    assert not desk.connection.exists(ECHO.popped)


def test_what_a_worker_popped_and_did_not_claim_is_claimed_by_the_next_that_comes(
    desk: Desk, other: Desk
) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    desk.connection.blmove(ECHO.queue, ECHO.popped, 1)
    assert [job.id for job in other.claim(2).jobs] == ["a", "b"]
    assert not desk.connection.exists(ECHO.popped)


def test_a_wait_ends_when_a_job_comes_and_claims_it_at_once(desk: Desk, other: Desk) -> None:
    with ThreadPoolExecutor(1) as worker:
        claim = worker.submit(desk.claim, 10, 20.0)
        wait_until(lambda: other.connection.info("clients")["blocked_clients"])
        other.ask("a")
        assert [job.id for job in claim.result(20).jobs] == ["a"]


def test_a_claimed_job_is_started_in_rqs_books_and_leased(desk: Desk) -> None:
    desk.ask("a", timeout="7")
    claim = desk.claim()
    (job,) = claim.jobs
    member = f"a:{job.execution}"
    connection, now = desk.connection, float(claim.started)
    assert connection.zscore(ECHO.leases, desk.token) == pytest.approx(now * 1000 + 15_000, abs=2)
    assert connection.zscore(ECHO.started, member) == int(now) + 67
    hash_ = desk.job("a")
    assert (hash_["status"], hash_["worker_name"]) == ("started", "resident-echo-1")
    registry = StartedJobRegistry("echo", connection, serializer=JSONSerializer)
    assert registry.get_job_ids() == ["a"]
    assert desk.scripts.executions() == [("a", job.execution)]


def test_a_claimed_job_does_not_expire_and_its_deadline_is_kept(desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    left_ms = desk.connection.pttl(f"{keys.JOB}a") - TEN_YEARS_MS
    assert BUDGET_MS - 1000 < left_ms <= BUDGET_MS


def test_a_job_that_was_started_and_never_settled_keeps_its_first_deadline(desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    desk.connection.delete(ECHO.leases, ECHO.started)
    desk.connection.rpush(ECHO.queue, "a")
    (job,) = desk.claim().jobs
    assert job.id == "a"
    left_ms = desk.connection.pttl(f"{keys.JOB}a") - TEN_YEARS_MS
    assert BUDGET_MS - 1000 < left_ms <= BUDGET_MS


def test_a_job_without_a_budget_has_no_deadline(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.persist(f"{keys.JOB}a")
    desk.claim()
    assert desk.connection.pttl(f"{keys.JOB}a") == -1


def test_a_job_brings_the_fields_that_say_how_it_is_to_be_answered(desk: Desk) -> None:
    values = {"timeout": "7", "result_ttl": "8", "failure_ttl": "9", "reply_to": "somewhere"}
    desk.ask("a", **values)
    (job,) = desk.claim().jobs
    assert (job.timeout, job.result_ttl, job.failure_ttl) == (b"7", b"8", b"9")
    assert (job.reply_to, job.data) == (b"somewhere", DATA)
    assert job.success_callback == protocol.SUCCESS_CALLBACK.encode()
    assert job.enqueued_at == desk.job("a")["enqueued_at"].encode()
    assert job.created_at == b""  # the same


def test_a_job_that_was_created_before_it_was_enqueued_says_so(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.hset(f"{keys.JOB}a", "created_at", "yesterday")
    desk.connection.hdel(f"{keys.JOB}a", "asked")  # it is another client's
    (job,) = desk.claim().jobs
    assert job.created_at == b"yesterday"


def test_data_over_the_limit_is_not_sent_but_its_size_is(desk: Desk) -> None:
    desk.ask("a", data=b"x" * 1001)
    desk.ask("b", data=b"x" * 1000)
    a, b = desk.claim().jobs
    assert (a.data, a.too_long) == (b"", 1001)
    assert (len(b.data), type(b)) == (1000, Claimed)


def test_expired_ids_are_skipped_and_counted(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    desk.connection.delete(f"{keys.JOB}a", f"{keys.JOB}b")
    assert [job.id for job in desk.claim(1).jobs] == ["c"]
    assert desk.waiting() == []
    assert desk.counts() == {"expired": 2}


def test_a_claim_that_skipped_very_many_says_that_there_may_be_more(desk: Desk) -> None:
    desk.connection.rpush(ECHO.queue, *[f"gone-{number}" for number in range(5000)])
    claim = desk.claim(8)
    assert (claim.jobs, claim.more) == ((), True)
    assert 3500 < len(desk.waiting()) < 4100
    while desk.claim(8).more:
        pass
    assert desk.waiting() == []
    assert desk.counts() == {"expired": 5000}


def test_an_id_that_waits_twice_is_claimed_once(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.rpush(ECHO.queue, "a", "a")
    assert [job.id for job in desk.claim().jobs] == ["a"]
    desk.connection.rpush(ECHO.queue, "a")
    assert desk.claim().jobs == ()
    assert desk.counts() == {"duplicate": 3}


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.FAILED])
def test_a_job_that_has_ended_is_not_run_again(outcome: Outcome, desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), outcome=outcome)
    desk.connection.rpush(ECHO.queue, "a")
    assert desk.claim().jobs == ()
    assert desk.counts() == {"duplicate": 1}


def test_a_started_job_without_an_execution_is_claimed(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.hset(f"{keys.JOB}a", "status", "started")
    assert [job.id for job in desk.claim().jobs] == ["a"]


SPECIAL = [
    {"stopped_callback_name": "x.y"},
    {"webhooks": "[{}]"},
    {"group_id": "g"},
    {"retries_left": "1"},
    {"repeats_left": "1"},
    {"rate_limit_key": "k"},
    {"dependency_ids": '["z"]'},
    {"dependency_id": "z"},
]


@pytest.mark.parametrize("fields", SPECIAL, ids=lambda fields: next(iter(fields)))
def test_a_job_that_uses_more_of_rq_comes_alone(fields: dict[str, str], desk: Desk) -> None:
    desk.ask("a", **fields)
    desk.ask("b")
    claim = desk.claim(10, wait_s=1)
    assert (claim.special, claim.jobs) == ("a", ())
    assert desk.connection.lrange(ECHO.intermediate, 0, -1) == [b"a"]
    assert desk.waiting() == ["b"]


def test_what_is_noted_of_a_worker_that_redis_forgot_goes_by_itself(desk: Desk) -> None:
    """It registers again within seconds, if it lives."""
    record = f"{keys.WORKER}{desk.name}"
    desk.ask("a")
    desk.claim()
    desk.connection.delete(record)
    desk.ask("b", **SPECIAL[0])
    assert desk.claim().special == "b"
    assert desk.connection.hget(record, "special") == b"b"
    assert 0 < desk.connection.ttl(record) <= 60


@pytest.mark.parametrize("name", ["_success_callback_name", "_failure_callback_name"])
def test_a_question_that_was_given_another_callback_comes_alone(name: str, desk: Desk) -> None:
    desk.ask("a")
    job = Job.fetch("a", connection=desk.connection, serializer=JSONSerializer)
    setattr(job, name, "x.y")
    job.save()
    assert desk.claim().special == "a"


def test_a_job_of_rqs_that_others_wait_for_comes_alone(desk: Desk) -> None:
    desk.ask("a", timeout="30")
    desk.connection.sadd(f"{keys.JOB}a:dependents", "b")
    assert desk.claim().special == "a"
    assert desk.connection.lrange(ECHO.intermediate, 0, -1) == [b"a"]


def test_a_question_that_others_wait_for_is_claimed_with_others_and_settled_with_a_word(
    desk: Desk,
) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    desk.connection.sadd(f"{keys.JOB}a:dependents", "c")
    claim = desk.claim()
    assert [job.id for job in claim.jobs] == ["a", "b"]
    assert desk.settle(claim) == [SettleCode.SETTLED_WITH_DEPENDENTS, SettleCode.SETTLED]


def test_a_batch_ends_before_a_job_that_uses_more_of_rq(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id, **({"group_id": "g"} if job_id == "b" else {}))
    assert [job.id for job in desk.claim().jobs] == ["a"]
    assert desk.waiting() == ["b", "c"]
    assert desk.claim().special == "b"
    assert [job.id for job in desk.claim().jobs] == ["c"]


@pytest.mark.parametrize("fields", [{"webhooks": "[]"}, {"retries_left": "0"}, {"group_id": ""}])
def test_a_feature_that_is_named_but_not_used_keeps_a_question_plain(
    fields: dict[str, str], desk: Desk
) -> None:
    desk.ask("a", **fields)
    assert [job.id for job in desk.claim().jobs] == ["a"]


def test_while_rq_is_suspended_what_was_popped_goes_back_to_the_front(desk: Desk) -> None:
    desk.ask("a")
    desk.ask("b")
    suspend(desk.connection)
    assert desk.claim(10, wait_s=1) == Claim(started=b"0", suspended=True)
    assert desk.waiting() == ["a", "b"]
    assert not desk.connection.exists(ECHO.popped, ECHO.leases)
    resume(desk.connection)
    assert [job.id for job in desk.claim().jobs] == ["a", "b"]


def test_a_job_that_is_asked_again_by_hand_while_it_runs_is_not_run_twice(
    desk: Desk, other: Desk
) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.hset(f"{keys.JOB}a", "status", "queued")
    desk.connection.rpush(ECHO.queue, "a")
    assert other.claim().jobs == ()
    assert desk.settle(claim) == [SettleCode.SETTLED]
    assert desk.connection.llen(keys.reply("a")) == 1


def test_a_job_that_rq_put_back_runs_although_an_execution_of_a_dead_worker_is_left(
    desk: Desk, other: Desk
) -> None:
    desk.ask("a")
    desk.claim()
    desk.connection.delete(ECHO.leases)
    desk.connection.hset(f"{keys.JOB}a", "status", "queued")
    desk.connection.rpush(ECHO.queue, "a")
    assert [job.id for job in other.claim().jobs] == ["a"]


def test_two_workers_never_claim_the_same_job(desk: Desk, other: Desk) -> None:
    for number in range(10):
        desk.ask(f"a{number}")
    taken = [job.id for one in (desk, other, desk, other) for job in one.claim(3).jobs]
    assert taken == [f"a{number}" for number in range(10)]


def test_what_was_asked_before_redis_became_full_is_claimed(desk: Desk, full: Full) -> None:
    desk.ask("a")
    desk.ask("b")
    desk.connection.blmove(ECHO.queue, ECHO.popped, 1)
    full.fill()
    claim = desk.claim(10)
    assert [job.id for job in claim.jobs] == ["a", "b"]
    assert desk.settle(claim) == [SettleCode.SETTLED] * 2


def test_a_claim_that_comes_late_is_leased_although_its_worker_was_buried(desk: Desk) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    desk.claim(1)
    desk.scripts.end_lease()
    desk.claim(1)
    assert desk.connection.zscore(ECHO.leases, desk.token) > 1
    assert 86_000 < desk.connection.ttl(ECHO.leases) <= 86_400


@pytest.mark.parametrize("deaths", ["", "1"], ids=["usual", "unusual"])
def test_what_a_claim_says_of_a_worker_that_is_gone_goes_too(deaths: str, desk: Desk) -> None:
    desk.ask("a", **({"deaths": deaths} if deaths else {}))
    desk.claim()
    assert 0 < desk.connection.ttl(f"{keys.WORKER}{desk.name}") <= 60


def test_a_job_that_workers_died_with_is_claimed_alone(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id, **({"deaths": "1"} if job_id == "b" else {}))
    batches = [desk.claim(8).jobs for _ in range(3)]
    assert [[job.id for job in jobs] for jobs in batches] == [["a"], ["b"], ["c"]]
    assert [getattr(job, "deaths", b"") for (job,) in batches] == [b"", b"1", b""]
    desk.ask("d", deaths="1")
    assert desk.scripts.claim_more(8) == ()
    assert desk.waiting() == ["d"]


def test_a_verdict_on_a_job_is_told_until_it_is_settled_so_that_it_may_be_requeued(
    desk: Desk,
) -> None:
    desk.ask("a", deaths="crashed")
    for death in (None, Death(ErrorCode.CRASHED, 3)):  # its worker puts it back, or dies over it
        claim = desk.claim(8)
        assert [job.deaths for job in claim.jobs] == [b"crashed"]
        release(
            desk.link, "echo", desk.name, [(job.id, job.execution) for job in claim.jobs], death
        )
    assert desk.settle(desk.claim(8), outcome=Outcome.FAILED) == [SettleCode.SETTLED]
    assert "deaths" not in desk.job("a")


def test_a_job_that_rq_requeues_after_its_worker_died_runs_again(desk: Desk, other: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.end_lease()
    desk.connection.zadd(ECHO.started, {f"a:{claim.jobs[0].execution}": 1})
    StartedJobRegistry("echo", desk.connection, serializer=JSONSerializer).cleanup()
    job = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    assert job.is_failed
    job.requeue()
    assert [job.id for job in other.claim().jobs] == ["a"]


def test_a_worker_that_stalled_past_its_lease_has_lost_what_another_has_claimed(
    desk: Desk, other: Desk
) -> None:
    desk.ask("a")
    stalled = desk.claim()
    desk.end_lease()
    desk.connection.rpush(ECHO.queue, "a")
    claim = other.claim()
    assert [job.id for job in claim.jobs] == ["a"]
    assert desk.settle(stalled) == [SettleCode.LOST]
    assert other.settle(claim, reply=b"the one") == [SettleCode.SETTLED]
    assert desk.connection.lrange(keys.reply("a"), 0, -1) == [b"the one"]
    assert not desk.connection.exists(ECHO.started)


def test_what_a_stock_worker_runs_is_not_claimed(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.hset(f"{keys.JOB}a", "status", "started")
    desk.connection.zadd(f"{keys.PREFIX}:executions:a", {"e": 1})
    assert desk.claim().jobs == ()
    assert desk.counts() == {"duplicate": 1}


def test_more_is_claimed_for_a_batch_but_nothing_that_must_be_alone(desk: Desk) -> None:
    for job_id in "abcd":
        desk.ask(job_id, **({"group_id": "g"} if job_id == "c" else {}))
    held = desk.claim(1)
    assert [job.id for job in desk.scripts.claim_more(8)] == ["b"]
    assert desk.scripts.claim_more(8) == ()
    assert desk.connection.hget(f"{keys.WORKER}resident-echo-1", "state") == b"busy"
    assert desk.waiting() == ["c", "d"]
    assert len(held.jobs) == 1


def test_a_failed_job_is_requeued_while_the_worker_that_failed_it_lives(desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), outcome=Outcome.FAILED)
    Job.fetch("a", desk.connection, serializer=JSONSerializer).requeue()
    assert [job.id for job in desk.claim().jobs] == ["a"]


def test_a_job_that_another_worker_claims_is_no_longer_the_first_ones_in_rqs_books(
    desk: Desk, other: Desk
) -> None:
    desk.ask("a")
    desk.claim()
    desk.end_lease()
    desk.connection.rpush(ECHO.queue, "a")
    (job,) = other.claim().jobs
    assert desk.connection.zrange(ECHO.started, 0, -1) == [f"a:{job.execution}".encode()]
