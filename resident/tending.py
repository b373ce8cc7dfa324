"""What RQ and the callers must hear from a worker from time to time, whatever it is at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

#: Between two heartbeats.
HEARTBEAT_S = 5.0
#: Between two announcements of a worker that has something to do: callers are told by its pace
#: whether it pays to wait.
ANNOUNCE_S = 1.0

_log = structlog.get_logger()

Duty = Callable[[], object]


class Tending:
    """Does what is due; called between two calls of the model, as often as one likes."""

    def __init__(
        self, worker_name: str, announce: Sequence[Duty], heartbeat: Sequence[Duty]
    ) -> None:
        """Takes what is to be done each ANNOUNCE_S, and what each HEARTBEAT_S."""
        self._worker_name = worker_name
        self._announce = announce
        self._heartbeat = heartbeat
        self._next_announcement = self._next_heartbeat = 0.0

    def __call__(self) -> None:
        """None of the duties ends the service: what one raises is logged."""
        now = time.monotonic()
        if now < self._next_announcement:
            return
        self._next_announcement = now + ANNOUNCE_S
        duties = [*self._announce]
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_S
            duties += self._heartbeat
        for duty in duties:
            try:
                duty()
            except Exception as error:  # noqa: BLE001  (see above)
                _log.warning("heartbeat failed", worker=self._worker_name, error=str(error))
