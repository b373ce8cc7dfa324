"""Real processes for tests: workers as an operator starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from resident import keys
from resident.redis_client import connect
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


class Processes:
    """Starts processes against one Redis, and kills on leaving those that still run."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect(redis_url)
        self._environment = {**os.environ, "RESIDENT_REDIS_URL": redis_url}
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running:
            if process.poll() is None:
                process.terminate()
        for process in self._running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        self._redis.close()

    def start(
        self, *command: str, folder: Path = ROOT, **environment: str
    ) -> subprocess.Popen[str]:
        """Starts a command, in the project's folder if no other; its output goes to pipes."""
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    def start_worker(
        self, *arguments: str, folder: Path = ROOT, **environment: str
    ) -> subprocess.Popen[str]:
        """Starts `python worker.py ...` and waits until its tasks have ready workers."""
        process = self.start(sys.executable, "worker.py", *arguments, folder=folder, **environment)
        tasks = [argument.partition("=")[0] for argument in arguments if argument[0] != "-"]
        wait_until(
            lambda: process.poll() is not None or all(self._is_ready(task) for task in tasks)
        )
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1])
        return process

    def _is_ready(self, task: str) -> bool:
        return bool(self._redis.zcard(keys.of_task(task).ready))


def children_of(pid: int) -> list[int]:
    """The processes that this one started and has not buried."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is looked at
        return []
    return [int(child) for child in text.split()]


def descendants(process: subprocess.Popen[str]) -> list[int]:
    """All processes below this one."""
    found = [process.pid]
    for pid in found:
        found += children_of(pid)
    return found[1:]


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a worker.py: below it is a supervisor a generation."""
    return [pid for supervisor in children_of(process.pid) for pid in children_of(supervisor)]


def is_there(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is looked at
        return False
