"""Questions that callers hand to an idle worker: what ask.lua does with an offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.suspension import suspend

from resident import keys
from resident.asking import AskCode, Asked
from resident.ear import Ear
from resident.settlement import SettleCode
from tests.support.lua import BUDGET_MS, DATA, ECHO, TEN_YEARS_MS, Desk, Full, offer, offered
from tests.support.waiting import wait_until

QUEUED = Asked(AskCode.QUEUED, 0, 0)
MAILBOX = f"resident:mailbox:{'a' * 32}"


def test_a_question_that_finds_an_offer_goes_to_its_worker_and_not_on_the_queue(
    desk: Desk, ear: Ear
) -> None:
    assert desk.ask("a", is_new=True) == QUEUED
    assert desk.waiting() == []
    handed = ear.wait(5)
    assert handed
    (job,) = handed.jobs
    assert (job.id, job.data, handed.left_ms, job.by_hash) == ("a", DATA, BUDGET_MS, b"")
    assert job.enqueued_at == b""  # it did not wait
    assert desk.scripts.executions() == [("a", job.execution)]
    assert desk.settle(handed, by_hash=False) == [SettleCode.SETTLED]
    assert desk.connection.lpop(keys.reply("a")) == b"reply"
    assert offered(desk)


def test_a_handed_question_may_have_line_ends(desk: Desk, ear: Ear) -> None:
    data = DATA.replace(b",", b",\n\n")
    desk.ask("a", data=data)
    handed = ear.wait(5)
    assert handed
    assert [job.data for job in handed.jobs] == [data]


def test_a_handed_question_stands_in_the_books_as_a_claimed_one_does(desk: Desk, ear: Ear) -> None:
    desk.ask("handed", reply_to=MAILBOX)
    handed = ear.wait(5)
    assert handed
    desk.ask("claimed", reply_to=MAILBOX)
    claim = desk.claim()
    own = {"enqueued_at", "created_at", "started_at", "last_heartbeat", "execution"}
    one, other = (
        {name: value for name, value in desk.job(job_id).items() if name not in own}
        for job_id in ("handed", "claimed")
    )
    assert one == other
    assert desk.job("handed").keys() == desk.job("claimed").keys()
    scores = dict(desk.connection.zrange(ECHO.started, 0, -1, withscores=True))
    assert max(scores.values()) - min(scores.values()) <= 1
    assert len(scores) == 2
    registry = StartedJobRegistry("echo", desk.connection, serializer=JSONSerializer)
    assert sorted(registry.get_job_ids()) == ["claimed", "handed"]
    for job_id in ("handed", "claimed"):
        moved_ms = desk.connection.pttl(f"{keys.JOB}{job_id}") - TEN_YEARS_MS
        assert BUDGET_MS - 1000 < moved_ms <= BUDGET_MS
    (told,), (read,) = handed.jobs, claim.jobs
    assert float(handed.started) <= float(claim.started)
    for name in set(told.__struct_fields__) - own - {"id"}:
        assert getattr(told, name) == getattr(read, name), name
    assert desk.settle(handed) == desk.settle(claim) == [SettleCode.SETTLED]


def test_an_offer_is_taken_again_when_what_was_handed_over_is_settled(desk: Desk, ear: Ear) -> None:
    desk.ask("a")
    desk.ask("b")
    assert desk.waiting() == ["b"]
    desk.connection.delete(ECHO.queue)
    handed = ear.wait(5)
    assert handed
    desk.settle(handed)
    desk.ask("c")
    again = ear.wait(5)
    assert again
    assert [job.id for job in again.jobs] == ["c"]
    assert again.jobs[0].execution > handed.jobs[0].execution


@pytest.mark.parametrize("kept", [True, False])
def test_a_handed_question_of_a_long_budget_expires_by_itself_until_a_tick(
    kept: bool, desk: Desk, ear: Ear
) -> None:
    """As a claim has it: a supervised worker's keep_ms is short."""
    number = 3_000 if kept else 10
    words = desk.connection.hget(ECHO.announcement, "offer").split()
    desk.connection.hset(
        ECHO.announcement, "offer", b" ".join([*words[:2], b"%d" % number, words[3]])
    )
    desk.ask("a", 2_000)
    ttl_ms = desk.connection.pttl(f"{keys.JOB}a")
    assert (ttl_ms > TEN_YEARS_MS) is kept


def test_no_offer_makes_rq_believe_in_an_execution_for_more_than_a_year(
    desk: Desk, ear: Ear
) -> None:
    token, _, keep_ms, name = desk.connection.hget(ECHO.announcement, "offer").split()
    desk.connection.hset(ECHO.announcement, "offer", b" ".join([token, b"9" * 20, keep_ms, name]))
    desk.ask("a")
    s, _ = desk.connection.time()
    [(_, expiry_s)] = desk.connection.zrange(ECHO.started, 0, -1, withscores=True)
    assert 0 < expiry_s - s <= 365 * 86_400


