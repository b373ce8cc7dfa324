"""ask.lua with a typed front: puts questions on their tasks' queues, or says why not."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from resident import keys
from resident.lua_script import script_of
from resident.redis_client import Link

_ASK = script_of("clock", "ask")
#: How the keys of our own workers begin.
_OUR_WORKERS = f"{keys.WORKER}{keys.WORKER_NAME_PREFIX}"


class AskCode(IntEnum):
    """What ask.lua did."""

    QUEUED = 1
    JOINED = 2
    ANSWERED = 3
    NO_WORKER = -1
    OVERLOADED = -2


class Asking(msgspec.Struct, frozen=True):
    """One question as ask.lua takes it, without its fields.

    Attributes:
        is_new: The id was made for this question and this is the first try to ask it.
    """

    task: str
    id: str
    budget_ms: int
    is_new: bool = False


class Asked(msgspec.Struct, frozen=True):
    """ask.lua's answer; waiting and limit are numbers of questions on the queue."""

    code: AskCode
    waiting: int
    limit: int


def ask(
    link: Link,
    job: Asking,
    fields: dict[str, Any],
    then: tuple[Any, ...] | None = None,
) -> Asked:
    """Puts one question on its task's queue, or says why not.

    Args:
        link: Where to ask.
        job: What is asked, and for how long.
        fields: The fields of the job's hash that a caller writes.
        then: A command that goes out in the same write; its answer is the next to be read.
    """
    script_keys, args = _ask_arguments(job, fields)
    return _read_asked(_ASK.call(link, script_keys, args, then))


def ask_many(link: Link, jobs: list[Asking], fields: list[dict[str, Any]]) -> list[Asked]:
    """The same for many questions in one write.

    Errors worth catching: those of Link; then it is not known which of them were asked.
    """
    commands = [
        _ASK.command(*_ask_arguments(job, one)) for job, one in zip(jobs, fields, strict=True)
    ]
    link.send_all([("SCRIPT", "LOAD", _ASK.source), *commands])
    link.read(link.timeout_s)
    return [_read_asked(link.read(link.timeout_s)) for _ in commands]


def _ask_arguments(job: Asking, fields: dict[str, Any]) -> tuple[list[str], list[Any]]:
    of = keys.of_task(job.task)
    script_keys = [
        f"{keys.JOB}{job.id}",
        of.queue,
        keys.QUEUES,
        keys.reply(job.id),
        keys.results(job.id),
        of.announcement,
        of.rq_workers,
    ]
    args: list[Any] = [job.id, job.budget_ms, _OUR_WORKERS, int(job.is_new)]
    for field, value in fields.items():
        args += (field, value)
    return script_keys, args


def _read_asked(answer: Any) -> Asked:
    code, waiting, limit = answer
    return Asked(AskCode(code), waiting, limit)
