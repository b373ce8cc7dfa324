"""What is asked, by whom and when: the seed decides all of it. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TASK = "chaos"
#: The kinds of questions, how often each is asked, and the error that is an honest end of it.
#: A kind without an error is answered.
KINDS: dict[str, tuple[float, str]] = {
    "ok": (80, ""),
    "slow": (8, ""),
    "segfault": (1, "crashed"),
    "kill": (1, "crashed"),
    "exit": (1, "crashed"),
    "hang": (1, "timed_out"),
    "sleep": (0.5, "timed_out"),
    "oom": (2, "model_error"),
    "raise": (2, "model_error"),
    "wrong type": (2, "invalid_question"),
}
_SHORT_BUDGET_MS = (50, 500)
_PAUSE_S = (0.01, 0.15)


@dataclass(frozen=True)
class Question:
    """One question of one caller.

    Attributes:
        nonce: What an answer must be; no two questions share it.
        id: The caller's own key; empty if the client shall make one.
        at_s: When it is asked, from the storm's start, or as soon after as the caller can.
        is_repeated: Whether the caller asks again with the same key once it has its reply.
    """

    kind: str
    nonce: str
    id: str
    at_s: float
    budget_ms: int
    is_patient: bool
    is_repeated: bool

    @property
    def value(self) -> Any:
        """What goes to the task."""
        return 7 if self.kind == "wrong type" else f"{self.kind}:{self.nonce}"


def questions_of(seed: str, seconds: float, patience_ms: int) -> Iterator[Question]:
    """What one caller asks within so many seconds.

    Args:
        seed: Whose choices these are; no two callers have the same.
        seconds: How long it goes on.
        patience_ms: The budget of a patient caller, who must not be left without a reply.
    """
    chance = random.Random(seed)
    weights = [weight for weight, _ in KINDS.values()]
    at_s = 0.0
    while (at_s := at_s + chance.uniform(*_PAUSE_S)) < seconds:
        has_own_id = chance.random() < 0.75
        is_patient = chance.random() < 0.9
        nonce = f"{chance.getrandbits(128):032x}"
        yield Question(
            kind=chance.choices(list(KINDS), weights)[0],
            nonce=nonce,
            id=f"own-{nonce}" if has_own_id else "",
            at_s=at_s,
            budget_ms=patience_ms if is_patient else chance.randint(*_SHORT_BUDGET_MS),
            is_patient=is_patient,
            is_repeated=has_own_id and chance.random() < 0.2,
        )
