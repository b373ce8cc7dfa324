"""A model that is busy until somebody writes into the FIFO that its questions name."""

from __future__ import annotations

from pathlib import Path

from resident import task


def load() -> None:
    """There is nothing to load."""


@task(load=load, max_batch=16, timeout_s=30)
def answer(_model: None, questions: list[str]) -> list[str]:
    """What was written, for all questions; opening a FIFO waits for a writer."""
    written = Path(questions[0]).read_text(encoding="utf-8")
    return [written for _ in questions]
