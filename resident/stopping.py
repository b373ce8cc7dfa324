"""How workers are told to end: what they get, one stage after the other. Pure."""

from __future__ import annotations

import math
import signal

#: What a worker has to put back its jobs, after the drain, before it is killed.
LAST_WORDS_S = 5.0
#: Signals that come closer to each other are one wish to stop. Source: RQ does the same.
ECHO_S = 1.0


class StopNow(BaseException):
    """The second SIGTERM: leave the model where it is, and put back what was claimed."""


class Stopping:
    """The stages of one stop; it goes on to the next when asked again, or when time is up."""

    def __init__(self, drain_timeout_s: float) -> None:
        #: What the workers get, and how many seconds they have until the next: finish what is
        #: claimed; put it back; die.
        self._stages = [
            (signal.SIGTERM, drain_timeout_s),
            (signal.SIGTERM, LAST_WORDS_S),
            (signal.SIGKILL, math.inf),
        ]
        self._since = -math.inf
        #: When time is up.
        self.next_at = math.inf

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun."""
        return self._since > -math.inf

    def is_due(self, now: float, *, is_asked: bool) -> bool:
        """Whether the next stage shall begin.

        Asked again at once is asked once: Ctrl-C reaches a terminal's whole group.
        """
        return (is_asked and now >= self._since + ECHO_S) or now >= self.next_at

    def go_on(self, now: float) -> signal.Signals | None:
        """Begins the next stage; returns what the workers get, or nothing more."""
        if not self._stages:
            return None
        signum, patience_s = self._stages.pop(0)
        self._since = now
        self.next_at = now + patience_s
        return signum
