"""Who cannot be served in time learns it at the door, or at the latest when it is claimed."""

from __future__ import annotations

import json

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from resident import keys
from resident.asking import AskCode, Asked, Priority, lane_of
from tests.support.lua import ECHO, TEN_YEARS_MS, Desk


def announce(desk: Desk, rate: float, **description: float) -> None:
    desk.scripts.announce(60_000, {"max_backlog": 1_000, **description}, rate)


def test_an_answer_that_would_come_too_late_is_refused_and_nothing_is_written(desk: Desk) -> None:
    announce(desk, 10.0, model_ms=50)
    for number in range(10):
        assert desk.ask(f"id-{number}", budget_ms=5_000).code is AskCode.QUEUED
    before = desk.snapshot()
    asked = desk.ask("late", budget_ms=1_000)
    assert asked.code is AskCode.TOO_LATE
    assert (asked.waiting, asked.limit) == (1_100, 1_000)  # 10 that wait, at 10 a second, and two
    assert desk.snapshot() == before
    assert desk.ask("patient", budget_ms=1_200).code is AskCode.QUEUED


def test_where_nothing_waits_only_the_model_itself_can_be_too_slow(desk: Desk) -> None:
    announce(desk, 10.0, model_ms=300)
    assert desk.ask("a", budget_ms=299).code is AskCode.TOO_LATE
    assert desk.ask("a", budget_ms=300).code is AskCode.QUEUED


def test_a_pace_that_is_not_known_refuses_nobody(desk: Desk) -> None:
    announce(desk, 0.0)
    for number in range(500):
        assert desk.ask(f"id-{number}", budget_ms=1).code is AskCode.QUEUED


def test_high_priority_is_not_refused_for_what_it_overtakes(desk: Desk) -> None:
    announce(desk, 1.0)
    for number in range(5):
        desk.ask(f"id-{number}", budget_ms=60_000)
    assert desk.ask("urgent", 1_000, lane=lane_of(Priority.HIGH)).code is AskCode.QUEUED


def test_a_tenant_is_not_refused_for_what_waits_of_another(desk: Desk) -> None:
    announce(desk, 10.0, model_ms=50)
    big, small = lane_of(Priority.NORMAL, "big"), lane_of(Priority.NORMAL, "small")
    desk.ask("first", 60_000)
    for number in range(50):
        desk.ask(f"big-{number}", 60_000, lane=big)
    # In front of it a turn of the queue's and one of the other's; in front of the next big one all.
    assert desk.ask("small", 300, lane=small).code is AskCode.QUEUED
    assert desk.ask("big", 5_299, lane=big) == Asked(AskCode.TOO_LATE, 5_300, 5_299)
    assert desk.ask("plain", 600).code is AskCode.QUEUED  # two turns of three, its own the last
    assert [job.id for job in desk.claim(3).jobs] == ["first", "big-0", "small"]


def test_a_tenant_waits_for_its_own_and_for_what_is_high(desk: Desk) -> None:
    announce(desk, 10.0, model_ms=50)
    small, low = lane_of(Priority.NORMAL, "small"), lane_of(Priority.LOW)
    desk.ask("first", 60_000)
    for number in range(5):
        desk.ask(f"high-{number}", 60_000, lane=lane_of(Priority.HIGH))
        desk.ask(f"low-{number}", 60_000, lane=low)
    assert desk.ask("a", 699, lane=small) == Asked(AskCode.TOO_LATE, 700, 699)
    assert desk.ask("a", 700, lane=small).code is AskCode.QUEUED
    assert desk.ask("b", 799, lane=small) == Asked(AskCode.TOO_LATE, 900, 799)
    assert desk.ask("low", 1_299, lane=low) == Asked(AskCode.TOO_LATE, 1_300, 1_299)


def test_rates_of_all_workers_add_up_and_go_with_them(desk: Desk, other: Desk) -> None:
    announce(desk, 10.0)
    announce(other, 30.0)
    assert float(desk.connection.hget(ECHO.announcement, "rate")) == 40
    other.scripts.announce(0, {})
    announce(desk, 10.0)
    assert float(desk.connection.hget(ECHO.announcement, "rate")) == 10
    desk.scripts.announce(0, {})
    assert not desk.connection.exists(ECHO.announcement, ECHO.rates)


def test_a_worker_that_cannot_tell_its_rate_makes_the_sum_unknown(desk: Desk, other: Desk) -> None:
    announce(desk, 10.0)
    announce(other, 0.0)
    assert float(desk.connection.hget(ECHO.announcement, "rate")) == 0


@pytest.mark.parametrize(("left_ms", "is_claimed"), [(400, False), (4_000, True)])
def test_a_question_with_too_little_time_left_is_answered_at_once_and_never_run(
    desk: Desk, left_ms: int, is_claimed: bool
) -> None:
    desk.announce()
    desk.ask("a", budget_ms=left_ms)
    desk.scripts.least_ms = 2_000
    assert bool(desk.claim().jobs) is is_claimed
    if is_claimed:
        return
    (reply,) = map(json.loads, desk.connection.lrange(keys.reply("a"), 0, -1))
    assert (reply["id"], reply["error"]["code"]) == ("a", "expired")
    assert desk.connection.pttl(keys.reply("a")) > 0
    assert desk.counts() == {"late": 1}
    assert not desk.connection.exists(f"{keys.JOB}a")


