"""announce.lua: what ready workers say of their task, until it ends."""

from __future__ import annotations

from resident import keys
from tests.support.lua import ECHO, Desk


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


def test_workers_that_fell_silent_are_no_longer_counted(desk: Desk, other: Desk) -> None:
    desk.connection.zadd(ECHO.ready, {"resident-echo-9": 1})
    desk.connection.zadd(keys.TASKS, {"gone": 1})
    assert other.announce() == 2
    assert desk.connection.zrange(keys.TASKS, 0, -1) == [b"echo"]
