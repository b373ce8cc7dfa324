"""How a call of a model is stopped in its own process."""

from __future__ import annotations

import signal

# What signal.getsignal calls; that one then looks for an enum, which takes 7 µs.
from _signal import getsignal as handler_of  # type: ignore[import-not-found]
from collections.abc import Callable
from typing import Any, TypeVar

from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty

T = TypeVar("T")

#: A year; the kernel's timer takes no number that is much longer.
_LONGEST_TIMEOUT_S = 31_536_000


class FineDeathPenalty(UnixSignalDeathPenalty):
    """RQ's alarm, with fractions of a second; it cannot interrupt C code."""

    def __init__(self, timeout_s: float, exception: type[Exception], **options: Any) -> None:
        super().__init__(timeout_s, exception, **options)

    def setup_death_penalty(self) -> None:
        """Sets the alarm; none for RQ's -1."""
        signal.signal(signal.SIGALRM, self.handle_death_penalty)
        signal.setitimer(signal.ITIMER_REAL, min(max(self._timeout, 0), _LONGEST_TIMEOUT_S))

    def cancel_death_penalty(self) -> None:
        """Takes the alarm back; one that rings all the same is not heard."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, _hear_nothing)


class TimeLimit:
    """The same for calls that come thousands of times a second: the handler is set only once.

    For the main thread of a process. No alarm is left behind: whoever sets the handler next, or
    takes it away, must not be rung. What somebody else rings between two calls is not heard.
    """

    def __init__(self) -> None:
        self._is_on = False

    def call(self, seconds: float, function: Callable[..., T], *args: Any) -> T:
        """Calls the function with args; raises JobTimeoutException in it when the time is over."""
        if handler_of(signal.SIGALRM) != self._ring:  # RQ has set its own meanwhile
            signal.signal(signal.SIGALRM, self._ring)
        self._is_on = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return function(*args)
        finally:
            self._is_on = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *_: object) -> None:
        if self._is_on:
            msg = "The model took longer than its time-out"
            raise JobTimeoutException(msg)


def _hear_nothing(*_: object) -> None:
    """Whoever rings has nobody to stop."""
