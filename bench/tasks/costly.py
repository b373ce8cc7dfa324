"""Sleeps as long as a model would take, on a device that is not the worker's core.

BENCH_COST names the kind of model; a question is a list of one integer, its length. BENCH_WINDOW_MS
puts a fixed window in the place of the batching policy, to compare them. BENCH_MAX_COST says what a
call of the model may cost, in questions by their longest; without it the task says no `cost`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

import resident.worker
from resident import task
from resident.gathering import Gathering, Window

COSTS: dict[str, Callable[[list[int]], float]] = {
    "fixed": lambda lengths: 10.0,
    "linear": lambda lengths: 4.0 + 0.25 * len(lengths),
    "each": lambda lengths: 10.0 * len(lengths),
    "padded": lambda lengths: 2.0 + 0.01 * len(lengths) * max(lengths),
}
_cost_ms = COSTS[os.environ.get("BENCH_COST", "fixed")]


def load() -> None:
    """There is nothing to load."""


class FixedWindow(Gathering):
    """Every batch that is not full waits as long."""

    may_pay = True

    def window(self, size: int, waited_ms: float = 0.0) -> Window:
        """The window, once."""
        is_over = waited_ms > 0 or size >= _MAX_BATCH
        return Window(0.0 if is_over else float(_WINDOW_MS or 0), _MAX_BATCH)


_MAX_BATCH = int(os.environ.get("BENCH_MAX_BATCH", "32"))
_WINDOW_MS = os.environ.get("BENCH_WINDOW_MS")
if _WINDOW_MS is not None:
    resident.worker.Gathering = FixedWindow  # type: ignore[attr-defined]


_MAX_COST = float(os.environ.get("BENCH_MAX_COST", "0"))


def length(question: list[int]) -> int:
    """What padding makes every other question of its call as long as."""
    return question[0]


@task(
    load=load,
    max_batch=_MAX_BATCH,
    timeout_s=10,
    cost=length if _MAX_COST else None,
    max_cost=_MAX_COST or math.inf,
)
def answer(_model: None, questions: list[list[int]]) -> list[int]:
    """How many were asked at once, after a while."""
    time.sleep(_cost_ms([length for [length] in questions]) / 1000)
    return [len(questions)] * len(questions)
