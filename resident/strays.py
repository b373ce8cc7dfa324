"""Jobs that Redis says a worker runs and the worker does not know of."""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog

from resident.claimed import Claimed
from resident.holders import Execution
from resident.scripts import WorkerScripts
from resident.settlement import Settlement

#: Between two looks, s; and for so long after a connection was lost, this much sooner.
LOOK_EACH_S = 5.0
ALERT_S, ALERT_LOOK_EACH_S = 30.0, 1.0

_log = structlog.get_logger()


class Strays:
    """What was claimed for one worker by a call whose answer it never had, and the way back."""

    def __init__(self, scripts: WorkerScripts, worker_name: str) -> None:
        """Takes the worker's way to Redis, and its name in RQ."""
        self._scripts = scripts
        self._worker_name = worker_name
        self._seen: set[Execution] = set()
        self._next_look = self._alert_until = 0.0

    def note_loss(self) -> None:
        """A connection was lost; something may be on its way over it."""
        self._alert_until = time.monotonic() + ALERT_S
        self._next_look = 0.0

    def wait_s(self, most_s: float) -> float:
        """How long the worker may wait for a question until it looks again."""
        return min(most_s, ALERT_LOOK_EACH_S) if self._is_alert else most_s

    def look(self, known: Iterable[Settlement | Claimed]) -> None:
        """Puts back what came to be one since; may be called as often as one likes."""
        if (now := time.monotonic()) >= self._next_look:
            self._next_look = now + (ALERT_LOOK_EACH_S if self._is_alert else LOOK_EACH_S)
            self.put_back_old(known)

    @property
    def _is_alert(self) -> bool:
        return time.monotonic() < self._alert_until

    def put_back(self, known: Iterable[Settlement | Claimed]) -> None:
        """All at once; what is still on its way `look` will find."""
        unknown = self._unknown(known)
        released = self._scripts.release(unknown)  # and what it took for RQ's own perform_job
        if unknown or released:
            _log.info("put back", worker=self._worker_name, jobs=released)

    def put_back_old(self, known: Iterable[Settlement | Claimed]) -> None:
        """Those that were strays at the last call, too: it may not have heard of one yet.

        A claim that was given up may be on its way for longer than it takes to connect anew: TCP
        sends again what a broken way held back.
        """
        unknown = self._unknown(known)
        old, self._seen = [one for one in unknown if one in self._seen], {*unknown}
        if old:
            released = self._scripts.release(old)
            _log.warning(
                "put back what was claimed too late", worker=self._worker_name, jobs=released
            )

    def _unknown(self, known: Iterable[Settlement | Claimed]) -> list[Execution]:
        mine = {(one.id, one.execution) for one in known}
        return [one for one in self._scripts.executions() if one not in mine]
