"""A worker whose Redis is 5 ms away makes up for it with larger batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from enqueue_api.client import Client
from resident import keys
from tests.support.far import far_from
from tests.support.processes import Processes
from tests.support.waiting import wait_until

CALLERS = 64
QUESTIONS = 2_000


def test_sixty_four_callers_share_the_way(
    processes: Processes, redis_url: str, connection: Redis, tmp_path: Path
) -> None:
    near = Path(urlsplit(redis_url).path)
    far = redis_url.replace(str(near), str(tmp_path / "far"))
    of = keys.of_task("echo")
    with far_from(near, tmp_path / "far", 0.0025):
        worker = processes.start_worker("echo", RESIDENT_REDIS_URL=far)
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
