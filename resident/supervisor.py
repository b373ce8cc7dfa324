"""The processes of one generation: load once, fork the workers, watch, replace and drain them."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import structlog

from resident.errors import ConfigurationError, ErrorCode
from resident.leases import TICK_S, Dead, Leases
from resident.lifeline import die_with_owner
from resident.outage import call_until_back
from resident.pools import Pool
from resident.program import EXIT_MISCONFIGURED
from resident.pulse import Pulse
from resident.redis_client import connect
from resident.respawn import Respawn
from resident.scripts import Alive, new_token
from resident.settings import Settings
from resident.signals import Signals
from resident.status import Status, Worker, publish
from resident.task import Task, model_of
from resident.worker import ResidentWorker, name_of

#: What a worker has to put back its jobs, after the drain, before it is killed.
LAST_WORDS_S = 5.0
#: Signals that come closer to each other are one wish to stop. Source: RQ does the same.
ECHO_S = 1.0
#: A worker that is at no call of the model shows itself more often than this, or hangs.
STUCK_S = 60.0
#: Between two looks for calls that are overdue; a quarter of the shortest time-out, within these.
_LOOK_S = (0.025, 0.5)
#: Between two reports for `worker.py --status`, and looks at the workers' memory.
_STATUS_S = 5.0
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20

_log = structlog.get_logger()


@dataclass
class Running:
    """A worker process: its task, what its executions begin with, its name in RQ.

    Attributes:
        killed: What its questions are told, once the supervisor has killed it.
        is_leaving: It was told to end, and another one has taken its place.
    """

    task: Task
    token: str
    name: str
    pulse: Pulse
    began: float
    killed: ErrorCode | None = None
    is_leaving: bool = False

    def at_it_ms(self, now: float) -> int:
        """How long it has been at its batch, if RQ must be told, else 0."""
        began = self.pulse.batch_began
        seconds = now - began if began else 0.0
        return int(seconds * 1000) if seconds >= TICK_S else 0

    def fault(self, now: float, load_timeout_s: float) -> str:
        """Why it must be killed, or nothing."""
        overdue_at, seen_at = self.pulse.overdue_at, self.pulse.seen_at
        if overdue_at:
            return "the model ran over its time-out" if now > overdue_at else ""
        if not seen_at:
            return "still loading" if now > self.began + load_timeout_s else ""
        return "it stands still" if now > seen_at + STUCK_S else ""


@dataclass
class Place:
    """One task's workers: how many there should be, and what became of those that died."""

    task: Task
    workers: int
    respawn: Respawn = field(default_factory=Respawn)
    #: Moments of the replacements that are due.
    due: list[float] = field(default_factory=list)


