"""Who must act, and the stable codes."""

from __future__ import annotations

import re

import pytest

from resident import errors
from resident.errors import ErrorCode, ResidentError, TransportError, error_for


def test_the_codes_have_the_http_statuses_of_the_contract() -> None:
    assert {code.value: code.http_status for code in ErrorCode} == {
        "invalid_question": 400,
        "unknown_task": 404,
        "conflict": 409,
        "overloaded": 429,
        "no_worker": 503,
        "model_error": 500,
        "timed_out": 504,
        "crashed": 500,
        "cancelled": 499,
        "expired": 504,
        "transport_error": 503,
    }


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_an_exception_that_carries_it(code: ErrorCode) -> None:
    error = error_for(code, "why", "id-1")
    assert type(error) is not ResidentError
    assert (error.code, error.message, error.job_id) == (code, "why", "id-1")


def test_a_lost_connection_is_never_the_same_error_as_no_reply_yet() -> None:
    lost = error_for(ErrorCode.TRANSPORT_ERROR, "")
    assert isinstance(lost, TransportError)
    assert not isinstance(error_for(ErrorCode.EXPIRED, ""), TransportError)


def test_a_wrong_setting_is_no_answer_to_a_question() -> None:
    assert not issubclass(errors.ConfigurationError, ResidentError)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    text = errors.__doc__ or ""
    roots = set(re.findall(r"^    (\w+)", text, re.MULTILINE))
    branches = set(re.findall(r"[├└]── (\w+)", text))
    kinds = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert roots | branches == kinds
    assert branches == {
        name for name in kinds - roots if issubclass(vars(errors)[name], ResidentError)
    }
