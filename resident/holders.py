"""Who holds which jobs, and what becomes of those whose holder is gone: release.lua, tick.lua."""

from __future__ import annotations

from typing import Any

import msgspec
from redis.exceptions import ResponseError

from resident import keys
from resident.errors import ErrorCode, error_for
from resident.link import Link, Word
from resident.lua_script import script_of

_RELEASE = script_of("clock", "write", "deadline", "release")
_TICK = script_of("clock", "write", "deadline", "tick")

#: How many hex digits of an execution's id say whose it is; the scripts know it, too.
TOKEN_LENGTH = 12

#: What release.lua makes of too many deaths, and of one in the middle of a stream.
VERDICTS = {
    b"crashed": error_for(
        ErrorCode.CRASHED, "Workers died each time that they ran this question, at last alone"
    ),
    b"timed_out": error_for(
        ErrorCode.TIMED_OUT,
        "The model took longer than its time-out for this question alone, and was killed",
    ),
    b"interrupted": error_for(
        ErrorCode.CRASHED,
        "The worker ended in the middle of this stream; what came of it is a part of the answer",
    ),
}
#: Ids of a job and of one run of it.
Execution = tuple[str, str]


class Alive(msgspec.Struct, frozen=True):
    """A worker whose process is there.

    Attributes:
        at_it_ms: How long it has been at its batch; 0 if it is at none, or has been for less than
            RQ needs to be told.
        is_silent: It is at none, and has not shown itself for longer than it waits for one.
    """

    token: str
    name: str
    at_it_ms: int = 0
    is_silent: bool = False


class Ticked(msgspec.Struct, frozen=True):
    """What a tick found: tokens of workers.

    Attributes:
        ended: Whose leases have ended, not more than a few at a time.
        frozen: Those silent ones who run something all the same, or do not take what waits.
    """

    ended: list[str]
    frozen: list[str]


class Death(msgspec.Struct, frozen=True):
    """How a worker died.

    Attributes:
        code: What a caller is told if its question is to blame.
        most: With so many deaths a question is to blame; 1 if it is already.
        lease: The worker's token if its lease must have ended; empty if its end was seen.
    """

    code: ErrorCode
    most: int
    lease: str = ""


def executions_of(link: Link, task: str) -> dict[str, list[Execution]]:
    """Who runs what of a task: the executions of each token, in the order of its claims.

    What was handed to a worker comes behind what it claimed.

    Those of stock RQ workers are among them; their tokens have no leases.
    """
    found: dict[str, list[Execution]] = {}
    for member in _call_on_record(link, ("ZRANGE", keys.of_task(task).started, "0", "-1")) or ():
        job, _, run = member.decode(errors="replace").rpartition(":")
        found.setdefault(run[:TOKEN_LENGTH], []).append((job, run))
    return {token: sorted(runs, key=lambda one: one[1]) for token, runs in found.items()}


def executions_of_worker(link: Link, name: str) -> list[Execution]:
    """What RQ's record of a worker says: what it runs on RQ's own path, or for a second or more."""
    members = _call_on_record(link, ("SMEMBERS", keys.worker_executions(name))) or ()
    pairs = [member.decode(errors="replace").rpartition(":") for member in members]
    return [(job, run) for job, _, run in pairs]


def withdraw(link: Link, task: str) -> None:
    """Takes back what a worker of the task offers, whichever it is.

    That worker will offer again when it next looks on the queue, at the latest when it has waited
    there in vain.

    Then nothing is handed to one that is gone, and what it was handed before is in its executions.
    """
    _call_on_record(link, withdraw_command(task))


def withdraw_command(task: str) -> tuple[str, ...]:
    """The command that does that."""
    return ("HDEL", keys.of_task(task).announcement, "offer")


def _call_on_record(link: Link, command: tuple[Word, ...]) -> Any:
    """What Redis answers; None if the key is of another type, and so no record of ours or RQ's."""
    try:
        return link.call(*command)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return None  # whoever writes to it next makes room for one


def release(
    link: Link, task: str, worker_name: str, jobs: list[Execution], death: Death | None = None
) -> int:
    """Puts jobs back to the front of the queue, those that are still held by these executions.

    With them what the worker took for RQ's own perform_job, if RQ has not begun it.

    Args:
        link: Where.
        task: The task's name.
        worker_name: Whose jobs they are.
        jobs: In the order of their claims.
        death: How the worker died; without one it puts them back itself.

    Returns:
        How many went.
    """
    of = keys.of_task(task)
    executions = keys.worker_executions(worker_name)
    args: list[Word] = [keys.PREFIX, "", "", "0"]
    if death is not None:
        args[1:] = [death.lease, death.code, str(death.most)]
    args += [value for job in jobs for value in job]
    script_keys = [of.queue, of.started, executions, of.leases, of.metrics, of.popped]
    script_keys += [f"{keys.WORKER}{worker_name}", of.intermediate]
    return int(_RELEASE.call(link, script_keys, args))


def tick(link: Link, task: str, lease_ms: int, workers: list[Alive]) -> Ticked:
    """Keeps what these workers of a task run from being taken for abandoned.

    Args:
        link: Where to say so.
        task: The task's name.
        lease_ms: How long the leases go on.
        workers: Those that are alive.
    """
    of = keys.of_task(task)
    args = [keys.PREFIX, str(lease_ms)]
    for one in workers:
        args += (one.token, one.name, str(one.at_it_ms), "1" if one.is_silent else "0")
    script_keys = [of.started, of.leases, of.queue, of.popped, of.announcement]
    ended, frozen = _TICK.call(link, script_keys, args)
    return Ticked([token.decode() for token in ended], [token.decode() for token in frozen])
