"""Answers a question in deltas, for as long as somebody reads them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from redis.exceptions import RedisError

from resident.claims import Question
from resident.deltas import DeltaCode, Part, send_part
from resident.errors import ErrorCode, error_for
from resident.lifeline import Owner
from resident.link import Link
from resident.protocol import encode_delta
from resident.stopping import StopNow

#: Why a generation stopped, as its caller is told if it is still there.
_REASONS = {
    DeltaCode.LOST: "This worker was taken for dead, and the question was taken from it",
    DeltaCode.CANCELLED: "The question was cancelled in the middle of its stream",
    DeltaCode.LEFT: "Its reader left",
}
#: Calls until Redis answers, or raises the RedisError when waiting for it is of no more use.
Repeat = Callable[[Callable[[], DeltaCode]], DeltaCode]

_log = structlog.get_logger()


class Streams:
    """Sends what a worker's task yields over that worker's link."""

    def __init__(
        self, link: Link, repeat: Repeat, hang_up: Callable[[], object], ttl_ms: int
    ) -> None:
        """Takes how to wait for Redis, how to close the link, and how long a part is kept."""
        self._link = link
        self._repeat = repeat
        self._hang_up = hang_up
        self._ttl_ms = ttl_ms
        self._owner = Owner()

    def answer(self, question: Question, deltas: Generator[str, Any, Any]) -> str:
        """Sends each delta as soon as it is there; returns the whole answer.

        Raises:
            TryAgain: cancelled, if nobody reads any more; the generation was stopped.
        """
        job, sent = question.job, []
        with _closing(deltas):
            for seq, delta in enumerate(deltas):
                self._owner.end_others()
                payload = encode_delta(job.id, seq, delta)
                part = Part(job.id, job.execution, question.fields.reply_key, seq, payload)
                code = self._send(part)
                if code is not DeltaCode.SENT:
                    raise error_for(ErrorCode.CANCELLED, _REASONS[code])
                sent.append(delta)
        return "".join(sent)

    def _send(self, part: Part) -> DeltaCode:
        try:
            return self._repeat(lambda: send_part(self._link, part, self._ttl_ms))
        except RedisError as error:
            raise StopNow from error  # it is the worker that ends, not the model that failed
        except BaseException:
            # The time-out may ring anywhere, and an answer that was not read would be taken for
            # the next command's.
            self._hang_up()
            raise


@contextmanager
def _closing(deltas: Generator[str, Any, Any]) -> Iterator[None]:
    """Stops the task's function at the end, whatever it does then."""
    try:
        yield
    finally:
        try:
            deltas.close()
        except StopNow:
            raise
        except BaseException as error:  # noqa: BLE001  (the task's own code, and nobody listens)
            _log.warning("a stream did not close well", kind=type(error).__name__)
