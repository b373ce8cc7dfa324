"""Children that end with the process that started them, whatever ends that."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h
_libc = ctypes.CDLL(None)  # here, because loading a library is not safe between fork and exec


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
