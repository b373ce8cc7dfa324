"""Who works for a supervisor: its tasks, how many workers each shall have, and those that live."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from resident.errors import ErrorCode
from resident.holders import Alive
from resident.leases import TICK_S
from resident.memory import rss_mb
from resident.pools import Pool
from resident.pulse import Pulse
from resident.respawn import Respawn
from resident.status import Worker
from resident.task import Task

#: A worker that is at no call of the model shows itself more often than this, or hangs.
STUCK_S = 60.0
#: One that has nothing to do shows itself each time that it has waited 5 s for something.
SILENT_S = 7.0


@dataclass
class Running:
    """A worker process: its task, what its executions begin with, its name in RQ.

    Attributes:
        killed: What its questions are told, once the supervisor has killed it.
        was_frozen: It was killed because it did not hear of what there is to do, which is no
            question's fault.
        is_leaving: It was told to end, and another one has taken its place.
        missed_since: When it had last shown itself, as a tick found that it seems to hear of
            nothing; else 0.
    """

    pid: int
    task: Task
    token: str
    name: str
    pulse: Pulse
    began: float = field(default_factory=time.monotonic)
    killed: ErrorCode | None = None
    was_frozen: bool = False
    is_leaving: bool = False
    missed_since: float = 0.0

    @property
    def serves(self) -> bool:
        """Whether it has loaded and begun."""
        return bool(self.pulse.seen_at)

    @property
    def has_been_told(self) -> bool:
        """Whether somebody told it to end, and a second word would be "at once"."""
        return self.is_leaving or bool(self.pulse.is_draining)

    def served_s(self, now: float) -> float:
        """How long it has served, without its loading."""
        return now - self.pulse.served_from if self.pulse.served_from else 0.0

    def at_it_ms(self, now: float) -> int:
        """How long it has been at its batch, if RQ must be told, else 0."""
        began = self.pulse.batch_began
        seconds = now - began if began else 0.0
        return int(seconds * 1000) if seconds >= TICK_S else 0

    def is_silent(self, now: float) -> bool:
        """Whether it has nothing to do, as far as it knows, and does not come by to look."""
        return self.serves and not self.pulse.is_busy and now > self.pulse.seen_at + SILENT_S

    def is_frozen(self, *, misses: bool) -> bool:
        """Whether it misses what there is to do at this tick, and did at the last one already.

        At one alone it may be about to hear of it: who was frozen with it, or waited for the same
        Redis, wakes before it or after it.
        """
        before, self.missed_since = self.missed_since, self.pulse.seen_at if misses else 0.0
        return misses and before == self.missed_since and not self.pulse.is_busy

    def fault(self, now: float, load_timeout_s: float) -> str:
        """Why it must be killed, or nothing."""
        overdue_at, seen_at = self.pulse.overdue_at, self.pulse.seen_at
        if overdue_at:
            return "the model ran over its time-out" if now > overdue_at else ""
        if not seen_at:
            is_late = now > self.began + load_timeout_s and not self.pulse.has_loaded
            return "still loading" if is_late else ""
        return "it stands still" if now > seen_at + STUCK_S else ""

    def report(self, now: float) -> Worker:
        """What `worker.py --status` shows of it."""
        return Worker(
            task=self.task.name,
            pid=self.pid,
            name=self.name,
            state=self._state(),
            rss_mb=round(rss_mb(self.pid), 1),
            jobs=int(self.pulse.jobs),
            uptime_s=round(now - self.began),
        )

    def _state(self) -> str:
        if self.is_leaving:
            return "leaving"
        if not self.serves:
            return "loading"
        return "busy" if self.pulse.batch_began else "idle"


@dataclass
class Place:
    """One task's workers: how many there should be, and what became of those that died."""

    task: Task
    workers: int
    respawn: Respawn = field(default_factory=Respawn)
    #: Moments of the replacements that are due.
    due: list[float] = field(default_factory=list)

    def take_due(self, now: float) -> int:
        """How many replacements are due by now; they are so no longer."""
        before = len(self.due)
        self.due = [moment for moment in self.due if moment > now]
        return before - len(self.due)


class Roster:
    """The places, and the workers that live."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self.places = [Place(pool.task, pool.workers) for pool in pools]
        self._running: dict[int, Running] = {}

    def __iter__(self) -> Iterator[Running]:
        return iter(self._running.values())

    @property
    def is_empty(self) -> bool:
        """Whether nobody lives."""
        return not self._running

    @property
    def is_over(self) -> bool:
        """Whether nobody lives, and nobody will."""
        return self.is_empty and not any(place.due for place in self.places)

    @property
    def is_ready(self) -> bool:
        """Whether each place has all its workers, and all of them serve."""
        return all(
            sum(one.serves for one in self.of(place)) >= place.workers for place in self.places
        )

    @property
    def has_loaded(self) -> bool:
        """Whether all who live have their models; nobody has none."""
        return not self.is_empty and all(one.pulse.has_loaded for one in self)

    @property
    def tasks(self) -> list[str]:
        """Their names."""
        return [place.task.name for place in self.places]

    def add(self, one: Running) -> None:
        """A worker has been forked."""
        self._running[one.pid] = one

    def remove(self, pid: int) -> Running | None:
        """A process has ended; returns the worker that it was, if it was one."""
        return self._running.pop(pid, None)

    def place_of(self, one: Running) -> Place:
        """Its place."""
        return next(place for place in self.places if place.task is one.task)

    def of(self, place: Place) -> list[Running]:
        """Those that live, the oldest first."""
        return [one for one in self if one.task is place.task]

    def is_full(self, place: Place) -> bool:
        """Whether those that stay, and those that are due, are enough."""
        staying = sum(not one.is_leaving for one in self.of(place))
        return staying + len(place.due) >= place.workers

    def alive(self, now: float) -> list[tuple[str, Alive]]:
        """Whose leases go on: each with its task."""
        return [
            (one.task.name, Alive(one.token, one.name, one.at_it_ms(now), one.is_silent(now)))
            for one in self
        ]

    def report(self, now: float) -> list[Worker]:
        """What `worker.py --status` shows."""
        return [one.report(now) for one in self]
