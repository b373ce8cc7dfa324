"""RQ_KEY_PREFIX: whose keys are whose."""

from __future__ import annotations

import json
import sys

from redis import Redis

from tests.support.processes import Processes
from tests.support.waiting import wait_until

ASK_UNDER_PREFIX = """
from enqueue_api.client import Client
from resident.redis_client import connect
from resident.settings import read_settings
import json
url = read_settings().redis_url.get_secret_value()
with Client(url) as client, connect(url) as redis:
    while not redis.pubsub_channels("shop:resident:hand:*"):  # then the next one is handed over
        client.ask("echo", "!")
    print(json.dumps([client.ask("echo", "?", job_id="a").answer, client.tasks()]))
"""


def test_a_caller_under_another_prefix_is_told_at_once_that_nobody_is_ready(
    processes: Processes, connection: Redis
) -> None:
    processes.start_worker("echo")
    caller = processes.start(sys.executable, "-c", ASK_UNDER_PREFIX, RQ_KEY_PREFIX="shop")
    _, errors = caller.communicate(timeout=20)
    assert "No worker is ready for the task 'echo'. Tasks served now: none." in errors


def test_every_key_is_under_rqs_prefix_or_our_own(processes: Processes, connection: Redis) -> None:
    processes.start(sys.executable, "worker.py", "echo", RQ_KEY_PREFIX="shop")
    wait_until(lambda: connection.zcard("shop:resident:ready:echo"))
    caller = processes.start(sys.executable, "-c", ASK_UNDER_PREFIX, RQ_KEY_PREFIX="shop")
    output, errors = caller.communicate(timeout=20)
    assert json.loads(output) == ["?", ["echo"]], errors
    found = {key.decode().partition(":")[0] for key in connection.scan_iter()}
    assert found == {"shop", "resident"}
    assert connection.pubsub_channels("shop:resident:hand:*")
    wait_until(lambda: connection.hget("shop:job:a", "status") == b"finished")
    assert connection.zscore("shop:finished:echo", "a")
