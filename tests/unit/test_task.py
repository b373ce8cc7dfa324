"""@task and the allow-list that it fills."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tasks
from resident.errors import CallerError, ConfigurationError, ErrorCode, OperatorError
from resident.loading import load
from resident.task import Task, _registry, load_task, model_of, task, task_names

HEAD = "from resident import task\n"
GOOD = f"""{HEAD}
@task(load=dict, max_batch=4)
def answer(model, questions: list[str]) -> list[str]:
    "Shouts."
    return [question.upper() for question in questions]
"""

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a file beside those in tasks/; afterwards it never was there."""
    before = set(sys.modules)
    registered = dict(_registry)
    tasks.__path__.append(str(tmp_path))
    yield lambda name, text: (tmp_path / f"{name}.py").write_text(text, "utf-8") and None
    tasks.__path__.remove(str(tmp_path))
    _registry.clear()
    _registry.update(registered)
    for name in set(sys.modules) - before:
        if name.startswith("tasks."):
            del sys.modules[name]
            delattr(tasks, name.removeprefix("tasks."))


def made(question_type: Any = Any, **changes: Any) -> Task:
    values: dict[str, Any] = {
        "name": "made",
        "function": lambda _model, questions: questions,
        "load": lambda: None,
        "question_type": question_type,
        "warm_up": (),
        "max_batch": 1,
        "timeout_s": 1,
        "preload": True,
        "callbacks": (),
    }
    return Task(**{**values, **changes})


def test_a_file_with_a_task_is_all_it_takes(write: Write) -> None:
    write("shout", GOOD)
    shout = load_task("shout")
    assert (shout.name, shout.function_name) == ("shout", "tasks.shout.answer")
    assert (shout.question_type, shout.max_batch, shout.timeout_s) == (str, 4, 60.0)
    assert shout.answer(model_of(shout), ["a", "b"]) == ["A", "B"]


def test_a_stock_worker_calls_the_same_name_with_one_question(write: Write) -> None:
    write("shout", GOOD)
    load_task("shout")
    plain = sys.modules["tasks.shout"].answer
    assert plain("hey") == "HEY"
    assert plain.__doc__ == "Shouts."
    assert plain.__wrapped__(None, ["a"]) == ["A"]
    with pytest.raises(CallerError, match="`str`"):
        plain(1)


def test_the_tasks_are_the_files_that_do_not_begin_with_an_underscore(write: Write) -> None:
    write("zz_last", "this is not python")
    write("_shared", "")
    names = task_names()
    assert names == sorted(names)
    assert {"echo", "faq", "zz_last"} <= set(names)
    assert "_shared" not in names


@pytest.mark.parametrize("name", ["ecko", "", "_knowledge", "os", "echo.answer", "../echo", "e\0"])
def test_a_task_that_is_not_there_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"The tasks are: .*echo, faq"):
        load_task(name)


