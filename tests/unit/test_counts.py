"""A worker's counters, on a fake Redis."""

from __future__ import annotations

import fakeredis
import pytest
from redis.exceptions import OutOfMemoryError

from resident.counts import Counts

KEY = "rq:worker:w"


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


def test_what_was_noted_is_added_once(redis: fakeredis.FakeRedis) -> None:
    redis.hset(KEY, "successful_job_count", 5)
    counts = Counts()
    counts.add(2, 1, 0.5)
    counts.add(1, 0, 0.25)
    counts.write(redis, KEY)
    counts.write(redis, KEY)
    assert redis.hgetall(KEY) == {
        b"successful_job_count": b"8",
        b"failed_job_count": b"1",
        b"total_working_time": b"0.75",
    }


def test_nothing_noted_is_nothing_written(redis: fakeredis.FakeRedis) -> None:
    Counts().write(redis, KEY)
    assert not redis.exists(KEY)


def test_what_is_no_counter_makes_room(redis: fakeredis.FakeRedis) -> None:
    redis.hset(KEY, mapping={"successful_job_count": "many", "birth": "x"})
    counts = Counts()
    counts.add(2, 0, 0.5)
    counts.write(redis, KEY)
    assert redis.hget(KEY, "successful_job_count") == b"2"
    assert redis.hget(KEY, "birth") == b"x"


def test_what_redis_refuses_is_kept(
    redis: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts()
    counts.add(2, 0, 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(counts, "_write", refuse)
        counts.write(redis, KEY)
    counts.write(redis, KEY)
    assert redis.hget(KEY, "successful_job_count") == b"2"


def refuse(*_: object) -> None:
    raise OutOfMemoryError
