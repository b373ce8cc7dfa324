"""ask.lua with a typed front: puts questions on their tasks' queues, or says why not."""

from __future__ import annotations

import hashlib
import re
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from resident import keys
from resident.errors import ErrorCode, error_for
from resident.link import Link, Word
from resident.lua_script import script_of
from resident.protocol import encode_failed

_ASK = script_of("clock", "ask_joined", "ask")
_CANCEL = script_of("clock", "write", "lanes", "cancel")
_PLAIN_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: The command after which the server knows the script.
LOAD = ("SCRIPT", "LOAD", _ASK.source)
#: The same for the script that cancels.
LOAD_CANCEL = ("SCRIPT", "LOAD", _CANCEL.source)


class AskCode(IntEnum):
    """What ask.lua did."""

    QUEUED = 1
    JOINED = 2
    ANSWERED = 3
    NO_WORKER = -1
    OVERLOADED = -2
    CONFLICT = -3
    TOO_LATE = -4


class Asking(msgspec.Struct, frozen=True):
    """One question as ask.lua takes it.

    Attributes:
        data: RQ's job data.
        failure_ttl: How long it is kept if it fails, s.
        is_new: The id was made for this question and this is the first try to ask it.
        lane: Of `lane_of`.
        reply_to: The mailbox that the reply goes to; empty for the id's own key.
        is_streamed: Its caller reads the answer in deltas.
    """

    task: str
    id: str
    budget_ms: int
    data: bytes
    failure_ttl: int
    is_new: bool = False
    lane: str = ""
    reply_to: str = ""
    is_streamed: bool = False


class Asked(msgspec.Struct, frozen=True):
    """ask.lua's answer.

    Attributes:
        waiting: How many questions wait if they are too many (OVERLOADED); how many ms an answer
            would take if that is TOO_LATE; else 0.
        limit: How many may wait; the budget in ms if it is TOO_LATE; else 0.
    """

    code: AskCode
    waiting: int
    limit: int


#: What is usual; an enum looks its members up in Python.
_QUEUED = Asked(AskCode.QUEUED, 0, 0)


class CancelCode(IntEnum):
    """What cancel.lua did."""

    NOTHING = 0
    NEVER_RUNS = 1
    DROPPED = 2


