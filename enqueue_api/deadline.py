"""How long a caller waits: a budget, and the moment at which it ends."""

from __future__ import annotations

import math
import time
from typing import Any

from resident.errors import ErrorCode, error_for
from resident.settings import LONGEST_BUDGET_MS

#: Redis may say so much later, in seconds, what it has to say at the end of a budget.
GRACE_S = 0.045
#: To Redis, a block of 0 s lasts for ever.
_SHORTEST_BLOCK_S = 0.001
_SHORTEST_BLOCK = "0.001"


class Deadline:
    """The moment a budget ends, on the monotonic clock.

    Attributes:
        gives_up_at: The moment after which nothing is waited for, not even a Redis that answers
            late.
    """

    def __init__(self, budget_ms: int) -> None:
        self.budget_ms = budget_ms
        self._at = time.monotonic() + budget_ms / 1000
        self.gives_up_at = self._at + GRACE_S

    @property
    def left_s(self) -> float:
        """What is left of the budget, 0 when it is over."""
        return max(0.0, self._at - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of the budget."""
        return time.monotonic() >= self._at

    @property
    def block_s(self) -> str:
        """How long a command may block in Redis, as Redis takes it."""
        return self.block_within(math.inf)

    def block_within(self, most_s: float) -> str:
        """The same, but no longer than this."""
        left_s = min(self._at - time.monotonic(), most_s)
        return f"{left_s:.3f}" if left_s > _SHORTEST_BLOCK_S else _SHORTEST_BLOCK

    @property
    def patience_s(self) -> float:
        """How long until then."""
        return max(0.0, self.gives_up_at - time.monotonic())


def check_budget(budget_ms: Any) -> int:
    """Returns the budget; raises CallerError (invalid_question) if it cannot be one."""
    is_int = isinstance(budget_ms, int) and not isinstance(budget_ms, bool)
    if not is_int or not 1 <= budget_ms <= LONGEST_BUDGET_MS:
        msg = f"A budget is a whole number of ms from 1 to {LONGEST_BUDGET_MS}, not {budget_ms!r}"
        raise error_for(ErrorCode.INVALID_QUESTION, msg)
    return int(budget_ms)
