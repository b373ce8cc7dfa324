"""Celery: Redis as broker and as result backend, a worker with one process.

Source: Celery's documentation, 'Using Redis' and 'First steps with Celery'.
"""

from __future__ import annotations

import os

from celery import Celery

URL = os.environ["BENCH_URL"]
app = Celery("bench", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True


@app.task(name="echo")
def echo(question: str) -> str:
    """The task."""
    return question


def serve() -> None:
    """`celery -A bench.peers.celery worker --pool solo`."""
    app.worker_main(["worker", "--pool", "solo", "--loglevel", "ERROR", "--without-gossip"])


def ask(question: str) -> object:
    """One task and its result."""
    return echo.delay(question).get(timeout=30)
