"""RQ's worker as ours is built on it: what it takes from anybody must not end or hold it."""

from __future__ import annotations

import signal
from typing import Any

import structlog
from rq import SimpleWorker

from resident.death_penalty import FineDeathPenalty
from resident.redis_client import SOCKET_TIMEOUT_S
from resident.signals import held_back

_log = structlog.get_logger()


class RqsWorker(SimpleWorker):
    """RQ's own, but for these; it runs jobs one by one, and the loop is its subclass's."""

    death_penalty_class = FineDeathPenalty

    @property
    def connection_timeout(self) -> int:
        """RQ stretches the client's socket timeout to this; we block on a link of our own."""
        return int(SOCKET_TIMEOUT_S)

    def handle_payload(self, message: Any) -> None:
        """Obeys a command of RQ's; what is none must not end the thread that listens."""
        try:
            super().handle_payload(message)
        except Exception as error:  # noqa: BLE001  (anybody may publish anything)
            _log.warning("command not understood", worker=self.name, kind=type(error).__name__)

    def subscribe(self) -> None:
        """A signal that RQ's thread takes would not end what the main thread is at."""
        with held_back(signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
            super().subscribe()
