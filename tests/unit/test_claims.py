"""What a claim brought: questions, and what is none."""

from __future__ import annotations

import itertools
import json
import zlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from resident.claimed import Claimed, Unusual
from resident.claims import (
    Question,
    Refused,
    batch_timeout_s,
    read_claimed,
    read_plain,
)
from resident.errors import ErrorCode
from resident.protocol import FAILURE_CALLBACK, SUCCESS_CALLBACK
from resident.task import Task

TASK = Task(
    name="shout",
    function=lambda _model, questions: [question.upper() for question in questions],
    load=lambda: None,
    question_type=str,
    warm_up=(),
    max_batch=8,
    timeout_s=5,
    preload=True,
    callbacks=(),
)
JOB = Unusual(
    id="id-1",
    execution="e",
    data=b'["tasks.shout.answer",null,["hey"],{}]',
    enqueued_at=b"2026-11-23T08:09:10.000001Z",
    created_at=b"2026-11-23T08:09:10.000001Z",
    timeout=b"",
    result_ttl=b"",
    failure_ttl=b"",
    reply_to=b"",
    by_hash=b"",
    success_callback=SUCCESS_CALLBACK.encode(),
    failure_callback=FAILURE_CALLBACK.encode(),
)
MAILBOX = f"resident:mailbox:{'0' * 32}"


def plain(**changes: bytes) -> Claimed:
    """The same as a claim tells it of a question as our clients ask it."""
    job = Claimed(*(getattr(JOB, name) for name in Claimed.__struct_fields__))
    return msgspec.structs.replace(job, **changes)


def read(**changes: Any) -> Question | Refused:
    return read_claimed(msgspec.structs.replace(JOB, **changes), TASK, 1000, 500)


def asked(**changes: Any) -> Question:
    question = read(**changes)
    assert isinstance(question, Question)
    return question


def refused(**changes: Any) -> Refused:
    found = read(**changes)
    assert isinstance(found, Refused)
    return found


def data(*call: object) -> dict[str, Any]:
    return {"data": json.dumps(call).encode()}


def test_a_question_comes_with_its_value_and_its_fields() -> None:
    question = asked(timeout=b"3", result_ttl=b"0", failure_ttl=b"-1")
    assert question.value == "hey"
    fields = question.fields
    assert (fields.terms.timeout_s, fields.terms.result_ttl_s, fields.terms.failure_ttl_s) == (
        3,
        0,
        -1,
    )
    assert fields.success_key == fields.failure_key == "resident:reply:id-1"
    assert fields.enqueued_s == pytest.approx(1_795_421_350.000001, abs=1e-7)


def test_absent_fields_are_the_workers_and_rqs_defaults() -> None:
    fields = asked(enqueued_at=b"", created_at=b"").fields
    assert (fields.terms.timeout_s, fields.terms.result_ttl_s) == (0, 500)
    assert fields.terms.failure_ttl_s == 31_536_000
    assert fields.enqueued_s == 0


def test_a_ttl_is_at_least_for_ever_and_at_most_a_year() -> None:
    fields = asked(result_ttl=b"-99", failure_ttl=b"9" * 30).fields
    assert (fields.terms.result_ttl_s, fields.terms.failure_ttl_s) == (-1, 31_536_000)


def test_a_reply_goes_to_the_mailbox_that_the_job_names() -> None:
    assert asked(reply_to=MAILBOX.encode()).fields.success_key == MAILBOX


@pytest.mark.parametrize("elsewhere", [b"rq:queue:shout", MAILBOX.upper().encode(), b"\xff\x00"])
def test_nobody_can_aim_a_reply_at_another_key(elsewhere: bytes) -> None:
    assert asked(reply_to=elsewhere).fields.success_key == "resident:reply:id-1"


def test_a_job_without_our_callbacks_wants_no_reply() -> None:
    fields = asked(success_callback=b"", failure_callback=b"").fields
    assert (fields.success_key, fields.failure_key) == ("", "")
    assert refused(failure_callback=b"", **data("os.system", None, ["x"], {})).failure_key == ""


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.print", "eval", "", "tasks.echo.answer", "...", "tasks.shout"]
)
def test_a_function_that_is_not_the_task_is_an_unknown_task(name: str) -> None:
    found = refused(**data(name, None, ["x"], {}))
    assert found.error.code is ErrorCode.UNKNOWN_TASK
    assert "tasks.shout.answer" in found.error.message
    assert found.failure_key == "resident:reply:id-1"


