"""Callers who never stop asking."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from enqueue_api.client import Client

T = TypeVar("T")


@contextmanager
def asking_all_the_time(
    redis_url: str, ask_once: Callable[[Client], T], callers: int = 4
) -> Iterator[list[T | Exception]]:
    """Callers who ask again as soon as they are answered; what came of it, in its order."""
    came: list[T | Exception] = []
    is_over = threading.Event()

    def ask() -> None:
        with Client(redis_url) as mine:
            while not is_over.is_set():
                try:
                    came.append(ask_once(mine))
                except Exception as error:  # noqa: BLE001  (the test shall see it)
                    came.append(error)

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield came
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
