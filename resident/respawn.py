"""When a worker that died is replaced: at once, later, or never again. Pure."""

from __future__ import annotations

#: So many in a row may die without having ended a job before anybody waits.
FREE_DEATHS = 3
#: The first pause after them, each next one is twice as long, and the longest, in seconds.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
#: So many in a row, and another one will not do better.
MOST_DEATHS = 12
#: Who has served for so long could live, although nobody asked it anything, in seconds.
LONG_LIFE_S = 300.0


class Respawn:
    """Decides for the workers of one task.

    A worker that ended jobs before it died, or served for long, shows that workers can live: its
    replacement begins at once. Any other may show that none can. A question that kills is given up
    after its third death, long before its task.
    """

    def __init__(self) -> None:
        self._in_a_row = 0

    def pause_s(self, jobs: float, served_s: float) -> float | None:
        """How long to wait after the death of a worker.

        Args:
            jobs: How many jobs it had ended.
            served_s: How long it had served; 0 if it never did.

        Returns:
            None for never: give up.
        """
        self._in_a_row = 0 if jobs or served_s >= LONG_LIFE_S else self._in_a_row + 1
        if self._in_a_row >= MOST_DEATHS:
            return None
        beyond = self._in_a_row - FREE_DEATHS
        return min(FIRST_PAUSE_S * 2 ** (beyond - 1), LONGEST_PAUSE_S) if beyond > 0 else 0.0
