"""The ways in which questions come: RQ's own enqueue, the minimal protocol, our client.

A desk is an empty database in which questions are asked. What stands there is then copied to the
databases of the workers under test, so that all of them see the very same jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from rq import Callback, Queue
from rq.serializers import JSONSerializer

from enqueue_api.client import Client
from resident import keys, names, protocol
from resident.errors import ErrorCode, TryAgain
from resident.link import Link
from resident.packed_claim import Limits
from resident.scripts import WorkerScripts
from resident.settings import Settings
from tests.support.waiting import wait_until

#: Longer than any test.
BUDGET_MS = 120_000
_CALLER = "a caller of tests.support.desks"
CALLBACKS = {
    "success_callback_name": protocol.SUCCESS_CALLBACK,
    "failure_callback_name": protocol.FAILURE_CALLBACK,
}


@dataclass(frozen=True)
class Asking:
    """One question with what a caller may say about its job; None leaves the field out."""

    question: Any
    arguments: int = 1
    result_ttl: int | None = None
    failure_ttl: int | None = None
    meta: dict[str, Any] | None = None
    description: str | None = None
    job_id: str = field(default_factory=protocol.new_id)


def ask_by_rq(desk: Redis, task: str, asking: Asking, **options: Any) -> None:
    """Queue.enqueue of RQ, which knows nothing of us."""
    Queue(task, connection=desk, serializer=JSONSerializer).enqueue(
        names.function_name(task),
        *[asking.question] * asking.arguments,
        job_id=asking.job_id,
        result_ttl=asking.result_ttl,
        failure_ttl=asking.failure_ttl,
        meta=asking.meta,
        description=asking.description,
        **options,
    )


def ask_by_rq_for_a_reply(desk: Redis, task: str, asking: Asking) -> None:
    """The same with our callbacks, so that a reply comes."""
    ask_by_rq(
        desk,
        task,
        asking,
        on_success=Callback(protocol.SUCCESS_CALLBACK),
        on_failure=Callback(protocol.FAILURE_CALLBACK),
    )


def ask_by_hand(desk: Redis, task: str, asking: Asking) -> None:
    """The minimum of docs/protocol.md: one MULTI, as any Redis client can write it."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    fields = {
        "status": "queued",
        "created_at": now,
        "enqueued_at": now,
        "timeout": 60,
        "description": asking.description,
        "result_ttl": asking.result_ttl,
        "failure_ttl": asking.failure_ttl,
        "meta": None if asking.meta is None else JSONSerializer.dumps(asking.meta),
        **CALLBACKS,
    }
    _write(desk, task, asking, fields)


def ask_with_the_least(desk: Redis, task: str, asking: Asking) -> None:
    """Less than the minimum: what RQ cannot do without, and a reply."""
    _write(desk, task, asking, dict(CALLBACKS))


def ask_in_vain(desk: Redis, task: str, asking: Asking) -> None:
    """A question whose budget has run out: its id waits still, its hash is gone."""
    desk.sadd(keys.QUEUES, keys.of_task(task).queue)
    desk.rpush(keys.of_task(task).queue, asking.job_id)


def ask_by_client(desk: Redis, task: str, asking: Asking) -> None:
    """Our Python client, which is told at the end that its question was cancelled."""
    queue = keys.of_task(task).queue
    waiting = desk.llen(queue)
    caller = threading.Thread(target=_ask_and_be_cancelled, args=(desk, task, asking), name=_CALLER)
    with announced(desk, task):
        caller.start()
        wait_until(lambda: desk.llen(queue) > waiting or not caller.is_alive())


def release_callers(desk: Redis) -> None:
    """Ends those who wait for a reply; the desk is of no more use."""
    callers = [one for one in threading.enumerate() if one.name == _CALLER]
    for job_key in desk.scan_iter(f"{keys.JOB}*"):
        job_id = job_key.decode().removeprefix(keys.JOB)
        cancelled = protocol.encode_failed(job_id, ErrorCode.CANCELLED, "the test has seen it")
        desk.rpush(keys.reply(job_id), cancelled)
    for caller in callers:
        caller.join()


WAYS = (
    ask_by_rq,
    ask_by_rq_for_a_reply,
    ask_by_hand,
    ask_with_the_least,
    ask_in_vain,
    ask_by_client,
)


@contextmanager
def announced(connection: Redis, task: str) -> Iterator[None]:
    """A worker is ready for the task, as far as callers can see."""
    link = Link(connection)
    scripts = WorkerScripts(link, task, "nobody", Limits(1000, 1000, 1000, 60))
    scripts.announce(BUDGET_MS, {"max_backlog": 1000})
    try:
        yield
    finally:
        scripts.announce(0, {"max_backlog": 1000})
        link.close()


def copy_everything(desk: Redis, database: Redis) -> None:
    """Copies all keys with their TTLs, to a database of any server."""
    for key in set(desk.scan_iter()):
        database.restore(key, max(0, desk.pttl(key)), desk.dump(key))


def _ask_and_be_cancelled(desk: Redis, task: str, asking: Asking) -> None:
    failure_ttl = {} if asking.failure_ttl is None else {"failure_ttl": asking.failure_ttl}
    with Client(desk, Settings(**failure_ttl)) as client, suppress(TryAgain):
        client.ask(task, asking.question, BUDGET_MS, job_id=asking.job_id)


def _write(desk: Redis, task: str, asking: Asking, fields: dict[str, Any]) -> None:
    arguments = [asking.question] * asking.arguments
    data = JSONSerializer.dumps([names.function_name(task), None, arguments, {}])
    present = {name: value for name, value in fields.items() if value is not None}
    key, queue = f"{keys.JOB}{asking.job_id}", keys.of_task(task).queue
    with desk.pipeline(transaction=True) as pipeline:
        pipeline.hset(key, mapping={"data": data, "origin": task, **present})
        pipeline.pexpire(key, BUDGET_MS)
        pipeline.sadd(keys.QUEUES, queue)
        pipeline.rpush(queue, asking.job_id)
        pipeline.execute()
