"""Yields the moments at which it yields, in ns of the monotonic clock, one every 2 ms."""

from __future__ import annotations

import time
from collections.abc import Iterator

from resident import task

#: Long enough for the reader to wait for each.
PAUSE_S = 0.002


def load() -> None:
    """There is nothing to load."""


@task(load=load, timeout_s=10)
def answer(_model: None, question: int) -> Iterator[str]:
    """So many moments."""
    for _ in range(question):
        time.sleep(PAUSE_S)
        yield f"{time.monotonic_ns()} "
