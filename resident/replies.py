"""Replies from RQ's callbacks, so that stock RQ workers answer the same jobs.

Every question names `deliver` and `deliver_error` as its callbacks. Our own workers reply in
settle.lua instead; these run in `rq worker`, in RQ's clean-up of abandoned jobs, and for jobs
that use other features of RQ.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any

from redis import Redis
from rq.job import Job
from rq.utils import as_text, str_to_date

from resident.errors import ErrorCode
from resident.faults import code_and_sentence, kind_of, model_raised
from resident.job import AllowedJob
from resident.lua_script import script_of
from resident.protocol import (
    FAILURE_CALLBACK,
    SUCCESS_CALLBACK,
    encode_answer,
    encode_answered,
    encode_failed,
    reply_key,
)
from resident.settings import read_settings
from resident.task import Task

_DELIVER = script_of("deliver")
_STATE = ["reply_to", "created_at", "worker_name"]


def deliver(job: Job, connection: Redis, result: Any, *_: Any) -> None:
    """RQ's success callback: replies with the answer."""
    reply = encode_answered(
        job.id,
        encode_answer(result),
        queued_ms=_milliseconds(job.enqueued_at, job.started_at),
        model_ms=_milliseconds(job.started_at, job.ended_at),
        batch=1,
    )
    _push(job, connection, reply)


def deliver_error(
    job: Job,
    connection: Redis,
    kind: type[BaseException],
    error: BaseException,
    _traceback: TracebackType | None,
) -> None:
    """RQ's failure callback: replies with the error, unless RQ will try the job again.

    Nor to a caller who has the answer: then it was the books that failed.
    """
    if job.should_retry or (isinstance(job, AllowedJob) and job.is_answered):
        return
    code, message = describe(kind, error, job.id)
    _push(job, connection, encode_failed(job.id, code, message))


def describe(kind: type[BaseException], error: BaseException, job_id: str) -> tuple[ErrorCode, str]:
    """The code and the safe sentence for what went wrong with a question."""
    code, sentence = code_and_sentence(kind, error)
    return code, sentence or model_raised(kind_of(kind), job_id)


def _push(job: Job, connection: Redis, payload: bytes) -> None:
    """Replies to whoever asked what this run answers; its id may have been asked anew since."""
    reply_to, created_at, worker = connection.hmget(job.key, _STATE)
    key = reply_key(job.id, as_text(reply_to or b""))
    ttl_ms = int(read_settings().reply_ttl_s * 1000)
    args = (job.key, key, created_at or b"", payload, ttl_ms, int(isinstance(job, AllowedJob)))
    is_ours = _is_of_this_run(job, created_at, worker)
    is_delivered = is_ours and connection.eval(_DELIVER.source, 2, *args)
    if isinstance(job, AllowedJob):
        job.is_answered = True
        if not is_delivered:
            job.let_go()


def _is_of_this_run(job: Job, created_at: str | bytes | None, worker: str | bytes | None) -> bool:
    if worker and as_text(worker) != job.worker_name:
        return False
    try:
        return not created_at or str_to_date(created_at) == job.created_at
    except ValueError:  # RQ could not have begun it
        return False


def _milliseconds(start: datetime | None, end: datetime | None) -> float:
    if start is None or end is None:
        return 0.0
    return max(0.0, round((end - start).total_seconds() * 1000, 3))


def callbacks_of(task: Task) -> dict[str, Callable[..., Any]]:
    """What jobs of a task may name as callbacks: its own, and the two here."""
    allowed = {f"{one.__module__}.{one.__qualname__}": one for one in task.callbacks}
    return {**allowed, SUCCESS_CALLBACK: deliver, FAILURE_CALLBACK: deliver_error}
