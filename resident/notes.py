"""What a worker takes note of when it has settled: RQ's counters, its own pace, the log."""

from __future__ import annotations

import time

import structlog

from resident.counts import Counts
from resident.gathering import Gathering
from resident.pace import Pace
from resident.settlement import Settlement, tally

_log = structlog.get_logger()


class Notes:
    """Of one worker."""

    def __init__(
        self,
        task_name: str,
        counts: Counts,
        pace: Pace,
        gathering: Gathering,
        calls: list[tuple[int, float]],
    ) -> None:
        """Takes who is told, and where calls of the model are noted; they are taken from there."""
        self._task_name = task_name
        self._counts = counts
        self._pace = pace
        self._gathering = gathering
        self._calls = calls
        self._log = _log.bind()  # once; the module's binds anew at each call

    def take(
        self, settlements: list[Settlement], codes: list[int], began: float, *, is_fair: bool
    ) -> bool:
        """Tells them of a batch; whether other jobs depend on any of it.

        Args:
            settlements: How its jobs ended.
            codes: What settle.lua says of each.
            began: When it was claimed, on the monotonic clock.
            is_fair: The time since then was the worker's, not that of a Redis that was away.
        """
        now, size = time.monotonic(), len(codes)
        seconds = now - began
        finished, failed, lost, has_parents = tally(settlements, codes)
        self._counts.add(finished, failed, seconds)
        if size and is_fair:
            self._pace.note_batch(now, size, seconds * 1000)
        for questions, ms in self._calls:
            self._gathering.note_call(questions, ms)
            self._pace.note_call(now, ms)
        self._calls.clear()
        say = self._log.warning if failed or lost else self._log.debug
        first = _first_failure(settlements) if failed else {}
        say("batch", task=self._task_name, size=size, failed=failed, lost=lost, **first)
        return has_parents


def _first_failure(settlements: list[Settlement]) -> dict[str, str]:
    """By its id RQ has the traceback; the others are in its registry of failed jobs."""
    one = next((one for one in settlements if one.why), None)
    return {"first_job": one.id[:64], "first_kind": one.why} if one else {}
