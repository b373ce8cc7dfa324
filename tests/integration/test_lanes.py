"""Priorities and tenants: who is taken first, and that nobody starves."""

from __future__ import annotations

import pytest
from redis import Redis
from rq import Queue

from resident import keys
from resident.asking import AskCode, Priority, lane_of
from tests.support.lua import ECHO, Desk

HIGH, LOW = Priority.HIGH, Priority.LOW


@pytest.fixture(autouse=True)
def announced(desk: Desk) -> None:
    desk.announce(max_backlog=100_000)


def ask(desk: Desk, job_id: str, priority: Priority = Priority.NORMAL, tenant: str = "") -> AskCode:
    return desk.ask(job_id, lane=lane_of(priority, tenant)).code


def claimed(desk: Desk, most: int = 1) -> list[str]:
    return [job.id for job in desk.claim(most).jobs]


def lanes_left(connection: Redis) -> list[bytes]:
    return sorted(connection.keys(f"{ECHO.lanes}*") + connection.keys(f"{ECHO.queue}:*"))


def test_high_is_taken_before_normal_and_low_after(desk: Desk) -> None:
    ask(desk, "first")
    for number in range(3):
        ask(desk, f"low-{number}", LOW)
        ask(desk, f"normal-{number}")
        ask(desk, f"high-{number}", HIGH)
    order = [job_id for _ in range(10) for job_id in claimed(desk)]
    assert [name.partition("-")[0] for name in order] == [
        *["high"] * 3,
        "first",
        *["normal"] * 3,
        *["low"] * 3,
    ]
    assert order[0] == "high-0"
    assert lanes_left(desk.connection) == []


def test_how_many_wait_in_lanes_is_forgotten_when_none_do_whoever_wrote_it(desk: Desk) -> None:
    desk.connection.hset(ECHO.announcement, "laned", "inf")
    desk.announce()
    assert ask(desk, "first") is AskCode.QUEUED
    ask(desk, "second", HIGH)
    desk.announce()
    assert desk.connection.hget(ECHO.announcement, "laned") == b"1"


def test_tenants_take_turns_so_that_one_question_is_not_behind_thousands(desk: Desk) -> None:
    for number in range(1_000):
        ask(desk, f"loud-{number}", tenant="loud")
    ask(desk, "quiet", tenant="quiet")
    assert "quiet" in claimed(desk, 4)


def test_questions_without_a_tenant_take_their_turn_too(desk: Desk) -> None:
    for number in range(50):
        ask(desk, f"plain-{number}")
    for number in range(50):
        ask(desk, f"loud-{number}", tenant="loud")
    taken = claimed(desk, 20)
    assert sum(name.startswith("plain") for name in taken) == 10


def test_of_three_tenants_each_gets_a_third(desk: Desk) -> None:
    ask(desk, "opening")
    for number in range(30):
        for tenant in "abc":
            ask(desk, f"{tenant}-{number}", tenant=tenant)
    taken = [name[0] for _ in range(6) for name in claimed(desk, 5)]
    assert {tenant: taken.count(tenant) for tenant in "abc"} == {"a": 10, "b": 10, "c": 9}


def test_every_question_is_taken_once_whatever_the_size_of_batches(desk: Desk) -> None:
    asked = set()
    for number in range(120):
        priority = list(Priority)[number % 3]
        ask(desk, f"id-{number}", priority, f"tenant {number % 7}" if number % 2 else "")
        asked.add(f"id-{number}")
    taken = [name for size in (1, 2, 3, 50, 7, 50, 50) for name in claimed(desk, size)]
    assert sorted(taken) == sorted(asked)
    assert lanes_left(desk.connection) == []
    assert not desk.connection.hexists(ECHO.announcement, "laned")


def test_a_worker_that_waits_is_woken_although_a_lane_was_named(desk: Desk) -> None:
    ask(desk, "a", LOW, "somebody")
    assert desk.waiting() == ["a"]  # nothing waited, so there was nothing to overtake


def test_while_lanes_hold_questions_the_queue_is_never_empty(desk: Desk) -> None:
    for number in range(9):
        ask(desk, f"id-{number}", tenant=f"t{number % 2}")
    while lanes_left(desk.connection):
        assert desk.waiting()
        claimed(desk, 2)


def test_lanes_are_found_although_somebody_emptied_the_queue(desk: Desk) -> None:
    for job_id in "abc":
        ask(desk, job_id, tenant="t")
    desk.connection.delete(ECHO.queue)
    assert claimed(desk, 5) == ["b", "c"]


