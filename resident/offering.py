"""The turns of a worker whose model is quick: it offers itself, and is handed questions."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from redis.exceptions import ResponseError

from resident.claimed import Claim
from resident.ear import Ear
from resident.redis_client import may_pass
from resident.scripts import Settlement, WorkerScripts

_log = structlog.get_logger()

OnSettled = Callable[[list[int]], object]


class Offering:
    """As `WorkerScripts.turn`, for one that offers itself as soon as the queue is empty.

    It withdraws the offer when it has found something there. What it was handed in that moment it
    hears at its next turn; what it never hears, since the connection broke, is in `executions()`.
    """

    def __init__(self, scripts: WorkerScripts, ear: Ear) -> None:
        """Takes both ways to Redis."""
        self._scripts = scripts
        self._ear = ear
        self._is_offered = self._is_forbidden = False
        #: Whether something may have been said since the connection broke, or was closed: it is in
        #: `executions()`, and whoever has put that back says False here.
        self.may_have_missed = False

    def wake(self) -> None:
        """As Link.wake."""
        self._ear.wake()

    def close(self) -> None:
        """Hears nothing more."""
        if self._ear.is_open:
            self.may_have_missed = True
            self._ear.close()

    def turn(
        self,
        settlements: list[Settlement],
        started: bytes,
        max_batch: int,
        wait_s: float,
        on_settled: OnSettled,
    ) -> Claim:
        """One turn: settle; then what was handed over, or is on the queue, or comes in wait_s.

        Errors worth catching: as of WorkerScripts.turn.
        """
        scripts, ear = self._scripts, self._ear
        if not max_batch or not self._may_listen():
            return scripts.turn(settlements, started, max_batch, wait_s, on_settled)
        handed = ear.heard()
        if handed:
            scripts.turn(settlements, started, 0, 0, on_settled)
            return self._taken(handed)
        if scripts.is_busy or ear.has_popped:
            claim = self._look(settlements, started, max_batch, on_settled)
            if claim.suspended or not claim.is_over:
                return claim
            settlements = []
        scripts.turn(settlements, started, 0, 0, on_settled, scripts.offer_command())
        self._is_offered = True
        return self._wait(max_batch, wait_s, on_settled)

    def _wait(self, max_batch: int, wait_s: float, on_settled: OnSettled) -> Claim:
        refusal = handed = None
        try:
            handed = self._ear.wait(wait_s)
        except ResponseError as error:
            if may_pass(error):
                raise
            refusal = error
        if handed:
            return self._taken(handed)
        claim = self._look([], b"0", max_batch, on_settled)
        if refusal and claim.is_over:  # full: it refuses to wait, but not to claim what is there
            raise refusal
        return claim

    def _may_listen(self) -> bool:
        if not self._is_forbidden:
            try:
                self._ear.open()
            except ResponseError as error:
                if may_pass(error):
                    raise
                self._is_forbidden = True
                self._ear.close()
                _log.warning("questions are not handed over", reason=str(error))
        return not self._is_forbidden

    def _look(
        self, settlements: list[Settlement], started: bytes, max_batch: int, on_settled: OnSettled
    ) -> Claim:
        """Claims what is on the queue; a worker with something to do is not to be handed more."""
        withdrawal = None
        if self._is_offered and (self._ear.has_popped or settlements):
            withdrawal = self._scripts.withdraw_command()
            self._is_offered = False
        self._ear.has_popped = False
        return self._scripts.turn(settlements, started, max_batch, 0, on_settled, withdrawal)

    def _taken(self, handed: Claim) -> Claim:
        self._is_offered = False
        self._scripts.note_said(handed.started)
        return handed
