"""What a worker process tells its supervisor without a word: numbers in memory that both see.

A worker whose model holds the GIL, or hangs in C, cannot speak for itself; these numbers were
written before. Moments are those of time.monotonic(), one clock for all processes of a host.
"""

from __future__ import annotations

import mmap

_BATCH_BEGAN, _OVERDUE_AT, _SEEN_AT, _JOBS, _HAS_LOADED, _IS_READY = range(6)
_BYTES = 6 * 8


class Pulse:
    """One worker's numbers; made before the fork, 0 where there is nothing to say.

    Attributes:
        batch_began: When the batch that it holds was claimed.
        overdue_at: When the call of the model that it is in has taken far too long.
        seen_at: When it last showed that it does not hang; from when it serves.
        jobs: How many jobs it has ended since it began.
        has_loaded: 1 once its model is there; if it does not serve then, it waits for Redis. Of a
            supervisor: once that is true of all its workers.
        is_ready: Of a supervisor: 1 once all its workers serve.
    """

    def __init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(-1, _BYTES)).cast("d")

    def _number(place: int) -> property:  # type: ignore[misc]
        def read(self: Pulse) -> float:
            return self._numbers[place]

        def write(self: Pulse, value: float) -> None:
            self._numbers[place] = value

        return property(read, write)

    batch_began = _number(_BATCH_BEGAN)
    overdue_at = _number(_OVERDUE_AT)
    seen_at = _number(_SEEN_AT)
    jobs = _number(_JOBS)
    has_loaded = _number(_HAS_LOADED)
    is_ready = _number(_IS_READY)

    @property
    def is_busy(self) -> bool:
        """Whether it was at something when it was last heard of; a worker that leaves is not."""
        return bool(self.batch_began or self.overdue_at)
