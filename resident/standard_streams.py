"""The standard streams of a process that began without one, or whose task may close them.

A descriptor that is free is given to whatever is opened next: log lines would go to Redis.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress

#: Copies are kept above this, where code that closes the first hundred does not reach.
_ABOVE = 256
#: Python's own, None where it found the descriptor closed.
_NAMES = ("stdin", "stdout", "stderr")


def _copies() -> dict[int, int]:
    copies = {}
    for stream in range(3):
        with suppress(OSError):  # it was closed before we began
            copies[stream] = fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    return copies


_kept = _copies()


def open_missing() -> None:
    """Opens /dev/null where the program was started without; before anything else is opened."""
    for stream, name in enumerate(_NAMES):
        if not _is_open(stream):
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
            os.set_inheritable(stream, True)
            with suppress(OSError):  # fewer files than that are allowed
                _kept[stream] = fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
        if getattr(sys, name) is None:
            mode = "w" if stream else "r"
            setattr(sys, name, os.fdopen(stream, mode, encoding="utf-8", closefd=False))


def drop_output() -> None:
    """Lets go what standard output could not be rid of."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def mend() -> bool:
    """Opens those again that were closed; whether there were any."""
    closed = [stream for stream in _kept if not _is_open(stream)]
    for stream in closed:
        _open_again(stream)
    return bool(closed)


def _open_again(stream: int) -> None:
    try:
        os.dup2(_kept[stream], stream)
    except OSError:  # its copy was closed, too
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != stream:
            os.dup2(nowhere, stream)
            os.close(nowhere)


def _is_open(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return True