def test_a_question_whose_worker_does_not_listen_any_more_is_on_the_queue_as_any(
    desk: Desk, ear: Ear
) -> None:
    ear.close()
    wait_until(lambda: not desk.connection.pubsub_channels())
    assert desk.ask("a", is_new=True) == QUEUED
    assert desk.waiting() == ["a"]
    assert "a" not in dict(desk.scripts.executions())
    assert not offered(desk)  # nobody else is to try in vain
    job = desk.job("a")
    assert job["status"] == "queued"
    assert not {"execution", "started_at", "worker_name", "last_heartbeat"} & job.keys()
    assert 0 < desk.connection.pttl(f"{keys.JOB}a") <= BUDGET_MS
    (read,) = desk.claim().jobs
    assert (read.id, read.by_hash) == ("a", b"")  # claim_plain.lua took it


def test_lanes_that_are_said_to_hold_less_than_nothing_keep_no_offer_from_being_taken(
    desk: Desk, ear: Ear
) -> None:
    desk.connection.hset(ECHO.announcement, "laned", -5)
    desk.ask("a")
    assert ear.wait(5)


def test_what_is_handed_over_is_an_execution_that_comes_behind_all_claimed_ones(
    desk: Desk, ear: Ear
) -> None:
    desk.ask("handed")
    desk.scripts._claim._count = 0xEFFF_FFFF_FFFF - 1
    desk.ask("claimed")
    (job,) = desk.claim().jobs
    (handed, _), (claimed, execution) = reversed(desk.scripts.executions())
    assert (handed, claimed, execution) == ("handed", "claimed", job.execution)


def another_runs(desk: Desk) -> None:
    desk.connection.zadd(ECHO.started, {"running:execution": 1e12})


def the_registry_is_none(desk: Desk) -> None:
    desk.connection.set(ECHO.started, "junk")


def another_waits(desk: Desk) -> None:
    desk.connection.rpush(ECHO.queue, "waiting")


def another_is_popped(desk: Desk) -> None:
    desk.connection.rpush(ECHO.popped, "popped")


def another_waits_in_a_lane(desk: Desk) -> None:
    desk.connection.hset(ECHO.announcement, "laned", 1)


def workers_are_suspended(desk: Desk) -> None:
    suspend(desk.connection)


def the_offer_is_junk(desk: Desk) -> None:
    desk.connection.hset(ECHO.announcement, "offer", "come on in now")


@pytest.mark.parametrize(
    "condition",
    [
        another_runs,
        the_registry_is_none,
        another_waits,
        another_is_popped,
        another_waits_in_a_lane,
        workers_are_suspended,
        the_offer_is_junk,
    ],
)
def test_an_offer_is_not_taken_out_of_turn(
    condition: Callable[[Desk], None], desk: Desk, ear: Ear
) -> None:
    condition(desk)
    assert desk.ask("a", is_new=True) == QUEUED
    assert desk.waiting()[-1] == "a"
    assert offered(desk)
    assert ear.heard() is None


@pytest.mark.parametrize(
    "unusual",
    [
        {"lane": "high"},
        {"lane": "normal:shop"},
        {"is_streamed": True},
        {"reply_to": MAILBOX, "is_streamed": True},
    ],
)
def test_an_unusual_question_is_for_the_queue(
    unusual: dict[str, Any], desk: Desk, ear: Ear
) -> None:
    desk.ask("a", **unusual)
    assert desk.waiting() == ["a"]
    assert offered(desk)


def test_a_question_that_is_refused_takes_no_offer_and_leaves_nothing(desk: Desk, ear: Ear) -> None:
    desk.announce(model_ms=900)
    before = desk.snapshot()
    assert desk.ask("a", 800) == Asked(AskCode.TOO_LATE, 900, 800)
    assert desk.snapshot() == before


def test_a_full_redis_refuses_before_anything_is_handed_over(
    desk: Desk, ear: Ear, full: Full
) -> None:
    before = desk.snapshot()
    full.fill()
    with pytest.raises(OutOfMemoryError):
        desk.ask("a", is_new=True)
    full.free()
    assert desk.snapshot() == before
    assert ear.heard() is None


def test_who_asks_with_the_same_id_joins_what_was_handed_over(desk: Desk, ear: Ear) -> None:
    desk.ask("a")
    offer(desk)
    assert desk.ask("a", BUDGET_MS + 1000) == Asked(AskCode.JOINED, 0, 0)
    assert offered(desk)
    handed = ear.wait(5)
    assert handed
    assert handed.jobs[0].by_hash == b"1"
    assert desk.settle(handed) == [SettleCode.SETTLED]
    assert desk.ask("a") == Asked(AskCode.ANSWERED, 0, 0)


