"""Where an idle worker hears of a question: of one that a caller hands it, or one on the queue.

A worker whose model is quick offers itself when it has nothing to do (field `offer` of what its
task announces). While that stands and nothing of the task waits or runs, ask.lua writes a question
as started by this worker, and tells it so on a channel: no claim is needed any more. All others put
jobs on the queue, and so does ask.lua else: for these the worker waits on the same connection. See
docs/decisions/0010.
"""

from __future__ import annotations

import re

import hiredis
import redis
import structlog
from redis.exceptions import ResponseError

from resident import keys
from resident.claimed import Claim, Claimed
from resident.link import Link

_NUMBER = rb"\d{1,15}"
#: Noise is passed over, but it does not keep a worker from its work.
_MOST_READ = 1_000
_log = structlog.get_logger()


class Ear:
    """One connection of one worker that subscribes to its channel and waits for its queue."""

    def __init__(self, client: redis.Redis, task: str, token: str) -> None:
        """Takes the settings of a redis-py client, and the token that the worker's offers bear."""
        self._link = Link(client, protocol=3)
        self._of = keys.of_task(task)
        self._channel = keys.hand(token)
        # Anybody may publish anything.
        self._handed = re.compile(
            rb"(%b\.\d{6})\n(%b)\n([A-Za-z0-9_-]{1,255})\n(%b[0-9a-f]{20})\n"
            rb"([^\n]*)\n([^\n]*)\n([^\n]*)\n(1?)\n(.*)" % (_NUMBER, _NUMBER, token.encode()),
            re.DOTALL,
        )
        #: Whether it waits for the queue, even while its worker does something else.
        self.is_waiting = False
        #: Whether it hears what is said on the channel, as far as it knows.
        self.is_open = False
        #: Whether an id was on the queue, which is on the list of popped ids now, for a claim.
        self.has_popped = False
        #: Whether something may have been said that was not heard or not understood: it is in
        #: `executions()`, and whoever has put that back says False here.
        self.may_have_missed = False

    def open(self) -> None:
        """From now on hears what is said on the channel."""
        if not self.is_open:
            self._link.call("SUBSCRIBE", self._channel)
            self.is_open = True

    def heard(self) -> Claim | None:
        """A question that was handed over meanwhile, if there is one; does not wait."""
        for _ in range(_MOST_READ):
            if not self._link.has_more():
                return None
            if handed := self._read(0):
                return handed
        return None

    def wait(self, wait_s: float) -> Claim | None:
        """The question that is handed over next; None once one may be on the queue.

        Errors worth catching: those of Link; a Redis that is full refuses to wait.
        """
        if self.has_popped:
            return None
        if not self.is_waiting:
            of = self._of
            self._link.send_all([("BLMOVE", of.queue, of.popped, "LEFT", "RIGHT", f"{wait_s:.3f}")])
            self.is_waiting = True
        return self._read(wait_s) or (self.heard() if self.may_have_missed else None)

    def wake(self) -> None:
        """As Link.wake."""
        self._link.wake()

    def close(self) -> None:
        """Closes the connection; what was said and not heard is lost."""
        self._link.close()
        self.may_have_missed = self.may_have_missed or self.is_open
        self.is_open = self.is_waiting = self.has_popped = False

    def _read(self, wait_s: float) -> Claim | None:
        try:
            answer = self._link.read(wait_s + self._link.timeout_s)
        except ResponseError:
            self.is_waiting = False
            raise
        if isinstance(answer, hiredis.PushNotification):
            return self._read_handed(answer[-1])
        self.is_waiting = False
        self.has_popped = answer is not None
        return None

    def _read_handed(self, message: object) -> Claim | None:
        found = self._handed.fullmatch(message) if isinstance(message, bytes) else None
        if found is None:
            if not self.may_have_missed:
                _log.warning("something strange was said", channel=self._channel)
            self.may_have_missed = True
            return None
        now, left_ms, job_id, execution, *others = found.groups()
        job = Claimed(job_id.decode(), execution.decode(), *others)
        return Claim(now, (job,), left_ms=int(left_ms))
