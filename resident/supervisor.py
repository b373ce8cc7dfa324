"""The processes: load once, fork the workers, pass signals on, wait for them."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from resident.errors import ConfigurationError
from resident.leases import RENEW_EVERY_S, Leases
from resident.lifeline import die_with_owner
from resident.program import EXIT_MISCONFIGURED
from resident.pulse import Pulse
from resident.redis_client import connect
from resident.scripts import Alive, new_token
from resident.settings import Settings
from resident.task import Task, model_of
from resident.worker import ResidentWorker, name_of

#: Between the death of a worker and its replacement, so that one that dies at once does not spin.
RESPAWN_PAUSE_S = 1.0
#: What a worker has to put back its jobs, after the drain, before it is killed.
LAST_WORDS_S = 5.0
#: Signals that come closer to each other are one wish to stop. Source: RQ does the same.
ECHO_S = 1.0
_WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}

_log = structlog.get_logger()


@dataclass(frozen=True)
class Pool:
    """One task and how many processes serve it."""

    task: Task
    workers: int


@dataclass(frozen=True)
class Running:
    """A worker process: its task, what its executions begin with, its name in RQ."""

    task: Task
    token: str
    name: str
    pulse: Pulse

    def at_it_ms(self, now: float) -> int:
        """How long it has been at its batch, if RQ must be told, else 0."""
        began = self.pulse.batch_began
        seconds = now - began if began else 0.0
        return int(seconds * 1000) if seconds >= RENEW_EVERY_S else 0


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

    def __init__(self, pools: Sequence[Pool], settings: Settings, *, burst: bool) -> None:
        self._pools = pools
        self._settings = settings
        self._burst = burst
        self._running: dict[int, Running] = {}
        self._leases = Leases(connect(settings.redis_url.get_secret_value()), settings.lease_s)
        #: Moments and tasks of the replacements that are due.
        self._due: list[tuple[float, Task]] = []
        self._renew_at = -math.inf
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
        """Returns the exit code: 0; 1 if a worker of a burst failed; 2 if a model does not load."""
        for pool in self._pools:
            if pool.task.preload:
                load(pool.task)
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        for pool in self._pools:
            for _ in range(pool.workers):
                self._fork(pool.task)
        while self._running or self._due:
            next_at = min([self._next_stage_at, *(moment for moment, _ in self._due)])
            patience_s = min(RENEW_EVERY_S, max(0.01, next_at - time.monotonic()))
            received = signal.sigtimedwait(_WATCHED, patience_s)
            is_asked = received is not None and received.si_signo != signal.SIGCHLD
            if (is_asked and not self._is_echo()) or time.monotonic() >= self._next_stage_at:
                self._stop()
            self._reap()
            self._replace()
            self._renew()
        self._leases.close()
        return self._exit_code

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
        self._due.clear()
        for pid in self._running:
            os.kill(pid, signum)

    def _reap(self) -> None:
        """Takes note of the workers that ended, and replaces those that should not have."""
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            ended = self._running.pop(pid, None)
            if ended is not None and not self._is_stopping:
                self._bury(ended.task, pid, os.waitstatus_to_exitcode(status))

    def _bury(self, task: Task, pid: int, code: int) -> None:
        if code == EXIT_MISCONFIGURED:
            self._exit_code = EXIT_MISCONFIGURED
            self._stop()
        elif self._burst:
            self._exit_code = self._exit_code or int(code != 0)
        elif code == 0:
            _log.info("worker shut down on request", task=task.name, pid=pid)
        else:
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            _log.error("worker died", task=task.name, pid=pid, cause=cause)
            self._due.append((time.monotonic() + RESPAWN_PAUSE_S, task))

    def _replace(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            self._fork(self._due.pop(0)[1])

    def _renew(self) -> None:
        if time.monotonic() < self._renew_at:
            return
        now = time.monotonic()
        self._leases.tick(
            [
                (one.task.name, Alive(one.token, one.name, one.at_it_ms(now)))
                for one in self._running.values()
            ]
        )
        self._renew_at = time.monotonic() + RENEW_EVERY_S

    def _fork(self, task: Task) -> None:
        token, pulse = new_token(), Pulse()
        end_with_supervisor = die_with_owner(signal.SIGTERM)
        pid = os.fork()
        if pid:
            self._running[pid] = Running(task, token, name_of(task, pid, token), pulse)
            return
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
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        if not task.preload:
            load(task)
        connection = connect(self._settings.redis_url.get_secret_value())
        worker = ResidentWorker(task, connection, self._settings, token, pulse)
        _log.info("worker ready", task=task.name, worker=worker.name)
        worker.work(burst=self._burst)
        return 0
