"""From a claim to its settlements: read the questions, run the model, write the replies."""

from __future__ import annotations

import math
import os
import time
import zlib
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any

import structlog

from resident.batching import Given, Raised, answer_batch, parts_within
from resident.claimed import Claim
from resident.claims import Question, Refused, batch_timeout_s, read_claimed
from resident.death_penalty import TimeLimit
from resident.protocol import Milliseconds, encode_answered, encode_failed
from resident.pulse import Pulse
from resident.replies import describe
from resident.settings import Settings
from resident.settlement import Outcome, Settlement
from resident.streaming import Streams
from resident.task import Task

#: So long after its time-out a call that did not listen to it is ended with its worker.
OVERDUE_S = 0.25

_FINISHED = Outcome.FINISHED  # an enum looks its members up in Python

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
        self._pid = os.getpid()
        self._model = model
        self._max_bytes = settings.max_question_bytes
        self._result_ttl_s = settings.result_ttl
        #: Size and ms of each call of the model, for whoever learns from them, and takes them away.
        self.calls: list[tuple[int, float]] = []

    def settlements(self, claim: Claim) -> list[Settlement]:
        """How each job of the claim ends; runs the model."""
        questions: list[Question] = []
        settled: list[Settlement] = []
        for job in claim.jobs:
            read = read_claimed(job, self._task, self._max_bytes, self._result_ttl_s)
            if type(read) is Question:  # isinstance() asks msgspec's metaclass
                questions.append(read)
            else:
                settled.append(_refusal(read))
        claimed_s = float(claim.started)
        for part in self._parts(questions):
            results = answer_batch(self._call_within(part), [one.value for one in part])
            for question, result in zip(part, results, strict=True):
                settled.append(_settlement(question, result, claimed_s))
        return settled

    def _parts(self, questions: list[Question]) -> list[list[Question]]:
        """What goes into one call each: all, unless the task says what a question costs."""
        cost = self._task.cost
        if cost is None:
            return [questions] if questions else []
        costs = [_cost_of(one, cost) for one in questions]
        parts = parts_within(costs, self._task.max_cost)
        return [[questions[number] for number in part] for part in parts]

    def _call_within(self, questions: list[Question]) -> Callable[[list[Any]], list[Any]]:
        timeout_s = batch_timeout_s(self._task, questions)
        task, pulse = self._task, self._pulse

        def call(values: list[Any]) -> list[Any]:
            self._before_call()
            began = time.monotonic()
            pulse.overdue_at = began + timeout_s + OVERDUE_S
            try:
                if task.streams and questions[0].wants_deltas:
                    answers = self._limit.call(timeout_s, self._stream, questions[0])
                else:
                    answers = self._limit.call(timeout_s, task.answer, self._model, values)
            finally:
                if os.getpid() != self._pid:  # one that the task forked: not the worker
                    _log.warning("the task forked a process that ran on", task=task.name)
                    os._exit(0)
                pulse.seen_at = ended = time.monotonic()  # else what took long is taken for hanging
                pulse.overdue_at = 0
            self.calls.append((len(values), (ended - began) * 1000))
            return answers

        return call

    def _stream(self, question: Question) -> list[Any]:
        return [self._streams.answer(question, self._task.deltas(self._model, question.value))]


def _cost_of(question: Question, cost: Callable[[Any], float]) -> float:
    """What the task says; a question that it cannot judge goes alone, and fails alone."""
    try:
        return float(cost(question.value))
    except Exception as error:  # noqa: BLE001  (the task's own code)
        _log.warning("cost() failed", kind=type(error).__name__)
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
    )


def _settlement(question: Question, result: Given | Raised, claimed_s: float) -> Settlement:
    job, fields = question.job, question.fields
    if type(result) is Raised:  # isinstance() asks msgspec's metaclass
        code, message = describe(type(result.error), result.error, job.id)
        return Settlement(
            id=job.id,
            execution=job.execution,
            outcome=Outcome.FAILED,
            reply_key=fields.failure_key,
            reply=encode_failed(job.id, code, message),
            result=_rq_traceback(result.traceback),
            ttl_s=fields.terms.failure_ttl_s,
            by_hash=bool(job.by_hash),
        )
    ttl_s = fields.terms.result_ttl_s
    ms = Milliseconds(_queued_ms(fields.enqueued_s, claimed_s), result.model_ms)
    return Settlement(  # by place, which is quicker than by name
        job.id,
        job.execution,
        _FINISHED,
        fields.success_key,
        encode_answered(job.id, result.answer, ms, result.batch),
        # RQ leaves the field out for None, and keeps no result for a job that it deletes.
        b"" if not ttl_s or result.answer == b"null" else b2a_base64(result.answer, newline=False),
        ttl_s,
        bool(job.by_hash),
    )


def _rq_traceback(text: str) -> bytes:
    """A traceback as rq.results.Result keeps it."""
    return b2a_base64(zlib.compress(text.encode(errors="replace")), newline=False)


def _queued_ms(enqueued_s: float, claimed_s: float) -> float:
    # The minimal protocol writes enqueued_at by the caller's clock, which may be ahead.
    if 0 < enqueued_s < claimed_s:
        return int((claimed_s - enqueued_s) * 1e6) / 1000  # round() takes longer than the reply
    return 0.0
