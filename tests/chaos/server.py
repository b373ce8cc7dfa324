"""The Redis of a storm, which is killed and started again all the time."""

from __future__ import annotations

from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.waiting import wait_until

_RUNNING = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")


def arrange(server: EmbeddedRedis) -> None:
    """After each start: lets it lose nothing that it has said, and start soon the next time.

    With `everysec` Redis holds back what it writes while the disk is busy, and answers; a SIGKILL
    then takes what callers think is there. What is written outlives the process without an fsync.
    A log that is read at each start, and never rewritten since no process gets old enough, takes
    3 s to read after ten minutes. A rewriting child would outlive a killed server, and keep its
    directory.
    """
    with connect(server.url) as connection:
        connection.config_set("appendfsync", "no")
        connection.bgrewriteaof()
        wait_until(lambda: not any(connection.info("persistence")[name] for name in _RUNNING))
