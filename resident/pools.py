"""Which tasks a worker.py serves, and with how many processes each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from resident.errors import ConfigurationError
from resident.settings import MOST_WORKERS
from resident.task import Task, load_task, task_names

_POOL = re.compile(r"([^=]+)(?:=(\d{1,3}))?")


@dataclass(frozen=True)
class Pool:
    """One task and how many processes serve it."""

    task: Task
    workers: int


def read_pools(arguments: Sequence[str], workers: int) -> dict[str, int]:
    """`faq=2` as two processes of the task faq; `faq` as the usual number of them.

    Raises:
        ConfigurationError: What is wrong with the arguments; imports no task.
    """
    if not arguments:
        msg = f"Which tasks? There are: {', '.join(task_names())}. For example: worker.py faq"
        raise ConfigurationError(msg)
    pools: dict[str, int] = {}
    for text in arguments:
        match = _POOL.fullmatch(text)
        count = int(match[2]) if match and match[2] else workers
        if match is None or not 1 <= count <= MOST_WORKERS:
            msg = f"{text!r} is not TASK or TASK=WORKERS with 1 to {MOST_WORKERS} workers"
            raise ConfigurationError(msg)
        if match[1] in pools:
            msg = f"The task {match[1]!r} is named twice"
            raise ConfigurationError(msg)
        pools[match[1]] = count
    return pools


def load_pools(pools: dict[str, int]) -> list[Pool]:
    """The same with the tasks imported; raises ConfigurationError like load_task."""
    return [Pool(load_task(name), workers) for name, workers in pools.items()]
