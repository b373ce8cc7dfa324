"""A worker of the task `tell`, and readers who take the protocol at its word."""

from __future__ import annotations

import json
import uuid
from typing import Any

from redis import Redis

from resident import keys
from tests.support.live import Live
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes
from tests.support.waiting import wait_until

READING_MS = 60_000


class Reader:
    """Asks `tell` straight in Redis, and reads what comes payload by payload."""

    def __init__(self, connection: Redis) -> None:
        self.connection = connection
        self.live = Live(connection, "tell")

    def ask(self, *question: Any, **fields: str) -> str:
        """The id of a question whose answer is read along."""
        job_id = uuid.uuid4().hex
        self.connection.set(keys.reading(job_id), "1", px=READING_MS)
        self.live.put_as([job_id], {**self.live.fields(list(question)), "stream": "1", **fields})
        return job_id

    def leave(self, job_id: str) -> None:
        self.connection.delete(keys.reading(job_id))

    def next(self, job_id: str) -> dict[str, Any]:
        """The next payload."""
        popped = wait_until(lambda: self.connection.lpop(keys.reply(job_id)))
        payload: dict[str, Any] = json.loads(popped)
        assert payload["id"] == job_id
        return payload

    def all(self, job_id: str) -> tuple[list[str], dict[str, Any]]:
        """The deltas and the reply behind them."""
        deltas: list[str] = []
        while "ok" not in (payload := self.next(job_id)):
            assert payload == {"v": 1, "id": job_id, "seq": len(deltas), "delta": payload["delta"]}
            deltas.append(payload["delta"])
        assert not self.connection.exists(keys.reply(job_id))
        return deltas, payload


def start_teller(
    processes: Processes, connection: Redis, *arguments: str, **environment: str
) -> Any:
    """worker.py with the task `tell`, ready."""
    worker = processes.start(*WITH_ODD_TASKS, "worker.py", "tell", *arguments, **environment)
    wait_until(lambda: worker.poll() is not None or connection.exists(keys.of_task("tell").ready))
    assert worker.poll() is None, worker.communicate()
    return worker
