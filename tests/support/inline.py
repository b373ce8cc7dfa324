"""Our worker inside the test's own process, for stories that need no process of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from rq import SimpleWorker

from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker


def answer_what_waits(connection: Redis, task: str) -> None:
    """Lets one of our workers answer the task's questions until its queue is empty."""
    work_off(ResidentWorker(load_task(task), connection, Settings()))


def work_off(worker: SimpleWorker) -> bool:
    """Lets a worker, RQ's or ours, do what waits, and says whether it did something.

    The signals stay the test's.
    """
    # Its channel leaves nothing in the database, and RQ waits a second for its end now and then.
    worker.subscribe = worker.unsubscribe = lambda: None
    with signals_kept():
        return bool(worker.work(burst=True, logging_level="CRITICAL"))


@contextmanager
def signals_kept() -> Iterator[None]:
    """A worker takes over its process's signals, which here is the test's."""
    handlers = {
        signum: signal.getsignal(signum)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    }
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
