"""The Lua operations with a typed front. Their contracts stand at the heads of lua/*.lua."""

from __future__ import annotations

import hashlib
import secrets
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from resident import keys
from resident.redis_client import Link, Script

_LUA = Path(__file__).parent / "lua"


def source_of(*names: str) -> str:
    """The script that these files of lua/ make, in their order."""
    return "\n".join((_LUA / f"{name}.lua").read_text(encoding="utf-8") for name in names)


def _script(*names: str) -> Script:
    source = source_of(*names)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_ASK = _script("clock", "ask")
_ANNOUNCE = _script("clock", "write", "announce")
_RELEASE = _script("clock", "write", "release")
_TURN = _script("clock", "write", "settle", "claim", "turn")


class AskCode(IntEnum):
    """What ask.lua did."""

    QUEUED = 1
    JOINED = 2
    ANSWERED = 3
    NO_WORKER = -1
    OVERLOADED = -2


class ClaimCode(IntEnum):
    """What claim.lua found."""

    QUESTIONS = 1
    SPECIAL = 2
    SUSPENDED = 3


class Outcome(IntEnum):
    """How a job ends; FINISHED and FAILED are RQ's Result.Type of the same number."""

    FINISHED = 1
    FAILED = 2
    DISCARDED = 3


class SettleCode(IntEnum):
    """What settle.lua did with a job."""

    LOST = 0
    SETTLED = 1
    SETTLED_WITH_DEPENDENTS = 2


class Asked(msgspec.Struct, frozen=True):
    """ask.lua's answer; waiting and limit are numbers of questions on the queue."""

    code: AskCode
    waiting: int
    limit: int


class Claimed(msgspec.Struct, frozen=True):
    """One started job, as Redis holds it: nothing in it has been checked.

    Attributes:
        data: RQ's job data; empty if there was none or data_size is over the limit.
        left_ms: What was left of the budget when it was claimed; -1 if it has none.
    """

    id: str
    execution: str
    data: bytes
    data_size: int
    left_ms: int
    enqueued_at: bytes
    created_at: bytes
    timeout: bytes
    result_ttl: bytes
    failure_ttl: bytes
    reply_to: bytes
    success_callback: bytes
    failure_callback: bytes


class Claim(msgspec.Struct, frozen=True):
    """What one claim brought.

    Attributes:
        started: When, by Redis' clock, in seconds, as Redis wrote it.
        jobs: Questions whose leases this worker now holds.
        special: The id of a job for RQ's own perform_job, on the intermediate list; or empty.
        suspended: `rq suspend` holds the workers; nothing was taken.
        more: It skipped so many ids that it stopped; claim again at once.
    """

    started: bytes = b"0"
    jobs: tuple[Claimed, ...] = ()
    special: str = ""
    suspended: bool = False
    more: bool = False


class Settlement(msgspec.Struct, frozen=True):
    """How one job ends; see settle.lua for ttl_s and result."""

    id: str
    execution: str
    outcome: Outcome
    reply_key: str
    reply: bytes
    result: bytes
    ttl_s: int


class Limits(msgspec.Struct, frozen=True):
    """The numbers that a worker's scripts need."""

    lease_ms: int
    reply_ttl_ms: int
    max_data_bytes: int


def ask(link: Link, task: str, job_id: str, budget_ms: int, fields: dict[str, Any]) -> Asked:
    """Puts one question on its task's queue, or says why not."""
    of = keys.of_task(task)
    script_keys = [
        f"{keys.JOB}{job_id}",
        of.queue,
        keys.QUEUES,
        keys.reply(job_id),
        keys.results(job_id),
        of.announcement,
        of.ready,
        of.rq_workers,
    ]
    args: list[Any] = [job_id, budget_ms, f"{keys.WORKER}{keys.WORKER_NAME_PREFIX}"]
    for field, value in fields.items():
        args += (field, value)
    code, waiting, limit = _ASK.call(link, script_keys, args)
    return Asked(AskCode(code), waiting, limit)


class WorkerScripts:
    """What one worker of one task runs in Redis, over its own link."""

    def __init__(self, link: Link, task: str, worker_name: str, limits: Limits) -> None:
        self._link = link
        self._task = task
        self._name = worker_name
        self._keys = keys.of_task(task)
        self._limits = limits
        self._script_keys = [
            self._keys.queue,
            self._keys.intermediate,
            self._keys.started,
            self._keys.finished,
            self._keys.failed,
            f"{keys.WORKER}{worker_name}",
            keys.worker_executions(worker_name),
            self._keys.leases,
            self._keys.metrics,
            keys.SUSPENDED,
        ]

    def wait_for_job(self, timeout_s: float) -> str:
        """Blocks until an id can be moved to the intermediate list; empty after timeout_s."""
        of = self._keys
        moved = self._link.call_blocking(
            timeout_s, "BLMOVE", of.queue, of.intermediate, "LEFT", "RIGHT"
        )
        if moved == b"":  # no job's; and to claim.lua it would mean that nothing was moved
            self._link.call("LREM", of.intermediate, 1, moved)
        # An id that is not UTF-8 is no job's; claim.lua drops it by the very same bytes.
        return moved.decode(errors="surrogateescape") if moved else ""

    def turn(
        self, settlements: list[Settlement], started: bytes, max_batch: int, moved: str = ""
    ) -> tuple[list[SettleCode], Claim]:
        """Settles what was answered since the claim at `started`, then claims up to max_batch."""
        args: list[Any] = [
            keys.PREFIX,
            self._name,
            secrets.token_hex(12),
            moved.encode(errors="surrogateescape"),
            max_batch,
            self._limits.lease_ms,
            self._limits.max_data_bytes,
            self._limits.reply_ttl_ms,
            started,
        ]
        for one in settlements:
            args += (
                one.id,
                one.execution,
                int(one.outcome),
                one.reply_key,
                one.reply,
                one.result,
                one.ttl_s,
            )
        codes, claimed = _TURN.call(self._link, self._script_keys, args)
        return [SettleCode(code) for code in codes], _read_claim(claimed)

    def executions(self) -> list[str]:
        """What Redis says this worker runs, as `<job>:<execution>`."""
        try:
            members = self._link.call("SMEMBERS", keys.worker_executions(self._name))
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return []  # no set; the next claim makes room for one
        return [member.decode(errors="replace") for member in members]

    def release(self, jobs: list[tuple[str, str]]) -> int:
        """Puts (id, execution) back to the front of the queue; returns how many went."""
        args = [keys.PREFIX, *(value for job in jobs for value in job)]
        return int(_RELEASE.call(self._link, self._script_keys, args))

    def announce(self, ttl_ms: int, description: dict[str, Any]) -> int:
        """Says for ttl_ms that this worker is ready, 0 that it no longer is."""
        args: list[Any] = [self._name, ttl_ms, self._task]
        for field, value in description.items():
            args += (field, value)
        script_keys = [self._keys.ready, self._keys.announcement, keys.TASKS]
        return int(_ANNOUNCE.call(self._link, script_keys, args))


def _read_claim(claimed: list[Any]) -> Claim:
    if not claimed:
        return Claim()
    code, started, more = claimed[:3]
    if code == ClaimCode.SUSPENDED:
        return Claim(started=started, suspended=True)
    if code == ClaimCode.SPECIAL:
        return Claim(started=started, special=claimed[3][0].decode(), more=bool(more))
    jobs = tuple(Claimed(job[0].decode(), job[1].decode(), *job[2:]) for job in claimed[3:])
    return Claim(started=started, jobs=jobs, more=bool(more))
