"""announce.lua: what ready workers say of their task, until it ends."""

from __future__ import annotations

import pytest
from redis.exceptions import ReadOnlyError

from resident import keys
from resident.scripts import WorkerScripts
from tests.support.lua import ECHO, LIMITS, Desk


def test_a_task_is_announced_until_its_last_worker_takes_leave(desk: Desk, other: Desk) -> None:
    assert other.announce(question_type="str") == 2
    assert desk.connection.hget(ECHO.announcement, "question_type") == b"str"
    assert desk.connection.zrange(keys.TASKS, 0, -1) == [b"echo"]
    assert desk.announce(0) == 1
    assert desk.connection.exists(ECHO.announcement) == 1
    assert other.announce(0) == 0
    assert desk.connection.keys() == [keys.QUEUES.encode()]


def test_an_announcement_ends_by_itself_with_everything_it_wrote(desk: Desk) -> None:
    desk.announce(30_000)
    for key in (ECHO.ready, ECHO.announcement, keys.TASKS):
        assert 0 < desk.connection.pttl(key) <= 60_000


def test_what_a_worker_says_for_a_shorter_time_cuts_no_other_short(desk: Desk, other: Desk) -> None:
    desk.announce(330_000)
    other.announce(3_000)
    for key in (ECHO.ready, ECHO.announcement, ECHO.rates, keys.TASKS):
        assert desk.connection.pttl(key) > 300_000, key
    of_another_task = WorkerScripts(desk.link, "shout", "resident-shout-1", LIMITS, "f" * 12)
    of_another_task.announce(3_000, {})
    assert desk.connection.pttl(keys.TASKS) > 300_000
    assert desk.connection.pttl(keys.of_task("shout").announcement) <= 3_000
    ends = dict(desk.connection.zrange(keys.TASKS, 0, -1, withscores=True))
    assert ends[b"echo"] > ends[b"shout"] + 300_000


def test_an_announcement_ends_with_the_last_of_those_that_are_left(desk: Desk, other: Desk) -> None:
    desk.announce(330_000)
    other.announce(3_000)
    desk.announce(0)
    for key in (ECHO.ready, ECHO.announcement, ECHO.rates, keys.TASKS):
        assert 0 < desk.connection.pttl(key) <= 3_000, key


def test_a_forged_end_of_an_announcement_disturbs_nobody(desk: Desk) -> None:
    desk.connection.zadd(ECHO.ready, {"forged": "inf"})
    desk.connection.zadd(keys.TASKS, {"forged": "inf"})
    assert desk.announce() == 2
    assert desk.connection.pttl(ECHO.announcement) > 0
    assert desk.announce(0) == 1


def test_workers_that_fell_silent_are_no_longer_counted(desk: Desk, other: Desk) -> None:
    desk.connection.zadd(ECHO.ready, {"resident-echo-9": 1})
    desk.connection.zadd(keys.TASKS, {"gone": 1})
    assert other.announce() == 2
    assert desk.connection.zrange(keys.TASKS, 0, -1) == [b"echo"]


def test_a_replica_refuses_a_script_as_it_refuses_a_command(desk: Desk) -> None:
    desk.connection.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(ReadOnlyError):
            desk.scripts.announce(60_000, {})
    finally:
        desk.connection.replicaof("NO", "ONE")
