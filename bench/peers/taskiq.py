"""taskiq: ListQueueBroker and RedisAsyncResultBackend of taskiq-redis.

Source: README of taskiq-redis. A result is polled for; its own interval of 0.2 s is cut
to 0.5 ms, and more for many callers, who would otherwise do nothing else.
"""

from __future__ import annotations

import os
import sys

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

URL = os.environ["BENCH_URL"]
broker = ListQueueBroker(URL).with_result_backend(RedisAsyncResultBackend(URL))
callers: list[bool] = []
_started: list[bool] = []


@broker.task("echo")
async def echo(question: str) -> str:
    """The task."""
    return question


def serve() -> None:
    """`taskiq worker bench.peers.taskiq:broker --workers 1`."""
    command = [sys.executable, "-m", "taskiq", "worker", "bench.peers.taskiq:broker"]
    os.execv(sys.executable, [*command, "--workers", "1", "--log-level", "ERROR"])


async def ask(question: str) -> object:
    """One task and its result."""
    if not _started:
        _started.append(True)
        await broker.startup()
    callers.append(True)
    interval_s = 0.0005 * max(1, len(callers) / 8)
    try:
        task = await echo.kiq(question)
        return (await task.wait_result(check_interval=interval_s, timeout=30)).return_value
    finally:
        callers.pop()
