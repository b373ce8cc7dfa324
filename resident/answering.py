"""From a claim to its settlements: read the questions, run the model, write the replies."""

from __future__ import annotations

import math
import time
import zlib
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, TypeVar

import structlog
from rq.timeouts import JobTimeoutException

from resident.batching import Call, Given, Raised, answer_batch, answer_one, parts_within
from resident.claimed import Claim, Claimed
from resident.claims import (
    Fields,
    Question,
    Refused,
    batch_timeout_s,
    read_claimed,
    read_plain,
)
from resident.death_penalty import TimeLimit
from resident.faults import kind_of, model_raised
from resident.lifeline import Owner
from resident.protocol import encode_answered, encode_failed
from resident.pulse import Pulse
from resident.settings import Settings
from resident.settlement import Outcome, Settlement
from resident.stopping import StopNow
from resident.streaming import Streams
from resident.task import Task

#: So long after its time-out a call that did not listen to it is ended with its worker.
OVERDUE_S = 0.25

#: Types of questions whose check runs no code of the task.
_CHECKED_BY_US = (Any, str, int, float, bool)
#: Those that a model cannot change.
_UNCHANGEABLE = (str, int, float, bool, NoneType)
_FINISHED = Outcome.FINISHED  # an enum looks its members up in Python

T = TypeVar("T")

_log = structlog.get_logger()


class Answerer:
    """Answers claims of one task with its model."""

    def __init__(
        self,
        task: Task,
        model: Any,
        settings: Settings,
        before_call: Callable[[], object],
        pulse: Pulse,
        streams: Streams,
    ) -> None:
        """Takes what to do before each call of the model."""
        self._task = task
        self._before_call = before_call
        self._limit = TimeLimit()
        self._pulse = pulse
        self._streams = streams
        self._owner = Owner()
        self._model = model
        self._reads_by_us = task.question_type in _CHECKED_BY_US
        self._max_bytes = settings.max_question_bytes
        self._result_ttl_s = settings.result_ttl
        #: Size and ms of each call of the model, for whoever learns from them, and takes them away.
        self.calls: list[tuple[int, float]] = []

    def settlements(self, claim: Claim) -> list[Settlement]:
        """How each job of the claim ends; runs the model."""
        read = self._read_plain(claim)
        if read is None:
            return self._careful(claim)
        values, fields = read
        results = self._in_parts(values, claim.jobs, lambda _numbers: self._call)
        claimed_s = float(claim.started)
        pairs = zip(claim.jobs, fields, results, strict=True)
        return [_settlement(job, its, result, claimed_s) for job, its, result in pairs]

    def alone(self, claim: Claim) -> Settlement | None:
        """How a question that was handed over ends, straight on: docs/decisions/0013.

        None if it is for `settlements`: anything but a question as our clients ask it.
        """
        read = self._read_plain(claim)
        if read is None:
            return None
        [job], ([value], [fields]) = claim.jobs, read
        return _settlement(job, fields, answer_one(self._call, value), float(claim.started))

    def _careful(self, claim: Claim) -> list[Settlement]:
        questions: list[Question] = []
        settled: list[Settlement] = []
        for job in claim.jobs:
            read = self._read_claimed(job)
            if isinstance(read, Question):
                questions.append(read)
            else:
                settled.append(_refusal(read))
        claimed_s = float(claim.started)
        results = self._in_parts(
            [one.value for one in questions],
            [one.job for one in questions],
            lambda numbers: self._call_within([questions[number] for number in numbers]),
        )
        for one, result in zip(questions, results, strict=True):
            settled.append(_settlement(one.job, one.fields, result, claimed_s))
        return settled

    def _read_plain(self, claim: Claim) -> tuple[list[Any], list[Fields]] | None:
        task, most, ttl_s = self._task, self._max_bytes, self._result_ttl_s
        if self._reads_by_us:
            return read_plain(claim.jobs, task, most, ttl_s)
        try:
            return self._within(read_plain, claim.jobs, task, most, ttl_s)
        except JobTimeoutException:  # of all together; each alone has as much time
            return None

    def _read_claimed(self, job: Claimed) -> Question | Refused:
        task, most, ttl_s = self._task, self._max_bytes, self._result_ttl_s
        if self._reads_by_us:
            return read_claimed(job, task, most, ttl_s)
        return self._within(read_claimed, job, task, most, ttl_s)

    def _in_parts(
        self,
        values: list[Any],
        jobs: Sequence[Claimed],
        call_with: Callable[[Sequence[int]], Call],
    ) -> list[Given | Raised]:
        """What comes of questions: of all in one call, unless the task says what they cost.

        Args:
            values: The questions.
            jobs: Theirs.
            call_with: How the model is called with those of these numbers.
        """
        cost = self._task.cost
        if not values:
            return []
        if cost is None or len(values) == 1:
            return self._answer_batch(range(len(values)), values, jobs, call_with)
        results: dict[int, Given | Raised] = {}
        for part in parts_within(self._costs_of(values, cost), self._task.max_cost):
            came = self._answer_batch(part, values, jobs, call_with)
            results.update(zip(part, came, strict=True))
        return [results[number] for number in range(len(values))]

    def _answer_batch(
        self,
        part: Sequence[int],
        values: list[Any],
        jobs: Sequence[Claimed],
        call_with: Callable[[Sequence[int]], Call],
    ) -> list[Given | Raised]:
        def anew(at: int) -> Any:
            number = part[at]
            return self._anew(jobs[number], values[number])

        return answer_batch(call_with(part), [values[number] for number in part], anew)

    def _anew(self, job: Claimed, value: Any) -> Any:
        if type(value) in _UNCHANGEABLE:
            return value
        read = self._read_claimed(job)
        if isinstance(read, Refused):
            raise read.error
        return read.value

    def _costs_of(self, values: list[Any], cost: Callable[[Any], float]) -> list[float]:
        """What the task says; what it has not judged within its time goes alone."""
        costs = [math.inf] * len(values)

        def judge() -> None:
            for number, value in enumerate(values):
                costs[number] = _cost_of(value, cost)

        try:
            self._within(judge)
        except JobTimeoutException:
            _log.warning("cost() took too long", task=self._task.name)
        return costs

    def _within(self, function: Callable[..., T], *args: Any) -> T:
        """Calls what runs code of the task beside its model, in the time of a call of that."""
        self._before_call()
        pulse, timeout_s = self._pulse, self._task.timeout_s
        pulse.overdue_at = time.monotonic() + timeout_s + OVERDUE_S
        try:
            return self._limit.call(timeout_s, function, *args)
        finally:
            self._owner.end_others()
            pulse.seen_at = time.monotonic()
            pulse.overdue_at = 0

    def _call_within(self, questions: list[Question]) -> Call:
        timeout_s = batch_timeout_s(self._task, questions)
        if self._task.streams and questions[0].wants_deltas:
            return lambda _values: self._call(questions, timeout_s, self._stream)
        return lambda values: self._call(values, timeout_s)

    def _call(
        self, questions: list[Any], timeout_s: float = 0.0, answer: Callable[..., Any] | None = None
    ) -> list[Any]:
        """Answers from the model, in the task's time if none is given."""
        self._before_call()
        task, pulse, asked = self._task, self._pulse, len(questions)
        timeout_s = timeout_s or task.timeout_s
        answers: list[Any]
        began = time.monotonic()
        pulse.overdue_at = began + timeout_s + OVERDUE_S
        try:
            answers = self._limit.call(timeout_s, answer or task.answer, self._model, questions)
        finally:
            self._owner.end_others()
            pulse.seen_at = ended = time.monotonic()  # else what took long is taken for hanging
            pulse.overdue_at = 0
        self.calls.append((asked, (ended - began) * 1000))
        return answers

    def _stream(self, model: Any, questions: list[Question]) -> list[Any]:
        [question] = questions
        return [self._streams.answer(question, self._task.deltas(model, question.value))]


