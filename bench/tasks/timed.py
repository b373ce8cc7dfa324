"""echo with a stopwatch, and with a batch size to choose."""

from __future__ import annotations

import os
from typing import Any

from bench import stopwatch
from resident import task


def load() -> None:
    """There is nothing to load."""


@task(load=load, max_batch=int(os.environ.get("BENCH_MAX_BATCH", "128")), timeout_s=10)
def answer(_model: None, questions: list[Any]) -> list[Any]:
    """The questions themselves."""
    stopwatch.answered(len(questions))
    return questions
