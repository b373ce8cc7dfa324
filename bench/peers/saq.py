"""SAQ: `queue.apply` and a worker with its default of ten jobs at once.

A result is polled for; its own interval of 0.5 s is cut to 0.5 ms, and more for many callers,
who would otherwise do nothing else.

Source: SAQ's README.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from saq import Queue

queue: Queue = Queue.from_url(os.environ["BENCH_URL"])


async def echo(_context: dict[str, Any], *, question: str) -> str:
    """The function."""
    return question


callers: list[bool] = []
settings = {"queue": queue, "functions": [echo]}


def serve() -> None:
    """`saq bench.peers.saq.settings`."""
    os.execv(sys.executable, [sys.executable, "-m", "saq", "bench.peers.saq.settings"])


async def ask(question: str) -> object:
    """One job and its result."""
    callers.append(True)
    interval_s = 0.0005 * max(1, len(callers) / 8)
    try:
        return await queue.apply("echo", timeout=30, poll_interval=interval_s, question=question)
    finally:
        callers.pop()
