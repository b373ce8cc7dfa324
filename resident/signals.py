"""Waiting for signals with a time limit.

Not by sigtimedwait: CPython (3.11 and 3.12 at least) returns what happens to lie on its stack when
the process was stopped and continued meanwhile, which may look like a wish to end.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def held_back(*signums: signal.Signals) -> Iterator[None]:
    """This thread hears none of these before the end; one that it starts inside never does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signums)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Signals:
    """Those signals that a process hears of by waiting, and in no other way."""

    def __init__(self, *watched: signal.Signals) -> None:
        self._watched = watched
        self._hear, self._tell = os.pipe()
        os.set_blocking(self._hear, False)
        os.set_blocking(self._tell, False)
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        for signum in watched:
            signal.signal(signum, _hear)

    def wait(self, seconds: float) -> Iterable[int]:
        """Those that have come, as soon as there is one; none when the time is over."""
        select.select([self._hear], [], [], seconds)
        try:
            return os.read(self._hear, 4096)
        except BlockingIOError:
            return b""

    def held_back(self) -> AbstractContextManager[None]:
        """None reaches this process, nor one that it forks inside, before the end or `forget`."""
        return held_back(*self._watched)

    def forget(self) -> None:
        """For a process that was forked: signals do what they do by default, and to it alone."""
        signal.set_wakeup_fd(-1)
        os.close(self._hear)
        os.close(self._tell)
        for signum in self._watched:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._watched)


def _hear(*_: object) -> None:
    """The number goes to `wait`."""
