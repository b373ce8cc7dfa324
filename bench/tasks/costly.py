"""Sleeps as long as a model would take, on a device that is not the worker's core.

BENCH_COST names the kind of model; a question is a list of one integer, its length. BENCH_WINDOW_MS
is a fixed window to compare with the batching policy, for as long as @task has one to set.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from typing import Any

from resident import task

COSTS: dict[str, Callable[[list[int]], float]] = {
    "fixed": lambda lengths: 10.0,
    "linear": lambda lengths: 4.0 + 0.25 * len(lengths),
    "padded": lambda lengths: 2.0 + 0.01 * len(lengths) * max(lengths),
}
_cost_ms = COSTS[os.environ.get("BENCH_COST", "fixed")]


def load() -> None:
    """There is nothing to load."""


def window(milliseconds: str | None) -> dict[str, Any]:
    """THE HOOK: the option of @task that fixes the window, once it has one."""
    if milliseconds is None or "max_wait_ms" not in inspect.signature(task).parameters:
        return {}
    return {"max_wait_ms": int(milliseconds)}


@task(
    load=load,
    max_batch=int(os.environ.get("BENCH_MAX_BATCH", "32")),
    timeout_s=10,
    **window(os.environ.get("BENCH_WINDOW_MS")),
)
def answer(_model: None, questions: list[list[int]]) -> list[int]:
    """How many were asked at once, after a while."""
    time.sleep(_cost_ms([length for [length] in questions]) / 1000)
    return [len(questions)] * len(questions)
