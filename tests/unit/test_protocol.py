"""The wire format: ids, job data, replies."""

from __future__ import annotations

import json
import zlib

import pytest

from resident import protocol
from resident.errors import (
    CallerError,
    ErrorCode,
    OperatorError,
    ResidentError,
    TransportError,
    TryAgain,
)
from resident.protocol import Milliseconds

LIMIT = 1000


def job_data(*call: object) -> bytes:
    return json.dumps(call).encode()


def test_an_id_is_32_hex_digits_and_never_the_same() -> None:
    ids = {protocol.new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


@pytest.mark.parametrize("job_id", ["a", "A-z_09", "x" * 64])
def test_a_legal_id_is_taken_as_it_is(job_id: str) -> None:
    assert protocol.check_id(job_id) == job_id


@pytest.mark.parametrize("job_id", ["", "x" * 65, "a b", "a:b", "ä", "a\n", "a\0", "../a"])
def test_an_illegal_id_is_the_callers_error(job_id: str) -> None:
    with pytest.raises(CallerError, match="1 to 64") as caught:
        protocol.check_id(job_id)
    assert caught.value.code is ErrorCode.INVALID_QUESTION


@pytest.mark.parametrize("task", ["", "Faq", "1faq", "faq\n", "tasks.faq", "f" * 64, "faq:x"])
def test_what_no_task_can_be_called_is_an_unknown_task(task: str) -> None:
    with pytest.raises(CallerError) as caught:
        protocol.check_task_name(task)
    assert caught.value.code is ErrorCode.UNKNOWN_TASK


@pytest.mark.parametrize("junk", [None, 42, b"faq", ["faq"]])
def test_an_id_or_a_task_that_is_no_text_is_the_callers_error(junk: object) -> None:
    kind = type(junk).__name__
    with pytest.raises(CallerError, match=f"An id is a text, not {kind}") as caught:
        protocol.check_id(junk)
    assert caught.value.code is ErrorCode.INVALID_QUESTION
    with pytest.raises(CallerError, match=f"a task is a text, not {kind}") as caught:
        protocol.check_task_name(junk)
    assert caught.value.code is ErrorCode.UNKNOWN_TASK


@pytest.mark.parametrize(
    "question", ["今天几点开门？", "", 0, -1.5, None, True, [], {"a": [1, {"b": None}]}, "😀\0"]
)
def test_a_question_survives_the_way_there(question: object) -> None:
    data = protocol.encode_job_data("faq", question, LIMIT)
    assert protocol.decode_job_data(data, LIMIT) == ("tasks.faq.answer", question)
    assert json.loads(data) == ["tasks.faq.answer", None, [question], {}]


def test_compressed_data_is_read_as_rq_writes_it() -> None:
    data = zlib.compress(job_data("tasks.faq.answer", None, ["?"], {}))
    assert protocol.decode_job_data(data, LIMIT) == ("tasks.faq.answer", "?")


@pytest.mark.parametrize(
    "question",
    [float("nan"), float("inf"), {"a": [float("-inf")]}, object(), "\ud800"],
    ids=["nan", "inf", "inside", "object", "surrogate"],
)
def test_what_is_no_json_value_is_not_asked(question: object) -> None:
    with pytest.raises(CallerError, match="not a JSON value"):
        protocol.encode_job_data("faq", question, LIMIT)


def test_a_question_that_contains_itself_is_not_asked() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(CallerError, match="not a JSON value"):
        protocol.encode_job_data("faq", loop, LIMIT)


def test_depth_ends_at_the_same_place_when_asking_and_when_reading() -> None:
    def nested(depth: int) -> object:
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    deepest = nested(protocol.MAX_DEPTH)
    data = protocol.encode_job_data("faq", deepest, LIMIT)
    assert protocol.decode_job_data(data, LIMIT)[1] == deepest
    with pytest.raises(CallerError, match="deeper"):
        protocol.encode_job_data("faq", nested(protocol.MAX_DEPTH + 1), LIMIT)
    with pytest.raises(CallerError, match="deeper"):
        protocol.decode_job_data(job_data("f", None, [nested(65)], {}), LIMIT)


def test_length_ends_at_the_same_byte_when_asking_and_when_reading() -> None:
    longest = "x" * (LIMIT - 2)
    data = protocol.encode_job_data("faq", longest, LIMIT)
    assert protocol.decode_job_data(data, LIMIT)[1] == longest
    with pytest.raises(CallerError, match=f"{LIMIT + 1} bytes"):
        protocol.encode_job_data("faq", longest + "x", LIMIT)
    with pytest.raises(CallerError, match=f"{LIMIT + 1} bytes"):
        protocol.decode_job_data(job_data("f", None, [longest + "x"], {}), LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"not json",
        b"\x80\x04N.",
        b'["f",null,["?"],{}',
        job_data("f", None, ["?"]),
        job_data("f", None, ["?"], {}, 1),
        job_data(1, None, ["?"], {}),
        job_data("f", None, "?", {}),
        job_data("f", None, ["?"], []),
        job_data("f", None, [], {}),
        job_data("f", None, ["?", "?"], {}),
        job_data("f", None, ["?"], {"more": 1}),
        job_data("f", "instance", ["?"], {}),
        job_data("format", "{0.__class__}", [[1]], {}),
        b'["f",null,[1e999],{}]',
        b'["f",null,[NaN],{}]',
        b'["f",null,["\xff"],{}]',
        b'["f\xff",null,["?"],{}]',
        b'["f",null,["\\ud800"],{}]',
        b'["f",null,[' + b"[" * 10_000 + b"]" * 10_000 + b"],{}]",
        b'["f",' + b"[" * 10_000 + b"]" * 10_000 + b',["?"],{}]',
        b"[" * 10_000,
        zlib.compress(job_data("f", None, ["?"], {}))[:-9],
        zlib.compress(b"\x80\x04N."),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_data_of_another_form_is_the_callers_error(data: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        protocol.decode_job_data(data, 100_000)
    assert caught.value.code is ErrorCode.INVALID_QUESTION


def test_a_compression_bomb_is_refused_without_being_blown_up() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(CallerError, match="at most"):
        protocol.decode_job_data(bomb, LIMIT)


def test_an_answer_survives_the_way_back() -> None:
    payload = protocol.encode_answered("id-1", protocol.encode_answer({"好": 1}), 1.5, 20, 7)
    assert json.loads(payload) == {
        "v": 1,
        "id": "id-1",
        "ok": True,
        "answer": {"好": 1},
        "ms": {"queued": 1.5, "model": 20},
        "batch": 7,
    }
    reply = protocol.decode_reply(payload, "id-1")
    assert (reply.answer, reply.ms, reply.batch) == ({"好": 1}, Milliseconds(1.5, 20), 7)


@pytest.mark.parametrize(
    "answer",
    [object(), float("nan"), "\ud800", [1, object()]],
    ids=["object", "nan", "surrogate", "inside"],
)
def test_an_answer_without_a_json_form_is_refused(answer: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        protocol.encode_answer(answer)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCode.INVALID_QUESTION, CallerError),
        (ErrorCode.UNKNOWN_TASK, CallerError),
        (ErrorCode.NO_WORKER, OperatorError),
        (ErrorCode.MODEL_ERROR, OperatorError),
        (ErrorCode.TIMED_OUT, OperatorError),
        (ErrorCode.CRASHED, OperatorError),
        (ErrorCode.OVERLOADED, TryAgain),
        (ErrorCode.CANCELLED, TryAgain),
        (ErrorCode.EXPIRED, TryAgain),
        (ErrorCode.TRANSPORT_ERROR, TransportError),
    ],
)
def test_an_error_reply_raises_the_class_of_its_code(
    code: ErrorCode, kind: type[ResidentError]
) -> None:
    payload = protocol.encode_failed("id-1", code, "why")
    assert json.loads(payload)["error"] == {"code": code.value, "message": "why"}
    with pytest.raises(kind, match="why") as caught:
        protocol.decode_reply(payload, "id-1")
    assert (caught.value.code, caught.value.job_id) == (code, "id-1")


def test_a_code_of_a_newer_worker_is_somebody_elses_to_look_at() -> None:
    payload = b'{"v":1,"id":"x","ok":false,"error":{"code":"sulking","message":"later"}}'
    with pytest.raises(OperatorError, match="later"):
        protocol.decode_reply(payload, "x")


def test_fields_that_a_newer_worker_adds_are_passed_over() -> None:
    payload = b'{"v":1,"id":"x","ok":true,"answer":1,"ms":{"queued":0,"model":0,"x":1},"new":[]}'
    assert protocol.decode_reply(payload, "x").answer == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"v":1}',
        b'{"v":2,"id":"x","ok":true,"answer":1,"ms":{"queued":0,"model":0}}',
        b'{"v":-1,"id":"x","ok":true,"answer":1,"ms":{"queued":0,"model":0}}',
        b'{"v":1,"id":"y","ok":true,"answer":1,"ms":{"queued":0,"model":0}}',
        b'{"v":1,"id":"x","ok":true,"answer":1}',
        b'{"v":1,"id":"x","ok":false}',
        b'{"v":1,"id":"x","ok":true,"answer":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_what_is_no_reply_to_this_question_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"repl|answer"):
        protocol.decode_reply(payload, "x")


def test_a_reply_goes_to_the_key_of_its_id_unless_a_mailbox_is_named() -> None:
    mailbox = f"resident:mailbox:{'0' * 32}"
    assert protocol.reply_key("x", mailbox) == mailbox
    for elsewhere in ("", "rq:queue:faq", f"{mailbox}0", f"{mailbox}\n", mailbox.upper()):
        assert protocol.reply_key("x", elsewhere) == "resident:reply:x"
