"""What a supervisor does in Redis for its workers: keeps their leases, and buries the dead.

Redis may be away. That is said once, and whatever could not be done is done when it is back.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import redis
import structlog
from redis.exceptions import RedisError, ResponseError
from rq.worker import SimpleWorker

from resident import holders, keys
from resident.errors import ErrorCode
from resident.holders import Alive, Death
from resident.link import Link
from resident.redis_client import may_pass
from resident.scripts import announce

#: Between two looks at what workers are at; RQ's execution records are for what runs longer.
TICK_S = 1.0
#: A job with more of its budget left, in ms, does not expire before a tick sees that it runs long.
KEEP_MS = 3_000
#: So many workers may die with a question; after that it is to blame.
MOST_DEATHS = 3
#: Whoever renews has more to do than to wait for Redis.
PATIENCE_S = 1.0

_log = structlog.get_logger()


class Dead(msgspec.Struct, frozen=True):
    """A worker that ended.

    Attributes:
        cause: What its questions are told if they are to blame; None if they cannot be, because
            it was told to end.
    """

    task: str
    token: str
    name: str
    cause: ErrorCode | None


class Leases:
    """The leases of a group of workers, over a link of its own."""

    def __init__(self, client: redis.Redis, lease_s: float) -> None:
        self._client = client
        self._link = Link(client, PATIENCE_S)
        self._lease_ms = int(lease_s * 1000)
        self._away_since = 0.0
        #: Whose jobs are not put back yet, and whom RQ and the callers still count on.
        self._unburied: list[Dead] = []
        self._unregistered: list[Dead] = []

    def bury(self, dead: Dead) -> None:
        """Puts back what a worker held when it ended."""
        self._unburied.append(dead)
        self._try(self._put_back)

    def tick(self, workers: Sequence[tuple[str, Alive]], tasks: Sequence[str]) -> list[str]:
        """Renews what these workers hold, each with its task, and looks for those that vanished.

        Returns the tokens of those that seem to hear of nothing; see Ticked.frozen.
        """
        by_task: defaultdict[str, list[Alive]] = defaultdict(list, {task: [] for task in tasks})
        for task, worker in workers:
            by_task[task].append(worker)
        frozen: list[str] = []
        self._try(lambda: self._renew(by_task, frozen))
        return frozen

    def close(self) -> None:
        """Closes the link; a forked worker does so with the one that it inherited."""
        self._link.close()

    def _renew(self, by_task: dict[str, list[Alive]], frozen: list[str]) -> None:
        for task, alive in by_task.items():
            ticked = holders.tick(self._link, task, self._lease_ms, alive)
            frozen += ticked.frozen
            for token in ticked.ended:
                self._take_over(task, token)
        self._put_back()
        self._take_leave()

    def _put_back(self) -> None:
        while self._unburied:
            dead = self._unburied[0]
            holders.withdraw(self._link, dead.task)
            jobs = holders.executions_of(self._link, dead.task).get(dead.token, [])
            recorded = holders.executions_of_worker(self._link, dead.name)
            jobs += [one for one in recorded if one not in jobs]
            released = holders.release(
                self._link, dead.task, dead.name, jobs, _death(dead, len(jobs))
            )
            if jobs or released:
                _log.warning("put back", worker=dead.name, jobs=released)
            self._unregistered.append(self._unburied.pop(0))

    def _take_over(self, task: str, token: str) -> None:
        """Puts back what a worker held of which nobody has heard for the time of a lease."""
        holders.withdraw(self._link, task)
        jobs = holders.executions_of(self._link, task).get(token, [])
        death = Death(ErrorCode.CRASHED, MOST_DEATHS, lease=token)
        released = holders.release(self._link, task, self._name_of(jobs), jobs, death)
        if released:
            _log.warning("put back what a vanished worker held", task=task, jobs=released)

    def _name_of(self, jobs: list[holders.Execution]) -> str:
        if not jobs:
            return ""
        name = self._link.call("HGET", f"{keys.JOB}{jobs[0][0]}", "worker_name")
        return (name or b"").decode(errors="replace")

    def _take_leave(self) -> None:
        """For the dead, of RQ and of the callers; a moment later, when others have come."""
        while self._unregistered:
            dead = self._unregistered[0]
            try:
                self._unregister(dead)
            except ResponseError as error:
                if may_pass(error):
                    raise
                _log.warning("a dead worker stays in the books", name=dead.name, error=str(error))
            self._unregistered.pop(0)

    def _unregister(self, dead: Dead) -> None:
        announce(self._link, dead.task, dead.name, 0, {})
        key = f"{keys.WORKER}{dead.name}"
        with suppress(ValueError, TypeError, AttributeError):  # a hash that RQ cannot read
            worker = SimpleWorker.find_by_key(key, connection=self._client)
            if worker is not None:
                worker.register_death()  # type: ignore[no-untyped-call]

    def _try(self, duty: Callable[[], object]) -> None:
        try:
            duty()
        except RedisError as error:
            self._link.close()
            if not self._away_since:
                _log.warning("redis away from the supervisor", error=str(error))
                self._away_since = time.monotonic()
        else:
            if self._away_since:
                away_s = round(time.monotonic() - self._away_since, 3)
                _log.info("redis back at the supervisor", away_s=away_s)
            self._away_since = 0.0


def _death(dead: Dead, jobs: int) -> Death | None:
    if dead.cause is None:
        return None
    has_hung_alone = dead.cause is ErrorCode.TIMED_OUT and jobs == 1
    return Death(dead.cause, 1 if has_hung_alone else MOST_DEATHS)