def test_ctrl_c_during_an_import_is_no_fault_of_the_file(write: Write) -> None:
    write("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_task("slow")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:", r"cannot be imported: SyntaxError: .*line 1"),
        ("import no_such_library", r"ModuleNotFoundError: .*\(line 1 of "),
        ("\n1 / 0", r"ZeroDivisionError: .*\(line 2 of "),
        ("x = 1", "has no function `answer` under @task"),
        ("def answer(model, questions): ...", "has no function `answer` under @task"),
        (GOOD.replace("answer", "reply"), "a task is the function `answer`"),
        (GOOD.replace("model, questions", "questions"), "has 1"),
        (GOOD.replace("model, questions", "model, more, questions"), "has 3"),
        (GOOD.replace("questions: list[str]", "questions: str"), r"annotated list\[...\]"),
        (
            GOOD.replace("questions: list[str]", "question: str"),
            r"question must be annotated list\[...\], not .*; it returns a list, too",
        ),
        (
            f"import functools\n{HEAD}task(load=dict)(functools.partial(print))",
            "functools.partial: a task is the function `answer`",
        ),
        (GOOD.replace("questions: list[str]", "questions: list"), r"annotated list\[...\]"),
        (GOOD.replace("@task(load=dict, max_batch=4)", "@task"), "write @task"),
        (GOOD.replace("load=dict, ", ""), r"^tasks\.wrong: write @task\(load=\.\.\.\), where load"),
        (GOOD.replace("load=dict, max_batch=4", "dict"), "write @task"),
        (GOOD.replace("load=dict, max_batch=4", "'dict'"), "write @task"),
        (
            f"async def load(): ...\n{GOOD.replace('=dict', '=load')}",
            "a function that is not async",
        ),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_reason_in_one_line(
    text: str, reason: str, write: Write
) -> None:
    write("wrong", text)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load_task("wrong")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("max_batch=0", "a whole number from 1 to 1024"),
        ("max_batch=1025", "a whole number from 1 to 1024"),
        ("max_batch='8'", "a whole number from 1 to 1024"),
        ("max_batch=8.0", "a whole number from 1 to 1024"),
        ("max_batch=True", "a whole number from 1 to 1024"),
        ("timeout_s=0", "a number from 0.1 to 86400"),
        ("timeout_s=0.099", "a number from 0.1 to 86400"),
        ("timeout_s=86401", "a number from 0.1 to 86400"),
        ("timeout_s=nan", "a number from 0.1 to 86400"),
        ("timeout_s='10'", "a number from 0.1 to 86400"),
        ("timeout_s=None", "a number from 0.1 to 86400"),
        ("preload='no'", "True or False"),
        ("warm_up='hello'", "a list of questions"),
        ("warm_up=5", "a list of questions"),
        ("callbacks=['os.system']", "a list of functions"),
        ("callbacks=5", "a list of functions"),
        ("load={}", "a function that is not async"),
    ],
)
def test_an_option_of_another_type_or_out_of_its_range_is_told(
    option: str, wanted: str, write: Write
) -> None:
    options = option if option.startswith("load=") else f"load=dict, {option}"
    write("wrong", f"nan = float('nan')\n{GOOD.replace('load=dict, max_batch=4', options)}")
    with pytest.raises(ConfigurationError) as caught:
        load_task("wrong")
    assert str(caught.value) == f"tasks.wrong: {option} is not {wanted}"


def test_a_function_elsewhere_is_no_task() -> None:
    def answer(_model: None, questions: list[str]) -> list[str]:
        return questions

    with pytest.raises(ConfigurationError, match="of a file in tasks/"):
        task(load=dict)(answer)


def test_without_an_annotation_any_question_will_do(write: Write) -> None:
    write("plain", GOOD.replace("questions: list[str]", "questions"))
    assert load_task("plain").question_type is Any


class Form(msgspec.Struct):
    text: str
    limit: int = 3


def test_a_declared_type_is_what_the_function_gets() -> None:
    assert made(Form).check({"text": "hey"}) == Form("hey")


@pytest.mark.parametrize(
    ("question_type", "question"),
    [(str, 1), (str, None), (Form, {"limit": 1}), (Form, "hey"), (int, 1.5), (list[int], ["1"])],
)
def test_a_question_of_another_type_is_the_callers_error(question_type: Any, question: Any) -> None:
    with pytest.raises(CallerError, match="The task 'made' takes another type") as caught:
        made(question_type).check(question)
    assert caught.value.code is ErrorCode.INVALID_QUESTION


@pytest.mark.parametrize("answers", [[], [1, 2], iter([1, 2])])
def test_answers_must_be_as_many_as_questions(answers: Any) -> None:
    odd = made(function=lambda _model, _questions: answers)
    with pytest.raises(OperatorError, match=r"gave \d answers to 3 questions") as caught:
        odd.answer(None, [1, 2, 3])
    assert caught.value.code is ErrorCode.MODEL_ERROR


@pytest.mark.parametrize("answers", [None, "abc", b"abc", {1: 2, 2: 3, 3: 4}, {1, 2, 3}])
def test_what_is_no_list_is_not_taken_for_one(answers: Any) -> None:
    odd = made(function=lambda _model, _questions: answers)
    with pytest.raises(OperatorError, match=r"made.py returned .*must return a list of answers"):
        odd.answer(None, [1, 2, 3])


@pytest.mark.parametrize("answers", [(1, 2, 3), {1: 2, 3: 4, 5: 6}.values(), iter([1, 2, 3])])
def test_whatever_else_has_its_answers_in_order_is(answers: Any) -> None:
    assert len(made(function=lambda _model, _questions: answers).answer(None, [1, 2, 3])) == 3


