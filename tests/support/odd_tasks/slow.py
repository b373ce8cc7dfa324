"""A model with a fixed cost: it sleeps as long for one question as for many."""

from __future__ import annotations

import time
from typing import Any

from resident import task


def load() -> None:
    """There is nothing to load."""


@task(load=load, max_batch=32, timeout_s=10)
def answer(_model: None, questions: list[Any]) -> list[Any]:
    """The questions, after 15 ms."""
    time.sleep(0.015)
    return questions
