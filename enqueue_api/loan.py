"""A connection lent for one call."""

from __future__ import annotations

from collections import deque
from types import TracebackType

import redis
from redis.exceptions import RedisError

from enqueue_api import outcome
from enqueue_api.deadline import Deadline
from resident.errors import ResidentError, TransportError
from resident.link import Link


def _has_answered(error: BaseException) -> bool:
    return isinstance(error, ResidentError) and not isinstance(error, TransportError)


class Loan:
    """Takes a connection that is idle, or makes one; closes it if anything interrupts the call.

    A refusal does not: Redis has answered, and under overload to connect anew each time would cost
    more than to ask. A class, because contextlib's generators cost a lone question 5 us more.
    """

    def __init__(
        self, idle: deque[Link], redis: redis.Redis, deadline: Deadline, job_id: str = ""
    ) -> None:
        self._idle = idle
        self._redis = redis
        self._deadline = deadline
        self._job_id = job_id

    def __enter__(self) -> Link:
        try:
            self._link = self._idle.pop()
        except IndexError:
            self._link = Link(self._redis)
        self._link.give_up_at(self._deadline.gives_up_at)
        return self._link

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or _has_answered(error):
            self._idle.append(self._link)
            return
        self._link.close()
        if isinstance(error, RedisError):
            raise outcome.fault_of_redis(error, self._job_id) from error
