"""dramatiq: RedisBroker with the Results middleware on Redis.

Source: dramatiq's user guide, 'Redis Broker' and 'Message Results'.
"""

from __future__ import annotations

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["BENCH_URL"]
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def echo(question: str) -> str:
    """The actor."""
    return question


def serve() -> None:
    """`dramatiq bench.peers.dramatiq -p 1`: one process with its usual eight threads.

    With one thread it prefetches two messages at a time, and then is idle for the most part.
    """
    command = [sys.executable, "-m", "dramatiq", "bench.peers.dramatiq", "-p", "1"]
    os.execv(sys.executable, command)


def ask(question: str) -> object:
    """One message and its result."""
    return echo.send(question).get_result(block=True, timeout=30_000)
