"""RQ's worker as ours is built on it: what it takes from anybody must not end or hold it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import structlog
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.rate_limit import RateLimitRegistry
from rq.registry import BaseRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker_registration import clean_worker_registry

from resident.death_penalty import FineDeathPenalty
from resident.redis_client import SOCKET_TIMEOUT_S, said
from resident.signals import held_back

_log = structlog.get_logger()


class _Started(StartedJobRegistry):
    """RQ's own, which would read the dependents of abandoned jobs with RQ's own Job."""

    def get_queue(self) -> Queue:
        """As RQ does, but for the class of its jobs."""
        return Queue(
            self.name, self.connection, job_class=self.job_class, serializer=JSONSerializer
        )


class RqsWorker(SimpleWorker):
    """RQ's own, but for these; it runs jobs one by one, and the loop is its subclass's."""

    death_penalty_class = FineDeathPenalty
    _is_deaf = False
    #: Runs of the job that it is at; RQ forgets one before it is filed.
    begun: Sequence[Execution] = ()
    _job: Job | None = None

    @property
    def connection_timeout(self) -> int:
        """RQ stretches the client's socket timeout to this; we block on a link of our own."""
        return int(SOCKET_TIMEOUT_S)

    def prepare_execution(self, job: Job) -> Execution:
        """As RQ does; and it is remembered."""
        execution = super().prepare_execution(job)
        self.begun, self._job = [execution], job
        return execution

    @property
    def has_replied(self) -> bool:
        """Whether the caller of the job that it is at, or was at last, has an answer."""
        return bool(self.begun) and getattr(self._job, "is_answered", False)

    def handle_payload(self, message: Any) -> None:
        """Obeys a command of RQ's; what is none must not end the thread that listens."""
        try:
            super().handle_payload(message)
        except Exception as error:  # noqa: BLE001  (anybody may publish anything)
            _log.warning("command not understood", worker=self.name, kind=type(error).__name__)

    def _pubsub_exception_handler(self, exc: Exception, *where: Any) -> None:
        """RQ logs it or raises it, and then Python writes it to stderr as what ended the thread."""
        said(exc)
        super()._pubsub_exception_handler(exc, *where)

    def subscribe(self) -> None:
        """A signal that RQ's thread takes would not end what the main thread is at."""
        was_deaf = self._is_deaf
        try:
            with held_back(signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
                super().subscribe()
            self._is_deaf = False
        except RuntimeError as error:  # the system has no room for a thread
            self._is_deaf = True
            if self.pubsub is not None:
                self.pubsub.close()
            if not was_deaf:
                _log.warning("no commands of RQ's for now", worker=self.name, error=str(error))

    def listen_again(self) -> None:
        """Tries anew where there was no room."""
        if self._is_deaf:
            self.subscribe()

    def clean_registries(self) -> None:
        """As RQ does; abandoned jobs and their dependents are read by our job class alone."""
        for queue in self.queues:
            if queue.acquire_maintenance_lock():
                for registry in self._registries(queue):
                    registry.cleanup()
                clean_worker_registry(queue)
                queue.intermediate_queue.cleanup(self, queue)
                queue.release_maintenance_lock()
        self.last_cleaned_at = now()  # type: ignore[assignment]  # which RQ knows as None

    def _registries(self, queue: Queue) -> Iterator[BaseRegistry | RateLimitRegistry]:
        yield queue.finished_job_registry
        yield _Started(queue=queue, job_class=self.job_class)
        yield queue.failed_job_registry
        yield queue.deferred_job_registry
        yield queue.ready_job_registry
        yield from RateLimitRegistry.all(self.connection)
