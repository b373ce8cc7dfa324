"""Jobs that use more of RQ than a question does: RQ's own perform_job runs them.

RQ trusts what it reads. Here a job that RQ trips over is discarded with an error reply, as
settle.lua does with a hash that is malformed, and the worker goes on.
"""

from __future__ import annotations

import structlog
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq.exceptions import NoSuchJobError
from rq.intermediate_queue import IntermediateQueue
from rq.utils import as_text
from rq.worker import WorkerStatus

from resident import keys
from resident.errors import ErrorCode
from resident.protocol import encode_failed, reply_key
from resident.redis_client import met_by_script
from resident.rqs_worker import RqsWorker

#: Redis is away, full or read-only: none of it is the job's fault, and all of it may pass.
_REDIS_TROUBLE = (
    RedisConnectionError,
    RedisTimeoutError,
    OutOfMemoryError,
    ReadOnlyError,
    NoPermissionError,
    MasterDownError,
)
#: The same, of what redis-py has no type for.
_TROUBLE_BY_WORD = ("NOREPLICAS ", "MISCONF ", "BUSY ")

_log = structlog.get_logger()


def perform(worker: RqsWorker, job_id: str, reply_ttl_ms: int) -> None:
    """Runs a job from the intermediate list as RQ itself would; may be repeated after an error.

    RQ files whatever interrupts the function as its failure, a second SIGTERM too.

    Errors worth catching: redis.exceptions.RedisError, when Redis is in trouble.
    """
    queue = worker.queues[0]
    waiting = IntermediateQueue(queue.key, worker.connection)
    if job_id not in waiting.get_job_ids() and not _is_still_held(worker, job_id):
        return  # RQ took it off when it began the job
    worker.set_state(WorkerStatus.BUSY)  # a full Redis refuses it here, where nothing has begun
    worker.begun = ()
    try:
        job = worker.job_class.fetch(job_id, worker.connection, worker.serializer)
        job.origin = queue.name  # RQ takes it off the list of the queue that the job names
        worker.execute_job(job, queue)
    except Exception as error:  # noqa: BLE001  (what anybody wrote must not end the service)
        _raise_unless_malformed(error)
        _log.warning("malformed job", job=job_id, kind=type(error).__name__)
        _discard(worker, job_id, error, reply_ttl_ms)
    # RQ may not have come so far. If it is to be run again, another worker may have claimed it.
    if not _is_queued(worker.connection, job_id):
        waiting.remove(job_id)
    worker.connection.hdel(worker.key, "special")


def let_dependents_go(worker: RqsWorker, parents: str) -> None:
    """Puts on their queues those that waited for a job of this set; may be repeated after an error.

    Two workers may do it at once: RQ takes each dependent off the list of its job. What one could
    not do that died over it, another does. Anybody may have written into the set, or in its place.
    """
    try:
        members = worker.connection.smembers(parents)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        worker.connection.delete(parents)
        return
    for member in members:
        job_id = member.decode(errors="replace") if isinstance(member, bytes) else member
        _enqueue_dependents(worker, job_id)
        worker.connection.srem(parents, member)


def _enqueue_dependents(worker: RqsWorker, job_id: str) -> None:
    queue = worker.queues[0]
    try:
        job = worker.job_class.fetch(job_id, worker.connection, worker.serializer)
        queue.enqueue_dependents(job)
    except Exception as error:  # noqa: BLE001  (the same)
        _raise_unless_malformed(error)
        _log.warning("dependents left waiting", job=job_id, kind=type(error).__name__)


def _raise_unless_malformed(error: Exception) -> None:
    if not isinstance(error, RedisError):
        return
    error = met_by_script(error)
    # A pipeline's error quotes the command first, and with it what anybody wrote.
    reason = str(error).rpartition("of pipeline caused error: ")[2]
    if isinstance(error, _REDIS_TROUBLE) or reason.startswith(_TROUBLE_BY_WORD):
        raise error


def _discard(worker: RqsWorker, job_id: str, error: Exception, reply_ttl_ms: int) -> None:
    connection, job_key = worker.connection, f"{keys.JOB}{job_id}"
    if not _is_answered(connection, job_id) and connection.exists(job_key):
        why = error if isinstance(error, NoSuchJobError) else type(error).__name__
        message = f"The job's hash is malformed: {why}"
        payload = encode_failed(job_id, ErrorCode.INVALID_QUESTION, message)
        reply = reply_key(job_id, _mailbox_of(connection, job_key))
        if as_text(connection.type(reply)) not in {"list", "none"}:
            connection.delete(reply)  # others' replies may lie in a mailbox
        with connection.pipeline() as pipeline:
            pipeline.rpush(reply, payload)
            pipeline.pexpire(reply, reply_ttl_ms)
            pipeline.execute()
    with connection.pipeline() as pipeline:
        # RQ notes a run before it is begun, and forgets it before it is filed.
        for execution in {*worker.executions.values(), *worker.begun}:
            execution.delete(execution.job, pipeline)
        pipeline.delete(job_key, keys.executions(job_id))
        pipeline.execute(raise_on_error=False)
    worker.executions.clear()
    worker.set_state(WorkerStatus.IDLE)


def _is_still_held(worker: RqsWorker, job_id: str) -> bool:
    """Though it is not on the list: RQ's clean-ups take off what they cannot read."""
    if any(run.job_id == job_id for run in worker.begun):
        return False  # it may wait already to be run again
    try:
        held = worker.connection.hget(worker.key, "special")
    except ResponseError:  # no hash, so no record
        return False
    return held == job_id.encode() and _is_queued(worker.connection, job_id)


def _is_queued(connection: Redis, job_id: str) -> bool:
    try:
        return connection.hget(f"{keys.JOB}{job_id}", "status") == b"queued"
    except ResponseError:  # no hash, so no job
        return False


def _mailbox_of(connection: Redis, job_key: str) -> str:
    try:
        return as_text(connection.hget(job_key, "reply_to") or b"")
    except (ResponseError, UnicodeDecodeError):
        return ""


def _is_answered(connection: Redis, job_id: str) -> bool:
    try:
        return bool(connection.llen(keys.reply(job_id)))
    except ResponseError:  # no list, so no reply
        return False
