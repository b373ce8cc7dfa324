"""The Lua operations with a typed front. Their contracts stand at the heads of lua/*.lua."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from resident import keys
from resident.redis_client import Exchange, Link, Script

_LUA = Path(__file__).parent / "lua"


def source_of(*names: str) -> str:
    """The script that these files of lua/ make, in their order."""
    return "\n".join((_LUA / f"{name}.lua").read_text(encoding="utf-8") for name in names)


def _script(*names: str) -> Script:
    source = source_of(*names)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_ASK = _script("clock", "ask")
_ANNOUNCE = _script("clock", "write", "announce")
_CLAIM = _script("clock", "write", "deadline", "claim")
_ANSWER = _script("clock", "write", "held", "answer")
_FILE = _script("clock", "write", "held", "file")
_RELEASE = _script("clock", "write", "deadline", "release")
_RENEW = _script("clock", "write", "renew")


#: How the keys of our own workers begin.
_OUR_WORKERS = f"{keys.WORKER}{keys.WORKER_NAME_PREFIX}"
#: How many hex digits of an execution's id say whose it is; renew.lua knows it, too.
TOKEN_LENGTH = 12


def new_token() -> str:
    """What tells a worker, and the executions that it began, from all others."""
    return secrets.token_hex(TOKEN_LENGTH // 2)


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


#: RQ's words for them; a job that is discarded has no status.
_STATUSES = {Outcome.FINISHED: "finished", Outcome.FAILED: "failed", Outcome.DISCARDED: ""}


class SettleCode(IntEnum):
    """What answer.lua and file.lua did with a job."""

    LOST = 0
    SETTLED = 1
    SETTLED_WITH_DEPENDENTS = 2


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


class Claimed(msgspec.Struct, frozen=True, gc=False):
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

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to claim now."""
        return self.suspended or not (self.jobs or self.special or self.more)


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How one job ends; see answer.lua and file.lua for ttl_s and result."""

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
    longest_batch_s: int


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
        of.started,
    ]
    args: list[Any] = [job.id, job.budget_ms, _OUR_WORKERS, int(job.is_new)]
    for field, value in fields.items():
        args += (field, value)
    return script_keys, args


def _read_asked(answer: Any) -> Asked:
    code, waiting, limit = answer
    return Asked(AskCode(code), waiting, limit)


class WorkerScripts:
    """What one worker of one task runs in Redis, over its own link."""

    def __init__(
        self, link: Link, task: str, worker_name: str, limits: Limits, token: str | None = None
    ) -> None:
        """Takes a token of TOKEN_LENGTH hex digits that no other worker has, or makes one."""
        self._link = link
        self._task = task
        self._name = worker_name
        self._limits = limits
        self._token = token or new_token()
        self._claims = 0
        self._is_loaded = False
        self._is_busy = False
        self._keys = of = keys.of_task(task)
        worker, executions = f"{keys.WORKER}{worker_name}", keys.worker_executions(worker_name)
        self._answer_keys = [of.started, of.leases, of.metrics]
        self._file_keys = [of.started, of.leases, of.finished, of.failed, executions]
        self._claim_keys = [
            *(of.queue, of.popped, of.intermediate, of.started, worker, of.leases, of.metrics),
            keys.SUSPENDED,
        ]
        self._release_keys = [
            *(of.queue, of.started, executions, of.leases, of.metrics, of.finished, of.failed),
        ]

    def close(self) -> None:
        """Closes the link; the next call opens it, and brings the scripts along."""
        self._link.close()
        self._is_loaded = self._is_busy = False

    def turn(
        self,
        settlements: list[Settlement],
        started: bytes,
        max_batch: int,
        wait_s: float,
        on_settled: Callable[[list[SettleCode]], object],
    ) -> Claim:
        """One turn of a worker: settle, wait for a job, claim it and what waits.

        The replies go ahead in a write of their own, so that the callers need not wait for the
        rest, which is a second write. Nothing is read before both are out.

        Args:
            settlements: How the jobs of a batch end; may be empty.
            started: When that batch was claimed.
            max_batch: The most questions to claim; 0 to settle only.
            wait_s: How long to wait if nothing does; 0 not at all.
            on_settled: Called as soon as the batch is settled, with one code a settlement.

        Errors worth catching: those of Link. What was settled stays so, and what was claimed is in
        `executions()`.
        """
        self._load()
        exchange = Exchange(self._link)
        claimed: list[Any] = []
        if settlements:
            answered: list[int] = []
            exchange.add(self.answer_command(settlements), answered.extend)
            exchange.send()
            exchange.add(
                self.file_command(settlements, started),
                # If Redis refused the answers, all of it is to be repeated.
                lambda codes: answered and on_settled([SettleCode(code) for code in codes]),
            )
        if max_batch:
            if wait_s:
                of = self._keys
                blmove = ("BLMOVE", of.queue, of.popped, "LEFT", "RIGHT", f"{wait_s:.3f}")
                exchange.add(blmove, lambda _popped: None, wait_s)  # the claim finds it
            exchange.add(
                _CLAIM.command(self._claim_keys, self._claim_args(max_batch)), claimed.extend
            )
        exchange.run()
        claim = _read_claim(claimed)
        if max_batch:
            self._is_busy = bool(claim.jobs)  # RQ itself notes the state round a special job
        return claim

    def claim_more(self, most: int) -> tuple[Claimed, ...]:
        """Claims up to so many questions that wait, for a batch that there is already.

        Errors worth catching: those of Link. What was claimed is in `executions()`.
        """
        self._load()
        args = self._claim_args(most, adds=True)
        return _read_claim(self._link.call(*_CLAIM.command(self._claim_keys, args))).jobs

    def waiting(self) -> int:
        """How many questions wait on the queue."""
        return int(self._link.call("LLEN", self._keys.queue))

    def _load(self) -> None:
        if not self._is_loaded:
            for script in (_ANSWER, _FILE, _CLAIM):
                self._link.call("SCRIPT", "LOAD", script.source)
            self._is_loaded = True

    def answer_command(self, settlements: list[Settlement]) -> tuple[Any, ...]:
        """The first half of a settle: replies, and the jobs' state."""
        args: list[Any] = [keys.PREFIX, self._limits.reply_ttl_ms]
        for one in settlements:
            status = _STATUSES[one.outcome]
            args += (one.id, one.execution, status, one.reply_key, one.reply, one.ttl_s)
        return _ANSWER.command(self._answer_keys, args)

    def file_command(self, settlements: list[Settlement], started: bytes) -> tuple[Any, ...]:
        """The second half: results and registries."""
        args: list[Any] = [keys.PREFIX, self._name, started]
        for one in settlements:
            args += (one.id, one.execution, int(one.outcome), one.result, one.ttl_s)
        return _FILE.command(self._file_keys, args)

    def _claim_args(self, max_batch: int, *, adds: bool = False) -> list[Any]:
        limits = self._limits
        self._claims += 1
        return [
            keys.PREFIX,
            self._name,
            f"{self._token}{self._claims:0{24 - TOKEN_LENGTH}x}",
            max_batch,
            limits.lease_ms,
            limits.max_data_bytes,
            int(self._is_busy or adds),
            limits.longest_batch_s,
            int(adds),
        ]

    def executions(self) -> list[tuple[str, str]]:
        """What Redis says this worker runs: ids of jobs and executions, in the order of claims."""
        try:
            members = self._link.call("ZRANGE", self._keys.started, 0, -1)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return []  # no registry; the next claim makes room for one
        split = (member.decode(errors="replace").rpartition(":") for member in members)
        mine = ((job, run) for job, _, run in split if run.startswith(self._token))
        return sorted(mine, key=lambda one: one[1])

    def release(self, jobs: list[tuple[str, str]]) -> int:
        """Puts (id, execution) back to the front of the queue; returns how many went."""
        args = [keys.PREFIX, *(value for job in jobs for value in job)]
        return int(_RELEASE.call(self._link, self._release_keys, args))

    def announce(self, ttl_ms: int, description: dict[str, Any]) -> int:
        """Says for ttl_ms that this worker is ready, 0 that it no longer is."""
        args: list[Any] = [self._name, ttl_ms, self._task]
        for field, value in description.items():
            args += (field, value)
        of = self._keys
        script_keys = [of.ready, of.announcement, keys.TASKS, keys.QUEUES, of.queue]
        return int(_ANNOUNCE.call(self._link, script_keys, args))


def renew(link: Link, task: str, lease_ms: int, workers: dict[str, str]) -> int:
    """Keeps what these workers of a task run from being taken for abandoned.

    Args:
        link: Where to say so.
        task: The task's name.
        lease_ms: How long the leases go on.
        workers: Token and name of each.

    Returns:
        How many leases were renewed: those of what has run for a second or more.
    """
    of = keys.of_task(task)
    args = [keys.PREFIX, lease_ms, *(text for pair in workers.items() for text in pair)]
    return int(_RENEW.call(link, [of.started, of.leases], args))


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
