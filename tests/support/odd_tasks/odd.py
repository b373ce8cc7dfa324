"""A model that does what its question says: answers it, fails, fails once, answers oddly.

A question of the form {"do": ...} is an order, any other is answered with itself.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from redis import Redis
from rq.job import Job

from resident import task

#: Where `note` leaves what it was called with.
NOTES = "test:notes"
_ODD_ANSWERS = {"answer none": None, "answer a set": {1, 2}, "answer nan": math.nan}


def load() -> None:
    """There is nothing to load."""


def note(job: Job, connection: Redis, result: Any, *_: Any) -> None:
    """A callback of RQ that is not Resident's: writes down what it was called with."""
    connection.rpush(NOTES, f"{job.id}: {result}")


@task(load=load, max_batch=128, timeout_s=10, callbacks=[note])
def answer(_model: None, questions: list[Any]) -> list[Any]:
    """Each question itself, unless it is an order."""
    return [_obey(question) for question in questions]


def _obey(question: Any) -> Any:
    order = question.get("do") if isinstance(question, dict) else None
    if order == "fail":
        msg = f"the model does not like {question.get('what')!r}"
        raise RuntimeError(msg)
    if order == "fail once":
        _fail_unless_here(Path(question["mark"]))
    return _ODD_ANSWERS.get(str(order), question)


def _fail_unless_here(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        msg = "the first time always fails"
        raise RuntimeError(msg)
