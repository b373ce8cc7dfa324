"""A model of very large batches, one of whose answers is very large."""

from __future__ import annotations

from resident import task


def load() -> None:
    """There is nothing to load."""


@task(load=load, max_batch=1000, timeout_s=60)
def answer(_model: None, questions: list[int]) -> list[str]:
    """A string of so many characters each."""
    return ["x" * question for question in questions]
