"""The wire format, from the vectors that tests/php/Contract reads too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from enqueue_api.deadline import check_budget
from resident import errors, names, protocol
from resident.asking import lane_of
from resident.errors import CallerError, ErrorCode, ResidentError
from resident.lua_script import source_of
from resident.reading import StreamReader
from tests.support.vectors import read, value_of

ROOT = Path(__file__).parents[2]
COPIES = {"ask": ("clock", "ask_joined", "ask"), "cancel": ("clock", "write", "lanes", "cancel")}
RENEW = (
    'python -c "from pathlib import Path; from resident.lua_script import source_of; '
    "Path('php_client/src/Lua/{}.lua').write_text(source_of{}, encoding='utf-8')\""
)


JOBS, REPLIES, ERRORS = read("jobs"), read("replies"), read("errors")
STREAMS, LANES = read("streams"), read("lanes")


def payload_of(written: Any) -> bytes:
    return value_of(written).encode(errors="surrogateescape")


def cases(section: list[dict[str, Any]], key: str = "name") -> Any:
    return pytest.mark.parametrize("case", section, ids=[str(case[key]) for case in section])


def values(section: list[Any]) -> Any:
    return pytest.mark.parametrize("value", [value_of(written) for written in section])


def encode(case: dict[str, Any]) -> bytes:
    limit = case.get("max_question_bytes", JOBS["max_question_bytes"])
    return protocol.encode_job_data(case.get("task", "echo"), value_of(case["question"]), limit)


@cases(JOBS["valid"])
def test_a_question_becomes_exactly_these_bytes(case: dict[str, Any]) -> None:
    assert encode(case) == payload_of(case["data"])


@cases(JOBS["valid"])
def test_a_worker_reads_the_question_that_was_asked(case: dict[str, Any]) -> None:
    limit = case.get("max_question_bytes", JOBS["max_question_bytes"])
    name, question = protocol.decode_job_data(payload_of(case["data"]), limit)
    assert name == names.function_name(case["task"])
    asked = value_of(case["question"])
    assert (question, type(question)) == (asked, type(asked))


@cases(JOBS["invalid_questions"])
def test_a_malformed_question_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CallerError) as caught:
        encode(case)
    assert caught.value.code == case["code"]


@values(JOBS["valid_tasks"])
def test_a_legal_task_name_is_taken(value: str) -> None:
    assert protocol.check_task_name(value) == value


@cases(JOBS["invalid_tasks"])
def test_a_name_that_no_task_can_have_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CallerError) as caught:
        protocol.check_task_name(value_of(case["task"]))
    assert caught.value.code == case["code"]


@values(JOBS["valid_ids"])
def test_a_legal_id_is_taken(value: str) -> None:
    assert protocol.check_id(value) == value


@cases(JOBS["invalid_ids"])
def test_an_id_that_is_none_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CallerError) as caught:
        protocol.check_id(value_of(case["id"]))
    assert caught.value.code == case["code"]


@values(JOBS["valid_budgets"])
def test_a_budget_from_a_millisecond_to_a_day_is_taken(value: int) -> None:
    assert check_budget(value) == value


@cases(JOBS["invalid_budgets"], key="budget_ms")
def test_a_budget_outside_its_range_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CallerError) as caught:
        check_budget(case["budget_ms"])
    assert caught.value.code == case["code"]


@cases(LANES["lanes"])
def test_a_priority_and_a_tenant_make_a_lane(case: dict[str, Any]) -> None:
    assert lane_of(case["priority"], case["tenant"]) == case["lane"]


@values(LANES["invalid_priorities"])
def test_a_priority_that_is_none_is_refused_and_the_three_are_named(value: str) -> None:
    with pytest.raises(CallerError, match="high, normal, low") as caught:
        lane_of(value, "acme")
    assert caught.value.code is ErrorCode.INVALID_QUESTION


@cases(REPLIES["valid"])
def test_a_reply_becomes_its_answer(case: dict[str, Any]) -> None:
    reply = protocol.decode_reply(payload_of(case["payload"]), REPLIES["id"])
    assert (reply.answer, type(reply.answer)) == (case["answer"], type(case["answer"]))
    assert (reply.ms.queued, reply.ms.model) == (case["queued_ms"], case["model_ms"])
    assert (reply.id, reply.batch) == (REPLIES["id"], case["batch"])
    assert math.isfinite(reply.ms.queued)


@cases(REPLIES["errors"])
def test_an_error_reply_becomes_the_exception_of_its_code(case: dict[str, Any]) -> None:
    with pytest.raises(ResidentError) as caught:
        protocol.decode_reply(payload_of(case["payload"]), REPLIES["id"])
    error = caught.value
    assert type(error) is getattr(errors, case["class"])
    assert (error.code, error.message) == (case["code"], case["message"])
    assert error.job_id == REPLIES["id"]


@cases(REPLIES["malformed"])
def test_what_is_no_reply_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        protocol.decode_reply(payload_of(case["payload"]), REPLIES["id"])


def read_stream(case: dict[str, Any]) -> tuple[StreamReader, list[str], Exception | None]:
    """What a reader makes of a stream, delta by delta, and what ended it if not its reply."""
    reader, deltas = StreamReader(STREAMS["id"]), []
    for payload in case["payloads"]:
        assert reader.answered is None
        try:
            deltas.append(reader.read(payload_of(payload)))
        except (ValueError, ResidentError) as error:
            return reader, list(filter(None, deltas)), error
    return reader, list(filter(None, deltas)), None


@cases(STREAMS["whole"])
def test_a_stream_becomes_its_deltas_and_its_answer(case: dict[str, Any]) -> None:
    reader, deltas, error = read_stream(case)
    assert (deltas, error) == (case["deltas"], None)
    assert reader.answered is not None
    assert reader.answered.answer == case["answer"]
    assert reader.text == "".join(deltas)


@cases(STREAMS["errors"])
def test_a_stream_that_breaks_off_keeps_what_came(case: dict[str, Any]) -> None:
    reader, deltas, error = read_stream(case)
    assert isinstance(error, ResidentError)
    assert (deltas, error.code) == (case["deltas"], case["code"])
    assert (reader.text, reader.answered) == ("".join(deltas), None)


@cases(STREAMS["malformed"])
def test_what_does_not_come_next_of_a_stream_is_refused(case: dict[str, Any]) -> None:
    reader, deltas, error = read_stream(case)
    assert isinstance(error, ValueError)
    assert (deltas, reader.text, reader.answered) == (case["deltas"], "".join(deltas), None)


@cases(ERRORS["errors"], key="code")
def test_a_code_has_its_status_and_class(case: dict[str, Any]) -> None:
    code = ErrorCode(case["code"])
    assert code.http_status == case["http_status"]
    assert type(errors.error_for(code, "m")) is getattr(errors, case["class"])


def test_the_vectors_know_every_code() -> None:
    assert [case["code"] for case in ERRORS["errors"]] == [code.value for code in ErrorCode]


@pytest.mark.parametrize("name", COPIES)
def test_php_carries_the_script_that_python_runs(name: str) -> None:
    copy = (ROOT / f"php_client/src/Lua/{name}.lua").read_text(encoding="utf-8")
    renew = RENEW.format(name, COPIES[name])
    assert copy == source_of(*COPIES[name]), f"php_client's copy is stale; renew it with: {renew}"