def test_the_model_is_loaded_and_warmed_up_once_in_a_process() -> None:
    calls: list[Any] = []

    def load() -> str:
        calls.append("load")
        return "model"

    def answer(model: str, questions: list[Any]) -> list[Any]:
        calls.append((model, questions))
        return questions

    warm = made(load=load, function=answer, warm_up=("a", "b"))
    assert model_of(warm) == model_of(warm) == "model"
    assert calls == ["load", ("model", ["a", "b"])]


# streaming

SPELL = f"""{HEAD}
from collections.abc import Iterator

@task(load=dict, warm_up=["warm"])
def answer(model: dict, question: str) -> Iterator[str]:
    model[question] = "begun"
    try:
        yield from question
        yield ""
    finally:
        model[question] = "closed"
"""


def test_a_file_whose_function_yields_is_a_streaming_task(write: Write) -> None:
    write("spell", SPELL)
    spell = load_task("spell")
    assert (spell.streams, spell.max_batch, spell.question_type) == (True, 1, str)
    assert model_of(spell) == {"warm": "closed"}
    assert list(spell.deltas({}, "abc")) == ["a", "b", "c"]
    assert spell.answer({}, ["abc"]) == ["abc"]
    assert sys.modules["tasks.spell"].answer("abc") == "abc"


def test_a_streaming_task_takes_no_batch(write: Write) -> None:
    write("spell", SPELL.replace("load=dict", "load=dict, max_batch=2"))
    with pytest.raises(ConfigurationError, match=r"tasks/spell\.py yields, .* leave max_batch out"):
        load_task("spell")


def test_deltas_that_are_closed_close_the_function(write: Write) -> None:
    write("spell", SPELL)
    model: dict[str, str] = {}
    deltas = load_task("spell").deltas(model, "abc")
    assert (next(deltas), model) == ("a", {"abc": "begun"})
    deltas.close()
    assert model == {"abc": "closed"}


@pytest.mark.parametrize(
    ("produced", "reason"),
    [
        (["a", 1], "tasks/made.py yielded a int; it must yield str"),
        ([None], "yielded a NoneType"),
        ("abc", "returned a str; it must yield"),
    ],
)
def test_what_is_no_delta_is_named(produced: Any, reason: str) -> None:
    wrong = made(function=lambda _model, _question: produced, streams=True)
    with pytest.raises(OperatorError, match=reason) as caught:
        list(wrong.deltas(None, "?"))
    assert caught.value.code is ErrorCode.MODEL_ERROR


def test_what_the_function_returned_is_closed_though_somebody_else_holds_it() -> None:
    def spell() -> Iterator[str]:
        try:
            yield from "abc"
        finally:
            ends.append("closed")

    ends: list[str] = []
    held = spell()
    deltas = made(function=lambda _model, _question: held, streams=True).deltas(None, "?")
    assert next(deltas) == "a"
    deltas.close()
    assert ends == ["closed"]


def test_any_iterable_of_strings_may_be_returned() -> None:
    listed = made(function=lambda _model, question: list(question), streams=True)
    deltas = listed.deltas(None, "abc")
    assert next(deltas) == "a"
    deltas.close()
    assert list(deltas) == []


LOADS_BADLY = f"""{HEAD}
def helper(path):
    assert path

def load():
    helper("")

@task(load=load)
def answer(model, questions: list[str]) -> list[str]:
    return questions
"""
WARMS_BADLY = f"""{HEAD}
@task(load=dict, warm_up=["hello"])
def answer(model, questions: list[str]) -> list[str]:
    return [model[question] for question in questions]
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LOADS_BADLY, r"^The task 'wrong' does not load: AssertionError \(line 4 of .*wrong.py\)$"),
        (WARMS_BADLY, r"'wrong' loads, but fails in warm_up: KeyError: 'hello' \(line 5 of "),
    ],
)
def test_a_model_that_does_not_load_is_told_with_its_place(
    text: str, reason: str, write: Write
) -> None:
    write("wrong", text)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load(load_task("wrong"))
    assert caught.value.__cause__ is not None


def test_a_delta_of_a_class_of_its_own_is_a_text() -> None:
    class Text(str):
        __slots__ = ()

    told = made(function=lambda _model, _question: iter([Text("a"), "b"]), streams=True)
    deltas = list(told.deltas(None, "?"))
    assert deltas == ["a", "b"]
    assert [type(delta) for delta in deltas] == [str, str]
