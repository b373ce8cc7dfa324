"""The processes that a worker's model started: they do not outlive it.

They are in its process group, unless they were started in a session of their own.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

#: So long they have to end by themselves when their worker has ended in order.
GRACE_S = 2.0
#: Between two looks at the end, when there is nothing else to do.
_LOOK_S = 0.02


class Leftovers:
    """What those workers left that a supervisor buries."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}

    def note(self, pid: int, *, is_orderly: bool) -> None:
        """A worker has ended, and is not reaped yet: until then its number is nobody else's.

        What it left of one that died is ended at once.
        """
        if is_orderly:
            self._due[pid] = time.monotonic() + GRACE_S
        else:
            _send(pid, signal.SIGKILL)

    def look(self) -> None:
        """Ends those whose time is over."""
        now = time.monotonic()
        for pid, moment in list(self._due.items()):
            if now > moment:
                _send(pid, signal.SIGKILL)
            if now > moment or not _send(pid, 0):
                del self._due[pid]

    def finish(self) -> None:
        """Returns when each has ended, or had its time and was ended."""
        self.look()
        while self._due:
            time.sleep(_LOOK_S)
            self.look()


def _send(group: int, signum: int) -> bool:
    """Whether there was anybody."""
    with suppress(OSError):
        os.killpg(group, signum)
        return True
    return False
