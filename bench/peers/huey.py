"""huey: RedisHuey, which blocks for tasks, with `notify_result`, its option for low latency.

Source: huey's documentation, 'Consuming tasks' and RedisHuey; changelog of 3.0.0 (notify_result).
"""

from __future__ import annotations

import logging
import os

from huey import RedisHuey

from bench import stopwatch
from bench.peer import QUESTION

huey = RedisHuey("bench", url=os.environ["BENCH_URL"], notify_result=True)


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
