"""Redis is away: wait for it with growing, jittered pauses, and say so once at each edge."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from redis.exceptions import RedisError, ResponseError

T = TypeVar("T")

#: First and longest pause between two tries, in seconds; each is drawn from half to whole.
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5

_log = structlog.get_logger()


def nothing() -> None:
    """There is nothing to do."""


def never() -> bool:
    """Nobody gives up."""
    return False


def call_until_back(
    call: Callable[[], T], after_error: Callable[[], object], is_given_up: Callable[[], bool]
) -> T:
    """Calls until Redis answers; returns its answer.

    Args:
        call: Must be safe to repeat.
        after_error: Runs before each further try, and is itself tried again if Redis fails it.
        is_given_up: Asked after each failure; if it says so, the failure is raised.
    """
    try:
        return call()
    except RedisError as error:
        if is_given_up():
            raise
        kinds = [type(error).__name__]
        what = "redis refuses" if isinstance(error, ResponseError) else "redis away"
        _log.warning(what, error=str(error), kind=kinds[0])
    began = time.monotonic()
    pause_s = FIRST_PAUSE_S
    while True:
        time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  (jitter)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        try:
            after_error()
            answer = call()
        except RedisError as error:
            if is_given_up():
                raise
            kinds += {type(error).__name__} - {*kinds}
        else:
            away_s = round(time.monotonic() - began, 3)
            _log.info("redis back", away_s=away_s, kinds=", ".join(kinds))
            return answer
