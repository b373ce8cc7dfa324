"""What a claim brings, and what is handed over without one: the same types for both."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from resident.protocol import FAILURE_CALLBACK, SUCCESS_CALLBACK


class ClaimCode(IntEnum):
    """What claim.lua found."""

    QUESTIONS = 1
    SPECIAL = 2
    SUSPENDED = 3
    PLAIN = 4


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A started question as our clients ask it; nothing in it has been checked.

    Attributes:
        enqueued_at: Empty if it did not wait.
        by_hash: Not empty if only the job's hash says who holds it.
    """

    id: str
    execution: str
    enqueued_at: bytes
    failure_ttl: bytes
    reply_to: bytes
    by_hash: bytes
    data: bytes


#: What a worker is told of it.
_VALUES = len(Claimed.__struct_fields__)


class Unusual(Claimed, frozen=True, gc=False):
    """Any other started job, whose data is empty if there was none or if it was too long.

    Attributes:
        created_at: Empty if it is enqueued_at.
        too_long: The size of data in bytes if that was over the limit.
        deaths: How many workers died with it, empty for none; in a word if that ends it.
        stream: `1` if its caller reads the answer in deltas.
    """

    created_at: bytes = b""
    success_callback: bytes = SUCCESS_CALLBACK.encode()
    failure_callback: bytes = FAILURE_CALLBACK.encode()
    too_long: int = 0
    timeout: bytes = b""
    result_ttl: bytes = b""
    deaths: bytes = b""
    stream: bytes = b""


class Claim(msgspec.Struct, frozen=True):
    """What one claim brought.

    Attributes:
        started: When, by Redis' clock, in seconds, as Redis wrote it.
        jobs: Questions whose leases this worker now holds.
        special: The id of a job for RQ's own perform_job, on the intermediate list; or empty.
        suspended: `rq suspend` holds the workers; nothing was taken.
        more: It skipped so many ids that it stopped; claim again at once.
        left_ms: What is left of the budget of a question that is handed over; -1 of others.
    """

    started: bytes = b"0"
    jobs: tuple[Claimed, ...] = ()
    special: str = ""
    suspended: bool = False
    more: bool = False
    left_ms: int = -1

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to claim now."""
        return self.suspended or not (self.jobs or self.special or self.more)


#: Nothing was brought, or nothing is held.
NO_CLAIM = Claim()


def read_claim(claimed: list[Any]) -> Claim:
    """What claim.lua returned."""
    code, started, more, *told = claimed
    if code == ClaimCode.PLAIN:
        return Claim(started, _read_plain(told))
    if code == ClaimCode.QUESTIONS:
        return Claim(started, tuple([_read(job) for job in told]), "", False, bool(more))
    if code == ClaimCode.SUSPENDED:
        return Claim(started=started, suspended=True)
    return Claim(started=started, special=told[0][0].decode(), more=bool(more))


def _read_plain(told: list[Any]) -> tuple[Claimed, ...]:
    """The jobs of values that stand one behind another."""
    jobs = zip(*[iter(told)] * _VALUES, strict=True)
    return tuple(
        [
            Claimed(job_id.decode(), execution.decode(), at, failure_ttl, to, by_hash, data)
            for job_id, execution, at, failure_ttl, to, by_hash, data in jobs
        ]
    )


def _read(told: list[Any]) -> Claimed:
    job_id, execution, *others = told
    kind = Claimed if len(told) == _VALUES else Unusual
    return kind(job_id.decode(), execution.decode(), *others)
