"""huey: RedisHuey, which blocks for tasks, with `notify_result`, its option for low latency.

Source: huey's documentation, 'Consuming tasks' and RedisHuey; changelog of 3.0.0 (notify_result).
"""

from __future__ import annotations

import logging
import os

from huey import RedisHuey
from redis import ConnectionPool

from bench import stopwatch
from bench.peer import QUESTION

#: redis-py's own limit is 100, and each caller that waits holds one.
pool = ConnectionPool.from_url(os.environ["BENCH_URL"], max_connections=512)
huey = RedisHuey("bench", connection_pool=pool, notify_result=True)


@huey.task()
def echo(question: str) -> str:
    """The task."""
    stopwatch.answered()
    return question


def serve() -> None:
    """As `huey_consumer.py bench.peers.huey.huey` does: one worker, a thread; no cron."""
    logging.getLogger("huey").setLevel(logging.WARNING)
    huey.create_consumer(workers=1, worker_type="thread", periodic=False).run()


def ask(question: str) -> object:
    """One task and its result."""
    return echo(question)(blocking=True, timeout=30)


def fill(count: int) -> int:
    """Puts tasks on the queue."""
    for _ in range(count):
        echo(QUESTION)
    return count
