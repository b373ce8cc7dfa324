"""ask.lua: a question is put on its queue, joined or refused, in one step."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import keys
from resident.asking import AskCode, Asked
from resident.protocol import FAILURE_CALLBACK, SUCCESS_CALLBACK
from tests.support.lua import BUDGET_MS, DATA, ECHO, FAILURE_TTL_S, TEN_YEARS_MS, Desk, Full
from tests.support.rq_side import for_a_reply
from tests.support.waiting import wait_until


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


@pytest.mark.parametrize("moved_ms", [0, TEN_YEARS_MS])
def test_an_id_that_runs_is_joined_and_put_back_for_the_longer_budget(
    moved_ms: int, desk: Desk
) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.pexpire(f"{keys.JOB}a", moved_ms + BUDGET_MS)
    assert desk.ask("a", 60_000).code is AskCode.JOINED
    assert desk.waiting() == []
    left_ms = desk.connection.pttl(f"{keys.JOB}a") - moved_ms
    assert 50_000 < left_ms <= 60_000
    desk.ask("a", 1_000)
    assert desk.connection.pttl(f"{keys.JOB}a") - moved_ms > 50_000
    desk.scripts.release([(one.id, one.execution) for one in claim.jobs])
    assert 50_000 < desk.connection.pttl(f"{keys.JOB}a") <= 60_000


def test_an_id_is_put_back_although_the_budget_of_who_asked_first_is_over(desk: Desk) -> None:
    desk.ask("a")
    claim = desk.claim()
    desk.connection.pexpire(f"{keys.JOB}a", TEN_YEARS_MS - 1_000)  # a second ago
    desk.ask("a")
    assert desk.scripts.release([(one.id, one.execution) for one in claim.jobs]) == 1
    assert 0 < desk.connection.pttl(f"{keys.JOB}a") <= BUDGET_MS


def put_by_hand(desk: Desk, status: str = "queued", **fields: str | bytes) -> None:
    """As the MULTI of docs/protocol.md does: the question that the desk asks, but for these."""
    plain = {"origin": "echo", "data": DATA, "status": status}
    callbacks = {
        "success_callback_name": SUCCESS_CALLBACK,
        "failure_callback_name": FAILURE_CALLBACK,
    }
    desk.connection.hset(f"{keys.JOB}a", mapping={**plain, **callbacks, **fields})


@pytest.mark.parametrize("status", ["queued", "started"])
def test_a_question_that_was_put_there_by_hand_is_joined(status: str, desk: Desk) -> None:
    put_by_hand(desk, status)
    assert desk.ask("a").code is AskCode.JOINED
    desk.connection.rpush(keys.reply("a"), "its reply")
    assert desk.ask("a").code is AskCode.ANSWERED


@pytest.mark.parametrize(
    "other",
    [
        {"origin": "faq"},
        {"data": DATA.replace(b"?", b"!")},
        {"success_callback_name": ""},
        {"failure_callback_name": "tasks.echo.failed"},
        {"reply_to": keys.mailbox("a" * 32)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_others_put_under_an_id_is_not_joined_if_it_is_not_the_question(
    other: dict[str, str | bytes], desk: Desk
) -> None:
    put_by_hand(desk, **other)
    assert desk.ask("a").code is AskCode.CONFLICT
    desk.connection.rpush(keys.reply("a"), "the reply to that")
    assert desk.ask("a").code is AskCode.CONFLICT


def test_what_rq_enqueued_under_an_id_is_not_joined(desk: Desk) -> None:
    queue = Queue("echo", connection=desk.connection, serializer=JSONSerializer)
    queue.enqueue("tasks.echo.answer", "another", job_id="a", **for_a_reply())
    assert desk.ask("a").code is AskCode.CONFLICT
    assert desk.waiting() == ["a"]


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


def test_a_question_without_a_budget_has_none_when_it_is_joined(desk: Desk) -> None:
    desk.ask("a")
    desk.connection.persist(f"{keys.JOB}a")
    assert desk.ask("a").code is AskCode.JOINED
    assert desk.connection.pttl(f"{keys.JOB}a") == -1


def test_what_was_asked_is_known_as_long_as_the_longest_budget_of_those_who_ask(
    desk: Desk,
) -> None:
    desk.ask("a", 5_000)
    before = desk.connection.pttl(keys.asked("a"))
    assert before > 2 * 3_600_000  # the model may take long
    desk.ask("a", 3_600_000)
    assert desk.connection.pttl(keys.asked("a")) > before + 3_500_000


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


@pytest.mark.parametrize("trace", [{}, {"birth": "then", "death": "now"}], ids=["none", "death"])
def test_a_stock_rq_worker_that_is_gone_does_not_count(
    trace: dict[str, str], connection: Redis, other: Desk
) -> None:
    connection.sadd(f"{keys.PREFIX}:workers:echo", f"{keys.WORKER}gone")
    if trace:
        connection.hset(f"{keys.WORKER}gone", mapping=trace)
    assert other.ask("a").code is AskCode.NO_WORKER


def test_rq_knows_the_queue_that_only_a_stock_worker_serves(connection: Redis, other: Desk) -> None:
    connection.sadd(f"{keys.PREFIX}:workers:echo", f"{keys.WORKER}stock")
    connection.hset(f"{keys.WORKER}stock", "birth", "now")
    assert other.ask("a").code is AskCode.QUEUED
    assert Queue.all(connection) == [Queue("echo", connection)]


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


@pytest.mark.parametrize("has_common", [True, False])
@pytest.mark.parametrize("lane", ["", "high:shop"])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_full_redis_refuses_a_question_whatever_is_in_its_way(
    is_new: bool, lane: str, has_common: bool, desk: Desk, full: Full
) -> None:
    """A DEL needs no memory, and behind it Redis would refuse no write of the script."""
    if not is_new:  # it has ended, and its reply was read
        desk.ask("a")
        desk.settle(desk.claim())
        desk.connection.delete(keys.reply("a"))
    desk.ask("before", is_new=True)  # a lane is taken only behind another
    if not has_common:
        desk.connection.delete(keys.common("echo", FAILURE_TTL_S))
    before = desk.snapshot()
    full.fill()
    with pytest.raises(ResponseError, match="maxmemory"):
        desk.ask("a", is_new=is_new, lane=lane)
    full.free()
    assert desk.snapshot() == before


@pytest.mark.parametrize("reply_to", ["", f"resident:mailbox:{'a' * 32}"], ids=["list", "mailbox"])
def test_a_second_try_joins_the_first_whatever_rq_made_of_it(reply_to: str, desk: Desk) -> None:
    """A client's own id, which nobody else has: the answer to the first try was lost."""
    desk.ask("a", is_new=True, reply_to=reply_to)
    job = f"{keys.JOB}a"
    desk.connection.hset(job, "data", zlib.compress(desk.connection.hget(job, "data")))
    assert desk.ask("a", reply_to=reply_to).code is AskCode.JOINED
    assert desk.waiting() == ["a"]
