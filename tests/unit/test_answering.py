"""What a worker's pulse says round a call of the model."""

from __future__ import annotations

import json
import re
import time
from typing import Any, cast

import pytest
from msgspec import structs

from resident.answering import Answerer
from resident.claimed import Claim, Claimed, Unusual
from resident.protocol import encode_job_data
from resident.pulse import Pulse
from resident.settings import Settings
from resident.settlement import Outcome, Settlement
from resident.stopping import StopNow
from resident.task import Task

LONG_AGO = 1.0


def test_a_worker_that_was_at_a_long_call_is_not_taken_for_one_that_hangs() -> None:
    pulse, during = Pulse(), []
    pulse.seen_at = LONG_AGO

    def answer(_model: None, questions: list[Any]) -> list[Any]:
        during.append((pulse.seen_at, pulse.overdue_at))
        return questions

    task = Task("long", answer, lambda: None, str, (), 8, 3600, True, ())
    job = Claimed("id", "e", b"", b"", b"", b"", b'["tasks.long.answer",null,["?"],{}]')
    streams: Any = None
    Answerer(task, None, Settings(), lambda: None, pulse, streams).settlements(
        Claim(started=b"1", jobs=(job,))
    )
    assert during == [(LONG_AGO, during[0][1])]
    assert during[0][1] > time.monotonic() + 3500
    assert (pulse.overdue_at, pulse.seen_at > LONG_AGO) == (0, True)


def model(_model: None, questions: list[Any]) -> list[Any]:
    if "fail" in questions:
        raise ArithmeticError
    return [{"null": None, "odd": object()}.get(question, question) for question in questions]


@pytest.mark.parametrize("question", ["?", "今天", "null", "fail", "odd", 5, ["?"]])
@pytest.mark.parametrize("result_ttl", [500, 0])
@pytest.mark.parametrize(
    "changes",
    [{}, {"by_hash": b"1"}, {"reply_to": b"resident:mailbox:" + b"a" * 32}, {"reply_to": b"x"}],
)
def test_a_plain_question_ends_as_it_does_the_careful_way(
    question: Any, result_ttl: int, changes: dict[str, bytes]
) -> None:
    task = Task("alone", model, lambda: None, str, (), 8, 60, True, ())
    settings, streams = Settings(result_ttl=result_ttl), cast("Any", None)
    answerer = Answerer(task, None, settings, lambda: None, Pulse(), streams)
    data = encode_job_data("alone", question, 1_000)
    at = b"2026-11-23T08:09:10.000001Z"
    job = structs.replace(Claimed("id", "e", at, b"604800", b"", b"", data), **changes)
    claim = Claim(started=b"1795421350.012346", jobs=(job,))
    alone, [one] = answerer.alone(claim), answerer.settlements(claim)
    [careful] = answerer.settlements(unusual(claim))
    assert timeless(one) == timeless(careful)
    assert alone is None if not isinstance(question, str) else timeless(alone) == timeless(careful)
    if one.outcome is Outcome.FINISHED:
        assert b'"ms":{"queued":12.345,' in one.reply


def timeless(settlement: Settlement) -> Settlement:
    """Without the model's time, and without a traceback, which tells of the way to the model."""
    reply = re.sub(rb'"model":[^}]*', b"", settlement.reply)
    is_answer = settlement.outcome is Outcome.FINISHED
    return structs.replace(settlement, reply=reply, result=settlement.result if is_answer else b"")


def unusual(claim: Claim) -> Claim:
    """The same, told as any job is."""
    jobs = tuple(Unusual(*structs.astuple(job)) for job in claim.jobs)
    return Claim(claim.started, jobs)


@pytest.mark.parametrize("question", ["?", "fail"])
@pytest.mark.parametrize(
    "changes",
    [
        {"reply_to": b"\xff"},
        {"reply_to": b"resident:mailbox:\xff"},
        {"failure_ttl": b"soon"},
        {"data": b"\xff"},
        {"data": b'["tasks.other.answer",null,["?"],{}]'},
    ],
)
def test_what_is_odd_about_a_question_is_seen_before_the_model_runs(
    changes: dict[str, bytes], question: str
) -> None:
    calls: list[Any] = []

    def note(_model: None, questions: list[Any]) -> list[Any]:
        calls.extend(questions)
        return model(_model, questions)

    task = Task("alone", note, lambda: None, str, (), 8, 60, True, ())
    answerer = Answerer(task, None, Settings(), lambda: None, Pulse(), cast("Any", None))
    data = encode_job_data("alone", question, 1_000)
    job = structs.replace(Claimed("id", "e", b"", b"604800", b"", b"", data), **changes)
    assert answerer.alone(Claim(started=b"1", jobs=(job,))) is None
    assert not calls