def _cost_of(value: Any, cost: Callable[[Any], float]) -> float:
    """What the task says; a question that it cannot judge goes alone, and fails alone."""
    try:
        return float(cost(value))
    except (StopNow, JobTimeoutException):
        raise
    except BaseException as error:  # noqa: BLE001  (the task's own code)
        _log.warning("cost() failed", kind=kind_of(type(error)))
        return math.inf


def _refusal(refused: Refused) -> Settlement:
    error, fields = refused.error, refused.fields
    return Settlement(
        id=refused.job.id,
        execution=refused.job.execution,
        outcome=Outcome.FAILED if fields else Outcome.DISCARDED,
        reply_key=refused.failure_key,
        reply=encode_failed(refused.job.id, error.code, error.message),
        result=_rq_traceback(f"{error.code.value}: {error.message}\n"),
        ttl_s=fields.terms.failure_ttl_s if fields else 0,
        by_hash=bool(refused.job.by_hash),
        why=error.code.value,
    )


def _settlement(
    job: Claimed, fields: Fields, result: Given | Raised, claimed_s: float
) -> Settlement:
    if type(result) is Raised:  # isinstance() asks msgspec's metaclass
        return _failed(job, fields.failure_key, result, fields.terms.failure_ttl_s)
    answer, ttl_s = result.answer, fields.terms.result_ttl_s
    queued_ms = _queued_ms(fields.enqueued_s, claimed_s)
    return Settlement(  # by place, which is quicker than by name
        job.id,
        job.execution,
        _FINISHED,
        fields.success_key,
        encode_answered(job.id, answer, queued_ms, result.model_ms, result.batch),
        # RQ leaves the field out for None, and keeps no result for a job that it deletes.
        b"" if not ttl_s or answer == b"null" else b2a_base64(answer, newline=False),
        ttl_s,
        bool(job.by_hash),
    )


def _failed(job: Claimed, key: str, raised: Raised, ttl_s: int) -> Settlement:
    sentence = raised.sentence or model_raised(raised.kind, job.id)
    return Settlement(
        id=job.id,
        execution=job.execution,
        outcome=Outcome.FAILED,
        reply_key=key,
        reply=encode_failed(job.id, raised.code, sentence),
        result=_rq_traceback(raised.traceback),
        ttl_s=ttl_s,
        by_hash=bool(job.by_hash),
        why=raised.kind,
    )


def _rq_traceback(text: str) -> bytes:
    """A traceback as rq.results.Result keeps it."""
    return b2a_base64(zlib.compress(text.encode(errors="replace")), newline=False)


def _queued_ms(enqueued_s: float, claimed_s: float) -> float:
    # The minimal protocol writes enqueued_at by the caller's clock, which may be ahead.
    if 0 < enqueued_s < claimed_s:
        return int((claimed_s - enqueued_s) * 1e6) / 1000  # round() takes longer than the reply
    return 0.0
