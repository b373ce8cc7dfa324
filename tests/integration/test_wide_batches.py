"""The largest batches, and answers that are out of all proportion."""

from __future__ import annotations

from redis import Redis

from enqueue_api.client import Client
from resident import keys
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes
from tests.support.waiting import wait_until

FIVE_MB = 5_000_000


def test_a_thousand_share_a_batch_with_an_answer_of_five_megabytes(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    of = keys.of_task("wide")
    processes.start(*WITH_ODD_TASKS, "worker.py", "wide")
    wait_until(lambda: connection.zcard(of.ready))
    sizes = [1] * 999 + [FIVE_MB]
    with Client(redis_url) as client:
        connection.set(keys.SUSPENDED, 1)
        ids = client.submit_many("wide", sizes, 30_000)
        connection.delete(keys.SUSPENDED)
        replies = [client.wait(one, 30_000) for one in ids]
    assert [len(reply.answer) for reply in replies] == sizes
    assert {reply.batch for reply in replies} == {1000}
    wait_until(lambda: connection.zcard(of.finished) == 1000)
    assert not connection.exists(of.started)


def test_replies_for_callers_that_have_left_expire(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client:
        ids = client.submit_many("echo", range(100), 20_000)
    wait_until(lambda: connection.zcard(keys.of_task("echo").finished) == 100)
    assert all(0 < connection.pttl(keys.reply(one)) <= 60_000 for one in ids)
