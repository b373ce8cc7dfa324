"""What comes to a worker that offers itself, and is frozen."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident import keys
from tests.support.handing import BUDGET_MS, is_started
from tests.support.processes import workers_of


@pytest.mark.parametrize("priority", ["normal", "high"])
def test_what_comes_to_a_frozen_worker_is_answered_by_another(
    priority: str, supervisor: subprocess.Popen[str], connection: Redis, caller: Client
) -> None:
    """A plain question is handed to it; another lies on its queue, or where its pop put it."""
    (worker,) = workers_of(supervisor)
    os.kill(worker, signal.SIGSTOP)
    job_id = caller.submit("quick", "a", BUDGET_MS, priority=priority)
    assert is_started(connection, job_id) == (priority == "normal")
    assert caller.wait(job_id, BUDGET_MS).answer == "a"
    assert worker not in workers_of(supervisor)
    assert not connection.hexists(f"{keys.JOB}{job_id}", "deaths")
