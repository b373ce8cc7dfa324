"""settle.lua with a typed front: how jobs end, and the command that says so."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import msgspec

from resident import keys
from resident.lua_script import script_of

SETTLE = script_of("write", "settle_held", "settle")

#: For so long after its claim nobody can have taken a question for abandoned, or have asked anew
#: after its budget, without a word to the registry of those that run.
REGISTRY_KNOWS_S = 1.0


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


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How one job ends; see settle.lua for ttl_s and result.

    Attributes:
        by_hash: Only the job's hash says whether this worker still holds it.
    """

    id: str
    execution: str
    outcome: Outcome
    reply_key: str
    reply: bytes
    result: bytes
    ttl_s: int
    by_hash: bool = True


class Ended(msgspec.Struct, frozen=True):
    """How a batch ended, and whom to tell when that is settled.

    Attributes:
        settlements: One a job; none if there was no batch.
        started: When it was claimed, as Redis wrote it.
        on_settled: Called as soon as it is settled, with one SettleCode a settlement.
    """

    settlements: list[Settlement]
    started: bytes
    on_settled: Callable[[list[int]], object]


#: There was no batch.
NOTHING_ENDED = Ended([], b"0", bool)


class SettleCommand:
    """What one worker sends to settle a batch: replies, and RQ's books."""

    def __init__(self, task: str, worker_name: str, reply_ttl_ms: int) -> None:
        of = keys.of_task(task)
        executions = keys.worker_executions(worker_name)
        script_keys = (of.started, of.finished, executions, of.anew)
        self._head = SETTLE.command(script_keys, (keys.PREFIX, worker_name))
        self._reply_ttl_ms = str(reply_ttl_ms)

    def of(self, ended: Ended, now_s: float, took_s: float) -> tuple[Any, ...]:
        """The command.

        Args:
            ended: A batch with a job at least.
            now_s: By Redis' clock.
            took_s: How long it has been held.
        """
        settlements = ended.settlements
        second, micros = divmod(int(now_s * 1e6), 1_000_000)
        by_hash = took_s > REGISTRY_KNOWS_S
        usual, ttl_s = settlements[0].outcome, settlements[0].ttl_s
        others: list[str] = []
        values: list[Any] = []
        for number, one in enumerate(settlements, 1):
            values += (one.id, one.execution, one.reply_key, one.reply, one.result)
            by_hash = by_hash or one.by_hash
            if one.outcome is not usual or one.ttl_s != ttl_s:
                others.append(f"{number}:{one.outcome:d}:{one.ttl_s}")
        # Numbers as text, which hiredis packs in a third of the time.
        now, stamp = f"{second}.{micros:06d}", f"{_calendar(second)}.{micros:06d}Z"
        terms = (ended.started, self._reply_ttl_ms, "1" if by_hash else "0", now, stamp)
        return (*self._head, *terms, f"{usual:d}", f"{ttl_s}", ";".join(others), *values)


@functools.lru_cache(maxsize=4)
def _calendar(second: int) -> str:
    """A second as RQ writes times, up to its point."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
