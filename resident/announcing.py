"""What a worker tells callers: that it is ready, what its task takes, and how fast it is."""

from __future__ import annotations

import time

from resident.pace import Pace
from resident.scripts import WorkerScripts
from resident.settings import Settings
from resident.task import Task

#: An announcement outlives this much silence, beside the task's time-out.
MARGIN_S = 30.0


class Announcing:
    """The announcements of one worker."""

    def __init__(self, task: Task, settings: Settings, scripts: WorkerScripts, pace: Pace) -> None:
        self._task = task
        self._settings = settings
        self._scripts = scripts
        self._pace = pace

    def ready(self) -> None:
        """Says that the worker is ready, and for how long that may be believed."""
        self._announce(self._task.timeout_s + MARGIN_S)

    def gone(self) -> None:
        """Takes it back."""
        self._announce(0)

    def _announce(self, ttl_s: float) -> None:
        now_s = time.monotonic()
        description = {
            "function": self._task.function_name,
            "question_type": str(self._task.question_type),
            "max_batch": self._task.max_batch,
            "timeout_s": self._task.timeout_s,
            "max_question_bytes": self._settings.max_question_bytes,
            "max_backlog": self._settings.max_backlog,
            "reply_ttl_ms": int(self._settings.reply_ttl_s * 1000),
            "model_ms": round(self._pace.typical_ms(now_s), 3),
        }
        self._scripts.announce(int(ttl_s * 1000), description, self._pace.rate(now_s))
