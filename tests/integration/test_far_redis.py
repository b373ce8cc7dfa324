"""A worker whose Redis is 5 ms away makes up for it with larger batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from bench.far import Far
from enqueue_api.client import Client
from resident import keys
from tests.support.processes import Processes
from tests.support.waiting import wait_until

CALLERS = 64
QUESTIONS = 2_000


def test_sixty_four_callers_share_the_way(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    of = keys.of_task("echo")
    with Far(redis_url, 0.0025) as far:
        worker = processes.start_worker("echo", RESIDENT_REDIS_URL=far.url)
        with Client(redis_url) as client, ThreadPoolExecutor(CALLERS) as callers:
            replies = list(callers.map(lambda n: client.ask("echo", n, 20_000), range(QUESTIONS)))
        wait_until(lambda: connection.zcard(of.finished) == QUESTIONS)
        worker.terminate()
        worker.wait(20)
    assert [reply.answer for reply in replies] == list(range(QUESTIONS))
    # A claim comes back with 5 ms of questions, which by then are half of the callers or more:
    # as many turns as there are batches, and no turn for each question.
    batches = sum(1 / reply.batch for reply in replies)
    assert QUESTIONS / batches > CALLERS / 4
