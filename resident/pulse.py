"""What a worker process tells its supervisor without a word: numbers in memory that both see.

A worker whose model holds the GIL, or hangs in C, cannot speak for itself; these numbers were
written before. Moments are those of time.monotonic(), one clock for all processes of a host.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Self


class Pulse(ctypes.Structure):
    """One worker's numbers, 0 where there is nothing to say; `shared` makes them before the fork.

    One that is made without `shared` is for a worker that nobody watches: nobody else sees it.
    A structure, because its fields are read and written without a call: a lone question does so
    seven times.

    Attributes:
        batch_began: When the batch that it holds was claimed.
        overdue_at: When the call of the model that it is in has taken far too long.
        seen_at: When it last showed that it does not hang; from when it serves.
        served_from: When it began to serve.
        is_draining: 1 once it was told to end.
        jobs: How many jobs it has ended since it began.
        has_loaded: 1 once its model is there; if it does not serve then, it waits for Redis. Of a
            supervisor: once that is true of all its workers.
        is_ready: Of a supervisor: 1 once all its workers serve.
    """

    batch_began: float
    overdue_at: float
    seen_at: float
    served_from: float
    is_draining: float
    jobs: float
    has_loaded: float
    is_ready: float
    _fields_ = [(name, ctypes.c_double) for name in __annotations__]

    @classmethod
    def shared(cls) -> Self:
        """One that a process and those that it forks both see."""
        return cls.from_buffer(mmap.mmap(-1, ctypes.sizeof(cls)))

    @property
    def is_busy(self) -> bool:
        """Whether it was at something when it was last heard of; a worker that leaves is not."""
        return bool(self.batch_began or self.overdue_at)
