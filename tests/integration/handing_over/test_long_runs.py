"""What was handed over, and takes longer than its model was seen to take."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from enqueue_api.client import Client
from resident import keys
from tests.support.handing import BUDGET_MS, QUICK, is_offered, is_started
from tests.support.live import Live
from tests.support.waiting import wait_until


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A question that is answered when somebody writes there."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


@pytest.fixture
def running(supervisor: subprocess.Popen[str], caller: Client, gate: Path) -> str:
    """The id of a question that was handed over, and runs until the gate is opened."""
    return caller.submit("quick", str(gate), BUDGET_MS)


def ask_in_vain_for_a_hand(connection: Redis, caller: Client) -> str:
    """A question that is for the queue."""
    later = caller.submit("quick", "later", BUDGET_MS)
    assert not is_started(connection, later)
    return later


def test_a_handed_question_that_takes_long_is_recorded_and_its_worker_busy(
    running: str, gate: Path, connection: Redis, caller: Client, live: Live
) -> None:
    (name,) = (name.decode() for name in connection.zrange(QUICK.ready, 0, -1))
    worker = f"{keys.WORKER}{name}"
    wait_until(lambda: connection.hget(worker, "state") == b"busy")
    assert connection.exists(f"{keys.PREFIX}:executions:{running}")
    # What comes meanwhile waits on the queue, or on its way from there, and is not handed over.
    later = ask_in_vain_for_a_hand(connection, caller)
    gate.write_text("opened", encoding="utf-8")
    assert caller.wait(running, BUDGET_MS).answer == "opened"
    assert caller.wait(later, BUDGET_MS).answer == "later"
    wait_until(lambda: connection.hget(worker, "state") == b"idle")
    live.check_that_it_serves()


def cancel(job_id: str, connection: Redis, caller: Client) -> None:
    assert caller.cancel(job_id)


def cancel_as_rq_does(job_id: str, connection: Redis, caller: Client) -> None:
    wait_until(lambda: connection.exists(f"{keys.PREFIX}:executions:{job_id}"))
    Job.fetch(job_id, connection, JSONSerializer).cancel()


@pytest.mark.parametrize("taken_back", [cancel, cancel_as_rq_does])
def test_a_worker_is_handed_nothing_while_it_runs_what_was_taken_back(
    taken_back: Callable[[str, Redis, Client], None],
    running: str,
    gate: Path,
    connection: Redis,
    caller: Client,
    live: Live,
) -> None:
    assert is_started(connection, running)
    taken_back(running, connection, caller)
    assert not connection.exists(QUICK.started)
    later = ask_in_vain_for_a_hand(connection, caller)
    gate.write_text("opened", encoding="utf-8")
    assert caller.wait(later, BUDGET_MS).answer == "later"
    live.check_that_it_serves()


def test_a_model_that_turned_slow_is_handed_nothing_more(
    running: str, gate: Path, connection: Redis, caller: Client, live: Live
) -> None:
    wait_until(lambda: connection.exists(f"{keys.PREFIX}:executions:{running}"))
    gate.write_text("opened", encoding="utf-8")
    assert caller.wait(running, BUDGET_MS).answer == "opened"
    for _ in range(3):
        live.answers_one()
        assert not is_offered(connection)
    wait_until(lambda: not connection.pubsub_channels("resident:hand:*"))
