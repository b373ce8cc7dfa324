"""Children that end with the process that started them, or end where they do not belong."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

import structlog

_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h
_libc = ctypes.CDLL(None)  # here, because loading a library is not safe between fork and exec

_log = structlog.get_logger()


def die_with_owner(death_signal: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: the child gets the signal when the thread that started it dies.

    Started from the main thread, the child so ends with its owner, whatever kills that.
    """
    owner = os.getpid()

    def arrange() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != owner:  # it died before the call, which so came too late
            os._exit(1)

    return arrange


class Owner:
    """The process that made it; what a task's code forks from that is another one."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def end_others(self) -> None:
        """Ends a process that was forked inside of a call: it must not go on as the worker."""
        if os.getpid() != self._pid:
            _log.warning("the task forked a process that ran on")
            os._exit(0)
