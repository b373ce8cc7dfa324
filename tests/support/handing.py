"""A task that is quick enough for its worker to offer itself, and what is seen of it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident import keys
from resident.pulse import Pulse
from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker
from tests.support.odd import odd_tasks
from tests.support.waiting import wait_until

QUICK = keys.of_task("quick")
BUDGET_MS = 20_000


def offers_after_one_more(connection: Redis, caller: Client) -> bool:
    """It offers itself when it waits the next time; on a busy machine it may seem slow at first."""
    assert caller.ask("quick", "?", BUDGET_MS).answer == "?"
    return offers_soon(connection)


def offers_soon(connection: Redis) -> bool:
    """Whether it offers itself before it has another question to learn from."""
    with suppress(AssertionError):
        return wait_until(lambda: is_offered(connection), within_s=0.5)
    return False


def is_offered(connection: Redis) -> bool:
    return bool(connection.hexists(QUICK.announcement, "offer"))


def is_started(connection: Redis, job_id: str) -> bool:
    return connection.hget(f"{keys.JOB}{job_id}", "status") == b"started"


def quick_worker(connection: Redis, monkeypatch: pytest.MonkeyPatch) -> ResidentWorker:
    """One in this process that thinks that a supervisor watches it."""
    with odd_tasks():
        worker = ResidentWorker(load_task("quick"), connection, Settings(), pulse=Pulse())
    monkeypatch.setattr(worker._watchdog, "expect_within", lambda _: None)  # it would end pytest
    monkeypatch.setattr(worker, "subscribe", lambda: None)
    monkeypatch.setattr(worker, "unsubscribe", lambda: None)
    return worker
