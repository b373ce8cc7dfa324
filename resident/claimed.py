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
        jobs: Questions whose leases this worker now holds; all plain, or all Unusual.
        special: The id of a job for RQ's own perform_job, on the intermediate list; or empty.
        suspended: `rq suspend` holds the workers; nothing was taken.
        more: It skipped so many ids that it stopped; claim again at once.
        left_ms: Of a question that is handed over, what is left of its budget.
    """

    started: bytes = b"0"
    jobs: tuple[Claimed, ...] = ()
    special: str = ""
    suspended: bool = False
    more: bool = False
    left_ms: int = 0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to claim now."""
        return self.suspended or not (self.jobs or self.special or self.more)


#: Nothing was brought, or nothing is held.
NO_CLAIM = Claim()


def read_claim(claimed: list[Any]) -> Claim:
    """What claim.lua returned."""
    code, started, more, *jobs = claimed
    if code == ClaimCode.QUESTIONS:
        read = [_read(job) if type(job) is bytes else _read_unusual(job) for job in jobs]
        return Claim(started, tuple(read), "", False, bool(more))
    if code == ClaimCode.SUSPENDED:
        return Claim(started=started, suspended=True)
    return Claim(started=started, special=jobs[0][0].decode(), more=bool(more))


def _read(told: bytes) -> Claimed:
    """Seven lines, the last of which may be more."""
    job_id, execution, enqueued_at, failure_ttl, reply_to, by_hash, data = told.split(b"\n", 6)
    return Claimed(
        job_id.decode(), execution.decode(), enqueued_at, failure_ttl, reply_to, by_hash, data
    )


def _read_unusual(told: list[Any]) -> Unusual:
    job_id, execution, *others = told
    return Unusual(job_id.decode(), execution.decode(), *others)
