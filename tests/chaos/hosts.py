"""Two "hosts": each is a worker.py with a supervisor and workers, started again when it ends.

The workers of the second one load for themselves.

Every process of theirs carries the run's mark in its environment, so that one is found whoever its
parent is by now, and no other process is ever touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from resident.lifeline import die_with_owner
from tests.chaos.questions import TASK
from tests.support.processes import children_of, is_there, workers_of
from tests.support.waiting import wait_until

_MARK = "CHAOS_RUN"
#: Of each host, what tests/chaos/tasks/chaos.py reads.
_VARIANTS: tuple[dict[str, str], ...] = ({}, {"CHAOS_NO_PRELOAD": "1"})
#: Between the end of a host and its next start, as an operator's service manager has it.
RESTART_PAUSE_S = 0.3
_STOP_TIMEOUT_S = 25.0
_LAST_WORDS_S = 0.2
#: Lines of /proc/<pid>/status.
_TELLING = ("State", "PPid", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")


class Host:
    """One worker.py, or its next one."""

    def __init__(
        self, name: str, folder: Path, environment: dict[str, str], log: Path, workers: int
    ) -> None:
        self.name = name
        self.log = log
        self.ends: Counter[str] = Counter()
        self._folder = folder
        self._environment = environment
        self._workers = workers
        self._process: subprocess.Popen[str] | None = None
        self._start_at = 0.0

    def keep_up(self) -> str:
        """Starts it, if it has ended and the pause is over; returns how it has ended just now."""
        end = ""
        if self._process and self._process.poll() is not None:
            end = f"exit code {self._process.returncode}"
            self.ends[end] += 1
            self._process = None
            self._start_at = time.monotonic() + RESTART_PAUSE_S
        if self._process is None and time.monotonic() >= self._start_at:
            self._start()
        return end

    def layers(self) -> dict[str, list[int]]:
        """The ids of its processes, by what they are; those of an earlier start are in none."""
        process = self._process
        if process is None or process.poll() is not None:
            return {"parent": [], "supervisor": [], "worker": []}
        return {
            "parent": [process.pid],
            "supervisor": children_of(process.pid),
            "worker": workers_of(process),
        }

    def end(self) -> None:
        """Tells it to drain."""
        if self._process:
            self._process.terminate()

    def wait(self) -> str:
        """Waits for its end; returns what is wrong with that."""
        if not self._process:
            return ""
        try:
            code = self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"{self.name} did not end on SIGTERM"
        return f"{self.name} ended with exit code {code} on SIGTERM" if code else ""

    def _start(self) -> None:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "worker.py", f"{TASK}={self._workers}"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                preexec_fn=die_with_owner(signal.SIGKILL),
            )


class Hosts:
    """Some of them, and all processes that they ever had."""

    def __init__(
        self,
        folder: Path,
        urls: Sequence[str],
        logs: Path,
        say: Callable[[str], object],
        **settings: str,
    ) -> None:
        """Takes the project's folder, a Redis URL for each host, and where their logs go."""
        self._mark = secrets.token_hex(8)
        self._say = say
        ours = {**os.environ, **settings, _MARK: self._mark}
        self.all = [
            Host(
                f"host-{number}",
                folder,
                {**ours, "RESIDENT_REDIS_URL": url, **_VARIANTS[number % len(_VARIANTS)]},
                logs / f"host-{number}.log",
                workers=2,
            )
            for number, url in enumerate(urls)
        ]

    def keep_up(self) -> None:
        """Starts those that have ended."""
        for host in self.all:
            if ended := host.keep_up():
                self._say(f"           {host.name} ended with {ended}")

    def missing(self) -> list[str]:
        """Those that do not serve."""
        return [f"{host.name} has no workers" for host in self.all if not host.layers()["worker"]]

    def signal(self, pid: int, signum: int) -> bool:
        """Sends a signal to a process of ours, and to no other; whether it was one."""
        if not self._is_ours(pid):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
            return True
        return False

    def go_on(self) -> None:
        """Lets everything that was stopped go on."""
        for pid in self.processes():
            self.signal(pid, signal.SIGCONT)

    def end(self) -> list[str]:
        """Tells all to drain, and waits for it; returns what is wrong with that."""
        self.go_on()
        for host in self.all:
            host.end()
        return [fault for host in self.all if (fault := host.wait())]

    def orphans(self, within_s: float) -> list[str]:
        """Processes that are left when all hosts have ended; ends them.

        Before that, each says in its host's log where it stands.
        """
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.processes(), within_s)
        left = [f"{pid} {_state(pid)}" for pid in self.processes()]
        for signum in (signal.SIGUSR2, signal.SIGCONT, signal.SIGKILL):
            for pid in self.processes():
                self.signal(pid, signum)
            time.sleep(_LAST_WORDS_S if left else 0)
        return left

    def processes(self) -> list[int]:
        """All that live of what was ever started here."""
        return [pid for pid in _pids() if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"{_MARK}={self._mark}".encode() in environment.split(b"\0") and is_there(pid)


def _pids() -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            yield int(entry)


def _state(pid: int) -> str:
    """What the kernel knows of a process: its parent, its signals, where it waits."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        wanted = [line.replace("\t", " ") for line in lines if line.startswith(_TELLING)]
        where = Path(f"/proc/{pid}/wchan").read_text("ascii", "replace")
        return ", ".join([*wanted, f"waits in {where}"])
    return "gone"
