"""The processes: load once, fork the workers, pass signals on, wait for them."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from resident.errors import ConfigurationError
from resident.redis_client import connect
from resident.settings import Settings
from resident.task import Task, model_of
from resident.worker import ResidentWorker

#: Between the death of a worker and its replacement, so that one that dies at once does not spin.
RESPAWN_PAUSE_S = 1.0
_PR_SET_PDEATHSIG = 1
_WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}

_log = structlog.get_logger()


@dataclass(frozen=True)
class Pool:
    """One task and how many processes serve it."""

    task: Task
    workers: int


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
    except Exception as error:
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
        self._task_of: dict[int, Task] = {}
        self._stop_by: float | None = None

    def run(self) -> int:
        """Returns the exit code: 0, or 1 if a worker of a burst failed."""
        for pool in self._pools:
            if pool.task.preload:
                load(pool.task)
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        for pool in self._pools:
            for _ in range(pool.workers):
                self._fork(pool.task)
        failures = 0
        while self._task_of:
            self._heed(signal.sigtimedwait(_WATCHED, self._patience_s()))
            failures += self._reap()
        return 1 if failures else 0

    def _patience_s(self) -> float:
        if self._stop_by is None:
            return 60.0
        return max(0.01, self._stop_by - time.monotonic())

    def _heed(self, signal_info: signal.struct_siginfo | None) -> None:
        """Passes a request to stop on; at the end of the drain, asks again and with force."""
        if signal_info is not None and signal_info.si_signo in (signal.SIGTERM, signal.SIGINT):
            if self._stop_by is None:
                self._stop_by = time.monotonic() + self._settings.drain_timeout_s
            self._signal_all(signal.SIGTERM)
        elif self._stop_by is not None and time.monotonic() >= self._stop_by:
            # A second SIGTERM puts back what is held; who does not even do that is killed.
            overdue = time.monotonic() >= self._stop_by + self._settings.drain_timeout_s
            self._signal_all(signal.SIGKILL if overdue else signal.SIGTERM)
            self._stop_by = max(self._stop_by, time.monotonic() - self._settings.drain_timeout_s)

    def _signal_all(self, signum: signal.Signals) -> None:
        for pid in self._task_of:
            os.kill(pid, signum)

    def _reap(self) -> int:
        """Takes note of the workers that ended; returns how many failed in a burst."""
        failures = 0
        while self._task_of:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            task = self._task_of.pop(pid, None)
            if task is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if self._stop_by is not None or self._burst:
                failures += code != 0
                continue
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            _log.error("worker died", task=task.name, pid=pid, cause=cause)
            time.sleep(RESPAWN_PAUSE_S)
            self._fork(task)
        return failures

    def _fork(self, task: Task) -> None:
        supervisor = os.getpid()
        pid = os.fork()
        if pid:
            self._task_of[pid] = task
            return
        code = 1
        try:
            code = self._work(task, supervisor)
        except ConfigurationError as error:
            _log.error("worker cannot start", task=task.name, reason=str(error))
        except Exception:  # noqa: BLE001  (its only way to tell)
            _log.exception("worker failed", task=task.name)
        finally:
            os._exit(code)

    def _work(self, task: Task, supervisor: int) -> int:
        """The life of a worker process."""
        # A process group of its own: Ctrl-C reaches the supervisor, which passes it on once.
        os.setpgid(0, 0)
        _end_with(supervisor)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        load(task)
        connection = connect(self._settings.redis_url.get_secret_value())
        worker = ResidentWorker(task, connection, self._settings)
        _log.info("worker ready", task=task.name, worker=worker.name)
        worker.work(burst=self._burst)
        return 0


def _end_with(supervisor: int) -> None:
    """Lets the kernel send this process a SIGTERM when its supervisor dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        os._exit(1)
