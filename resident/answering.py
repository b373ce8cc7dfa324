"""From a claim to its settlements: read the questions, run the model, write the replies."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rq.timeouts import JobTimeoutException

from resident.batching import Given, Raised, answer_batch
from resident.claims import Question, Refused, batch_timeout_s, read_claimed
from resident.death_penalty import FineDeathPenalty
from resident.protocol import Milliseconds, encode_answered, encode_failed
from resident.replies import describe
from resident.scripts import Claim, Outcome, Settlement
from resident.task import Task


class Answerer:
    """Answers claims of one task with its model."""

    def __init__(
        self,
        task: Task,
        model: Any,
        max_bytes: int,
        result_ttl_s: int,
        before_call: Callable[[], object],
    ) -> None:
        self._task = task
        self._before_call = before_call
        self._model = model
        self._max_bytes = max_bytes
        self._result_ttl_s = result_ttl_s

    def settlements(self, claim: Claim) -> list[Settlement]:
        """How each job of the claim ends; runs the model."""
        read = [
            read_claimed(job, self._task, self._max_bytes, self._result_ttl_s) for job in claim.jobs
        ]
        questions = [one for one in read if isinstance(one, Question)]
        refused = [one for one in read if isinstance(one, Refused)]
        settled = [_refusal(one) for one in refused]
        if questions:
            claimed_at = datetime.fromtimestamp(float(claim.started), UTC).replace(tzinfo=None)
            results = answer_batch(self._call_within(questions), [one.value for one in questions])
            settled += [
                _settlement(question, result, claimed_at)
                for question, result in zip(questions, results, strict=True)
            ]
        return settled

    def _call_within(self, questions: list[Question]) -> Callable[[list[Any]], list[Any]]:
        timeout_s = batch_timeout_s(self._task, questions)

        def call(values: list[Any]) -> list[Any]:
            self._before_call()
            with FineDeathPenalty(timeout_s, JobTimeoutException):
                return self._task.answer(self._model, values)

        return call


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
    )


def _settlement(question: Question, result: Given | Raised, claimed_at: datetime) -> Settlement:
    job, fields = question.job, question.fields
    if isinstance(result, Raised):
        code, message = describe(type(result.error), result.error, job.id)
        return Settlement(
            id=job.id,
            execution=job.execution,
            outcome=Outcome.FAILED,
            reply_key=fields.failure_key,
            reply=encode_failed(job.id, code, message),
            result=_rq_traceback(result.traceback),
            ttl_s=fields.terms.failure_ttl_s,
        )
    ms = Milliseconds(_queued_ms(fields.enqueued_at, claimed_at), result.model_ms)
    return Settlement(
        id=job.id,
        execution=job.execution,
        outcome=Outcome.FINISHED,
        reply_key=fields.success_key,
        reply=encode_answered(job.id, result.answer, ms, result.batch),
        # RQ leaves the field out for None.
        result=b"" if result.answer == b"null" else base64.b64encode(result.answer),
        ttl_s=fields.terms.result_ttl_s,
    )


def _rq_traceback(text: str) -> bytes:
    """A traceback as rq.results.Result keeps it."""
    return base64.b64encode(zlib.compress(text.encode(errors="replace")))


def _queued_ms(enqueued_at: datetime | None, claimed_at: datetime) -> float:
    if enqueued_at is None:
        return 0.0
    waited_ms = (claimed_at - enqueued_at).total_seconds() * 1000
    # The minimal protocol writes enqueued_at by the caller's clock, which may be ahead.
    return round(waited_ms, 3) if math.isfinite(waited_ms) and waited_ms > 0 else 0.0
