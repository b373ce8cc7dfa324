"""Runs a program in which no process and no thread can be started as long as a file is there.

If the file says `threads`, a process can.
As a program: `python -m tests.support.no_room <file> worker.py echo`.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What to write into the file if processes find room.
THREADS = "threads"


def run(flag: Path, arguments: list[str]) -> None:
    """The program and its arguments, refused as by a limit of processes, which counts threads."""
    fork = os.fork

    def fork_if_there_is_room() -> int:
        if flag.exists() and flag.read_text("ascii") != THREADS:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = fork_if_there_is_room
    threading.Thread.start = _refused(flag, threading.Thread.start)
    faulthandler.dump_traceback_later = _refused(flag, faulthandler.dump_traceback_later)
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


def _refused(flag: Path, start: Callable[..., Any]) -> Callable[..., Any]:
    def start_if_there_is_room(*arguments: Any, **named: Any) -> Any:
        if flag.exists():
            raise RuntimeError("can't start new thread")
        return start(*arguments, **named)

    return start_if_there_is_room


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
