"""Puts questions on their tasks' queues over one connection, or says why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from enqueue_api import outcome
from enqueue_api.deadline import Deadline
from enqueue_api.question import Question
from enqueue_api.waiting import Wait
from resident import asking
from resident.asking import AskCode, Asked
from resident.errors import ResidentError, TransportError
from resident.link import Link

T = TypeVar("T")

#: So many questions go out in one write.
CHUNK = 500


def put(
    link: Link,
    deadline: Deadline,
    question: Question,
    wait: Wait | None = None,
    *,
    is_read: bool = False,
) -> None:
    """Asks; a wait for the reply goes out with it, and costs no round trip of its own.

    Args:
        link: Where to ask.
        deadline: When the budget ends.
        question: What to ask.
        wait: What waits for the reply, if it is to go out with the question.
        is_read: The answer is read as it comes.

    Raises:
        ResidentError: It was not let in.
    """
    tries = [False, True]

    def ask() -> Asked:
        one = question.asking(is_first=tries.pop(), is_read=is_read)
        return asking.ask(link, one, None if wait is None else wait.command())

    asked = once_more(link, deadline, ask, question.id)
    if asked.code < 0:
        if wait is not None:
            link.close()  # it waits for a reply that will not come
        raise outcome.refusal(question, asked, _tasks_to_name(link, [asked]))


def put_again(link: Link, question: Question) -> bool:
    """Joins the question if Redis has it, and else asks again; whether it is there then.

    Errors worth catching: those of Link.
    """
    asked = asking.ask(link, question.asking(is_first=False))
    return asked.code > 0


def put_all_again(link: Link, questions: list[Question], reply_to: str) -> bool:
    """The same for many; whether all are there then.

    Errors worth catching: RedisError.
    """
    codes: list[AskCode] = []
    for start in range(0, len(questions), CHUNK):
        chunk = questions[start : start + CHUNK]
        jobs = [one.asking(is_first=False, reply_to=reply_to) for one in chunk]
        for asked in asking.ask_many(link, jobs):
            if isinstance(asked, RedisError):
                raise asked
            codes.append(asked.code)
    return all(code > 0 for code in codes)


def put_all(
    link: Link, deadline: Deadline, questions: list[Question], reply_to: str = ""
) -> dict[str, ResidentError]:
    """Asks many; returns why not by the ids of those that were not let in.

    With a mailbox somebody waits for the replies, until the deadline: what that overtakes is not
    asked.
    """
    refused: dict[str, ResidentError] = {}
    for start in range(0, len(questions), CHUNK):
        if start and reply_to and deadline.is_over:
            late = questions[start:]
            return refused | {one.id: outcome.expired(deadline.budget_ms, one.id) for one in late}
        chunk = questions[start : start + CHUNK]
        try:
            refused |= _put_chunk(link, deadline, chunk, reply_to)
        except TransportError as error:
            link.close()
            refused |= {one.id: TransportError(error.message, one.id) for one in chunk}
        except RedisError as error:
            link.close()
            refused |= {one.id: outcome.fault_of_redis(error, one.id) for one in chunk}
    return refused


def _put_chunk(
    link: Link, deadline: Deadline, chunk: list[Question], reply_to: str
) -> dict[str, ResidentError]:
    tries = [False, True]

    def ask() -> list[Asked | RedisError]:
        is_first = tries.pop()
        jobs = [one.asking(is_first=is_first, reply_to=reply_to) for one in chunk]
        return [*asking.ask_many(link, jobs)]

    answers = once_more(link, deadline, ask)
    served = _tasks_to_name(link, answers)
    refused: dict[str, ResidentError] = {}
    for one, asked in zip(chunk, answers, strict=True):
        if isinstance(asked, RedisError):
            refused[one.id] = outcome.fault_of_redis(asked, one.id)
        elif asked.code < 0:
            refused[one.id] = outcome.refusal(one, asked, served)
    return refused


def _tasks_to_name(link: Link, answers: Sequence[Asked | RedisError]) -> list[str] | None:
    """The tasks that have ready workers, if a refusal names them and they can be looked up."""
    if not any(isinstance(one, Asked) and outcome.names_tasks(one) for one in answers):
        return None
    try:
        return tasks_served(link)
    except RedisError:
        link.close()
        return None


def tasks_served(link: Link) -> list[str]:
    """The names of the tasks that ready workers serve now."""
    return outcome.tasks_in(link.call(*outcome.query_for_tasks(link.call("TIME"))))


def once_more(link: Link, deadline: Deadline, call: Callable[[], T], job_id: str = "") -> T:
    """Calls; if the connection turns out to be dead, opens it and calls a second time.

    It must be safe to repeat; an id that may be there already is joined, not asked twice.
    """
    try:
        return call()
    except (RedisConnectionError, RedisTimeoutError) as error:
        link.close()
        if deadline.is_over:
            raise outcome.fault_of_redis(error, job_id) from error
    try:
        return call()
    except RedisError as error:
        raise outcome.fault_of_redis(error, job_id) from error
