"""delta.lua: one part of an answer goes to its reader once, if there is one."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from resident import keys
from resident.claimed import Claimed, Unusual
from resident.deltas import DeltaCode, Part, send_part
from resident.errors import ErrorCode
from resident.holders import Death, release
from resident.settlement import Outcome
from tests.support.lua import ECHO, Desk, Full

TTL_MS = 60_000


@pytest.fixture
def job(desk: Desk) -> Claimed:
    """A job that the desk's worker holds, and that somebody reads along."""
    desk.ask("a", is_streamed=True)
    desk.connection.set(keys.reading("a"), "1", px=TTL_MS)
    (claimed,) = desk.claim().jobs
    return claimed


def send(desk: Desk, job: Claimed, seq: int, payload: bytes = b"", **changes: Any) -> DeltaCode:
    values = {"reply_key": keys.reply(job.id), "execution": job.execution, **changes}
    part = Part(id=job.id, seq=seq, payload=payload or b"part %d" % seq, **values)
    return send_part(desk.link, part, TTL_MS)


def sent(connection: Redis, job_id: str = "a") -> list[bytes]:
    return connection.lrange(keys.reply(job_id), 0, -1)


def test_a_claim_says_who_reads_along(desk: Desk) -> None:
    desk.ask("a", is_streamed=True, timeout="7")
    desk.ask("b")
    read_along, other = desk.claim().jobs
    assert isinstance(read_along, Unusual)
    assert (read_along.stream, read_along.timeout) == (b"1", b"7")
    assert type(other) is Claimed


def test_parts_come_in_their_order_and_expire_unread(desk: Desk, job: Claimed) -> None:
    assert [send(desk, job, seq) for seq in range(3)] == [DeltaCode.SENT] * 3
    assert sent(desk.connection) == [b"part 0", b"part 1", b"part 2"]
    assert 0 < desk.connection.pttl(keys.reply("a")) <= TTL_MS
    assert desk.job("a")["streamed"] == "3"


def test_a_part_that_is_sent_again_comes_once(desk: Desk, job: Claimed) -> None:
    for seq in (0, 0, 1, 0, 1, 2):
        assert send(desk, job, seq) is DeltaCode.SENT
    assert sent(desk.connection) == [b"part 0", b"part 1", b"part 2"]


def test_parts_that_a_redis_lost_are_not_made_good_in_silence(desk: Desk, job: Claimed) -> None:
    send(desk, job, 0)
    desk.connection.hdel(f"{keys.JOB}a", "streamed")
    assert send(desk, job, 5) is DeltaCode.SENT
    assert sent(desk.connection) == [b"part 0", b"part 5"]


@pytest.mark.parametrize("streamed", ["", "junk", "-1", "nan", "1e9"])
def test_what_is_no_number_of_parts_counts_as_none(streamed: str, desk: Desk, job: Claimed) -> None:
    desk.connection.hset(f"{keys.JOB}a", "streamed", streamed)
    assert send(desk, job, 0) is DeltaCode.SENT
    assert sent(desk.connection) == [b"part 0"]


def test_an_execution_that_lost_the_job_sends_nothing(
    desk: Desk, other: Desk, job: Claimed
) -> None:
    release(desk.link, "echo", desk.name, [(job.id, job.execution)])
    other.claim()
    assert send(desk, job, 0) is DeltaCode.LOST
    assert sent(desk.connection) == []


@pytest.mark.parametrize("spoil", ["delete", "string"])
def test_a_job_that_is_gone_is_lost(spoil: str, desk: Desk, job: Claimed) -> None:
    desk.connection.delete(f"{keys.JOB}a")
    if spoil == "string":
        desk.connection.set(f"{keys.JOB}a", "junk")
    before = desk.snapshot()
    assert send(desk, job, 0) is DeltaCode.LOST
    assert desk.snapshot() == before


def test_a_cancelled_job_sends_nothing(desk: Desk, job: Claimed) -> None:
    desk.connection.hset(f"{keys.JOB}a", "status", "canceled")
    before = desk.snapshot()
    assert send(desk, job, 0) is DeltaCode.CANCELLED
    assert desk.snapshot() == before


def test_without_a_reader_nothing_is_sent(desk: Desk, job: Claimed) -> None:
    assert send(desk, job, 0) is DeltaCode.SENT
    desk.connection.delete(keys.reading("a"))
    before = desk.snapshot()
    assert send(desk, job, 1) is DeltaCode.LEFT
    assert desk.snapshot() == before


def test_what_is_no_list_makes_room_for_the_parts(desk: Desk, job: Claimed) -> None:
    desk.connection.set(keys.reply("a"), "junk")
    assert send(desk, job, 0) is DeltaCode.SENT
    assert sent(desk.connection) == [b"part 0"]


def test_parts_of_a_claimed_question_come_although_redis_is_full(
    desk: Desk, job: Claimed, full: Full
) -> None:
    send(desk, job, 0)
    full.fill()
    assert send(desk, job, 1) is DeltaCode.SENT
    full.free()
    assert sent(desk.connection) == [b"part 0", b"part 1"]


@pytest.mark.parametrize(
    ("death", "verdict"),
    [
        (Death(ErrorCode.CRASHED, 3), "interrupted"),
        (Death(ErrorCode.TIMED_OUT, 1), "timed_out"),
        (None, "interrupted"),
    ],
    ids=["crashed", "timed out", "told to stop"],
)
def test_a_job_whose_reader_has_a_part_is_not_run_again(
    death: Death | None, verdict: str, desk: Desk, other: Desk, job: Claimed
) -> None:
    send(desk, job, 0)
    assert release(desk.link, "echo", desk.name, [(job.id, job.execution)], death) == 1
    (again,) = other.claim().jobs
    assert again.deaths == verdict.encode()
    # Its worker dies, too, before it has reported that.
    release(
        desk.link, "echo", other.name, [(again.id, again.execution)], Death(ErrorCode.CRASHED, 3)
    )
    assert [one.deaths for one in other.claim().jobs] == [verdict.encode()]


def test_before_its_first_part_a_job_is_put_back_as_usual(desk: Desk, job: Claimed) -> None:
    release(desk.link, "echo", desk.name, [(job.id, job.execution)], Death(ErrorCode.CRASHED, 3))
    assert [one.deaths for one in desk.claim().jobs] == [b"1"]


@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.FAILED])
def test_a_job_that_is_settled_may_stream_anew_when_it_is_requeued(
    outcome: Outcome, desk: Desk
) -> None:
    desk.ask("a", is_streamed=True)
    desk.connection.set(keys.reading("a"), "1", px=TTL_MS)
    claim = desk.claim()
    send(desk, claim.jobs[0], 0)
    desk.settle(claim, outcome=outcome)
    assert "streamed" not in desk.job("a")
    assert sent(desk.connection) == [b"part 0", b"reply"]
    desk.connection.hset(f"{keys.JOB}a", "status", "queued")
    desk.connection.rpush(ECHO.queue, "a")
    (again,) = desk.claim().jobs
    assert send(desk, again, 0, b"anew") is DeltaCode.SENT
    assert sent(desk.connection)[-1] == b"anew"
