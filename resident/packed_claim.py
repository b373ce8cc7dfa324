"""What a worker sends to claim: claim.lua's call, packed once and numbered each time."""

from __future__ import annotations

import msgspec

from resident import keys
from resident.holders import TOKEN_LENGTH
from resident.link import Word, pack
from resident.lua_script import script_of

CLAIM = script_of("clock", "write", "deadline", "claim_plain", "lanes", "claim")

#: No TTL of RQ's is longer, ms.
LONGEST_TTL_MS = 31_536_000_000
#: What stands in a packed claim for the claim's number; no name has such a thing in it.
_NUMBER = b"\0" * (24 - TOKEN_LENGTH)


class Limits(msgspec.Struct, frozen=True):
    """The numbers that a worker's scripts need.

    Attributes:
        keep_ms: With less of its budget left, a job that is claimed is kept from expiring at once;
            otherwise a tick will do that in time. Without a supervisor nobody ticks.
    """

    lease_ms: int
    reply_ttl_ms: int
    max_data_bytes: int
    longest_batch_s: int
    keep_ms: int = LONGEST_TTL_MS


class PackedClaim:
    """The claims of one worker; packed anew (9 µs) only if more has changed than their number."""

    def __init__(self, task: str, worker_name: str, token: str, limits: Limits) -> None:
        """Takes the token that the worker's executions begin with."""
        self._name = worker_name
        self._token = token
        self._limits = limits
        of, worker = keys.of_task(task), f"{keys.WORKER}{worker_name}"
        self._keys = [
            *(of.queue, of.popped, of.intermediate, of.started, worker, of.leases, of.metrics),
            *(keys.SUSPENDED, of.lanes, keys.QUEUES, of.announcement),
        ]
        self._count = 0
        self._terms: tuple[int, ...] = ()
        self._parts: list[bytes] = []

    def next(self, max_batch: int, is_busy: bool, adds: bool, least_ms: int) -> bytes:
        """The next one.

        Args:
            max_batch: The most questions to claim.
            is_busy: RQ's record of the worker says busy.
            adds: It is for a batch that there is already.
            least_ms: With less of its budget left a question is not begun any more.
        """
        self._count += 1
        terms = (max_batch, is_busy, adds, least_ms)
        if terms != self._terms:
            self._terms = terms
            self._parts = pack(CLAIM.command(self._keys, self._args(*terms))).split(_NUMBER)
        head, tail = self._parts
        return b"%b%012x%b" % (head, self._count, tail)

    def _args(self, max_batch: int, is_busy: bool, adds: bool, least_ms: int) -> tuple[Word, ...]:
        limits = self._limits
        numbers = (
            max_batch,
            limits.lease_ms,
            limits.max_data_bytes,
            int(is_busy),
            limits.longest_batch_s,
            int(adds),
            least_ms,
            limits.reply_ttl_ms,
            limits.keep_ms,
        )
        return (keys.PREFIX, self._name, self._token.encode() + _NUMBER, *map(str, numbers))
