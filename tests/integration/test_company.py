"""A worker that waits for more questions because it pays, with a real Redis and real callers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from redis import Redis

from enqueue_api.client import Client
from resident import keys
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes
from tests.support.waiting import wait_until


def test_callers_of_a_slow_model_meet_in_whole_batches(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    processes.start(*WITH_ODD_TASKS, "worker.py", "slow")
    wait_until(lambda: connection.zcard(keys.of_task("slow").ready))
    with Client(redis_url) as client, ThreadPoolExecutor(6) as callers:

        def ask(number: int) -> list[int]:
            return [client.ask("slow", number, 20_000).batch for _ in range(30)]

        sizes = [batch for batches in callers.map(ask, range(6)) for batch in batches[10:20]]
    # Greedy claims end in two halves that alternate: 3 and 3, or 1 and 5.
    assert sum(sizes) / len(sizes) > 4.5


def test_a_lone_caller_does_not_wait_for_company(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    processes.start(*WITH_ODD_TASKS, "worker.py", "slow")
    wait_until(lambda: connection.zcard(keys.of_task("slow").ready))
    connection.config_resetstat()
    with Client(redis_url) as client:
        for number in range(20):
            client.ask("slow", number)
    looks = connection.info("commandstats").get("cmdstat_llen", {"calls": 0})["calls"]
    assert looks <= 20 + 1  # one for each ask: none of them for company


def test_a_model_that_pads_gets_long_and_short_questions_apart(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    of = keys.of_task("padded")
    processes.start(*WITH_ODD_TASKS, "worker.py", "padded")
    wait_until(lambda: connection.zcard(of.ready))
    with Client(redis_url) as client:
        connection.set(keys.SUSPENDED, 1)
        texts = ["x" * 10, "x" * 100, "y" * 10, "z" * 10]
        ids = client.submit_many("padded", texts, 20_000)
        connection.delete(keys.SUSPENDED)
        replies = [client.wait(one, 20_000) for one in ids]
    assert [reply.answer for reply in replies] == [30, 100, 30, 30]
    assert [reply.batch for reply in replies] == [3, 1, 3, 3]
