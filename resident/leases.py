"""Says for workers what they cannot say while a model holds them: that their jobs are alive."""

from __future__ import annotations

from collections import defaultdict

import redis
import structlog
from redis.exceptions import RedisError

from resident import scripts
from resident.redis_client import Link
from resident.scripts import Alive

#: Between two renewals; RQ's execution records are for what runs longer.
RENEW_EVERY_S = 1.0
#: Whoever renews has more to do than to wait for Redis.
_PATIENCE_S = 1.0

_log = structlog.get_logger()


class Leases:
    """Renews the leases of a group of workers, over a link of its own."""

    def __init__(self, client: redis.Redis, lease_s: float) -> None:
        self._link = Link(client, _PATIENCE_S)
        self._lease_ms = int(lease_s * 1000)
        self._is_away = False

    def tick(self, workers: list[tuple[str, Alive]]) -> None:
        """Renews what these workers hold; each with its task.

        Redis being away is said once and is no error: the leases may outlast it.
        """
        by_task: defaultdict[str, list[Alive]] = defaultdict(list)
        for task, worker in workers:
            by_task[task].append(worker)
        try:
            for task, alive in by_task.items():
                scripts.tick(self._link, task, self._lease_ms, alive)
        except RedisError as error:
            self._link.close()
            if not self._is_away:
                _log.warning("leases not renewed", error=str(error))
            self._is_away = True
        else:
            self._is_away = False

    def close(self) -> None:
        """Closes the link; a forked worker does so with the one that it inherited."""
        self._link.close()
