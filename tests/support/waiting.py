"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], within_s: float = 20.0) -> T:
    """The first truthy value of the condition; fails the test if none comes in time."""
    deadline = time.monotonic() + within_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            msg = f"not within {within_s} s: {condition}"
            raise AssertionError(msg)
        time.sleep(0.01)
