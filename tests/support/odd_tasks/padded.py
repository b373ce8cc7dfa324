"""A model that pads a batch to its longest question."""

from __future__ import annotations

from resident import task


def load() -> None:
    """There is nothing to load."""


@task(load=load, max_batch=32, timeout_s=10, cost=len, max_cost=100)
def answer(_model: None, questions: list[str]) -> list[int]:
    """What the padded batch came to."""
    return [len(questions) * max(map(len, questions))] * len(questions)
