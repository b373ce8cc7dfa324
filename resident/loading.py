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
    except (ConfigurationError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit and a library's panic are none
        msg = f"The task {task.name!r} does not load: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
    _log.info("model loaded", task=task.name, seconds=round(time.monotonic() - began, 2))
