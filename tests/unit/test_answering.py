"""What a worker's pulse says round a call of the model."""

from __future__ import annotations

import time
from typing import Any

from resident.answering import Answerer
from resident.claimed import Claim, Claimed
from resident.pulse import Pulse
from resident.settings import Settings
from resident.task import Task

LONG_AGO = 1.0


def test_a_worker_that_was_at_a_long_call_is_not_taken_for_one_that_hangs() -> None:
    pulse, during = Pulse(), []
    pulse.seen_at = LONG_AGO

    def answer(_model: None, questions: list[Any]) -> list[Any]:
        during.append((pulse.seen_at, pulse.overdue_at))
        return questions

    task = Task("long", answer, lambda: None, str, (), 8, 3600, True, ())
    job = Claimed("id", "e", b'["tasks.long.answer",null,["?"],{}]', -1, b"", b"", b"")
    streams: Any = None
    Answerer(task, None, Settings(), lambda: None, pulse, streams).settlements(
        Claim(started=b"1", jobs=(job,))
    )
    assert during == [(LONG_AGO, during[0][1])]
    assert during[0][1] > time.monotonic() + 3500
    assert (pulse.overdue_at, pulse.seen_at > LONG_AGO) == (0, True)