def test_suspended_workers_take_nothing_from_lanes(desk: Desk) -> None:
    for job_id in "abc":
        ask(desk, job_id, HIGH)
    desk.connection.set(keys.SUSPENDED, 1)
    assert desk.claim().suspended
    desk.connection.delete(keys.SUSPENDED)
    assert claimed(desk, 5) == ["b", "c", "a"]


def test_rq_sees_every_waiting_job(desk: Desk) -> None:
    for number in range(4):
        ask(desk, f"id-{number}", HIGH if number % 2 else LOW, "acme")
    queues = Queue.all(connection=desk.connection)
    assert sum(len(queue) for queue in queues) == 4
    assert {queue.name for queue in queues} == {"echo", "echo:high:acme", "echo:low:acme"}


def test_a_lane_that_is_empty_is_no_queue_of_rqs_any_more(desk: Desk) -> None:
    ask(desk, "a")
    ask(desk, "b", HIGH)
    claimed(desk, 5)
    assert desk.connection.smembers(keys.QUEUES) == {b"rq:queue:echo"}


def test_what_waits_in_lanes_counts_for_the_backlog(desk: Desk) -> None:
    desk.announce(max_backlog=3)
    for number in range(3):
        assert ask(desk, f"id-{number}", HIGH) is AskCode.QUEUED
    assert ask(desk, "one too many") is AskCode.OVERLOADED
    assert ask(desk, "two", HIGH) is AskCode.OVERLOADED


def test_what_is_taken_from_lanes_no_longer_counts_for_the_backlog(desk: Desk) -> None:
    ask(desk, "first")
    for number in range(4):
        ask(desk, f"high-{number}", HIGH)
    claimed(desk, 2)
    waiting = desk.connection.llen(ECHO.queue) + desk.connection.llen(f"{ECHO.queue}:high")
    laned = int(desk.connection.hget(ECHO.announcement, "laned") or 0)
    assert laned + desk.connection.llen(ECHO.queue) == waiting == 3


def test_a_claim_from_lanes_announces_no_worker_that_is_gone(desk: Desk) -> None:
    ask(desk, "first")
    for number in range(4):
        ask(desk, f"high-{number}", HIGH)
    desk.connection.delete(ECHO.announcement)
    claimed(desk, 2)
    assert not desk.connection.exists(ECHO.announcement)


def test_junk_in_the_place_of_lanes_does_not_stop_a_claim(desk: Desk) -> None:
    ask(desk, "a")
    ask(desk, "b", tenant="t")
    desk.connection.set(f"{ECHO.lanes}:high", "junk")
    desk.connection.set(f"{ECHO.lanes}:low", "junk")
    desk.connection.lpush(f"{ECHO.lanes}:normal", "no such lane")
    assert sorted(claimed(desk, 5)) == ["a", "b"]


def test_a_tenant_of_any_characters_gets_a_lane_of_its_own() -> None:
    odd = {lane_of(tenant=name) for name in ("a:b", "a b", "", "\x00", "\ud800", "x" * 65, "a")}
    assert len(odd) == 7
    assert lane_of(HIGH) == "high"
    assert lane_of(LOW, "acme") == "low:acme"


@pytest.mark.parametrize("way", ["a stray id", "no list", "no index"])
def test_a_lane_is_served_whatever_others_left_in_it(way: str, desk: Desk) -> None:
    ask(desk, "first")
    lane, index = f"{ECHO.queue}:high", f"{ECHO.lanes}:high"
    if way == "a stray id":
        desk.connection.rpush(lane, "nobody")
    elif way == "no list":
        desk.connection.set(index, "junk")
    ask(desk, "high-1", HIGH)
    if way == "no index":
        desk.connection.delete(index)
    ask(desk, "high-2", HIGH)
    order = [job_id for _ in range(4) for job_id in claimed(desk)]
    assert sorted(order) == ["first", "high-1", "high-2"]
    assert lanes_left(desk.connection) == []


@pytest.mark.parametrize("may_not", ["echo", "lpos"])
def test_a_lane_behind_a_stray_id_is_named_once(may_not: str, desk: Desk) -> None:
    """Else its tenant would have as many turns as it asked questions."""
    ask(desk, "first")
    desk.connection.rpush(f"{ECHO.queue}:high:t", "nobody")
    desk.connection.execute_command("ACL", "SETUSER", "default", f"-{may_not}")
    try:
        for number in range(3):
            ask(desk, f"high-{number}", HIGH, "t")
    finally:
        desk.connection.execute_command("ACL", "SETUSER", "default", "+@all")
    assert desk.connection.lrange(f"{ECHO.lanes}:high", 0, -1) == [b"high:t"]
    assert sorted(claimed(desk, 9)) == ["first", "high-0", "high-1", "high-2"]
