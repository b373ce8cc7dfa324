"""What the HTTP API says of a Redis that fails it: a line when that begins, one when it is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from resident.errors import ErrorCode, ResidentError, TransportError

_log = structlog.get_logger()

#: These are told of without Redis.
_SAY_NOTHING = (ErrorCode.CANCELLED, ErrorCode.INVALID_QUESTION)


class Trouble:
    """Whether there is any, from what comes of questions, and of looks at who serves.

    A look may fare well where a question does not, as a full Redis can be read. So what a question
    began, only a question ends that was asked later.
    """

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._by_question = False

    @contextmanager
    def watching(self, *, is_question: bool) -> Iterator[None]:
        """Around what asks Redis."""
        since = time.monotonic()
        try:
            yield
        except TransportError as error:
            self._begin(error, by_question=is_question)
            raise
        except ResidentError as error:
            if error.code not in _SAY_NOTHING:
                self._end(since, by_question=is_question)
            raise
        else:
            self._end(since, by_question=is_question)

    def _begin(self, error: TransportError, *, by_question: bool) -> None:
        if self._began_at is None:
            self._began_at, self._by_question = time.monotonic(), by_question
            _log.warning("redis trouble", error=error.message)
        elif by_question:
            self._by_question = True

    def _end(self, since: float, *, by_question: bool) -> None:
        if self._began_at is None or since < self._began_at or by_question < self._by_question:
            return
        _log.info("redis back", away_s=round(time.monotonic() - self._began_at, 3))
        self._began_at = None
