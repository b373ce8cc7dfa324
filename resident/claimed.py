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
    """One started job, as Redis holds it: nothing in it has been checked.

    Attributes:
        data: RQ's job data; empty if there was none or if it was too long.
        left_ms: What was left of the budget when it was claimed; -1 if it has none.
        by_hash: Not empty if only the job's hash says who holds it.
        created_at: Empty if it is enqueued_at.
        too_long: The size of data in bytes if that was over the limit.
        deaths: How many workers died with it, empty for none; in a word if that ends it.
        stream: `1` if its caller reads the answer in deltas.
    """

    id: str
    execution: str
    data: bytes
    left_ms: int
    enqueued_at: bytes
    failure_ttl: bytes
    reply_to: bytes = b""
    by_hash: bytes = b""
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


#: Nothing was brought, or nothing is held.
NO_CLAIM = Claim()


def read_claim(claimed: list[Any]) -> Claim:
    """What claim.lua returned."""
    code, started, more, *jobs = claimed
    if code == ClaimCode.QUESTIONS:
        read = [Claimed(job[0].decode(), job[1].decode(), *job[2:]) for job in jobs]
        return Claim(started, tuple(read), "", False, bool(more))
    if code == ClaimCode.SUSPENDED:
        return Claim(started=started, suspended=True)
    return Claim(started=started, special=jobs[0][0].decode(), more=bool(more))
