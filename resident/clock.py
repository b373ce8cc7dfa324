"""Redis' clock, the only one that counts, as a worker knows it beside its own monotonic one."""

from __future__ import annotations

import time

from resident.link import Link

#: What was said longer ago than our idea of the clock allows, by so much, was heard late; s.
LATE_S = 0.5


class Clock:
    """That of the Redis behind a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ahead_s = 0.0

    def read(self) -> None:
        """Asks Redis.

        Errors worth catching: those of Link.
        """
        seconds, micros = self._link.call("TIME")
        self._ahead_s = int(seconds) + int(micros) / 1e6 - time.monotonic()

    def learn(self, now: bytes) -> None:
        """Takes what Redis has just said, in s."""
        self._ahead_s = float(now) - time.monotonic()

    def now_s(self) -> float:
        """In s since 1970."""
        return self._ahead_s + time.monotonic()

    def lateness_s(self, said_at: bytes) -> float:
        """How long ago something was said that is heard now; teaches the clock.

        It may have lain there, and anybody may say anything: what seems far off is looked up.

        Errors worth catching: those of Link.
        """
        late_s = self._ahead_s + time.monotonic() - float(said_at)
        if abs(late_s) > LATE_S:
            self.read()
            return self.now_s() - float(said_at)
        self._ahead_s -= min(late_s, 0.0)
        return max(late_s, 0.0)