def test_a_job_that_replies_to_nobody_is_run_however_little_time_is_left(desk: Desk) -> None:
    """RQ's ttl says how long it may wait for a worker, not for an answer."""
    queue = Queue("echo", connection=desk.connection, serializer=JSONSerializer)
    job = queue.enqueue("tasks.echo.answer", "quick", ttl=1)
    desk.scripts.least_ms = 2_000
    assert [one.id for one in desk.claim().jobs] == [job.id]
    assert desk.connection.pttl(job.key) > TEN_YEARS_MS
    assert desk.counts() == {}


def test_a_late_question_may_be_asked_again_with_the_same_id(desk: Desk) -> None:
    desk.announce()
    desk.ask("a", budget_ms=400)
    desk.scripts.least_ms = 2_000
    desk.claim()
    assert desk.ask("a", budget_ms=5_000).code is AskCode.QUEUED
    assert [job.id for job in desk.claim().jobs] == ["a"]


def test_a_late_question_makes_room_for_the_next_in_the_same_claim(desk: Desk) -> None:
    desk.announce()
    for job_id, budget_ms in (("late", 400), ("a", 5_000), ("b", 5_000)):
        desk.ask(job_id, budget_ms=budget_ms)
    desk.scripts.least_ms = 2_000
    assert [job.id for job in desk.claim(2).jobs] == ["a", "b"]


def test_another_question_with_the_same_id_is_a_conflict(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    another = b'["tasks.echo.answer",null,["!"],{}]'
    assert desk.ask("a", data=another).code is AskCode.CONFLICT
    claim = desk.claim()
    assert desk.ask("a", data=another).code is AskCode.CONFLICT
    desk.settle(claim)
    assert desk.ask("a", data=another).code is AskCode.CONFLICT
    assert desk.ask("a").code is AskCode.ANSWERED
    desk.connection.delete(keys.reply("a"))  # the reply has expired: it is a new question
    assert desk.ask("a", data=another).code is AskCode.QUEUED


def test_a_conflict_is_seen_although_no_job_is_kept(desk: Desk) -> None:
    desk.announce()
    desk.ask("a")
    desk.settle(desk.claim(), ttl_s=0)
    assert desk.ask("a", data=b"[]").code is AskCode.CONFLICT


@pytest.mark.parametrize("field", ["rate", "model_ms", "laned"])
def test_an_announcement_that_is_no_number_keeps_nobody_out(field: str, desk: Desk) -> None:
    announce(desk, 1.0)
    desk.connection.hset(ECHO.announcement, field, "abc")
    assert desk.ask("a", budget_ms=60_000).code is AskCode.QUEUED
    assert desk.waiting() == ["a"]


def test_of_very_many_that_are_high_only_so_many_are_counted_as_matter(desk: Desk) -> None:
    announce(desk, 10.0)
    desk.ask("first", 60_000)
    for number in range(200):
        desk.ask(f"high-{number}", 60_000, lane=lane_of(Priority.HIGH, f"t{number}"))
        desk.ask(f"more-{number}", 60_000, lane=lane_of(Priority.HIGH, f"t{number}"))
    desk.connection.config_resetstat()
    assert desk.ask("a", 1_000).code is AskCode.TOO_LATE
    used = desk.connection.info("commandstats")
    assert used["cmdstat_llen"]["calls"] < 10
    assert "cmdstat_lrange" not in used  # so many lanes alone are too many
    desk.connection.config_resetstat()
    assert desk.ask("b", 30_000).code is AskCode.TOO_LATE  # 401 are in front of it
    assert desk.connection.info("commandstats")["cmdstat_llen"]["calls"] < 150
    assert desk.ask("c", 40_200).code is AskCode.QUEUED


@pytest.mark.parametrize("index", ["normal", "high"])
@pytest.mark.parametrize("tenant", ["", "small"])
def test_what_others_put_in_the_place_of_lanes_is_no_error_of_who_asks(
    index: str, tenant: str, desk: Desk
) -> None:
    announce(desk, 10.0)
    desk.ask("first", 60_000)
    for number in range(3):
        desk.ask(f"high-{number}", 60_000, lane=lane_of(Priority.HIGH))
    desk.connection.set(f"{ECHO.lanes}:{index}", "junk")
    late = desk.ask("late", 50, lane=lane_of(Priority.NORMAL, tenant))
    assert late.code is AskCode.TOO_LATE


def test_a_lane_that_is_no_list_is_no_error_of_who_asks(desk: Desk) -> None:
    announce(desk, 10.0)
    for number in range(4):
        desk.ask(f"{number}", 60_000, lane=lane_of(Priority.HIGH) if number else "")
    desk.connection.lpush(f"{ECHO.lanes}:high", "high:odd")
    desk.connection.set(f"{ECHO.queue}:high:odd", "junk")
    assert desk.ask("late", 350).code is AskCode.TOO_LATE
