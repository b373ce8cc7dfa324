"""Worker processes: how a supervisor forks one, and what that does until it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog

from resident.errors import ConfigurationError
from resident.faults import text_of
from resident.lifeline import die_with_owner
from resident.loading import load
from resident.outage import call_until_back, never, nothing
from resident.program import EXIT_MISCONFIGURED
from resident.pulse import Pulse
from resident.redis_client import connect
from resident.roster import Running
from resident.scripts import new_token
from resident.settings import Settings
from resident.signals import Signals
from resident.task import Task
from resident.worker import ResidentWorker, name_of

_log = structlog.get_logger()


class Forks:
    """Forks workers from the process that has loaded the models."""

    def __init__(
        self,
        settings: Settings,
        signals: Signals,
        leave_behind: Callable[[], object],
        *,
        burst: bool = False,
    ) -> None:
        """Takes what its owner waits for, and what a fork does first: close what is not its own."""
        self._settings = settings
        self._signals = signals
        self._leave_behind = leave_behind
        self._burst = burst

    def fork(self, task: Task) -> Running:
        """Returns once the process is there, which may have to load yet."""
        token, pulse = new_token(), Pulse.shared()
        end_with_owner = die_with_owner(signal.SIGTERM)
        with self._signals.held_back():
            pid = os.fork()
            if not pid:
                self._run(task, token, pulse, end_with_owner)
        return Running(pid, task, token, name_of(task, pid, token), pulse)

    def _run(
        self, task: Task, token: str, pulse: Pulse, end_with_owner: Callable[[], None]
    ) -> NoReturn:
        code = 1
        try:
            # A process group of its own: Ctrl-C reaches the supervisor, which passes it on once.
            os.setpgid(0, 0)
            end_with_owner()
            self._leave_behind()
            self._signals.forget()
            code = self._work(task, token, pulse)
        except ConfigurationError as error:
            _log.error("worker cannot start", task=task.name, reason=str(error))
            code = EXIT_MISCONFIGURED
        except BaseException as error:  # noqa: BLE001  (its only way to tell)
            _log.error("worker failed", task=task.name, exception=text_of(error))
        finally:
            os._exit(code)

    def _work(self, task: Task, token: str, pulse: Pulse) -> int:
        _draw_anew()
        if not task.preload:
            load(task)
        pulse.has_loaded = 1
        connection = connect(self._settings.redis_url.get_secret_value())
        worker = call_until_back(
            lambda: ResidentWorker(task, connection, self._settings, token, pulse), nothing, never
        )  # RQ asks Redis for its address
        _log.info("worker ready", task=task.name, worker=worker.name)
        worker.work(burst=self._burst)
        return 0


def _draw_anew() -> None:
    """Random numbers of numpy's global generator; Python's own does so at a fork."""
    if random := sys.modules.get("numpy.random"):
        with suppress(Exception):  # a generator that takes no seed
            random.seed()