@pytest.mark.parametrize("question", [1, None, ["hey"], {"text": "hey"}, True])
def test_a_question_of_another_type_is_refused_with_the_type(question: object) -> None:
    found = refused(**data(TASK.function_name, None, [question], {}))
    assert found.error.code is ErrorCode.INVALID_QUESTION
    assert "`str`" in found.error.message
    assert found.fields is not None


def test_data_that_was_too_long_to_read_is_refused_with_its_length() -> None:
    found = refused(data=b"", too_long=10_000_000)
    assert found.error.code is ErrorCode.INVALID_QUESTION
    assert "10000000 bytes" in found.error.message


@pytest.mark.parametrize(
    "change",
    [
        {"data": b""},
        {"created_at": b"yesterday"},
        {"created_at": b"2026-11-23 08:09:10"},
        {"enqueued_at": b"2026-13-01T00:00:00.000000Z"},
        {"enqueued_at": b"\xff"},
        {"timeout": b"soon"},
        {"timeout": b"nan"},
        {"timeout": b"1.5"},
        {"timeout": b"9" * 5000},
        {"result_ttl": b"\xff"},
        {"failure_ttl": b"1e3"},
    ],
    ids=str,
)
def test_a_hash_that_rq_cannot_read_is_discarded_and_answered_where_it_asked(
    change: dict[str, Any],
) -> None:
    found = refused(failure_callback=b"", reply_to=MAILBOX.encode(), **change)
    assert found.fields is None
    assert found.error.code is ErrorCode.INVALID_QUESTION
    assert found.failure_key == MAILBOX


def test_a_batch_may_take_as_long_as_its_most_impatient_job() -> None:
    assert batch_timeout_s(TASK, [asked(), asked(timeout=b"3"), asked(timeout=b"4")]) == 3
    assert batch_timeout_s(TASK, [asked(), asked(timeout=b"-1"), asked(timeout=b"0")]) == 5
    assert batch_timeout_s(TASK, [asked(timeout=b"600")]) == 5


#: Of each field what is usual first, then what is not, and what is wrong.
_FIELDS: dict[str, list[Any]] = {
    "data": [
        b'["tasks.shout.answer",null,["hey"],{}]',
        b'["tasks.shout.answer",null,[1],{}]',
        b'["tasks.shout.answer",null,["a","b"],{}]',
        b'["tasks.shout.answer", null, ["hey"], {}]',
        b'["tasks.shout.answer",null,["hey],{}]',
        b'["tasks.shout.answer",null,["\xff"],{}]',
        b'["tasks.shout.answer",null,["%b"],{}]' % (b"x" * 1000),
        b'["tasks.shout.answer",null,[%b],{}]' % (b"[" * 200 + b"]" * 200),
        b'["os.system",null,["hey"],{}]',
        zlib.compress(b'["tasks.shout.answer",null,["hey"],{}]'),
        b"",
    ],
    "enqueued_at": [JOB.enqueued_at, b"2026-11-23T08:09:10.00000xZ", b"yesterday", b"\xff", b""],
    "failure_ttl": [b"604800", b"", b"1e3"],
    "reply_to": [b"", MAILBOX.encode(), b"rq:queue:shout", b"\xff"],
}


_CHANGES = [(name, value) for name, values in _FIELDS.items() for value in values]


@pytest.mark.parametrize("question_type", [str, Any, int])
def test_the_quick_way_finds_what_the_careful_way_finds(question_type: Any) -> None:
    task = replace(TASK, question_type=question_type)
    for changes in itertools.product(_CHANGES, repeat=2):
        job = plain(**dict(changes))
        found = read_plain([job], task, 900, 500)
        if found:
            careful = read_claimed(job, task, 900, 500)
            assert isinstance(careful, Question)
            assert found == ([careful.value], [careful.fields])


def test_what_our_clients_write_is_read_the_quick_way() -> None:
    assert read_plain([plain(), plain()], TASK, 1000, 500)


@pytest.mark.parametrize("changes", [{"failure_ttl": b"soon"}, {"data": b"["}])
def test_a_batch_is_read_the_quick_way_whole_or_not_at_all(changes: dict[str, bytes]) -> None:
    assert read_plain([plain(), plain(**changes)], TASK, 1000, 500) is None
    assert read_plain([plain(), JOB], TASK, 1000, 500) is None