@pytest.mark.parametrize("streams", [False, True])
def test_a_batch_of_nothing_but_refusals_does_not_call_the_model(streams: bool) -> None:
    task = Task("alone", model, lambda: None, str, (), 8, 60, True, (), streams=streams)
    answerer = Answerer(task, None, Settings(), lambda: None, Pulse(), cast("Any", None))
    job = Claimed("id", "e", b"", b"604800", b"", b"", b'["tasks.other.answer",null,["?"],{}]')
    [refused] = answerer.settlements(Claim(started=b"1", jobs=(job,)))
    assert refused.outcome is Outcome.FAILED
    assert answerer.calls == []


def test_a_wish_to_stop_ends_no_question() -> None:
    def stop(_model: None, _questions: list[Any]) -> list[Any]:
        raise StopNow

    task = Task("stop", stop, lambda: None, str, (), 8, 60, True, ())
    answerer = Answerer(task, None, Settings(), lambda: None, Pulse(), cast("Any", None))
    job = Claimed("id", "e", b"", b"", b"", b"", b'["tasks.stop.answer",null,["?"],{}]')
    with pytest.raises(StopNow):
        answerer.alone(Claim(started=b"1", jobs=(job,)))


def shorten(_model: None, questions: list[str]) -> list[str]:
    questions[:] = [question for question in questions if question.strip()]
    return [f"answer to {question}" for question in questions]


def use_up(_model: None, questions: list[str]) -> list[str]:
    return [f"answer to {questions.pop(0)}" for _ in range(len(questions))]


def jobs_of(*questions: Any, kind: type[Claimed] = Claimed, task: str = "alone") -> Claim:
    data = (encode_job_data(task, question, 1_000) for question in questions)
    jobs = (kind(f"{at}", "e", b"", b"", b"", b"", one) for at, one in enumerate(data))
    return Claim(started=b"1", jobs=tuple(jobs))


def answerer_of(function: Any, **options: Any) -> Answerer:
    usual = {"max_batch": 8, "timeout_s": 60.0, "question_type": str}
    task = Task(
        name="alone",
        function=function,
        load=lambda: None,
        warm_up=(),
        preload=True,
        callbacks=(),
        **{**usual, **options},
    )
    return Answerer(task, None, Settings(), lambda: None, Pulse(), cast("Any", None))


def replies_of(settlements: list[Settlement]) -> list[Any]:
    """The answer of each, or the code of its error; in the order of their ids."""
    found = [json.loads(one.reply) for one in sorted(settlements, key=lambda one: one.id)]
    return [one["answer"] if one["ok"] else one["error"]["code"] for one in found]


@pytest.mark.parametrize("kind", [Claimed, Unusual])
def test_a_model_that_shortens_its_list_gives_nobody_the_answer_to_another(
    kind: type[Claimed],
) -> None:
    answerer = answerer_of(shorten)
    settlements = answerer.settlements(jobs_of("a", " ", "c", kind=kind))
    assert replies_of(settlements) == ["answer to a", "model_error", "answer to c"]
    assert answerer.calls == [(1, answerer.calls[0][1]), (1, answerer.calls[1][1])]


def test_a_model_that_uses_up_its_list_is_answered_for() -> None:
    answerer = answerer_of(use_up)
    settlements = answerer.settlements(jobs_of("a", "b", "c"))
    assert replies_of(settlements) == [f"answer to {question}" for question in "abc"]
    assert [size for size, _ms in answerer.calls] == [3]


def test_a_question_of_another_type_beside_a_shortened_list_ends_alone() -> None:
    settlements = answerer_of(shorten).settlements(jobs_of("a", " ", 5, "d"))
    assert replies_of(settlements) == [
        "answer to a",
        "model_error",
        "invalid_question",
        "answer to d",
    ]


def take_apart(_model: None, questions: list[dict[str, Any]]) -> list[str]:
    texts = [question.pop("text") for question in questions]
    if "bad" in texts:
        raise ArithmeticError
    return [text.upper() for text in texts]


@pytest.mark.parametrize("kind", [Claimed, Unusual])
@pytest.mark.parametrize("options", [{}, {"cost": len, "max_cost": 2}])
def test_after_a_fault_each_is_asked_as_it_was_although_the_model_changed_it(
    kind: type[Claimed], options: dict[str, Any]
) -> None:
    answerer = answerer_of(take_apart, question_type=dict[str, str], **options)
    asked = [{"text": text} for text in ("a", "bad", "c", "d")]
    settlements = answerer.settlements(jobs_of(*asked, kind=kind))
    assert replies_of(settlements) == ["A", "model_error", "C", "D"]
