"""The standard streams of a process whose task may close them.

A descriptor that is free is given to whatever is opened next: log lines would go to Redis.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

#: Copies are kept above this, where code that closes the first hundred does not reach.
_ABOVE = 256


def _copies() -> dict[int, int]:
    copies = {}
    for stream in range(3):
        with suppress(OSError):  # it was closed before we began
            copies[stream] = fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    return copies


_kept = _copies()


def mend() -> bool:
    """Opens those again that were closed; whether there were any."""
    closed = [stream for stream in _kept if not _is_open(stream)]
    for stream in closed:
        os.dup2(_kept[stream], stream)
    return bool(closed)


def _is_open(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True
