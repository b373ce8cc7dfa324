"""Reads what a claim brought: which of its jobs are questions to the task, and which are not.

Pure. What comes from Redis may have been written by anybody, so every field is checked here, and
a bad job becomes a Refused of its own; its batch mates are answered.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, final

import msgspec
from rq.defaults import DEFAULT_FAILURE_TTL
from rq.timeouts import JobTimeoutException

from resident import keys
from resident.claimed import Claimed, Unusual
from resident.errors import ErrorCode, ResidentError, error_for, invalid_question
from resident.holders import VERDICTS
from resident.protocol import (
    FAILURE_CALLBACK,
    SUCCESS_CALLBACK,
    data_head,
    decode_job_data,
    decode_plain_data,
    reply_key,
)
from resident.task import Task

_RQ_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_RQ_TIME_LENGTH = len("2026-11-23T08:09:10.000001Z")
_Z = ord("Z")
#: RQ keeps what fails for a year unless told otherwise; more in a job's ttl is cut to that.
_LONGEST_TTL_S = DEFAULT_FAILURE_TTL


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What a job says about its time and its reply; few jobs of a queue say anything else.

    Attributes:
        timeout_s: The job's own limit, 0 if it has none.
        result_ttl_s: -1 keep, 0 delete; the worker's default if the job has none.
        wants_answer: It has our success callback.
        wants_error: It has our failure callback.
    """

    timeout_s: int
    result_ttl_s: int
    failure_ttl_s: int
    wants_answer: bool
    wants_error: bool


class Fields(msgspec.Struct, frozen=True, gc=False):
    """The checked fields of a job.

    Attributes:
        enqueued_s: When it was enqueued, in s since 1970; 0 if it does not say so.
        reply_key: Where its reply goes if it wants one.
    """

    enqueued_s: float
    terms: Terms
    reply_key: str

    @property
    def success_key(self) -> str:
        """Where the answer goes; empty if the job wants none."""
        return self.reply_key if self.terms.wants_answer else ""

    @property
    def failure_key(self) -> str:
        """Where an error goes; empty likewise."""
        return self.reply_key if self.terms.wants_error else ""


@final
class Question(msgspec.Struct, frozen=True, gc=False):
    """A job that the model shall answer."""

    job: Unusual
    fields: Fields
    value: Any

    @property
    def wants_deltas(self) -> bool:
        """Whether its caller reads the answer as it comes."""
        return self.job.stream == b"1" and self.fields.terms.wants_answer


class Refused(msgspec.Struct, frozen=True):
    """A job that is no question to this task.

    Attributes:
        fields: None if the hash is not one that RQ could read: then it is discarded, not filed.
    """

    job: Unusual
    fields: Fields | None
    error: ResidentError

    @property
    def failure_key(self) -> str:
        """Where the error goes; a job with unreadable fields is answered at its own key."""
        if self.fields:
            return self.fields.failure_key
        return reply_key(self.job.id, self.job.reply_to.decode("ascii", errors="replace"))


def read_claimed(
    claimed: Claimed, task: Task, max_bytes: int, default_result_ttl_s: int
) -> Question | Refused:
    """The question in a claimed job, or why there is none."""
    job = claimed if isinstance(claimed, Unusual) else Unusual(*msgspec.structs.astuple(claimed))
    try:
        fields = _read_fields(job, default_result_ttl_s)
    except ValueError as error:
        return Refused(job, None, invalid_question(f"The job's hash is malformed: {error}"))
    if job.deaths and job.deaths in VERDICTS:
        return Refused(job, fields, VERDICTS[job.deaths])
    try:
        return Question(job, fields, _read_question(job, task, max_bytes))
    except ResidentError as error:
        return Refused(job, fields, error)
    except JobTimeoutException:
        msg = "To read and check this question took too long"
        return Refused(job, fields, error_for(ErrorCode.TIMED_OUT, msg))


def read_plain(
    jobs: Iterable[Claimed], task: Task, max_bytes: int, default_result_ttl_s: int
) -> tuple[list[Any], list[Fields]] | None:
    """The same of a batch: the values and the fields of its questions, all as our clients ask them.

    None if any of them is anything else: read_claimed says what, and finds in the others what is
    found here.
    """
    head = data_head(task.name)
    values, fields = [], []
    try:
        for job in jobs:
            if type(job) is not Claimed:
                return None
            to = reply_key(job.id, job.reply_to.decode()) if job.reply_to else keys.reply(job.id)
            terms = _plain_terms(job.failure_ttl, default_result_ttl_s)
            fields.append(Fields(read_time("enqueued_at", job.enqueued_at), terms, to))
            values.append(task.check(decode_plain_data(job.data, head, max_bytes)))
    except (ValueError, RecursionError, ResidentError):
        return None
    return values, fields


