"""How many connections a Redis has while something is measured."""

from __future__ import annotations

import threading

import redis


class Connections:
    """Watches how many connections Redis has, and how many it has taken."""

    def __init__(self, connection: redis.Redis) -> None:
        self._connection = connection
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before = self._most = self._after = self._taken = 0

    def __enter__(self) -> Connections:
        self._before, self._taken = self._now(), self._total()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def stop(self) -> None:
        """The pages are over."""
        self.__exit__()
        self._after, self._taken = self._now(), self._total() - self._taken

    def told(self, children: int) -> str:
        """For the note."""
        return (
            f"connections {self._before} before, {self._most} at most, {self._after} after, "
            f"{self._taken:,} opened by {children} children"
        )

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self._most = max(self._most, self._now())

    def _now(self) -> int:
        return int(self._connection.info("clients")["connected_clients"])

    def _total(self) -> int:
        return int(self._connection.info("stats")["total_connections_received"])
