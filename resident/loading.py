"""Loading a model, in the process that will run it or be forked for those that do."""

from __future__ import annotations

import time

import structlog

from resident.errors import ConfigurationError
from resident.task import Task, model_of

_log = structlog.get_logger()


def load(task: Task) -> None:
    """Loads and warms up a task's model in this process.

    Raises:
        ConfigurationError: It failed; the message names the task and the reason.
    """
    began = time.monotonic()
    try:
        model_of(task)
    except ConfigurationError:
        _log.debug("model not loaded", task=task.name, exc_info=True)
        raise
    _log.info("model loaded", task=task.name, seconds=round(time.monotonic() - began, 2))
