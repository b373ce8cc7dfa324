"""How a call of a model is stopped in its own process."""

from __future__ import annotations

import signal
from typing import Any

from rq.timeouts import UnixSignalDeathPenalty

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
        """Takes the alarm back; its handler stays, it hears no more alarms."""
        signal.setitimer(signal.ITIMER_REAL, 0)
