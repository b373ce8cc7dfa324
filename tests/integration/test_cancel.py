"""A question that its caller takes back."""

from __future__ import annotations

import json

import pytest
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import asking, keys, replies
from resident.asking import AskCode, CancelCode, Priority, lane_of
from resident.settlement import SettleCode
from tests.support.lua import ECHO, Desk, offer, offered


def cancel(desk: Desk, job_id: str, token: str = "") -> CancelCode:
    return asking.cancel(desk.link, job_id, 60_000, token=token)


def codes(desk: Desk, job_id: str) -> list[str]:
    replies = map(json.loads, desk.connection.lrange(keys.reply(job_id), 0, -1))
    return [reply["error"]["code"] for reply in replies]


def test_what_waits_is_taken_off_the_queue_and_the_books(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    desk.ask("b")
    assert cancel(desk, "a") is CancelCode.NEVER_RUNS
    assert desk.waiting() == ["b"]
    assert not desk.connection.exists(f"{keys.JOB}a")
    assert codes(desk, "a") == ["cancelled"]
    assert 0 < desk.connection.pttl(keys.reply("a")) <= 60_000


def test_the_answer_to_what_runs_is_dropped(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    desk.ask("b")
    claim = desk.claim()
    assert cancel(desk, "a") is CancelCode.DROPPED
    assert desk.settle(claim) == [SettleCode.SETTLED, SettleCode.SETTLED]
    assert codes(desk, "a") == ["cancelled"]
    assert desk.connection.lrange(keys.reply("b"), 0, -1) == [b"reply"]
    assert not desk.connection.zcard(ECHO.started)
    assert 0 < desk.connection.pttl(f"{keys.JOB}a") <= 60_000
    assert not desk.connection.zscore(ECHO.finished, "a")


@pytest.mark.usefixtures("judged")
def test_what_runs_and_is_cancelled_is_told_so_once_although_its_worker_answers_at_once(
    desk: Desk,
) -> None:
    desk.announce()
    desk.ask("a", is_new=True)
    claim = desk.claim()
    assert cancel(desk, "a") is CancelCode.DROPPED
    assert not desk.connection.zcard(ECHO.started)
    desk.settle(claim)
    assert desk.connection.llen(keys.reply("a")) == 1
    assert codes(desk, "a") == ["cancelled"]


def test_who_runs_what_is_cancelled_is_handed_nothing_meanwhile(desk: Desk) -> None:
    """The registry says no longer that it has something to do."""
    desk.announce()
    desk.ask("a")
    assert desk.claim().jobs
    offer(desk)
    cancel(desk, "a")
    assert not offered(desk)


def test_what_runs_and_is_cancelled_is_not_put_back(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    (job,) = desk.claim().jobs
    cancel(desk, "a")
    assert desk.scripts.release([("a", job.execution)]) == 0
    assert desk.waiting() == []


def test_a_stock_worker_does_not_answer_what_was_cancelled_while_it_ran(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    desk.connection.hset(f"{keys.JOB}a", "status", "started")
    assert cancel(desk, "a") is CancelCode.DROPPED
    job = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    replies.deliver(job, desk.connection, "too late")
    assert codes(desk, "a") == ["cancelled"]


def test_a_stock_worker_does_not_answer_what_was_asked_anew_while_it_ran(desk: Desk) -> None:
    desk.announce()
    runs = []
    for _ in range(2):
        desk.ask("a")
        desk.connection.hset(f"{keys.JOB}a", "status", "started")
        runs.append(Job.fetch("a", desk.connection, serializer=JSONSerializer))
        cancel(desk, "a")
    desk.ask("a")
    for run in runs:
        replies.deliver(run, desk.connection, "too late")
        replies.deliver_error(run, desk.connection, ValueError, ValueError(), None)
    assert desk.connection.lrange(keys.reply("a"), 0, -1) == []
    last = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    replies.deliver(last, desk.connection, "in time")
    (reply,) = map(json.loads, desk.connection.lrange(keys.reply("a"), 0, -1))
    assert reply["answer"] == "in time"


def test_a_stock_worker_does_not_answer_what_another_one_runs_by_now(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    job = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    job.worker_name = "old"
    desk.connection.hset(f"{keys.JOB}a", "worker_name", "new")
    replies.deliver(job, desk.connection, "too late")
    assert not desk.connection.exists(keys.reply("a"))


def test_a_stock_worker_does_not_answer_what_is_gone_by_now(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    job = Job.fetch("a", desk.connection, serializer=JSONSerializer)
    cancel(desk, "a")
    desk.connection.hset(f"{keys.JOB}a", "last_heartbeat", "now")  # as RQ does to what is gone
    replies.deliver(job, desk.connection, "too late")
    assert codes(desk, "a") == ["cancelled"]


def test_what_has_ended_or_never_was_cannot_be_cancelled(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    desk.settle(desk.claim())
    before = desk.snapshot()
    assert cancel(desk, "a") is CancelCode.NOTHING
    assert cancel(desk, "nobody") is CancelCode.NOTHING
    assert desk.snapshot() == before


def test_a_second_cancel_finds_nothing(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    desk.ask("b")
    desk.claim(1)
    assert [cancel(desk, job_id) for job_id in "aabb"] == [
        *(CancelCode.DROPPED, CancelCode.NOTHING, CancelCode.NEVER_RUNS, CancelCode.NOTHING)
    ]
    assert codes(desk, "a") == codes(desk, "b") == ["cancelled"]


def test_a_call_that_is_sent_again_is_told_what_it_did_and_does_no_more(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    desk.ask("b")
    desk.claim(1)
    for job_id, code in (("a", CancelCode.DROPPED), ("b", CancelCode.NEVER_RUNS)):
        assert [cancel(desk, job_id, "1f" * 16) for _ in range(2)] == [code, code]
        assert cancel(desk, job_id, "2f" * 16) is CancelCode.NOTHING
        assert codes(desk, job_id) == ["cancelled"]
        assert 0 < desk.connection.pttl(keys.cancelled(job_id)) <= 60_000
        desk.ask(job_id)
        assert cancel(desk, job_id, "1f" * 16) is code
        assert desk.job(job_id)["status"] == "queued"
        desk.connection.delete(keys.cancelled(job_id))
        desk.connection.rpush(keys.cancelled(job_id), "junk")
        assert cancel(desk, job_id, "1f" * 16) is CancelCode.NEVER_RUNS


def test_a_cancelled_id_may_be_asked_again(desk: Desk) -> None:
    desk.announce()
    for is_claimed in (False, True):
        desk.ask("a")
        old = desk.claim() if is_claimed else None
        cancel(desk, "a")
        assert desk.ask("a").code is AskCode.QUEUED
        if old:
            assert desk.settle(old) == [SettleCode.LOST]
        assert desk.settle(desk.claim()) == [SettleCode.SETTLED]
        assert desk.connection.lrange(keys.reply("a"), 0, -1) == [b"reply"]
        desk.connection.delete(keys.reply("a"))


def test_what_waits_in_a_lane_is_taken_off_it(desk: Desk) -> None:
    desk.announce()
    for job_id, lane in (("a", ""), ("b", lane_of(Priority.LOW, "t")), ("c", lane_of(tenant="t"))):
        desk.ask(job_id, lane=lane)
    assert cancel(desk, "b") is CancelCode.NEVER_RUNS
    assert cancel(desk, "a") is CancelCode.NEVER_RUNS
    assert desk.waiting() == ["c"]  # else a worker that waits would not see it
    assert [job.id for job in desk.claim().jobs] == ["c"]


def test_the_reply_goes_to_the_mailbox_that_the_question_named(desk: Desk) -> None:
    desk.announce()
    mailbox = f"resident:mailbox:{'0' * 32}"
    desk.ask("a", reply_to=mailbox)
    cancel(desk, "a")
    assert desk.connection.llen(mailbox) == 1
    assert not desk.connection.exists(keys.reply("a"))
