"""What can come of a question: an answer, or one of the errors of resident/errors.py."""

from __future__ import annotations

from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from enqueue_api.question import Question
from resident import keys, protocol
from resident.asking import AskCode, Asked
from resident.errors import ErrorCode, ResidentError, TransportError, error_for
from resident.link import Word
from resident.protocol import Answered
from resident.redis_client import said

#: What came of one of many questions; `isinstance(one, Answered)` tells, an error can be raised.
Outcome = Answered | ResidentError


class ClientClosed(RedisError):
    """Nobody waits for an answer any more, and none is to be tried again for."""

    def __init__(self) -> None:
        super().__init__("the client was closed")


#: The PHP client says the same of them.
_FAULTS: tuple[tuple[type[RedisError], str], ...] = (
    (OutOfMemoryError, "is full, so nothing was written"),
    (NoPermissionError, "does not let this user ask"),
    (ReadOnlyError, "is a replica that cannot be written to"),
    (BusyLoadingError, "is still loading its data"),
    (AuthenticationError, "refuses the user or the password"),
    (MasterDownError, "is a replica that has lost its master"),  # a ClusterError to redis-py
    (ClusterError, "is a cluster, and Resident needs a single Redis"),
    (AskError, "is a cluster, and Resident needs a single Redis"),
    (RedisTimeoutError, "did not answer"),
    (RedisConnectionError, "cannot be reached"),
    (ClientClosed, "was not waited for"),
)


def answer_in(payload: bytes, job_id: str) -> Answered:
    """The answer in a reply; raises the error that is in it, or TransportError if it is none."""
    try:
        return protocol.decode_reply(payload, job_id)
    except ValueError as error:
        raise TransportError(f"What came back is {error}", job_id) from error


def outcome_in(payload: bytes, job_id: str) -> Outcome:
    """The same, and nothing is raised."""
    try:
        return answer_in(payload, job_id)
    except ResidentError as error:
        return error


def expired(budget_ms: int, job_id: str) -> ResidentError:
    """There was no reply within the budget."""
    return error_for(ErrorCode.EXPIRED, f"No answer within {budget_ms} ms", job_id)


def lost(error: BaseException, job_id: str = "") -> TransportError:
    """Redis broke off, and did not come back before the budget was over."""
    reason = said(error) or "it did not answer"  # asyncio's TimeoutError says nothing
    return TransportError(f"Redis was lost while waiting: {reason}", job_id)


def fault_of_redis(error: RedisError, job_id: str = "") -> TransportError:
    """What is wrong with Redis, in words that tell an operator what to do."""
    cause = error.__cause__  # redis.asyncio makes a lost connection of all that befalls it at first
    kind = cause if isinstance(cause, RedisError) else error
    what = next((words for each, words in _FAULTS if isinstance(kind, each)), "refused a command")
    return TransportError(f"Redis {what} ({said(error)})", job_id)


def names_tasks(asked: Asked) -> bool:
    """Whether the refusal names the tasks that have ready workers, which cost a look."""
    return asked.code is AskCode.NO_WORKER


def refusal(question: Question, asked: Asked, served: list[str] | None) -> ResidentError:
    """Why a question was not let in.

    Args:
        question: Which one.
        asked: What ask.lua said.
        served: The tasks that have ready workers, if `names_tasks` and they could be looked up.
    """
    if asked.code is AskCode.OVERLOADED:
        msg = f"{asked.waiting} questions wait for {question.task!r} already; {asked.limit} are "
        return error_for(ErrorCode.OVERLOADED, f"{msg}allowed", question.id)
    if asked.code is AskCode.TOO_LATE:
        msg = f"An answer of {question.task!r} takes {asked.waiting} ms now, the budget is "
        return error_for(ErrorCode.OVERLOADED, f"{msg}{asked.limit} ms", question.id)
    if asked.code is AskCode.CONFLICT:
        msg = f"Another question was asked with the id {question.id!r}; each needs one of its own"
        return error_for(ErrorCode.CONFLICT, msg, question.id)
    msg = f"No worker is ready for the task {question.task!r}."
    if served is not None:
        msg = f"{msg} Tasks served now: {', '.join(served) or 'none'}."
    return error_for(ErrorCode.NO_WORKER, msg, question.id)


def query_for_tasks(time: Any) -> tuple[Word, ...]:
    """The command that lists the tasks which have ready workers at Redis' TIME."""
    seconds, microseconds = time
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    return ("ZRANGEBYSCORE", keys.TASKS, str(now_ms), "+inf")


def tasks_in(names: Any) -> list[str]:
    """Their names, in order, in Redis' answer."""
    return sorted(name.decode(errors="replace") for name in names)
