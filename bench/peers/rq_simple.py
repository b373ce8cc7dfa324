"""rq.SimpleWorker, and with BENCH_FORKS=1 rq.Worker, which forks for each job.

Source: RQ's documentation, 'Workers' and 'Results' (`latest_result` waits for one).
"""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue, SimpleWorker, Worker

from bench import stopwatch
from bench.peer import QUESTION

connection = Redis.from_url(os.environ["BENCH_URL"])
queue = Queue("bench", connection=connection)
#: Seconds that RQ keeps a finished job; its own default is 500.
RESULT_TTL = int(os.environ.get("RESIDENT_RESULT_TTL", "500"))
_AT_ONCE = 500


def echo(question: str) -> str:
    """The job."""
    stopwatch.answered()
    return question


def serve() -> None:
    """As `rq worker bench` does, with less to say."""
    kind = Worker if os.environ.get("BENCH_FORKS") else SimpleWorker
    kind([queue], connection=connection).work(logging_level="WARNING")


def ask(question: str) -> object:
    """One job and its result."""
    result = queue.enqueue(echo, question).latest_result(timeout=30)
    return result and result.return_value


def fill(count: int) -> int:
    """Puts jobs on the queue."""
    for start in range(0, count, _AT_ONCE):
        submit(min(_AT_ONCE, count - start))
    return count


def submit(count: int) -> int:
    """One `enqueue_many`."""
    function = "bench.peers.rq_simple.echo"
    queue.enqueue_many(
        [Queue.prepare_data(function, (QUESTION,), result_ttl=RESULT_TTL) for _ in range(count)]
    )
    return count
