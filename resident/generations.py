"""The process that stays: it starts a supervisor, and on SIGHUP another before it ends the first.

Each supervisor with its workers is a generation. It is forked from a process that has loaded no
task, so that it reads the task files, the model and the knowledge anew.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

from resident.lifeline import die_with_owner
from resident.program import EXIT_MISCONFIGURED
from resident.pulse import Pulse
from resident.readiness import ReadyFile
from resident.signals import Signals

#: While a generation loads, between two looks whether it is ready.
_LOOK_S = 0.05
_REST_S = 60.0
#: The supervisor's, when its workers keep dying; and when there is none.
_EXIT_GIVEN_UP = 1

#: Serves until told to stop, and returns the exit code; says in the pulse when it is ready.
Serve = Callable[[int, Pulse], int]

_log = structlog.get_logger()


class Generation:
    """A supervisor process, from its start."""

    def __init__(self, number: int, pid: int, pulse: Pulse, load_by: float) -> None:
        self.number = number
        self.pid = pid
        self.load_by = load_by
        self._pulse = pulse

    @property
    def is_ready(self) -> bool:
        """Whether all its workers serve."""
        return bool(self._pulse.is_ready)

    @property
    def is_late(self) -> bool:
        """Whether it has loaded for too long; to wait for Redis is something else."""
        return time.monotonic() > self.load_by and not self._pulse.has_loaded

    def kill(self, signum: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, signum)


class Generations:
    """Runs one generation, and for moments two."""

    def __init__(self, serve: Serve, load_timeout_s: float, ready_file: ReadyFile) -> None:
        self._serve = serve
        self._load_timeout_s = load_timeout_s
        self._ready_file = ready_file
        self._count = 0
        self._current: Generation | None = None
        self._next: Generation | None = None
        #: Those that another one has taken over from.
        self._leaving: list[Generation] = []
        self._is_reload_wanted = False
        self._is_stopping = False

    def run(self) -> int:
        """Returns the exit code of the last generation."""
        self._signals = Signals(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._next = self._start()
        code = 0 if self._next else _EXIT_GIVEN_UP
        while self._alive():
            for signum in self._signals.wait(_LOOK_S if self._next else _REST_S):
                self._obey(signum)
            code = self._reap(code)
            self._promote()
            self._reload()
        return code

    def _obey(self, signum: int) -> None:
        if signum == signal.SIGHUP:
            self._is_reload_wanted = True
        elif signum != signal.SIGCHLD:
            # Those that leave have been told once, and would take a second word for "at once".
            told = self._alive() if self._is_stopping else [self._current, self._next]
            self._is_stopping = True
            self._ready_file.take_away()
            for one in told:
                if one is not None:
                    one.kill(signum)

    def _alive(self) -> list[Generation]:
        return [one for one in (self._current, self._next, *self._leaving) if one is not None]

    def _reload(self) -> None:
        """Starts the next generation if one is wanted; one that is loading comes first."""
        if (
            self._is_reload_wanted
            and self._next is None
            and self._current
            and not self._is_stopping
        ):
            self._is_reload_wanted = False
            _log.info("reloading", generation=self._count + 1)
            self._next = self._start()
            if self._next is None:
                _log.error("reload failed; the generation before it goes on")

    def _promote(self) -> None:
        """Lets the next generation take over as soon as it serves, or gives it up."""
        following = self._next
        if following is None:
            return
        if following.is_ready:
            old, self._current, self._next = self._current, following, None
            _log.info("ready", generation=following.number)
            if old is not None:
                self._leaving.append(old)
            if not self._is_stopping:
                self._ready_file.put()
                if old is not None:
                    old.kill(signal.SIGTERM)
        elif following.is_late:
            _log.error("still loading, given up", after_s=self._load_timeout_s)
            following.load_by = math.inf
            following.kill(signal.SIGKILL)

    def _reap(self, code: int) -> int:
        """Takes note of generations that ended; returns the exit code as it is now."""
        while self._alive():
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            exit_code = os.waitstatus_to_exitcode(status)
            if self._current is not None and pid == self._current.pid:
                self._current = None
                self._ready_file.take_away()
                code = self._end(exit_code, was_ready=True)
            elif self._next is not None and pid == self._next.pid:
                ended, self._next = self._next, None
                if self._current is None:
                    is_given_up = math.isinf(ended.load_by)
                    # It may have served and ended between two looks at it.
                    code = self._end(exit_code, was_ready=ended.is_ready, was_given_up=is_given_up)
                elif not self._is_stopping:
                    _log.error("reload failed; the generation before it goes on", code=exit_code)
            self._leaving = [one for one in self._leaving if one.pid != pid]
        return code

    def _end(self, exit_code: int, *, was_ready: bool, was_given_up: bool = False) -> int:
        """What the exit code of a generation means for the whole; a shell's form of a signal."""
        if was_given_up:
            return EXIT_MISCONFIGURED
        if exit_code >= 0:
            return self._end_by_itself(exit_code, was_ready=was_ready)
        if self._is_stopping and -exit_code in (signal.SIGTERM, signal.SIGINT):
            return 0  # while it loads, a signal ends it as it ends any program
        if not self._is_stopping:
            _log.error("supervisor died", cause=signal.Signals(-exit_code).name)
        return 128 - exit_code

    def _end_by_itself(self, exit_code: int, *, was_ready: bool) -> int:
        """Code of a task may have ended it; what we end it with ourselves has been said."""
        is_ours = exit_code in (_EXIT_GIVEN_UP, EXIT_MISCONFIGURED) or (was_ready and not exit_code)
        if is_ours or self._is_stopping:
            return exit_code
        _log.error("supervisor ended by itself", code=exit_code, was_ready=was_ready)
        return exit_code if was_ready else EXIT_MISCONFIGURED

    def _start(self) -> Generation | None:
        """None if the system has no room for a process."""
        self._count += 1
        end_with_me = die_with_owner(signal.SIGTERM)
        try:
            pulse = Pulse.shared()
            with self._signals.held_back():
                pid = os.fork()
                if not pid:
                    self._run_generation(pulse, end_with_me)
        except OSError as error:
            _log.error("no supervisor could be started", error=str(error))
            return None
        return Generation(self._count, pid, pulse, time.monotonic() + self._load_timeout_s)

    def _run_generation(self, pulse: Pulse, end_with_me: Callable[[], None]) -> NoReturn:
        code = 1
        try:
            os.setpgid(0, 0)  # Ctrl-C reaches the process that stays, which passes it on once
            end_with_me()
            self._signals.forget()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            code = self._serve(self._count, pulse)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001  (its only way to tell)
            _log.exception("supervisor failed")
        finally:
            os._exit(code)
