"""More questions for a batch that has been claimed, while waiting for them pays."""

from __future__ import annotations

import time
from collections.abc import Callable

from redis.exceptions import RedisError

from resident.claimed import Claim, Claimed
from resident.claims import times_of
from resident.gathering import Gathering

#: Between two looks at the queue.
LOOK_MS = 0.5

Jobs = tuple[Claimed, ...]


class Company:
    """Waits as `Gathering` advises; what it does in Redis is handed in."""

    def __init__(
        self,
        gathering: Gathering,
        waiting: Callable[[], int],
        claim_more: Callable[[Jobs], Jobs],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Takes what to do beside the clock.

        Args:
            gathering: Says for how long to wait.
            waiting: How many questions wait on the queue.
            claim_more: Claims more for a batch that there is already.
            is_stopping: Whether nothing more is to be claimed.
        """
        self._gathering = gathering
        self._waiting = waiting
        self._claim_more = claim_more
        self._is_stopping = is_stopping

    def join(self, claim: Claim) -> Claim:
        """The claim with all that came meanwhile."""
        gathering, began = self._gathering, time.monotonic()
        gathering.note_claim(float(claim.started) * 1000, times_of(claim.jobs))
        waited_ms = 0.0
        while (window := gathering.window(len(claim.jobs), waited_ms)).ms:
            while waited_ms < window.ms and not self._has_come(window.expected):
                time.sleep(min(LOOK_MS, window.ms - waited_ms) / 1000)
                waited_ms = (time.monotonic() - began) * 1000
            if self._is_stopping():
                break
            more = self._claim_more(claim.jobs)
            gathering.note_more(times_of(more))
            claim = Claim(started=claim.started, jobs=(*claim.jobs, *more))
        return claim

    def _has_come(self, expected: int) -> bool:
        try:
            return self._waiting() >= expected
        except RedisError:
            return True  # the claim that follows deals with it
