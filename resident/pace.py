"""What a worker has seen of its own pace. Pure; it learns from what it is told.

Two numbers come of it. How long a call of the model usually takes: a question with less of its
budget left is not begun, since nobody would be there to hear the answer. And how many questions a
second this worker can answer when its batches are full: from it callers are told at the door that
their answer would come too late.
"""

from __future__ import annotations

import bisect
import math
from collections import deque

from resident.gathering import Cost

#: Of how many calls the median is taken.
CALLS = 31
#: What is older than this says nothing. So a model that was slow once is tried again, although
#: every question is too late by what it took then.
FORGET_S = 5.0


class Pace:
    """Of one worker with one model."""

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._calls: deque[float] = deque(maxlen=CALLS)
        self._in_order: list[float] = []
        self._last_call_s = self._last_batch_s = -math.inf
        self._typical_ms = 0.0
        self._batches = Cost()

    def note_call(self, now_s: float, ms: float) -> None:
        """Takes in how long one call of the model took."""
        if len(self._calls) == CALLS:
            del self._in_order[bisect.bisect_left(self._in_order, self._calls[0])]
        self._calls.append(ms)
        bisect.insort(self._in_order, ms)
        self._last_call_s = now_s
        self._typical_ms = self._in_order[len(self._in_order) // 2]

    def note_batch(self, now_s: float, size: int, ms: float) -> None:
        """Takes in how long a batch took from its claim until it was settled."""
        self._last_batch_s = now_s
        self._batches.learn(size, ms)

    def typical_ms(self, now_s: float) -> float:
        """How long a call of the model usually takes; 0 if there was none lately."""
        return self._typical_ms if now_s - self._last_call_s < FORGET_S else 0.0

    def rate(self, now_s: float) -> float:
        """Questions a second in full batches; 0 if no batch has been seen lately."""
        if now_s - self._last_batch_s >= FORGET_S:
            return 0.0
        fixed_ms, per_question_ms = self._batches.line
        full_ms = fixed_ms + per_question_ms * self._max_batch
        return self._max_batch / full_ms * 1000 if full_ms > 0 else 0.0
