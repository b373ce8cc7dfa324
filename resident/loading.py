"""Loading a model, in the process that will run it or be forked for those that do."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import structlog

from resident.errors import ConfigurationError
from resident.task import Task, model_of

_log = structlog.get_logger()


def load(task: Task) -> None:
    """Loads and warms up a task's model in this process.

    Raises:
        ConfigurationError: It failed; the message names the task and the reason.
    """
    began, threads_before = time.monotonic(), _threads()
    try:
        model_of(task)
    except ConfigurationError:
        _log.debug("model not loaded", task=task.name, exc_info=True)
        raise
    _log.info("model loaded", task=task.name, seconds=round(time.monotonic() - began, 2))
    left = _threads() - threads_before
    if left > 0 and task.preload:
        _log.warning(
            "load() left threads, which its workers will not have: it may need preload=False",
            task=task.name,
            threads=left,
        )


def _threads() -> int:
    """Python's and those of libraries."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return 0
