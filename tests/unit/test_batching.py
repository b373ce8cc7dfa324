"""Batches of questions, and the faults of one among them."""

from __future__ import annotations

import gc
import math
import weakref
from typing import Any

import pytest

from resident import batching
from resident.batching import Call, Given, Raised, parts_within
from resident.errors import ErrorCode, OperatorError
from resident.stopping import StopNow


def answer_batch(call: Call, questions: list[Any]) -> list[Given | Raised]:
    return batching.answer_batch(call, questions, questions.__getitem__)


class Model:
    """Doubles numbers, raises for what it cannot double, and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []

    def __call__(self, questions: list[Any]) -> list[Any]:
        self.calls.append(questions)
        return [question * 2 for question in map(self._checked, questions)]

    def _checked(self, question: Any) -> Any:
        if question == "bad":
            msg = "cannot double"
            raise ArithmeticError(msg)
        return question


def test_a_batch_is_one_call_of_the_model() -> None:
    model = Model()
    results = answer_batch(model, [1, 2, 3])
    assert [result.answer for result in results if isinstance(result, Given)] == [b"2", b"4", b"6"]
    assert {result.batch for result in results if isinstance(result, Given)} == {3}
    assert model.calls == [[1, 2, 3]]


def test_after_a_fault_each_question_is_asked_alone_once() -> None:
    model = Model()
    good, bad, fine = answer_batch(model, [1, "bad", 3])
    assert model.calls == [[1, "bad", 3], [1], ["bad"], [3]]
    assert isinstance(good, Given)
    assert isinstance(fine, Given)
    assert (good.answer, good.batch, fine.answer) == (b"2", 1, b"6")
    assert isinstance(bad, Raised)
    assert (bad.kind, bad.code) == ("ArithmeticError", ErrorCode.MODEL_ERROR)
    assert bad.traceback.endswith("ArithmeticError: cannot double\n")


def test_a_lone_question_that_fails_is_not_asked_again() -> None:
    model = Model()
    (raised,) = answer_batch(model, ["bad"])
    assert isinstance(raised, Raised)
    assert model.calls == [["bad"]]


def test_an_answer_without_a_json_form_spoils_only_itself() -> None:
    answers = [1, float("nan"), object(), "\ud800", 5]
    results = answer_batch(lambda _questions: answers, [0] * 5)
    assert [isinstance(result, Given) for result in results] == [True, False, False, False, True]
    raised = results[2]
    assert isinstance(raised, Raised)
    assert "the answer has no JSON form" in raised.traceback


def test_a_model_cannot_change_which_questions_are_asked_alone() -> None:
    calls = []

    def greedy(questions: list[Any]) -> list[Any]:
        calls.append(list(questions))
        if len(questions) > 1:
            questions.clear()
            raise ValueError
        return questions

    answer_batch(greedy, [1, 2])
    assert calls == [[1, 2], [1], [2]]


def test_the_time_in_the_model_is_counted_in_whole_microseconds() -> None:
    (given,) = answer_batch(lambda questions: questions, [1])
    assert isinstance(given, Given)
    assert given.model_ms >= 0
    assert given.model_ms == round(given.model_ms, 3)


@pytest.mark.parametrize("error", [SystemExit(3), BaseException("panic"), KeyboardInterrupt()])
def test_a_task_that_exits_or_panics_fails_for_its_question_alone(error: BaseException) -> None:
    def call(questions: list[str]) -> list[str]:
        if "bad" in questions:
            raise error
        return questions

    good, bad = answer_batch(call, ["good", "bad"])
    assert isinstance(good, Given)
    assert isinstance(bad, Raised)


def test_a_wish_to_stop_is_no_answer() -> None:
    def call(_questions: list[str]) -> list[str]:
        raise StopNow

    with pytest.raises(StopNow):
        answer_batch(call, ["a", "b"])


@pytest.mark.parametrize(
    ("costs", "parts"),
    [
        ([], []),
        ([5], [[0]]),
        ([100], [[0]]),
        ([1, 9, 1, 9], [[0, 2], [1], [3]]),
        ([4, 4, 4], [[0, 1], [2]]),
        ([2, 2, 2, 2, 2], [[0, 1, 2, 3, 4]]),
        ([math.inf, 1, 1], [[1, 2], [0]]),
        ([3, math.nan, 1, math.inf], [[2, 0], [1], [3]]),
    ],
)
def test_a_batch_is_split_by_what_padding_would_cost(
    costs: list[float], parts: list[list[int]]
) -> None:
    assert parts_within(costs, 10) == parts


def test_without_a_limit_only_what_has_no_cost_goes_alone() -> None:
    assert parts_within([1.0, math.inf, 1e9], math.inf) == [[0, 2], [1]]


class Held:
    """What a failed call had in its hands."""


def test_nothing_that_a_failed_call_held_stays_in_memory() -> None:
    held: list[weakref.ref[Held]] = []

    def call(questions: list[str]) -> list[str]:
        assert [one() for one in held if one()] == []
        activations = Held()
        held.append(weakref.ref(activations))
        raise MemoryError

    gc.disable()
    try:
        raised = answer_batch(call, ["a", "b"])
        assert [one() for one in held] == [None] * 3
    finally:
        gc.enable()
    assert all(isinstance(one, Raised) for one in raised)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperatorError(ErrorCode.OVERLOADED, "later"), (ErrorCode.OVERLOADED, "later")),
        (OperatorError(ErrorCode.OVERLOADED, "\ud800"), (ErrorCode.OVERLOADED, "?")),
        (OperatorError("strange", "?"), (ErrorCode.MODEL_ERROR, "")),  # type: ignore[arg-type]
        (ValueError("secret"), (ErrorCode.MODEL_ERROR, "")),
    ],
)
def test_what_a_caller_is_told_can_be_written(
    error: Exception, told: tuple[ErrorCode, str]
) -> None:
    def call(_questions: list[str]) -> list[str]:
        raise error

    (raised,) = answer_batch(call, ["a"])
    assert isinstance(raised, Raised)
    assert (raised.code, raised.sentence) == told


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({1, 2}, "The model answered, but the answer has no JSON form: set is no type of JSON"),
        (float("nan"), "The model answered, but the answer has no JSON form: nan has no JSON form"),
        ("x" * 100, "The model answered, but the answer has 102 bytes of JSON; at most 50 are"),
    ],
)
def test_an_answer_that_cannot_be_sent_is_not_told_as_an_error_that_the_model_raised(
    answer: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MOST_ANSWER_BYTES", 50)
    mate, raised = answer_batch(lambda _questions: ["mate", answer], [1, 2])
    assert isinstance(mate, Given)
    assert isinstance(raised, Raised)
    assert raised.code is ErrorCode.MODEL_ERROR
    assert raised.sentence.startswith(sentence)
