"""The turns of a worker whose model is quick: it offers itself, and is handed questions."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from redis.exceptions import ResponseError

from resident.claimed import Claim
from resident.ear import Ear
from resident.redis_client import may_pass
from resident.scripts import WorkerScripts
from resident.settlement import NOTHING_ENDED, Ended

_log = structlog.get_logger()

#: After so many turns in which nobody waited, those who ask are taken for one who asks alone.
ALONE = 16
#: Among many, a wait is one for the queue only, and no longer than this, s.
AMONG_MANY_S = 0.1


class Offering:
    """As `WorkerScripts.turn`, for one that offers itself as soon as the queue is empty.

    The offer stands, and is taken while nothing of the task waits or runs, until the worker looks
    on the queue: it withdraws with that, and offers again if it finds nothing. What it was handed
    in that moment it hears at its next turn; what it never hears, since the connection broke, is
    in `executions()`.

    Where several ask, one question would be handed over while the others wait, and a turn would
    take three writes instead of one. So among many it does as one that does not offer itself.
    """

    def __init__(
        self,
        scripts: WorkerScripts,
        ear: Ear,
        answer_at_once: Callable[[Claim], Claim | None] = lambda claim: claim,
    ) -> None:
        """Takes both ways to Redis, and what is done with what it is handed while it waits.

        Args:
            scripts: One way.
            ear: The other.
            answer_at_once: Answers and settles it; None if the turn goes on, else what comes of it.
        """
        self._scripts = scripts
        self._ear = ear
        self._answer_at_once = answer_at_once
        self._is_offered = self._is_forbidden = False
        #: So many turns until it offers itself again.
        self._crowd = 0

    @property
    def may_have_missed(self) -> bool:
        """Whether it was handed something that it will not run: it is in `executions()`."""
        return self._ear.may_have_missed

    def note_put_back(self) -> None:
        """What there was of that is on the queue, and the offer was withdrawn."""
        self._ear.may_have_missed = self._is_offered = False

    def wake(self) -> None:
        """As Link.wake."""
        self._ear.wake()

    def close(self) -> None:
        """Hears nothing more."""
        if self._ear.is_open:
            self._ear.close()

    def turn(self, ended: Ended, max_batch: int, wait_s: float) -> Claim:
        """One turn: settle; then what was handed over, or is on the queue, or comes in wait_s.

        Errors worth catching: as of WorkerScripts.turn.
        """
        scripts, ear = self._scripts, self._ear
        if not max_batch or not (ear.is_open or self._may_listen()):
            return scripts.turn(ended, max_batch, wait_s)
        # While its offer stands it is handed one at a time, and hears of it when it waits.
        if not self._is_offered and (handed := ear.heard()):
            scripts.turn(ended, 0, 0)
            return self._taken(handed)
        if ended.settlements and self._crowd and not (ear.is_waiting or ear.has_popped):
            return self._turn_among_many(ended, max_batch, wait_s)
        if scripts.is_busy or ear.has_popped:
            claim = self._look(ended, max_batch)
            if claim.suspended or not claim.is_over:
                return claim
            ended = NOTHING_ENDED
        if ended.settlements or not self._is_offered:
            offer = None if self._is_offered else scripts.offer_command()
            self._is_offered = True
            scripts.turn(ended, 0, 0, offer)
        return self._wait(max_batch, wait_s)

    def _turn_among_many(self, ended: Ended, max_batch: int, wait_s: float) -> Claim:
        scripts = self._scripts
        claim = scripts.turn(ended, max_batch, min(wait_s, AMONG_MANY_S))
        self._crowd = ALONE if scripts.found_waiting else self._crowd - 1 if claim.jobs else 0
        return claim

    def _wait(self, max_batch: int, wait_s: float) -> Claim:
        refusal = None
        while True:
            try:
                handed = self._ear.wait(wait_s)
            except ResponseError as error:
                if may_pass(error):
                    raise
                refusal = error
                break
            if not handed:
                break
            taken = self._taken(handed)
            if not taken.jobs:
                return taken
            if (came := self._answer_at_once(taken)) is not None:
                return came
        claim = self._look(NOTHING_ENDED, max_batch)
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

    def _look(self, ended: Ended, max_batch: int) -> Claim:
        """Claims what is on the queue; a worker with something to do is not to be handed more."""
        if self._ear.has_popped:
            self._crowd = ALONE
        withdrawal = self._scripts.withdraw_command() if self._is_offered else None
        self._is_offered = self._ear.has_popped = False
        return self._scripts.turn(ended, max_batch, 0, withdrawal)

    def _taken(self, handed: Claim) -> Claim:
        late_s = self._scripts.clock.lateness_s(handed.started)
        if late_s * 1000 >= handed.left_ms:  # on the queue it will expire
            self._ear.may_have_missed = True
            return Claim(more=True)
        return handed
