"""The Lua operations of workers with a typed front. Their contracts stand in lua/*.lua."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError
from rq.defaults import DEFAULT_WORKER_TTL

from resident import keys
from resident.claimed import NO_CLAIM, Claim, Claimed, read_claim
from resident.clock import Clock
from resident.holders import (
    TOKEN_LENGTH,
    Execution,
    executions_of,
    executions_of_worker,
    release,
    withdraw,
    withdraw_command,
)
from resident.link import Command, Link
from resident.lua_script import script_of
from resident.packed_claim import CLAIM, Limits, PackedClaim
from resident.settlement import SETTLE, Ended, SettleCommand, Settlement

_ANNOUNCE = script_of("clock", "write", "announce")

#: What took longer a tick may have told RQ of: it does so after a second, by another clock.
TICK_MAY_SEE_S = 0.5


def new_token() -> str:
    """What tells a worker, and the executions that it began, from all others."""
    return secrets.token_hex(TOKEN_LENGTH // 2)


class WorkerScripts:
    """What one worker of one task runs in Redis, over its own link."""

    def __init__(
        self, link: Link, task: str, worker_name: str, limits: Limits, token: str | None = None
    ) -> None:
        """Takes a token of TOKEN_LENGTH hex digits that no other worker has, or makes one."""
        self._link = link
        self._task = task
        self._name = worker_name
        self._keys = keys.of_task(task)
        self._token = token = token or new_token()
        self._settle = SettleCommand(task, worker_name, limits.reply_ttl_ms)
        self._claim = PackedClaim(task, worker_name, token, limits)
        # As claim.lua has it: RQ's DEFAULT_WORKER_TTL or the longest batch.
        expiry_s = max(limits.longest_batch_s, DEFAULT_WORKER_TTL) + 60
        self._offer = f"{token} {expiry_s} {limits.keep_ms} {worker_name}"
        self._is_loaded = False
        #: Whether RQ's record of the worker says busy: its last claim brought something, or a tick
        #: saw that what it was handed takes long. The next claim that brings nothing says idle.
        self.is_busy = False
        #: Whether somebody waited already when the last turn settled something and might wait.
        self.found_waiting = False
        #: As far as its claims and what it is handed have taught it.
        self.clock = Clock(link)
        #: With less of its budget left a question is not begun any more, ms.
        self.least_ms = 0

    def close(self) -> None:
        """Closes the link; the next call opens it, and brings the scripts along."""
        self._link.close()
        self._is_loaded = self.is_busy = False

    def turn(
        self, ended: Ended, max_batch: int, wait_s: float, also: Command | None = None
    ) -> Claim:
        """One turn of a worker: settle, wait for a job, claim it and what waits; in one write.

        Args:
            ended: What to settle.
            max_batch: The most questions to claim; 0 to settle only.
            wait_s: How long to wait if nothing does; 0 not at all.
            also: A command between settle and wait, an offer or its withdrawal; should Redis refuse
                it, the worker is handed nothing, or what it is handed waits for its next turn.

        Errors worth catching: those of Link. What was settled stays so, and what was claimed is in
        `executions()`.
        """
        if not self._is_loaded:
            self._load()
        self._link.send_all(self._turn_commands(ended, max_batch, wait_s, also))
        jobs = len(ended.settlements)
        codes: Any = self._next_answer() if jobs else None
        if max_batch:
            self.found_waiting = self._link.has_read_more()  # a wait parts it from what it brings
        if isinstance(codes, ResponseError) and wait_s and max_batch:
            self.close()  # or what is not settled would wait for the next question, too
            raise codes
        if jobs and not isinstance(codes, ResponseError):
            ended.on_settled(codes if isinstance(codes, list) else [codes] * jobs)
        if also:
            self._next_answer()
        if not max_batch:
            _raise_refusal(codes)
            return NO_CLAIM
        waited = self._next_answer(wait_s) if wait_s else None
        claimed: Any = self._next_answer()
        _raise_refusal(codes, claimed)
        claim = self._note(claimed)
        if claim.is_over:  # a Redis that is full refuses to wait, but not to claim what is there
            _raise_refusal(waited)
        return claim

    def settle_one(self, one: Settlement, started: bytes) -> int:
        """Settles one job of a claim that was `started` then; returns its SettleCode.

        Errors worth catching: those of Link; with them it may be settled or not.
        """
        if not self._is_loaded:
            self._load()
        link, (now_s, took_s) = self._link, self._now_and_took_s(started)
        link.send_all((self._settle.of_one(one, started, now_s, took_s),))
        codes = link.read(link.timeout_s)
        return int(codes[0] if type(codes) is list else codes)

    def _note(self, claimed: list[Any]) -> Claim:
        claim = read_claim(claimed)
        self.is_busy = bool(claim.jobs)  # RQ itself notes the state round a special job
        if claim.jobs:
            self.clock.learn(claim.started)
        return claim

    def _turn_commands(
        self, ended: Ended, max_batch: int, wait_s: float, also: Command | None
    ) -> list[Command]:
        commands: list[Command] = []
        if ended.settlements:
            commands.append(self._settle.of(ended, *self._now_and_took_s(ended.started)))
        if also:
            commands.append(also)
        if max_batch:
            if wait_s:
                of = self._keys
                commands.append(("BLMOVE", of.queue, of.popped, "LEFT", "RIGHT", f"{wait_s:.3f}"))
            commands.append(self._claim_command(max_batch))
        return commands

    def _next_answer(self, blocks_s: float = 0.0) -> Any:
        """The next answer, or the refusal: that keeps no other command from its answer."""
        try:
            return self._link.read(blocks_s + self._link.timeout_s)
        except ResponseError as error:
            return error

    def claim_more(self, most: int) -> tuple[Claimed, ...]:
        """Claims up to so many questions that wait, for a batch that there is already.

        Errors worth catching: those of Link. What was claimed is in `executions()`.
        """
        if not self._is_loaded:
            self._load()
        self._link.send_all([self._claim_command(most, adds=True)])
        return read_claim(self._link.read(self._link.timeout_s)).jobs

    def waiting(self) -> int:
        """How many questions wait on the queue."""
        return int(self._link.call("LLEN", self._keys.queue))

    def _load(self) -> None:
        for script in (SETTLE, CLAIM):
            self._link.call("SCRIPT", "LOAD", script.source)
        self.clock.read()
        self._is_loaded = True

    def _now_and_took_s(self, started: bytes) -> tuple[float, float]:
        now_s = self.clock.now_s()
        took_s = now_s - float(started)
        self.is_busy = self.is_busy or took_s > TICK_MAY_SEE_S
        return now_s, took_s

    def _claim_command(self, max_batch: int, *, adds: bool = False) -> Command:
        return self._claim.next(max_batch, self.is_busy or adds, adds, self.least_ms)

    def offer_command(self) -> Command:
        """Offers this worker to whoever asks while the task has nothing to do; see ask.lua."""
        return ("HSET", self._keys.announcement, "offer", self._offer)

    def withdraw_command(self) -> Command:
        """Takes the offer back, or that of another which was made since; for a turn."""
        return withdraw_command(self._task)

    def withdraw(self) -> None:
        """The same at once."""
        withdraw(self._link, self._task)

    def executions(self) -> list[Execution]:
        """What Redis says this worker runs, in the order of its claims."""
        return executions_of(self._link, self._task).get(self._token, [])

    def release(self, jobs: list[Execution]) -> int:
        """Puts jobs back to the front of the queue; returns how many went."""
        return release(self._link, self._task, self._name, jobs)

    def release_begun(self) -> int:
        """The same with what RQ began on its own path and could not file."""
        begun = executions_of_worker(self._link, self._name)
        return self.release(begun) if begun else 0

    def end_lease(self) -> None:
        """Takes leave: this worker holds nothing any more."""
        self._link.call("ZREM", self._keys.leases, self._token)

    def announce(self, ttl_ms: int, description: Mapping[str, Any], rate: float = 0.0) -> int:
        """Says for ttl_ms that this worker is ready; see `announce`."""
        return announce(self._link, self._task, self._name, ttl_ms, description, rate)


def announce(
    link: Link,
    task: str,
    worker_name: str,
    ttl_ms: int,
    description: Mapping[str, Any],
    rate: float = 0.0,
) -> int:
    """Says for ttl_ms that a worker is ready, 0 that it no longer is; returns how many are.

    Args:
        link: Where.
        task: The task's name.
        worker_name: Its name in RQ.
        ttl_ms: How long that is true.
        description: What the task is and takes.
        rate: Questions a second that this worker can answer; 0 if it cannot tell.
    """
    args = [worker_name, str(ttl_ms), task, f"{rate:.3f}"]
    for field, value in description.items():
        args += (field, str(value))
    of = keys.of_task(task)
    script_keys = [of.ready, of.announcement, keys.TASKS, keys.QUEUES, of.queue, of.rates, of.lanes]
    return int(_ANNOUNCE.call(link, script_keys, args))


def _raise_refusal(*answers: Any) -> None:
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
