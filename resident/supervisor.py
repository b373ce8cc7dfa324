"""The supervisor of one generation: loads once, forks the workers, watches and replaces them."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog

from resident.errors import ErrorCode
from resident.forking import Forks
from resident.leases import TICK_S, Dead, Leases
from resident.leftovers import Leftovers
from resident.loading import load
from resident.pools import Pool
from resident.program import EXIT_MISCONFIGURED
from resident.pulse import Pulse
from resident.recycling import Recycling, check_memory
from resident.redis_client import connect
from resident.roster import Place, Roster, Running
from resident.settings import Settings
from resident.signals import Signals
from resident.status import Status, publish
from resident.stopping import Stopping

#: Between two looks for calls that are overdue: a quarter of the shortest time-out, within these.
_SHORTEST_LOOK_S = 0.025
LONGEST_LOOK_S = 0.5
#: Between two reports for `worker.py --status`, and looks at the workers' memory.
_STATUS_S = 5.0
#: Between two tries to fork a worker when the system refuses.
_NO_ROOM_PAUSE_S = 1.0

_log = structlog.get_logger()


class Supervisor:
    """Runs the workers of some pools until it is told to stop, or with burst until all are done.

    It never runs a model itself; the workers share the pages of what it loaded.
    """

    def __init__(
        self,
        pools: Sequence[Pool],
        settings: Settings,
        *,
        burst: bool = False,
        generation: int = 1,
        pulse: Pulse | None = None,
    ) -> None:
        """Takes the number of its generation, and where to say that all its workers are ready."""
        self._roster = Roster(pools)
        self._settings = settings
        self._burst = burst
        self._pulse = pulse or Pulse()
        self._recycling = Recycling(self._roster, settings, self._fork)
        self._stopping = Stopping(settings.drain_timeout_s)
        self._leftovers = Leftovers()
        self._status = Status.of_this_process(generation)
        url = settings.redis_url.get_secret_value()
        self._redis = connect(url)
        self._leases = Leases(connect(url), settings.lease_s)
        shortest_s = min(pool.task.timeout_s for pool in pools)
        self._look_s = min(max(shortest_s / 4, _SHORTEST_LOOK_S), LONGEST_LOOK_S)
        self._tick_at = self._status_at = -math.inf
        self._exit_code = 0

    def run(self) -> int:
        """Returns the exit code: 0; 1 if the workers keep dying; 2 if a model does not load."""
        for place in self._roster.places:
            if place.task.preload:
                load(place.task)
        check_memory(self._settings)
        gc.collect()
        gc.freeze()
        self._signals = Signals(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
        self._forks = Forks(self._settings, self._signals, self._disconnect, burst=self._burst)
        for place in self._roster.places:
            for _ in range(place.workers):
                self._fork(place)
        while not self._roster.is_over:
            received = self._signals.wait(self._patience_s())
            is_asked = any(signum != signal.SIGCHLD for signum in received)
            if self._stopping.is_due(time.monotonic(), is_asked=is_asked):
                self._stop()
            self._reap()
            self._leftovers.look()
            self._replace()
            self._kill_what_hangs()
            self._tick()
            self._pulse.has_loaded = self._pulse.has_loaded or self._roster.has_loaded
            self._pulse.is_ready = self._pulse.is_ready or self._roster.is_ready
        self._leave()
        return self._exit_code

    def _fork(self, place: Place) -> None:
        """Starts a worker, or tries again later if the system has no room for a process."""
        try:
            self._roster.add(self._forks.fork(place.task))
        except OSError as error:
            _log.error("no worker could be started", task=place.task.name, error=str(error))
            place.due.append(time.monotonic() + _NO_ROOM_PAUSE_S)

    def _disconnect(self) -> None:
        """For a fork, which must not speak on its supervisor's connections."""
        self._leases.close()
        self._redis.close()

    def _patience_s(self) -> float:
        due = (moment for place in self._roster.places for moment in place.due)
        next_at = min([self._stopping.next_at, *due])
        return min(self._look_s, max(0.01, next_at - time.monotonic()))

    def _stop(self) -> None:
        """Goes to the next stage of stopping."""
        is_first = not self._stopping.is_under_way
        signum = self._stopping.go_on(time.monotonic())
        if signum is None:
            return
        for place in self._roster.places:
            place.due.clear()
        for one in self._roster:
            if not (is_first and one.has_been_told):
                os.kill(one.pid, signum)

    def _reap(self) -> None:
        """Takes note of the workers that ended, and replaces those that should not have."""
        while not self._roster.is_empty:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            ended = self._roster.remove(found.si_pid)
            if ended is None:  # something of a model's, which a thread of that may reap, too
                with suppress(ChildProcessError):
                    os.waitpid(found.si_pid, os.WNOHANG)
                continue
            is_orderly = (found.si_code, found.si_status) == (os.CLD_EXITED, 0)
            self._leftovers.note(ended.pid, is_orderly=is_orderly)
            _, status = os.waitpid(ended.pid, 0)
            self._bury(ended, os.waitstatus_to_exitcode(status))

    def _bury(self, ended: Running, code: int) -> None:
        place, is_stopping = self._roster.place_of(ended), self._stopping.is_under_way
        has_left = code == 0 and not ended.pulse.is_busy
        if code == EXIT_MISCONFIGURED and not ended.serves:  # a task's code may end so, too
            self._exit_code = EXIT_MISCONFIGURED
            if not is_stopping:  # else another one has said so, and a second word is "at once"
                self._stop()
        elif self._burst:
            self._exit_code = self._exit_code or int(code != 0)
        elif has_left and not is_stopping and not ended.is_leaving:
            place.workers -= 1
            _log.info("worker shut down on request", task=ended.task.name, pid=ended.pid)
        if has_left:
            return
        is_to_blame = not self._stopping.is_under_way
        if is_to_blame:
            self._note_death(ended, code)
            self._respawn(place, ended)
        counts = is_to_blame and not ended.was_frozen
        told = (ended.killed or ErrorCode.CRASHED) if counts else None
        self._leases.bury(Dead(ended.task.name, ended.token, ended.name, told))

    def _note_death(self, ended: Running, code: int) -> None:
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        _log.error("worker died", task=ended.task.name, pid=ended.pid, cause=cause)
        self._status.note_death(ended.task.name, cause)

    def _respawn(self, place: Place, ended: Running) -> None:
        """Forks a replacement, at once if that may help."""
        if self._burst or self._roster.is_full(place):
            return
        pause_s = place.respawn.pause_s(ended.pulse.jobs, ended.served_s(time.monotonic()))
        if pause_s is None:
            _log.error(
                "workers keep dying before they answer anything, given up", task=place.task.name
            )
            self._exit_code = 1
            self._stop()
        elif pause_s:
            _log.warning("next worker later", task=place.task.name, pause_s=pause_s)
            place.due.append(time.monotonic() + pause_s)
        else:
            self._fork(place)

    def _replace(self) -> None:
        now = time.monotonic()
        for place in self._roster.places:
            for _ in range(place.take_due(now)):
                self._fork(place)

    def _kill_what_hangs(self) -> None:
        now = time.monotonic()
        for one in self._roster:
            if why := one.fault(now, self._settings.load_timeout_s):
                self._kill(one, why)

    def _kill(self, one: Running, why: str) -> None:
        if one.killed:
            return
        is_overdue = one.pulse.overdue_at > 0
        one.killed = ErrorCode.TIMED_OUT if is_overdue else ErrorCode.CRASHED
        _log.error("worker killed", task=one.task.name, pid=one.pid, reason=why)
        os.kill(one.pid, signal.SIGKILL)

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._tick_at:
            return
        self._tick_at = now + TICK_S
        frozen = self._leases.tick(self._roster.alive(now), self._roster.tasks)
        for one in self._roster:
            if one.is_frozen(misses=one.token in frozen) and not one.killed:
                one.was_frozen = True
                self._kill(one, "it does not hear of what there is to do")
        if now >= self._status_at and not self._burst:
            self._status_at = now + _STATUS_S
            if not self._stopping.is_under_way:
                self._recycling.look()
            publish(self._redis, self._status, self._roster.report(now))

    def _leave(self) -> None:
        self._leases.tick([], self._roster.tasks)
        self._leases.close()
        self._leftovers.finish()
        if not self._burst:
            publish(self._redis, self._status, [])
