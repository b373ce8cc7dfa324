"""rq.SimpleWorker, and with BENCH_FORKS=1 rq.Worker, which forks for each job.

Source: RQ's documentation, 'Workers' and 'Results' (`latest_result` waits for one).
"""

from __future__ import annotations

import os
import time

import hiredis
from redis import Redis
from rq import Callback, Queue, SimpleWorker, Worker
from rq.job import Job

from bench import stopwatch
from bench.load import Ids, Link, RedisLink
from bench.peer import QUESTION

URL = os.environ["BENCH_URL"]
connection = Redis.from_url(URL)
queue = Queue("bench", connection=connection)
#: Seconds that RQ keeps a finished job; its own default is 500.
RESULT_TTL = int(os.environ.get("RESIDENT_RESULT_TTL", "500"))
_AT_ONCE = 500


def echo(question: str) -> str:
    """The job."""
    stopwatch.answered()
    return question


def slow(question: str) -> str:
    """The job of a model that takes 10 ms a question."""
    time.sleep(0.01)
    return question


def reply(job: Job, redis: Redis, result: str) -> None:
    """RQ's callback of a job whose caller waits."""
    redis.rpush(f"bench:reply:{job.id}", result)
    redis.expire(f"bench:reply:{job.id}", 60)


def links(callers: int) -> list[Link]:
    """Callers of `slow` who wait on a list for as long as their budget lasts."""
    budget_s = int(os.environ.get("BENCH_BUDGET_MS", "60000")) / 1000
    placeholder = "f" * 32
    job = Job.create(
        slow, (QUESTION,), connection=connection, id=placeholder, on_success=Callback(reply)
    )
    job.origin = queue.name
    fields = [value for pair in job.to_dict().items() for value in pair]
    commands = (
        ("HSET", job.key, *fields),
        ("RPUSH", queue.key, placeholder),
        ("BLPOP", f"bench:reply:{placeholder}", f"{budget_s:.3f}"),
    )
    packed = b"".join([hiredis.pack_command(command) for command in commands])
    templates = [(packed, placeholder.encode())]
    ids = Ids()
    return [RedisLink(URL, templates, 3, _is_there, ids) for _ in range(callers)]


def _is_there(answer: object, _job_id: bytes) -> int:
    """1 if there was an answer in time, else 0."""
    return int(answer is not None)


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
