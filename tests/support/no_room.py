"""Runs a program in which no process can be forked as long as a file is there.

As a program: `python -m tests.support.no_room <file> worker.py echo`.
"""

from __future__ import annotations

import errno
import os
import runpy
import sys
from pathlib import Path


def run(flag: Path, arguments: list[str]) -> None:
    """The program and its arguments, its forks refused as a limit of processes does."""
    fork = os.fork

    def fork_if_there_is_room() -> int:
        if flag.exists():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = fork_if_there_is_room
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
