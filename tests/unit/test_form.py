"""The question in a form: decoded as Python's own library decodes it, at a bounded cost."""

from __future__ import annotations

from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enqueue_api import form
from enqueue_api.form import question_of
from resident.errors import CallerError

PIECES = [b"%", b"a", b"4", b"1", b"%41", b"%e4%BD", b"+", b"=", b"\xff"]


@given(st.text(), st.sampled_from([quote, quote_plus]))
def test_every_text_comes_through(text: str, encode: object) -> None:
    assert callable(encode)
    assert question_of(f"a=b&question={encode(text)}&question=c".encode()) == text


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_escapes_are_those_of_the_library(text: bytes) -> None:
    assert form._decoded(text) == unquote_to_bytes(text)


@pytest.mark.parametrize(
    ("query", "question"),
    [
        (b"", None),
        (b"Question=a&questions=b&=c&&%ff", None),
        (b"question", ""),
        (b"question=", ""),
        (b"%71uestion=a=b", "a=b"),
        (b"question=100%", "100%"),
    ],
)
def test_the_first_field_of_that_name_counts(query: bytes, question: str | None) -> None:
    assert question_of(query) == question


def test_more_fields_than_a_form_has_are_refused() -> None:
    assert question_of(b"a&" * 999 + b"question=b") == "b"
    with pytest.raises(CallerError, match="more than 1000 fields"):
        question_of(b"a&" * 1_000 + b"question=b")


def test_other_fields_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(
        form, "_decoded", lambda text: decoded.append(text) or unquote_to_bytes(text)
    )
    assert (
        question_of(b"&".join([b"%ff" * 99 + b"=" + b"%ff" * 99, b"a=%ff", b"question=b"])) == "b"
    )
    assert decoded == [b"a", b"question", b"b"]
