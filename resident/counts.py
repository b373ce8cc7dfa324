"""What a worker has done, for RQ's books: noted at once, written with the heartbeat.

Written with each batch, the three counters cost as much of Redis' time as the reply does.
"""

from __future__ import annotations

import re

from redis import Redis
from redis.exceptions import ResponseError

#: Redis' words for a field that cannot be counted up, because somebody wrote something else there.
_NO_COUNTER = re.compile("not an integer|not a float|not a valid float|overflow|NaN")


class Counts:
    """RQ's counters of one worker, as far as they are not in Redis yet."""

    def __init__(self) -> None:
        self._clear()

    def add(self, successful: int, failed: int, seconds: float) -> None:
        """Notes jobs and the seconds that they took."""
        self._successful += successful
        self._failed += failed
        self._seconds += seconds

    def write(self, connection: Redis, worker_key: str) -> None:
        """Adds what was noted to the worker's hash.

        What Redis refuses is kept for the next time. After a connection that broke at the wrong
        moment something may be counted twice.
        """
        if not self._successful and not self._failed:
            return
        try:
            self._write(connection, worker_key)
        except ResponseError as refusal:
            if not _NO_COUNTER.search(str(refusal)):
                return  # full, or no hash at the moment; the next heartbeat tries again
            connection.hdel(
                worker_key, "successful_job_count", "failed_job_count", "total_working_time"
            )
            self._write(connection, worker_key)
        self._clear()

    def _clear(self) -> None:
        self._successful, self._failed, self._seconds = 0, 0, 0.0

    def _write(self, connection: Redis, worker_key: str) -> None:
        with connection.pipeline() as pipeline:
            if self._successful:
                pipeline.hincrby(worker_key, "successful_job_count", self._successful)
            if self._failed:
                pipeline.hincrby(worker_key, "failed_job_count", self._failed)
            pipeline.hincrbyfloat(worker_key, "total_working_time", round(self._seconds, 6))
            pipeline.execute()
