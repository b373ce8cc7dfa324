"""Puts the tasks of tests/support/odd_tasks beside those of tasks/, in a test or a process.

As a program it runs another one with them: `python -m tests.support.odd worker.py odd`, or
`python -m tests.support.odd rq worker odd`.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tasks

FOLDER = str(Path(__file__).parent / "odd_tasks")
#: In front of a command line, so that its process knows the odd tasks.
WITH_ODD_TASKS = (sys.executable, "-m", "tests.support.odd")


@contextmanager
def odd_tasks() -> Iterator[None]:
    """tasks.odd and tasks.gate exist inside."""
    tasks.__path__.append(FOLDER)
    try:
        yield
    finally:
        tasks.__path__.remove(FOLDER)


def run(arguments: list[str]) -> None:
    """Runs a file or an installed command with the odd tasks in place."""
    sys.argv = arguments
    with odd_tasks():
        if arguments[0].endswith(".py"):
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            runpy.run_module(f"{arguments[0]}.cli", run_name="__main__")


if __name__ == "__main__":
    run(sys.argv[1:])