class Priority(StrEnum):
    """Which questions are taken first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


def lane_of(priority: str = Priority.NORMAL, tenant: str = "") -> str:
    """Where a question waits behind others; empty for the task's own queue.

    A tenant that is no plain name goes by its digest.

    Raises:
        CallerError: There is no such priority, or the tenant is no text.
    """
    if tenant == "" and priority == Priority.NORMAL:
        return ""  # as nearly all are
    rank = _checked(priority)
    if not isinstance(tenant, str):
        msg = f"A tenant is a text, not {type(tenant).__name__}"
        raise error_for(ErrorCode.INVALID_QUESTION, msg)
    if not tenant:
        return rank.value
    if not _PLAIN_TENANT.fullmatch(tenant):
        encoded = tenant.encode("utf-8", "surrogatepass")
        tenant = hashlib.sha1(encoded, usedforsecurity=False).hexdigest()
    return f"{rank.value}:{tenant}"


def _checked(priority: str) -> Priority:
    try:
        return Priority(priority)
    except ValueError:
        msg = f"A priority is one of {', '.join(Priority)}, not {priority!r}"
        raise error_for(ErrorCode.INVALID_QUESTION, msg) from None


def ask(link: Link, job: Asking, then: tuple[Word, ...] | None = None) -> Asked:
    """Puts one question on its task's queue, or says why not.

    Args:
        link: Where to ask.
        job: What is asked, and for how long.
        then: A command that goes out in the same write; its answer is the next to be read.
    """
    script_keys, args = _ask_arguments(job)
    return read_asked(_ASK.call(link, script_keys, args, then))


def ask_many(link: Link, jobs: list[Asking]) -> list[Asked | ResponseError]:
    """The same for many questions in one write; Redis may refuse some of them.

    Errors worth catching: those of Link; then it is not known which of them were asked.
    """
    commands = [command(job) for job in jobs]
    asked = _run(link, commands)
    unknown = [at for at, one in enumerate(asked) if isinstance(one, NoScriptError)]
    if unknown:
        link.call(*LOAD)
        again = _run(link, [commands[at] for at in unknown])
        for at, one in zip(unknown, again, strict=True):
            asked[at] = one
    return asked


def _run(link: Link, commands: list[tuple[Word, ...]]) -> list[Asked | ResponseError]:
    link.send_all(commands)
    return [_read_one(link) for _ in commands]


def _read_one(link: Link) -> Asked | ResponseError:
    try:
        return read_asked(link.read(link.timeout_s))
    except ResponseError as error:
        return error


def command(job: Asking) -> tuple[Word, ...]:
    """The command that asks, if the server knows the script; LOAD makes it known."""
    return _ASK.command(*_ask_arguments(job))


def _ask_arguments(job: Asking) -> tuple[tuple[str, ...], tuple[Word, ...]]:
    of = keys.of_task(job.task)
    digest = "" if job.is_new else _digest_of(job.task, job.data)
    script_keys = (f"{keys.JOB}{job.id}", of.queue, of.announcement)
    budget_ms, failure_ttl = str(job.budget_ms), str(job.failure_ttl)
    terms = (job.id, budget_ms, job.task, job.data, failure_ttl)
    if job.is_streamed:
        return script_keys, (*terms, job.reply_to, digest, job.lane, "1")
    if digest or job.lane:
        return script_keys, (*terms, job.reply_to, digest, job.lane)
    return script_keys, (*terms, job.reply_to) if job.reply_to else terms


def _digest_of(task: str, data: bytes) -> str:
    """What tells two questions apart that are asked with the same id."""
    return hashlib.sha1(b"%s\n%s" % (task.encode(), data), usedforsecurity=False).hexdigest()


def read_asked(answer: Any) -> Asked:
    """What ask.lua did, by its answer; raises InvalidResponse if it is none of its answers."""
    if answer == _QUEUED.code:
        return _QUEUED
    try:
        code, waiting, limit = (answer, 0, 0) if type(answer) is int else answer
        return Asked(AskCode(code), waiting, limit)
    except (TypeError, ValueError):
        msg = f"{answer!r:.60} is no answer to an ask"
        raise InvalidResponse(msg) from None


def cancel(
    link: Link,
    job_id: str,
    reply_ttl_ms: int,
    then: tuple[Word, ...] | None = None,
    *,
    token: str = "",
) -> CancelCode:
    """Takes a question back; whoever waits for its reply is told so at once.

    Args:
        link: Where it was asked.
        job_id: Which one.
        reply_ttl_ms: How long what is said of it is kept.
        then: A command that goes out in the same write; its answer is the next to be read.
        token: 32 hex digits of this call's own, with which it may be repeated: it is told again
            what it did.
    """
    script_keys, args = _cancel_arguments(job_id, reply_ttl_ms, token)
    return CancelCode(_CANCEL.call(link, script_keys, args, then))


def cancel_command(job_id: str, reply_ttl_ms: int, token: str = "") -> tuple[Word, ...]:
    """The command that cancels, if the server knows the script; LOAD_CANCEL makes it known."""
    return _CANCEL.command(*_cancel_arguments(job_id, reply_ttl_ms, token))


def _cancel_arguments(
    job_id: str, reply_ttl_ms: int, token: str
) -> tuple[tuple[str, ...], tuple[Word, ...]]:
    reply = encode_failed(job_id, ErrorCode.CANCELLED, "The question was cancelled")
    script_keys = (f"{keys.JOB}{job_id}", keys.reply(job_id), keys.cancelled(job_id))
    return script_keys, (job_id, keys.PREFIX, keys.OWN, reply, str(reply_ttl_ms), token)