def test_what_was_handed_to_a_worker_that_died_goes_back_to_the_queue(
    desk: Desk, other: Desk, ear: Ear
) -> None:
    desk.ask("a")
    assert other.scripts.release(desk.scripts.executions()) == 1
    (job,) = other.claim().jobs
    assert job.id == "a"
    handed = ear.wait(5)
    assert handed
    assert desk.settle(handed) == [SettleCode.LOST]


JUNK = [
    b"",
    b"\n" * 8,
    b"x" * 100_000,
    b"nan\n1\na\n%b\n\n\n\n\n[]",
    b"1.000000\n1\na b\n%b\n\n\n\n\n[]",
    b"1.000000\n1\n%b\nffffffffffffffffffffffffffffffff\n\n\n\n\n[]",
    b"1.000000\n-1\na\n%b\n\n\n\n\n[]",
    b"1.000000\n99999999999999999999999\na\n%b\n\n\n\n\n[]",
]


@pytest.mark.parametrize("junk", JUNK)
def test_what_anybody_says_on_the_channel_is_no_question_unless_it_looks_like_one(
    junk: bytes, desk: Desk, ear: Ear
) -> None:
    execution = f"{desk.token}{'0' * 20}".encode()
    desk.connection.publish(keys.hand(desk.token), junk.replace(b"%b", execution))
    assert ear.wait(5) is None
    desk.ask("a")
    handed = ear.wait(5)
    assert handed
    assert handed.jobs[0].id == "a"


def test_a_question_that_only_somebody_says_is_answered_by_nobody(desk: Desk, ear: Ear) -> None:
    before = desk.snapshot()
    forged = b"1.000000\n1000\nforged\n%b%b\n\n\n\n\n%b" % (desk.token.encode(), b"0" * 20, DATA)
    desk.connection.publish(keys.hand(desk.token), forged)
    handed = ear.wait(5)
    assert handed
    assert desk.settle(handed, by_hash=False) == [SettleCode.LOST]
    assert desk.snapshot() == before


def test_an_ear_hears_of_the_queue_too(desk: Desk, ear: Ear) -> None:
    desk.ask("a", is_streamed=True)
    assert ear.wait(5) is None
    assert ear.has_popped
    assert desk.connection.lrange(ECHO.popped, 0, -1) == [b"a"]


def test_an_ear_takes_no_second_id_off_the_queue_before_the_first_is_claimed(
    desk: Desk, ear: Ear
) -> None:
    for job_id in "ab":
        desk.ask(job_id, is_streamed=True)
    assert ear.wait(5) is None
    assert ear.wait(5) is None
    assert desk.connection.lrange(ECHO.popped, 0, -1) == [b"a"]
    assert desk.waiting() == ["b"]


def test_an_ear_that_a_full_redis_refused_hears_of_the_queue_again(
    desk: Desk, ear: Ear, full: Full
) -> None:
    full.fill()
    with pytest.raises(OutOfMemoryError):
        ear.wait(5)
    full.free()
    desk.ask("a", is_streamed=True)
    assert ear.wait(5) is None
    assert ear.has_popped


def test_an_ear_waits_no_longer_than_it_is_told(desk: Desk, ear: Ear) -> None:
    assert ear.wait(0.05) is None
    assert not ear.has_popped
    desk.ask("a")
    assert ear.wait(5)


def test_a_caller_who_may_not_publish_asks_by_the_queue(
    desk: Desk, ear: Ear, connection: Redis
) -> None:
    connection.execute_command("ACL", "SETUSER", "default", "resetchannels")
    try:
        desk.ask("a")
        assert desk.waiting() == ["a"]
    finally:
        connection.execute_command("ACL", "SETUSER", "default", "allchannels")


@pytest.mark.parametrize("command", ["zadd", "publish"])
def test_a_caller_who_may_not_run_all_of_it_asks_by_the_queue(
    command: str, desk: Desk, ear: Ear, connection: Redis
) -> None:
    connection.execute_command("ACL", "SETUSER", "default", f"-{command}")
    try:
        desk.ask("a")
    finally:
        connection.execute_command("ACL", "SETUSER", "default", "+@all")
    assert desk.waiting() == ["a"]
    assert desk.job("a")["status"] == "queued"
    assert not connection.exists(ECHO.started)


def test_an_ear_that_may_not_listen_says_so(desk: Desk, connection: Redis) -> None:
    connection.execute_command("ACL", "SETUSER", "default", "resetchannels")
    deaf = Ear(connection, "echo", desk.token)
    try:
        with pytest.raises(ResponseError, match="permission"):
            deaf.open()
    finally:
        connection.execute_command("ACL", "SETUSER", "default", "allchannels")
        deaf.close()


def test_a_lane_forms_behind_an_id_that_is_on_its_way_to_a_worker(desk: Desk) -> None:
    another_is_popped(desk)
    desk.ask("a", lane="low")
    assert desk.waiting() == []
    assert desk.connection.lrange(f"{ECHO.queue}:low", 0, -1) == [b"a"]
    assert [job.id for job in desk.claim().jobs] == ["a"]  # no hash is behind the other