def batch_timeout_s(task: Task, questions: list[Question]) -> float:
    """How long the model may take for these: the task's limit, or a job's own if shorter."""
    timeout_s = task.timeout_s
    for one in questions:
        own_s = one.fields.terms.timeout_s
        if 0 < own_s < timeout_s:
            timeout_s = own_s
    return timeout_s


def times_of(jobs: Iterable[Claimed]) -> list[float]:
    """When these jobs were enqueued, in ms; those that do not say so are left out."""
    times = []
    for job in jobs:
        with suppress(ValueError):
            if enqueued_s := read_time("enqueued_at", job.enqueued_at):
                times.append(enqueued_s * 1000)
    return times


def _read_question(job: Unusual, task: Task, max_bytes: int) -> Any:
    if not job.data:
        msg = f"The question has {job.too_long} bytes of job data; at most {max_bytes} are taken"
        raise invalid_question(msg)
    with suppress(ValueError, RecursionError):  # most are written as our clients do
        return task.check(decode_plain_data(job.data, data_head(task.name), max_bytes))
    name, question = decode_job_data(job.data, max_bytes)
    _check_name(name, task)
    return task.check(question)


def _check_name(name: str, task: Task) -> None:
    if name != task.function_name:
        msg = f"{name[:120]!r} is not a task; this queue runs {task.function_name}"
        raise error_for(ErrorCode.UNKNOWN_TASK, msg)


def _read_fields(job: Unusual, default_result_ttl_s: int) -> Fields:
    if not job.data and not job.too_long:
        msg = "it has no field 'data'"
        raise ValueError(msg)
    enqueued_s = read_time("enqueued_at", job.enqueued_at)
    if job.created_at:
        read_time("created_at", job.created_at)
    terms = _terms_of(job, default_result_ttl_s)
    reply_to = job.reply_to.decode("ascii", errors="replace") if job.reply_to else ""
    return Fields(enqueued_s, terms, reply_key(job.id, reply_to))


def _terms_of(job: Unusual, default_result_ttl_s: int) -> Terms:
    return _read_terms(
        job.timeout,
        job.result_ttl,
        job.failure_ttl,
        job.success_callback,
        job.failure_callback,
        default_result_ttl_s,
    )


@functools.lru_cache(maxsize=256)
def _plain_terms(failure_ttl: bytes, default_result_ttl_s: int) -> Terms:
    callbacks = (SUCCESS_CALLBACK.encode(), FAILURE_CALLBACK.encode())
    return _read_terms(b"", b"", failure_ttl, *callbacks, default_result_ttl_s)


@functools.lru_cache(maxsize=256)
def _read_terms(
    timeout: bytes,
    result_ttl: bytes,
    failure_ttl: bytes,
    success_callback: bytes,
    failure_callback: bytes,
    default_result_ttl_s: int,
) -> Terms:
    return Terms(
        timeout_s=_read_int("timeout", timeout, 0),
        result_ttl_s=_read_int("result_ttl", result_ttl, default_result_ttl_s),
        failure_ttl_s=_read_int("failure_ttl", failure_ttl, DEFAULT_FAILURE_TTL),
        wants_answer=success_callback == SUCCESS_CALLBACK.encode(),
        wants_error=failure_callback == FAILURE_CALLBACK.encode(),
    )


def _read_int(name: str, raw: bytes, default: int) -> int:
    """An int of seconds from -1; an empty field is an absent one, as for RQ."""
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError:
        msg = f"{name} is {raw[:40]!r}, not a number of seconds"
        raise ValueError(msg) from None
    return max(-1, min(value, _LONGEST_TTL_S))


def read_time(name: str, raw: bytes) -> float:
    """A moment as RQ writes it, in s since 1970; 0 for none.

    Raises:
        ValueError: It is none; the message has the field's name.
    """
    if not raw:
        return 0.0
    try:
        micros = raw[20:26]
        if len(raw) == _RQ_TIME_LENGTH and micros.isdigit() and raw[-1] == _Z:
            return _second(raw[:20]) + float(micros) / 1e6  # int() of bytes takes twice as long
        return _second(raw)
    except ValueError:
        msg = f"{name} is {raw[:40]!r}, not a time like 2026-11-23T08:09:10.000001Z"
        raise ValueError(msg) from None


@functools.lru_cache(maxsize=256)
def _second(raw: bytes) -> float:
    """The same, up to its point or whole; strptime is slow, and a batch is of few seconds."""
    text = raw.decode("ascii")
    form = "%Y-%m-%dT%H:%M:%S." if text.endswith(".") else _RQ_TIME
    moment = datetime.strptime(text, form)  # noqa: DTZ007  (UTC, as RQ writes it)
    return moment.replace(tzinfo=UTC).timestamp()
