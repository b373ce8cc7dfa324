"""Answers a batch of questions, and keeps the faults of one from the others.

Pure but for the call of the model, which is handed in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, final

import msgspec

from resident.errors import ErrorCode
from resident.faults import code_and_sentence, kind_of, text_of
from resident.protocol import encode_answer
from resident.stopping import StopNow

#: Calls the model with questions; raises what the model raises, or a time-out.
Call = Callable[[list[Any]], list[Any]]

#: Of JSON, in one answer. Redis takes 512 MB in one text at most, of which RQ's books need 4/3.
MOST_ANSWER_BYTES = 64 * 2**20


class Given(msgspec.Struct, frozen=True, gc=False):
    """An answer as JSON, the ms that its call of the model took, and how many shared the call."""

    answer: bytes
    model_ms: float
    batch: int


@final
class Raised(msgspec.Struct, frozen=True):
    """What the model raised for one question alone.

    Not the exception itself, by which all that the failed call held would stay in memory.

    Attributes:
        kind: The name of the exception's class.
        sentence: For the caller; empty if its kind is all that may be told.
    """

    kind: str
    code: ErrorCode
    sentence: str
    traceback: str


def parts_within(costs: list[float], max_cost: float) -> list[list[int]]:
    """Splits a batch for a model that pads it to its dearest question.

    Args:
        costs: What each question costs.
        max_cost: The most that size times dearest may come to; a question over it goes alone, and
            so does one whose cost is no number.

    Returns:
        The numbers of the questions of each part, the cheap ones together.
    """
    parts: list[list[int]] = []
    numbers = range(len(costs))
    known = [number for number in numbers if math.isfinite(costs[number])]
    for number in sorted(known, key=costs.__getitem__):
        if parts and (len(parts[-1]) + 1) * costs[number] <= max_cost:
            parts[-1].append(number)
        else:
            parts.append([number])
    return parts + [[number] for number in numbers if not math.isfinite(costs[number])]


def answer_batch(
    call: Call, questions: list[Any], anew: Callable[[int], Any]
) -> list[Given | Raised]:
    """Answers all in one call; if that fails, each alone, so that only the culprits fail.

    Args:
        call: Calls the model.
        questions: At least one.
        anew: The question of this number as it was asked; the model may have changed the one that
            it had. Raises what it is told if there is none.
    """
    if len(questions) == 1:
        return [answer_one(call, questions[0])]
    started = time.monotonic()
    try:
        answers = call(list(questions))
    except StopNow:
        raise
    except BaseException:  # noqa: BLE001  (sys.exit and a library's panic are its answer too)
        answers = None
    if answers is None:  # here, where nothing keeps what the failed call held
        return [_answer_anew(call, anew, number) for number in range(len(questions))]
    model_ms = round((time.monotonic() - started) * 1000, 3)
    return [_encoded(answer, model_ms, len(questions)) for answer in answers]


def _answer_anew(call: Call, anew: Callable[[int], Any], number: int) -> Given | Raised:
    try:
        question = anew(number)
    except StopNow:
        raise
    except BaseException as error:  # noqa: BLE001  (a type's own check)
        return _raised(error)
    return answer_one(call, question)


def answer_one(call: Call, question: Any) -> Given | Raised:
    """Answers a question that is alone."""
    started = time.monotonic()
    try:
        [answer] = call([question])
    except StopNow:
        raise
    except BaseException as error:  # noqa: BLE001  (sys.exit and a library's panic are its answer too)
        return _raised(error)
    return _encoded(answer, round((time.monotonic() - started) * 1000, 3), 1)


def _encoded(answer: Any, model_ms: float, batch: int) -> Given | Raised:
    try:
        encoded = encode_answer(answer)
    except StopNow:
        raise
    except BaseException as error:  # noqa: BLE001  (no memory; a class of the task's own)
        reason = error if isinstance(error, TypeError | ValueError) else kind_of(type(error))
        return _unfit(f"the answer has no JSON form: {reason}")
    if len(encoded) > MOST_ANSWER_BYTES:
        what = f"the answer has {len(encoded)} bytes of JSON"
        return _unfit(f"{what}; at most {MOST_ANSWER_BYTES} are taken")
    return Given(encoded, model_ms, batch)


def _unfit(why: str) -> Raised:
    """Of the model's answer, not raised by it: the caller is told so."""
    raised = _raised(TypeError(why))
    sentence = f"The model answered, but {why:.300}".encode(errors="replace").decode()
    return msgspec.structs.replace(raised, sentence=sentence)


def _raised(error: BaseException) -> Raised:
    kind = type(error)
    return Raised(kind_of(kind), *code_and_sentence(kind, error), text_of(error))
