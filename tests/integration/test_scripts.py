"""The Lua operations one by one, each on a real Redis."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend

from resident import keys, protocol, scripts
from resident.redis_client import Link
from resident.scripts import (
    AskCode,
    Asked,
    Claim,
    Limits,
    Outcome,
    SettleCode,
    Settlement,
    WorkerScripts,
    source_of,
)
from tests.support.processes import Processes
from tests.support.waiting import wait_until

ECHO = keys.of_task("echo")
BUDGET_MS = 5_000
FIELDS = {
    "data": b'["tasks.echo.answer",null,["?"],{}]',
    "origin": "echo",
    "success_callback_name": protocol.SUCCESS_CALLBACK,
    "failure_callback_name": protocol.FAILURE_CALLBACK,
}
LIMITS = Limits(lease_ms=15_000, reply_ttl_ms=60_000, max_data_bytes=1000)


@pytest.fixture
def link(connection: Redis) -> Iterator[Link]:
    link = Link(connection)
    yield link
    link.close()


class Desk:
    """One worker's scripts, and a caller's."""

    def __init__(self, connection: Redis, link: Link, name: str = "resident-echo-1") -> None:
        self.connection = connection
        self.link = link
        self.scripts = WorkerScripts(link, "echo", name, LIMITS)

    def announce(self, ttl_ms: int = 60_000, **description: Any) -> int:
        return self.scripts.announce(ttl_ms, {"max_backlog": 10, **description})

    def ask(self, job_id: str, budget_ms: int = BUDGET_MS, **fields: Any) -> Asked:
        return scripts.ask(self.link, "echo", job_id, budget_ms, {**FIELDS, **fields})

    def claim(self, max_batch: int = 10, moved: str = "") -> Claim:
        return self.scripts.turn([], b"0", max_batch, moved)[1]

    def settle(self, claim: Claim, **changes: Any) -> list[SettleCode]:
        settlements = [settlement(job.id, job.execution, **changes) for job in claim.jobs]
        return self.scripts.turn(settlements, claim.started, 0)[0]

    def waiting(self) -> list[str]:
        return [one.decode() for one in self.connection.lrange(ECHO.queue, 0, -1)]

    def job(self, job_id: str) -> dict[str, str]:
        found = self.connection.hgetall(f"{keys.JOB}{job_id}")
        return {name.decode(): value.decode(errors="replace") for name, value in found.items()}

    def counts(self) -> dict[str, int]:
        found = self.connection.hgetall(ECHO.metrics)
        return {name.decode(): int(value) for name, value in found.items()}

    def snapshot(self) -> dict[str, bytes]:
        """Everything that is in Redis."""
        return {
            key.decode(): self.connection.dump(key)
            for key in self.connection.scan_iter(count=1000)
            if key.decode() != ECHO.metrics
        }


def settlement(job_id: str, execution: str, **changes: Any) -> Settlement:
    values: dict[str, Any] = {
        "outcome": Outcome.FINISHED,
        "reply_key": keys.reply(job_id),
        "reply": b"reply",
        "result": b"Ij8i",
        "ttl_s": 500,
    }
    return Settlement(id=job_id, execution=execution, **{**values, **changes})


@pytest.fixture
def desk(connection: Redis, link: Link) -> Desk:
    made = Desk(connection, link)
    made.announce()
    return made


@pytest.fixture
def other(connection: Redis) -> Iterator[Desk]:
    link = Link(connection)
    yield Desk(connection, link, "resident-echo-2")
    link.close()


@pytest.fixture
def full(connection: Redis) -> Iterator[Any]:
    """Makes Redis full, and lets it have memory again with free()."""

    class Full:
        def fill(self) -> None:
            connection.config_set("maxmemory", "1")

        def free(self) -> None:
            connection.config_set("maxmemory", "0")

    yield Full()
    Full().free()


# ask


def test_a_question_that_is_asked_is_an_rq_job_with_its_budget_as_ttl(desk: Desk) -> None:
    assert desk.ask("a") == Asked(AskCode.QUEUED, 0, 10)
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


def test_an_id_that_runs_is_joined_and_gets_no_ttl(desk: Desk) -> None:
    desk.ask("a")
    desk.claim()
    assert desk.ask("a").code is AskCode.JOINED
    assert desk.waiting() == []
    assert desk.connection.ttl(f"{keys.JOB}a") == -1


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
    assert desk.snapshot() == before == {}


def test_a_worker_whose_announcement_ran_out_is_not_ready(desk: Desk) -> None:
    desk.connection.zadd(ECHO.ready, {"resident-echo-1": 1}, xx=True)
    assert desk.ask("a").code is AskCode.NO_WORKER


def test_over_the_limit_of_waiting_questions_nothing_is_written(desk: Desk) -> None:
    for number in range(10):
        assert desk.ask(f"a{number}").code is AskCode.QUEUED
    before = desk.snapshot()
    assert desk.ask("b") == Asked(AskCode.OVERLOADED, 10, 10)
    assert desk.snapshot() == before
    assert desk.ask("a3").code is AskCode.JOINED


def test_a_stock_rq_worker_counts_as_a_worker(connection: Redis, link: Link) -> None:
    desk = Desk(connection, link)
    stock = SimpleWorker(["echo"], connection=connection, name="stock")
    stock.register_birth()
    assert desk.ask("a").code is AskCode.QUEUED
    stock.register_death()
    assert desk.ask("b").code is AskCode.NO_WORKER


def test_a_worker_of_ours_that_is_not_ready_does_not_count_as_stock(
    connection: Redis, link: Link
) -> None:
    SimpleWorker(["echo"], connection=connection, name="resident-echo-1").register_birth()
    assert Desk(connection, link).ask("a").code is AskCode.NO_WORKER


def test_a_question_that_redis_has_no_memory_for_is_not_half_written(desk: Desk, full: Any) -> None:
    before = desk.snapshot()
    full.fill()
    with pytest.raises(ResponseError, match="maxmemory"):
        desk.ask("a")
    full.free()
    assert desk.snapshot() == before
    assert desk.ask("a").code is AskCode.QUEUED


# claim


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
    moved = desk.scripts.wait_for_job(1)
    assert moved == "a"
    assert [job.id for job in desk.claim(2, moved).jobs] == ["a", "b"]
    assert desk.waiting() == ["c"]
    assert not desk.connection.exists(ECHO.intermediate)


def test_a_claimed_job_is_started_in_rqs_books_and_leased(desk: Desk) -> None:
    desk.ask("a", timeout="7")
    claim = desk.claim()
    (job,) = claim.jobs
    member = f"a:{job.execution}"
    connection, now = desk.connection, float(claim.started)
    assert connection.zscore(ECHO.leases, member) == pytest.approx(now * 1000 + 15_000, abs=2)
    assert connection.zscore(ECHO.started, member) == int(now) + 67
    assert connection.ttl(f"{keys.PREFIX}:execution:{member}") in (66, 67)
    assert connection.zrange(f"{keys.PREFIX}:executions:a", 0, -1) == [job.execution.encode()]
    assert connection.smembers(keys.worker_executions("resident-echo-1")) == {member.encode()}
    hash_ = desk.job("a")
    assert (hash_["status"], hash_["worker_name"]) == ("started", "resident-echo-1")
    registry = StartedJobRegistry("echo", connection, serializer=JSONSerializer)
    assert registry.get_job_ids() == ["a"]


def test_a_claimed_job_lives_on_without_a_ttl_and_its_deadline_is_kept(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    (job,) = claim.jobs
    assert desk.connection.ttl(f"{keys.JOB}a") == -1
    assert BUDGET_MS - 1000 < job.left_ms <= BUDGET_MS
    deadline = desk.connection.hget(f"{keys.PREFIX}:execution:a:{job.execution}", "deadline_ms")
    assert int(deadline) == pytest.approx(float(claim.started) * 1000 + job.left_ms, abs=2)


def test_a_job_without_a_budget_has_no_deadline(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.persist(f"{keys.JOB}a")
    (job,) = desk.claim().jobs
    assert job.left_ms == -1


def test_a_job_brings_the_fields_that_say_how_it_is_to_be_answered(desk: Desk) -> None:
    values = {"timeout": "7", "result_ttl": "8", "failure_ttl": "9", "reply_to": "somewhere"}
    desk.ask("a", **values)
    (job,) = desk.claim().jobs
    assert (job.timeout, job.result_ttl, job.failure_ttl) == (b"7", b"8", b"9")
    assert (job.reply_to, job.data) == (b"somewhere", FIELDS["data"])
    assert job.success_callback == protocol.SUCCESS_CALLBACK.encode()
    assert job.enqueued_at == job.created_at == desk.job("a")["created_at"].encode()


def test_data_over_the_limit_is_not_sent_but_its_size_is(desk: Desk) -> None:
    desk.ask("a", data="x" * 1001)
    desk.ask("b", data="x" * 1000)
    a, b = desk.claim().jobs
    assert (a.data, a.data_size) == (b"", 1001)
    assert (len(b.data), b.data_size) == (1000, 1000)


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


def test_a_finished_job_is_not_run_again(desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim())
    desk.connection.rpush(ECHO.queue, "a")
    assert desk.claim().jobs == ()
    assert desk.counts() == {"duplicate": 1}


def test_a_started_job_without_an_execution_is_claimed(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.hset(f"{keys.JOB}a", "status", "started")
    assert [job.id for job in desk.claim().jobs] == ["a"]


SPECIAL = [
    {"stopped_callback_name": "x.y"},
    {"success_callback_name": "x.y"},
    {"failure_callback_name": "x.y"},
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
    moved = desk.scripts.wait_for_job(1)
    claim = desk.claim(10, moved)
    assert (claim.special, claim.jobs) == ("a", ())
    assert desk.connection.lrange(ECHO.intermediate, 0, -1) == [b"a"]
    assert desk.waiting() == ["b"]


def test_a_job_that_others_wait_for_comes_alone(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.sadd(f"{keys.JOB}a:dependents", "b")
    assert desk.claim().special == "a"
    assert desk.connection.lrange(ECHO.intermediate, 0, -1) == [b"a"]


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
    moved = desk.scripts.wait_for_job(1)
    assert desk.claim(10, moved) == Claim(started=b"0", suspended=True)
    assert desk.waiting() == ["a", "b"]
    assert not desk.connection.exists(ECHO.intermediate, ECHO.leases)
    resume(desk.connection)
    assert [job.id for job in desk.claim().jobs] == ["a", "b"]


def test_two_workers_never_claim_the_same_job(desk: Desk, other: Desk) -> None:
    for number in range(10):
        desk.ask(f"a{number}")
    taken = [job.id for one in (desk, other, desk, other) for job in one.claim(3).jobs]
    assert taken == [f"a{number}" for number in range(10)]


def test_a_claim_that_redis_has_no_memory_for_leaves_the_job_where_it_is(
    desk: Desk, full: Any
) -> None:
    desk.ask("a")
    desk.ask("b")
    moved = desk.scripts.wait_for_job(1)
    before = desk.snapshot()
    full.fill()
    with pytest.raises(ResponseError, match="maxmemory"):
        desk.claim(10, moved)
    full.free()
    assert desk.snapshot() == before
    assert [job.id for job in desk.claim(10, moved).jobs] == ["a", "b"]


# settle


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
        ECHO.leases,
        ECHO.started,
        f"{keys.PREFIX}:executions:a",
        f"{keys.PREFIX}:execution:a:{claim.jobs[0].execution}",
        keys.worker_executions("resident-echo-1"),
    ]
    assert connection.exists(*gone) == 0
    assert connection.hget(f"{keys.WORKER}resident-echo-1", "successful_job_count") == b"1"
    assert connection.hget(f"{keys.WORKER}resident-echo-1", "state") == b"idle"


def test_a_settle_brings_the_next_batch_in_the_same_call(desk: Desk) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    claim = desk.claim(1)
    settlements = [settlement("a", claim.jobs[0].execution)]
    codes, following = desk.scripts.turn(settlements, claim.started, 1)
    assert codes == [SettleCode.SETTLED]
    assert [job.id for job in following.jobs] == ["b"]
    assert desk.connection.hget(f"{keys.WORKER}resident-echo-1", "state") == b"busy"


def test_a_settle_that_is_sent_twice_is_harmless(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.settle(claim)
    before = desk.snapshot()
    assert desk.settle(claim, reply=b"another", outcome=Outcome.FAILED) == [SettleCode.LOST]
    assert desk.snapshot() == before
    assert desk.counts() == {"lost": 1}


def test_a_worker_that_lost_its_lease_writes_nothing(desk: Desk, other: Desk) -> None:
    desk.ask("a")
    lost = desk.claim()
    desk.scripts.release([("a", lost.jobs[0].execution)])
    held = other.claim()
    before = desk.snapshot()
    assert desk.settle(lost, reply=b"too late") == [SettleCode.LOST]
    mine = f"{keys.WORKER}resident-echo-1"
    assert desk.connection.hgetall(mine) == {b"state": b"idle"}
    assert desk.snapshot() | {mine: b""} == before | {mine: b""}
    assert other.settle(held, reply=b"in time") == [SettleCode.SETTLED]
    assert desk.connection.lrange(keys.reply("a"), 0, -1) == [b"in time"]


def test_of_a_batch_those_whose_leases_are_held_are_settled(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id)
    claim = desk.claim()
    desk.connection.zrem(ECHO.leases, f"b:{claim.jobs[1].execution}")
    assert desk.settle(claim) == [SettleCode.SETTLED, SettleCode.LOST, SettleCode.SETTLED]
    assert desk.connection.exists(*map(keys.reply, "abc")) == 2
    assert desk.job("b")["status"] == "started"


def test_a_job_with_ttl_0_leaves_nothing_but_its_reply(desk: Desk) -> None:
    before = desk.snapshot()
    desk.ask("a")
    desk.settle(desk.claim(), ttl_s=0)
    left = set(desk.snapshot()) - set(before)
    assert left == {keys.reply("a"), keys.QUEUES, f"{keys.WORKER}resident-echo-1"}


@pytest.mark.parametrize(("outcome", "score"), [(Outcome.FINISHED, float("inf")), (2, -1)])
def test_a_job_with_ttl_minus_1_is_kept_for_ever(outcome: int, score: float, desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), ttl_s=-1, outcome=Outcome(outcome))
    assert desk.connection.ttl(f"{keys.JOB}a") == -1
    assert desk.connection.ttl(keys.results("a")) == -1
    registry = ECHO.finished if outcome == 1 else ECHO.failed
    assert desk.connection.zscore(registry, "a") == score


def test_a_failed_job_is_in_rqs_failed_registry_with_its_traceback(desk: Desk) -> None:
    desk.ask("a")
    desk.settle(desk.claim(), outcome=Outcome.FAILED, ttl_s=60, result=b"eJxLBAAAYgBi")
    job = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    assert job.is_failed
    assert job.latest_result().exc_string == "a"
    assert desk.connection.zrange(ECHO.failed, 0, -1) == [b"a"]
    assert desk.connection.hget(f"{keys.WORKER}resident-echo-1", "failed_job_count") == b"1"


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


def test_a_settle_that_redis_has_no_memory_for_changes_nothing_and_works_later(
    desk: Desk, full: Any
) -> None:
    for job_id in "ab":
        desk.ask(job_id)
    claim = desk.claim(1)
    before = desk.snapshot()
    full.fill()
    with pytest.raises(ResponseError, match="maxmemory"):
        desk.settle(claim)
    full.free()
    assert desk.snapshot() == before
    assert desk.settle(claim) == [SettleCode.SETTLED]
    assert desk.connection.llen(keys.reply("a")) == 1


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
    record = f"{keys.PREFIX}:execution:a:{job.execution}"
    desk.connection.hincrby(record, "deadline_ms", -3000)
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
    desk.connection.hset(f"{keys.PREFIX}:execution:a:{job.execution}", "deadline_ms", 1)
    assert desk.scripts.release([("a", job.execution)]) == 0
    assert desk.waiting() == []
    assert not desk.connection.exists(f"{keys.JOB}a")
    assert desk.counts() == {"expired": 1}


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


# announce


def test_a_task_is_announced_until_its_last_worker_takes_leave(desk: Desk, other: Desk) -> None:
    assert other.announce(question_type="str") == 2
    assert desk.connection.hget(ECHO.announcement, "question_type") == b"str"
    assert desk.connection.zrange(keys.TASKS, 0, -1) == [b"echo"]
    assert desk.announce(0) == 1
    assert desk.connection.exists(ECHO.announcement) == 1
    assert other.announce(0) == 0
    assert desk.connection.keys() == []


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
      for i = 1, #ARGV, 2 do at = i; local _, _, stamp = clock(); stamps[#stamps + 1] = stamp end
      return stamps"""
    script = f"local at\n{fake}\n{source_of('clock')}\n{each}"
    args = [part for one in moments for part in (int(one.timestamp()), one.microsecond)]
    stamps = connection.eval(script, 0, *args)
    assert [stamp.decode() for stamp in stamps] == [
        one.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for one in moments
    ]


def test_seconds_and_microseconds_are_redis_own(connection: Redis) -> None:
    s, us, stamp = connection.eval(f"{source_of('clock')} return {{clock()}}", 0)
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


def test_every_key_is_under_rqs_prefix_or_our_own(processes: Processes, connection: Redis) -> None:
    processes.start_worker("echo", RQ_KEY_PREFIX="shop")
    caller = processes.start(sys.executable, "-c", ASK_UNDER_PREFIX, RQ_KEY_PREFIX="shop")
    output, errors = caller.communicate(timeout=20)
    assert json.loads(output) == ["?", ["echo"]], errors
    found = {key.decode().partition(":")[0] for key in connection.scan_iter()}
    assert found == {"shop", "resident"}
    wait_until(lambda: connection.hget("shop:job:a", "status") == b"finished")
    assert connection.zrange("shop:finished:echo", 0, -1) == [b"a"]
