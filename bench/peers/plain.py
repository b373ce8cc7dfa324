"""The bare loop as a programmer would write it: redis-py, one call a step."""

from __future__ import annotations

import os
import uuid
from typing import Any

import redis

connection: Any = redis.Redis.from_url(os.environ["BENCH_URL"], decode_responses=True)


def serve() -> None:
    """Answers `plain:queue` until it is ended."""
    while True:
        popped = connection.blpop("plain:queue", timeout=1)
        if popped:
            job_id, _, question = popped[1].partition(" ")
            connection.rpush(f"plain:reply:{job_id}", question)
            connection.expire(f"plain:reply:{job_id}", 60)


def ask(question: str) -> str:
    """One question."""
    job_id = uuid.uuid4().hex
    connection.rpush("plain:queue", f"{job_id} {question}")
    popped = connection.blpop(f"plain:reply:{job_id}", timeout=5)
    return str(popped[1]) if popped else ""
