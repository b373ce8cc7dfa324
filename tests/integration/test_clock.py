"""clock.lua: Redis' clock, and times as RQ writes them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from redis import Redis

from resident.lua_script import source_of

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
      for i = 1, #ARGV, 2 do at = i; stamps[#stamps + 1] = stamp_of(now()) end
      return stamps"""
    script = f"local at\n{fake}\n{source_of('clock')}\n{each}"
    args = [part for one in moments for part in (int(one.timestamp()), one.microsecond)]
    stamps = connection.eval(script, 0, *args)
    assert [stamp.decode() for stamp in stamps] == [
        one.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for one in moments
    ]


def test_seconds_and_microseconds_are_redis_own(connection: Redis) -> None:
    s, us, stamp = connection.eval(
        f"{source_of('clock')} local s, us = now() return {{s, us, stamp_of(s, us)}}", 0
    )
    parsed = datetime.strptime(stamp.decode(), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert (int(parsed.timestamp()), parsed.microsecond) == (s, us)
    seconds, _ = connection.time()
    assert seconds - s in (0, 1)
