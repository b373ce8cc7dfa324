"""A task that streams what its question says: a list of words to yield, and of orders.

An order is an object with one key; see ORDERS.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from resident import task


def load() -> None:
    """There is nothing to load."""


def _wait_for(path: str) -> Iterator[str]:
    """Until this file is there."""
    while not Path(path).exists():
        time.sleep(0.002)
    return iter(())


def _touch(path: str) -> Iterator[str]:
    Path(path).touch()
    return iter(())


def _fail(words: str) -> Iterator[str]:
    raise RuntimeError(words)


def _die(_: Any) -> Iterator[str]:
    os.kill(os.getpid(), signal.SIGKILL)
    return iter(())


def _die_once(mark: str) -> Iterator[str]:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return iter(())


def _hang(_: Any) -> Iterator[str]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    ctypes.PyDLL(None).pause()  # in C, deaf, and with the GIL
    return iter(())


def _count(most: int) -> Iterator[str]:
    return (f"{number} " for number in range(most))


def _now(most: int) -> Iterator[str]:
    """Moments of the monotonic clock, in ns, each as it is yielded."""
    for _ in range(most):
        time.sleep(0.002)
        yield f"{time.monotonic_ns()} "


def _is(value: Any) -> Iterator[Any]:
    """Any value, as if it were a delta."""
    yield value


def _fork(most: int) -> Iterator[str]:
    """Both go on, and say who they are."""
    who = "parent" if os.fork() else "child"
    for _ in range(most):
        yield f"{who} "


ORDERS: dict[str, Callable[[Any], Iterator[Any]]] = {
    "wait for": _wait_for,
    "touch": _touch,
    "fail": _fail,
    "die": _die,
    "die once": _die_once,
    "hang": _hang,
    "count": _count,
    "fork": _fork,
    "now": _now,
    "is": _is,
}


@task(load=load, warm_up=[["warm"]], timeout_s=20)
def answer(_model: None, question: list[Any]) -> Iterator[str]:
    """Also writes down that it was closed, in the file that {"at end": ...} names."""
    orders = [step for step in question if isinstance(step, dict)]
    at_end = next((step["at end"] for step in orders if "at end" in step), None)
    try:
        for step in question:
            if isinstance(step, str):
                yield step
            elif "at end" not in step:
                ((order, value),) = step.items()
                yield from ORDERS[order](value)
    finally:
        if at_end:
            Path(at_end).touch()