def load(task: Task) -> None:
    """Loads and warms up a task's model in this process.

    Raises:
        ConfigurationError: It failed; the message names the task and the reason.
    """
    began = time.monotonic()
    try:
        model_of(task)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        msg = f"The task {task.name!r} does not load: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    _log.info("model loaded", task=task.name, seconds=round(time.monotonic() - began, 2))


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
        self._places = [Place(pool.task, pool.workers) for pool in pools]
        self._settings = settings
        self._burst = burst
        self._pulse = pulse or Pulse()
        self._running: dict[int, Running] = {}
        url = settings.redis_url.get_secret_value()
        self._leases = Leases(connect(url), settings.lease_s)
        self._status = Status.of_this_process(generation)
        self._redis = connect(url)
        self._look_s = min(
            max(min(pool.task.timeout_s for pool in pools) / 4, _LOOK_S[0]), _LOOK_S[1]
        )
        self._tick_at = self._status_at = -math.inf
        self._exit_code = 0
        #: What the workers get, and how many seconds they have until the next: finish what is
        #: claimed; put it back; die.
        self._stages = [
            (signal.SIGTERM, settings.drain_timeout_s),
            (signal.SIGTERM, LAST_WORDS_S),
            (signal.SIGKILL, math.inf),
        ]
        self._next_stage_at = math.inf
        self._stopping_since = -math.inf

    def run(self) -> int:
        """Returns the exit code: 0; 1 if the workers keep dying; 2 if a model does not load."""
        for place in self._places:
            if place.task.preload:
                load(place.task)
        check_memory(self._settings)
        gc.collect()
        gc.freeze()
        self._signals = Signals(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
        for place in self._places:
            for _ in range(place.workers):
                self._fork(place.task)
        while self._running or any(place.due for place in self._places):
            received = self._signals.wait(self._patience_s())
            is_asked = any(signum != signal.SIGCHLD for signum in received)
            if (is_asked and not self._is_echo()) or time.monotonic() >= self._next_stage_at:
                self._stop()
            self._reap()
            self._replace()
            self._kill_what_hangs()
            self._tick()
            self._say_ready()
        self._leave()
        return self._exit_code

    def _patience_s(self) -> float:
        due = (moment for place in self._places for moment in place.due)
        next_at = min([self._next_stage_at, *due])
        return min(self._look_s, max(0.01, next_at - time.monotonic()))

    @property
    def _is_stopping(self) -> bool:
        return self._next_stage_at < math.inf or not self._stages

    def _is_echo(self) -> bool:
        """Whether a signal is the first one again: Ctrl-C reaches a terminal's whole group."""
        return time.monotonic() < self._stopping_since + ECHO_S

    def _stop(self) -> None:
        """Goes to the next stage of stopping: asked by a signal, or because time is up."""
        if not self._stages:
            return
        signum, patience_s = self._stages.pop(0)
        self._stopping_since = max(self._stopping_since, time.monotonic())
        self._next_stage_at = time.monotonic() + patience_s
        for place in self._places:
            place.due.clear()
        for pid in self._running:
            os.kill(pid, signum)

    def _reap(self) -> None:
        """Takes note of the workers that ended, and replaces those that should not have."""
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            ended = self._running.pop(pid, None)
            if ended is not None:
                self._bury(ended, pid, os.waitstatus_to_exitcode(status))

    def _bury(self, ended: Running, pid: int, code: int) -> None:
        place = self._place_of(ended.task)
        has_left = code == 0 and not ended.pulse.is_busy
        if code == EXIT_MISCONFIGURED:
            self._exit_code = EXIT_MISCONFIGURED
            self._stop()
        elif self._burst:
            self._exit_code = self._exit_code or int(code != 0)
        elif has_left and not self._is_stopping and not ended.is_leaving:
            place.workers -= 1
            _log.info("worker shut down on request", task=ended.task.name, pid=pid)
        if has_left:
            return
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        is_to_blame = not self._is_stopping
        if is_to_blame and code != EXIT_MISCONFIGURED:
            _log.error("worker died", task=ended.task.name, pid=pid, cause=cause)
            self._status.note_death(ended.task.name, cause)
            self._respawn(place, ended)
        told = ended.killed or ErrorCode.CRASHED
        self._leases.bury(
            Dead(ended.task.name, ended.token, ended.name, told if is_to_blame else None)
        )

    def _respawn(self, place: Place, ended: Running) -> None:
        """Forks a replacement, at once if that may help."""
        if self._burst or self._count(place) >= place.workers:
            return
        pause_s = place.respawn.pause_s(ended.pulse.jobs)
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
            self._fork(place.task)

    def _replace(self) -> None:
        now = time.monotonic()
        for place in self._places:
            due = [moment for moment in place.due if moment <= now]
            place.due = [moment for moment in place.due if moment > now]
            for _ in due:
                self._fork(place.task)

    def _kill_what_hangs(self) -> None:
        now = time.monotonic()
        for pid, one in self._running.items():
            why = "" if one.killed else one.fault(now, self._settings.load_timeout_s)
            if why:
                is_overdue = one.pulse.overdue_at > 0
                one.killed = ErrorCode.TIMED_OUT if is_overdue else ErrorCode.CRASHED
                _log.error("worker killed", task=one.task.name, pid=pid, reason=why)
                os.kill(pid, signal.SIGKILL)

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._tick_at:
            return
        self._tick_at = now + TICK_S
        alive = [
            (one.task.name, Alive(one.token, one.name, one.at_it_ms(now)))
            for one in self._running.values()
        ]
        self._leases.tick(alive, [place.task.name for place in self._places])
        if now >= self._status_at and not self._burst:
            self._status_at = now + _STATUS_S
            self._recycle()
            publish(self._redis, self._status, self._workers())

    def _recycle(self) -> None:
        """Replaces a worker that has grown too large or too old, one of a task at a time."""
        if self._is_stopping:
            return
        for place in self._places:
            fresh = [pid for pid in self._pids(place) if not self._running[pid].is_leaving]
            if len(fresh) > place.workers:
                self._end_oldest(fresh, place)
            elif any(map(self._is_worn, fresh)):
                self._fork(place.task)

    def _end_oldest(self, fresh: list[int], place: Place) -> None:
        """Ends a worn worker as soon as its replacement serves."""
        ready = [pid for pid in fresh if self._running[pid].pulse.seen_at]
        worn = [pid for pid in ready if self._is_worn(pid)]
        if worn and len(ready) > place.workers:
            one = self._running[worn[0]]
            one.is_leaving = True
            _log.info("worker recycled", task=place.task.name, pid=worn[0], jobs=one.pulse.jobs)
            os.kill(worn[0], signal.SIGTERM)

    def _is_worn(self, pid: int) -> bool:
        most_mb, most_jobs = self._settings.recycle_rss_mb, self._settings.recycle_jobs
        return bool(
            (most_mb and rss_mb(pid) > most_mb)
            or (most_jobs and self._running[pid].pulse.jobs >= most_jobs)
        )

    def _say_ready(self) -> None:
        if not self._pulse.is_ready and all(
            sum(bool(self._running[pid].pulse.seen_at) for pid in self._pids(place))
            >= place.workers
            for place in self._places
        ):
            self._pulse.is_ready = 1

    def _leave(self) -> None:
        self._leases.tick([], [place.task.name for place in self._places])
        self._leases.close()
        if not self._burst:
            publish(self._redis, self._status, [])

    def _workers(self) -> list[Worker]:
        now = time.monotonic()
        return [
            Worker(
                task=one.task.name,
                pid=pid,
                name=one.name,
                state=_state(one),
                rss_mb=round(rss_mb(pid), 1),
                jobs=int(one.pulse.jobs),
                uptime_s=round(now - one.began),
            )
            for pid, one in self._running.items()
        ]

    def _place_of(self, task: Task) -> Place:
        return next(place for place in self._places if place.task is task)

    def _pids(self, place: Place) -> list[int]:
        return [pid for pid, one in self._running.items() if one.task is place.task]

    def _count(self, place: Place) -> int:
        leaving = sum(self._running[pid].is_leaving for pid in self._pids(place))
        return len(self._pids(place)) - leaving + len(place.due)

    def _fork(self, task: Task) -> None:
        token, pulse = new_token(), Pulse()
        end_with_supervisor = die_with_owner(signal.SIGTERM)
        with self._signals.held_back():
            pid = os.fork()
            if not pid:
                self._run_worker(task, token, pulse, end_with_supervisor)
        name = name_of(task, pid, token)
        self._running[pid] = Running(task, token, name, pulse, time.monotonic())

    def _run_worker(
        self, task: Task, token: str, pulse: Pulse, end_with_supervisor: Callable[[], None]
    ) -> NoReturn:
        code = 1
        try:
            code = self._work(task, token, pulse, end_with_supervisor)
        except ConfigurationError as error:
            _log.error("worker cannot start", task=task.name, reason=str(error))
            code = EXIT_MISCONFIGURED
        except Exception:  # noqa: BLE001  (its only way to tell)
            _log.exception("worker failed", task=task.name)
        finally:
            os._exit(code)

    def _work(
        self, task: Task, token: str, pulse: Pulse, end_with_supervisor: Callable[[], None]
    ) -> int:
        """The life of a worker process."""
        # A process group of its own: Ctrl-C reaches the supervisor, which passes it on once.
        os.setpgid(0, 0)
        end_with_supervisor()
        self._leases.close()
        self._redis.close()
        self._signals.forget()
        if not task.preload:
            load(task)
        connection = connect(self._settings.redis_url.get_secret_value())
        worker = call_until_back(
            lambda: ResidentWorker(task, connection, self._settings, token, pulse), bool, bool
        )  # RQ asks Redis for its address
        _log.info("worker ready", task=task.name, worker=worker.name)
        worker.work(burst=self._burst)
        return 0


def check_memory(settings: Settings) -> None:
    """Raises ConfigurationError if every worker would be recycled at once."""
    most_mb, own_mb = settings.recycle_rss_mb, rss_mb(os.getpid())
    if most_mb and most_mb <= own_mb:
        msg = (
            f"RESIDENT_RECYCLE_RSS_MB={most_mb} is below what the models take by themselves, "
            f"{own_mb:.0f} MB"
        )
        raise ConfigurationError(msg)


def rss_mb(pid: int) -> float:
    """The memory that a process has in RAM, shared pages included; 0 if it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    return 0.0


def _state(one: Running) -> str:
    if one.is_leaving:
        return "leaving"
    if not one.pulse.seen_at:
        return "loading"
    return "busy" if one.pulse.batch_began else "idle"
