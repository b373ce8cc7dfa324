"""Whether to wait for more questions before the model runs. Pure; it learns from what it is told.

A model with a fixed cost per batch is left half idle by greedy claims: of 32 callers, 16 wait while
the other 16 are answered, and the two halves alternate for ever. A window lets them meet, and costs
a lone caller as much as it brings the others. So a window here is opened only on evidence:

- `Arrivals`: how many questions came within 1, 2, 3 … ms of the claims before this one. What
  waiting would have brought is seen without waiting: every job says when it was enqueued.
- `Cost`: what a batch costs, as a line a + b·n through what the last batches took.

Callers who ask again when answered come in a burst behind the claim, and then no more until
the batch is done. So a wait pays if it is over when most of those have come who come at all while
the batch runs, and if questions per second, (n + k) / (w + a + b·(n + k)), come out clearly higher
with the k that it brings. Questions that come by chance come all the time, and for them a batch
grows by itself, because they queue up; a window would only add to what they wait.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

#: The windows that are compared, ms.
WINDOWS_MS = (
    *(0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0),
    *(6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0),
)
#: A window must bring at least so much more throughput, or what it costs is not worth it.
WORTH_IT = 1.1
#: A wait is to bring so much of what comes while the batch runs.
BURST = 0.9
#: How much the last observation counts against those before it.
NEWEST = 0.25
#: After so long a silence what was learnt of arrivals says nothing, ms.
FORGET_MS = 1000.0
#: What no batch is quicker than, so that nothing is divided by zero.
_SHORTEST_MS = 1e-3


class Arrivals:
    """The mean number of questions within each window behind a claim."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._counts = [0.0] * len(WINDOWS_MS)
        #: Whether nobody came within the longest window behind the last claim.
        self.is_alone = True

    def learn(self, delays_ms: list[float], since_ms: float) -> None:
        """Takes in how long after a claim the next questions came.

        Args:
            delays_ms: Of each question that is known; those that were there before are below 0.
            since_ms: How long ago that claim was.
        """
        if since_ms > FORGET_MS:
            self._forget()
            return
        came = sorted(one for one in delays_ms if 0 < one <= WINDOWS_MS[-1])
        self.is_alone = not came
        for index, window_ms in enumerate(WINDOWS_MS):
            seen = bisect.bisect_right(came, window_ms)
            self._counts[index] += NEWEST * (seen - self._counts[index])

    def within(self, window_ms: float) -> float:
        """How many questions are to be expected within so long of a claim."""
        number = bisect.bisect_right(WINDOWS_MS, window_ms)
        return self._counts[number - 1] if number else 0.0


@dataclass
class Cost:
    """The line a + b·n through what batches of n questions took, in ms; older ones count less.

    While all batches were of one size the whole cost is taken for fixed: that errs towards waiting,
    which changes the sizes, and then the line is known.
    """

    weight: float = 0.0
    size: float = 0.0
    ms: float = 0.0
    size_size: float = 0.0
    size_ms: float = 0.0

    def learn(self, size: int, ms: float) -> None:
        """Takes in one call of the model."""
        keep = 1 - NEWEST / 4
        self.weight = self.weight * keep + 1
        self.size = self.size * keep + size
        self.ms = self.ms * keep + ms
        self.size_size = self.size_size * keep + size * size
        self.size_ms = self.size_ms * keep + size * ms

    @property
    def line(self) -> tuple[float, float]:
        """What a batch costs, and what each question in it adds, in ms."""
        if not self.weight:
            return 0.0, 0.0
        mean_size, mean_ms = self.size / self.weight, self.ms / self.weight
        variance = self.size_size / self.weight - mean_size**2
        if variance < 0.01 * mean_size**2:
            return mean_ms, 0.0
        slope = (self.size_ms / self.weight - mean_size * mean_ms) / variance
        per_question = min(max(slope, 0.0), mean_ms / mean_size)
        return mean_ms - per_question * mean_size, per_question


@dataclass(frozen=True)
class Window:
    """Until when to wait for more, in ms from the claim, and how many to expect; 0 for not at all.

    When as many wait as were expected, there is nothing to wait for any more.
    """

    ms: float
    expected: int


_NONE = Window(0.0, 0)


class Gathering:
    """Decides how long a batch that is not full waits for more."""

    def __init__(self, max_batch: int, target_ms: float) -> None:
        """Takes the most questions of a batch, and the longest that the first may wait."""
        self._max_batch = max_batch
        self._target_ms = target_ms
        self._arrivals = Arrivals()
        self._cost = Cost()
        self._claimed_at_ms = -math.inf
        self._came_at_ms: list[float] = []
        #: Whether the model's calls take long enough for any window to pay.
        self.may_pay = False
        #: Whether a call with one question is known to take less than the shortest window.
        self.is_quick = False

    def note_call(self, size: int, ms: float) -> None:
        """Takes in one call of the model."""
        self._cost.learn(size, ms)
        fixed_ms, per_question_ms = self._cost.line
        self.is_quick = fixed_ms + per_question_ms < WINDOWS_MS[0]
        is_slow = fixed_ms >= WINDOWS_MS[0]
        self.may_pay = is_slow and self._target_ms > 0 and self._max_batch > 1

    def note_claim(self, at_ms: float, came_at_ms: list[float]) -> None:
        """Takes in the first claim of a batch: when it was, and when its questions had come."""
        since_ms = at_ms - self._claimed_at_ms
        came = (*self._came_at_ms, *came_at_ms)
        self._arrivals.learn([one - self._claimed_at_ms for one in came], since_ms)
        self._claimed_at_ms, self._came_at_ms = at_ms, []

    def note_more(self, came_at_ms: list[float]) -> None:
        """Takes in what joined the batch after its first claim."""
        self._came_at_ms += came_at_ms

    def window(self, size: int, waited_ms: float = 0.0) -> Window:
        """How long to wait for more, and for how many.

        Args:
            size: How many questions there are.
            waited_ms: How long they have waited already.
        """
        room = self._max_batch - size
        if room <= 0 or self._arrivals.is_alone:
            return _NONE
        fixed_ms, per_question_ms = self._cost.line
        burst = BURST * self._arrivals.within(fixed_ms + per_question_ms * size)
        already = self._arrivals.within(waited_ms)

        def rate(more: float, wait_ms: float) -> float:
            total = size + more
            return total / max(wait_ms + fixed_ms + per_question_ms * total, _SHORTEST_MS)

        for window_ms in WINDOWS_MS:
            if waited_ms < window_ms <= min(self._target_ms, fixed_ms):
                count = self._arrivals.within(window_ms)
                more = min(max(count - already, 0.0), room)
                pays = rate(more, window_ms - waited_ms) > WORTH_IT * rate(0.0, 0.0)
                if pays and count >= burst:
                    return Window(window_ms, math.ceil(more))
        return _NONE
